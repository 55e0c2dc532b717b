/*
 * The map that libgyre.so makes, in a program that is linked with it. Its functions are hidden:
 * they are found in the symbol table of the library's file. 77 where that was stripped.
 */
#include "base/text.h"

#include <gyre.h>

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed;

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                         \
            failed = 1;                                                                            \
        }                                                                                          \
    } while (0)

static char *library;
static uintptr_t base;

static void load(void)
{
    Dl_info info;
    FILE *file;

    if (!dladdr((void *)gyre_version, &info) || !(file = fopen(info.dli_fname, "r")))
        exit(1);
    base = (uintptr_t)info.dli_fbase;
    library = malloc(64 << 20);
    if (!fread(library, 1, 64 << 20, file))
        exit(1);
    fclose(file);
}

static void *find(const char *name)
{
    const ElfW(Ehdr) *header = (const void *)library;
    const ElfW(Shdr) *sections = (const void *)(library + header->e_shoff);

    for (size_t i = 0; i < header->e_shnum; i++) {
        const ElfW(Sym) *symbols = (const void *)(library + sections[i].sh_offset);
        const char *names;

        if (sections[i].sh_type != SHT_SYMTAB)
            continue;
        names = library + sections[sections[i].sh_link].sh_offset;
        for (size_t k = 0; k < sections[i].sh_size / sizeof *symbols; k++)
            if (symbols[k].st_shndx != SHN_UNDEF && !strcmp(names + symbols[k].st_name, name))
                return (void *)(base + symbols[k].st_value);
    }
    printf("%s is not in the symbol table\n", name);
    exit(77);
}

GYRE_NO_PREEMPT static int guarded(int n)
{
    return n + 1;
}

int main(void)
{
    int (*make)(struct text_map * *map);
    int (*allow)(const void *address);
    struct text_map *map;

    load();
    make = (int (*)(struct text_map **))find("gyre_text_map_make");
    allow = (int (*)(const void *))find("gyre_text_allow");
    if (make(&map))
        return 1;
    EXPECT(!map->no_program && !map->static_libc && !map->own_malloc);
    EXPECT(text_kind_at(map, (uintptr_t)main) == TEXT_PROGRAM);
    EXPECT(text_kind_at(map, (uintptr_t)guarded) == TEXT_GUARDED);
    EXPECT(text_kind_at(map, (uintptr_t)make) == TEXT_RUNTIME);
    EXPECT(text_kind_at(map, (uintptr_t)gyre_version) == TEXT_RUNTIME);
    EXPECT(text_kind_at(map, (uintptr_t)find("gyre_coro_entry")) == TEXT_ENTRY);
    EXPECT(text_kind_at(map, (uintptr_t)dlsym(RTLD_DEFAULT, "gyre_pool_trim")) == TEXT_ENTRY);
    EXPECT(text_kind_at(map, (uintptr_t)dlsym(RTLD_DEFAULT, "printf")) == TEXT_LIBRARY);
    EXPECT(allow((void *)make) == -EINVAL);
    return failed;
}
