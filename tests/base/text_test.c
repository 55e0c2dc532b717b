/*
 * The map of the process's code, in a program with gyre inside; what it says of a file that is not
 * the one that was loaded; the reader of such files on files that are nothing.
 */
#include "base/elf.h"
#include "base/random.h"
#include "base/text.h"
#include "sched/entry.h"

#include <gyre.h>

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct text_map *make(void)
{
    struct text_map *map = NULL;

    cr_assert_eq(gyre_text_map_make(&map), 0);
    map->older = NULL;
    return map;
}

/* Of the map of this moment. */
static enum text_kind kind_of(const void *address)
{
    struct text_map *map = make();
    enum text_kind kind = text_kind_at(map, (uintptr_t)address);

    cr_assert_not(gyre_text_map_stale(map));
    gyre_text_map_free(map);
    return kind;
}

#define CODE(function) ((const void *)(uintptr_t)(function))

static int plain(int n)
{
    return n + 1;
}

GYRE_NO_PREEMPT static int guarded(int n)
{
    return n - 1;
}

static void *open_library(const char *path)
{
    void *library = dlopen(path, RTLD_NOW);

    cr_assert(library, "%s", dlerror());
    return library;
}

/* --- kinds ----------------------------------------------------------------------------------- */

Test(text, the_program_is_told_from_gyre_inside_it)
{
    cr_assert_eq(kind_of(CODE(plain)), TEXT_PROGRAM);
    cr_assert_eq(kind_of(CODE(kind_of)), TEXT_PROGRAM);
    cr_assert_eq(kind_of(CODE(guarded)), TEXT_GUARDED);
    cr_assert_eq(kind_of(CODE(gyre_text_map_make)), TEXT_RUNTIME);
    cr_assert_eq(kind_of(CODE(gyre_mutex_lock)), TEXT_RUNTIME);
    cr_assert_eq(kind_of(CODE(gyre_coro_entry)), TEXT_ENTRY);
    cr_assert_eq(kind_of(CODE(gyre_pool_trim)), TEXT_ENTRY);
}

Test(text, every_function_of_gyre_is_known)
{
    /* Some that compilers put apart, cold parts included, would be in none of its two sections. */
    static const void *const functions[] = {
        CODE(gyre_run),         CODE(gyre_go_at),        CODE(gyre_chan_send),
        CODE(gyre_yield),       CODE(gyre_sleep),        CODE(gyre_pool_get),
        CODE(gyre_test),        CODE(gyre_chan_release), CODE(gyre_text_allow),
        CODE(gyre_group_go_at), CODE(gyre_connect),      CODE(gyre_read),
    };

    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        enum text_kind kind = kind_of(functions[i]);

        cr_assert(kind == TEXT_RUNTIME || kind == TEXT_ENTRY, "function %zu is %d", i, kind);
    }
}

Test(text, libraries_data_and_nothing)
{
    int local = 0;
    void *heap = malloc(1);

    cr_assert_eq(kind_of(dlsym(RTLD_DEFAULT, "gnu_get_libc_version")), TEXT_LIBRARY);
    cr_assert_eq(kind_of(dlsym(RTLD_DEFAULT, "gnu_get_libc_release")), TEXT_LIBRARY);
    cr_assert_eq(kind_of(&local), TEXT_NONE);
    cr_assert_eq(kind_of(heap), TEXT_NONE);
    cr_assert_eq(kind_of(NULL), TEXT_NONE);
    cr_assert_eq(kind_of((void *)UINTPTR_MAX), TEXT_NONE);
    free(heap);
}

Test(text, the_vdso_is_a_library)
{
    const char *vdso = (const char *)getauxval(AT_SYSINFO_EHDR);
    const ElfW(Ehdr) *header = (const void *)vdso;

    if (!vdso)
        cr_skip_test("no vdso");
    for (size_t i = 0; i < header->e_phnum; i++) {
        const ElfW(Phdr) *segment = (const ElfW(Phdr) *)(const void *)(vdso + header->e_phoff) + i;

        if (segment->p_type == PT_LOAD && segment->p_flags & PF_X)
            cr_assert_eq(kind_of(vdso + segment->p_vaddr + segment->p_memsz - 1), TEXT_LIBRARY);
    }
}

Test(text, ranges_are_sorted_and_apart)
{
    struct text_map *map = make();

    cr_assert(map->count > 4);
    cr_assert_eq(map->low, map->ranges[0].low);
    cr_assert_eq(map->high, map->ranges[map->count - 1].high);
    for (size_t i = 0; i < map->count; i++) {
        const struct text_range *range = &map->ranges[i];

        cr_assert(range->low < range->high);
        cr_assert(!i || range[-1].high <= range->low);
        cr_assert_eq(text_kind_at(map, range->low), range->kind);
        cr_assert_eq(text_kind_at(map, range->high - 1), range->kind);
        if (i + 1 == map->count || range[1].low != range->high)
            cr_assert_eq(text_kind_at(map, range->high), TEXT_NONE);
    }
    gyre_text_map_free(map);
}

/* --- objects at run time --------------------------------------------------------------------- */

Test(text, a_library_counts_once_it_is_allowed)
{
    void *library = open_library(LIBRARY);
    struct text_map *before = make();
    const void *function = dlsym(library, "text_library_plain");

    cr_assert_eq(kind_of(function), TEXT_LIBRARY);
    cr_assert_eq(gyre_text_allow(function), 0);
    cr_assert(gyre_text_map_stale(before));
    cr_assert_eq(kind_of(function), TEXT_PROGRAM);
    cr_assert_eq(kind_of(dlsym(library, "text_library_guarded")), TEXT_GUARDED);
    cr_assert_eq(gyre_text_allow(function), 0); /* again */
    cr_assert_eq(kind_of(function), TEXT_PROGRAM);
    gyre_text_map_free(before);
}

Test(text, the_system_and_nothing_cannot_be_allowed)
{
    struct text_map *map = make();
    int local = 0;

    cr_assert_eq(gyre_text_allow(dlsym(RTLD_DEFAULT, "gnu_get_libc_version")), -EINVAL);
    cr_assert_eq(gyre_text_allow(NULL), -EINVAL);
    cr_assert_eq(gyre_text_allow(&local), -EINVAL);
    cr_assert_eq(gyre_text_allow((void *)getauxval(AT_SYSINFO_EHDR)), -EINVAL);
    cr_assert_eq(gyre_text_allow(CODE(plain)), 0);
    cr_assert_not(gyre_text_map_stale(map));
    gyre_text_map_free(map);
}

Test(text, loading_and_unloading_make_it_stale)
{
    struct text_map *none = make(), *one, *two;
    void *first, *second;

    cr_assert_not(gyre_text_map_stale(none));
    first = open_library(LIBRARY);
    cr_assert(gyre_text_map_stale(none));
    one = make();
    cr_assert_not(gyre_text_map_stale(one));
    second = open_library(LIBRARY_LOCKS);
    cr_assert(gyre_text_map_stale(one));
    two = make();
    cr_assert_not(gyre_text_map_stale(two));
    dlclose(first);
    cr_assert(gyre_text_map_stale(two));
    dlclose(second);
    cr_assert(gyre_text_map_stale(two));
    cr_assert(gyre_text_map_stale(one));
    cr_assert_not(gyre_text_map_stale(none)); /* all is as it was */
    two->older = one;
    one->older = none;
    gyre_text_map_free(two);
}

static atomic_bool over;

static void *load_and_unload(void *path)
{
    while (!atomic_load(&over)) {
        dlclose(open_library(LIBRARY));
        dlclose(open_library(path));
    }
    return NULL;
}

Test(text, may_be_asked_while_others_load_and_unload)
{
    static const char *const paths[] = {LIBRARY, LIBRARY_LOCKS};
    pthread_t threads[2];
    unsigned stale = 0;

    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, load_and_unload, (void *)paths[i]), 0);
    for (size_t i = 0; i < 50; i++) {
        struct text_map *map = make();

        for (size_t k = 0; k < 50; k++)
            stale += gyre_text_map_stale(map);
        cr_assert_eq(text_kind_at(map, (uintptr_t)plain), TEXT_PROGRAM);
        gyre_text_map_free(map);
    }
    atomic_store(&over, true);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_log_info("stale %u times", stale);
}

/* --- the file is another --------------------------------------------------------------------- */

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "re");
    char *bytes;

    cr_assert(file, "%s", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    bytes = malloc(*size);
    cr_assert_eq(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

/* By rename, as who replaces a file that is in use has to. */
static void write_file(const char *path, const char *bytes, size_t size)
{
    char other[64];
    FILE *file;

    snprintf(other, sizeof other, "%s.new", path);
    file = fopen(other, "we");
    cr_assert(file && fwrite(bytes, 1, size, file) == size);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(rename(other, path), 0);
}

static void cut_short(char *bytes, size_t *size)
{
    (void)bytes;
    *size /= 2;
}

static void emptied(char *bytes, size_t *size)
{
    (void)bytes;
    *size = 0;
}

static void other_build_id(char *bytes, size_t *size)
{
    for (size_t i = 0; i + 16 < *size; i++)
        if (!memcmp(bytes + i, "\3\0\0\0GNU", 8)) {
            bytes[i + 8] ^= 1;
            return;
        }
    cr_skip_test("built without a build ID");
}

static void other_segment(char *bytes, size_t *size)
{
    ElfW(Ehdr) *header = (void *)bytes;

    (void)size;
    ((ElfW(Phdr) *)(void *)(bytes + header->e_phoff))->p_memsz++;
}

static void section_headers_gone(char *bytes, size_t *size)
{
    ElfW(Ehdr) *header = (void *)bytes;

    (void)size;
    header->e_shoff = 0;
    header->e_shnum = 0;
}

static void unchanged(char *bytes, size_t *size)
{
    (void)bytes;
    (void)size;
}

static enum text_kind kind_with(void (*change)(char *bytes, size_t *size))
{
    char path[] = "/tmp/gyre-text-XXXXXX";
    size_t size;
    char *bytes = read_file(LIBRARY, &size);
    const void *function;
    enum text_kind kind;

    close(mkstemp(path));
    write_file(path, bytes, size);
    function = dlsym(open_library(path), "text_library_plain");
    change(bytes, &size);
    write_file(path, bytes, size);
    cr_assert_eq(gyre_text_allow(function), 0);
    kind = kind_of(function);
    unlink(path);
    /* Gone, it can't be read at all. */
    cr_assert_eq(kind_of(function), TEXT_LIBRARY);
    free(bytes);
    return kind;
}

Test(text, a_file_that_is_not_the_one_that_was_loaded_makes_a_library)
{
    cr_assert_eq(kind_with(unchanged), TEXT_PROGRAM);
    cr_assert_eq(kind_with(cut_short), TEXT_LIBRARY);
    cr_assert_eq(kind_with(emptied), TEXT_LIBRARY);
    cr_assert_eq(kind_with(other_segment), TEXT_LIBRARY);
    cr_assert_eq(kind_with(section_headers_gone), TEXT_LIBRARY);
    cr_assert_eq(kind_with(other_build_id), TEXT_LIBRARY);
}

/* --- the reader of files --------------------------------------------------------------------- */

struct sections {
    const struct elf_loaded *loaded;
    unsigned count, plts, guarded;
    ElfW(Addr) plt;
};

static void note_section(void *argument, const struct elf_section *section)
{
    struct sections *sections = argument;
    bool inside = false;

    sections->count++;
    if (!strcmp(section->name, ".plt")) {
        sections->plts++;
        sections->plt = section->address;
    }
    sections->guarded += !strncmp(section->name, "gyre_no_preempt", 15);
    for (size_t i = 0; i < sections->loaded->header_count; i++) {
        const ElfW(Phdr) *header = &sections->loaded->headers[i];

        inside |= header->p_type == PT_LOAD && header->p_flags & PF_X &&
                  section->address >= header->p_vaddr &&
                  section->address - header->p_vaddr + section->size <= header->p_memsz;
    }
    cr_assert(inside && strlen(section->name) <= ELF_NAME_MAX);
}

/* What was loaded, as the file itself has it. */
static struct elf_loaded as_loaded(const char *bytes)
{
    const ElfW(Ehdr) *header = (const void *)bytes;
    struct elf_loaded loaded = {(const void *)(bytes + header->e_phoff), header->e_phnum, NULL, 0};
    char *notes = malloc(loaded.header_count * ELF_NOTE_MAX);

    loaded.notes = notes;
    for (size_t i = 0; i < loaded.header_count; i++) {
        size_t size = elf_note_size(&loaded.headers[i]);

        memcpy(notes + loaded.notes_size, bytes + loaded.headers[i].p_offset, size);
        loaded.notes_size += size;
    }
    return loaded;
}

static int read_sections(int fd, const struct elf_loaded *loaded, struct sections *sections)
{
    *sections = (struct sections){.loaded = loaded};
    return gyre_elf_code_sections(fd, loaded, note_section, sections);
}

static int memory_file(const char *bytes, size_t size)
{
    int fd = memfd_create("elf", MFD_CLOEXEC);

    cr_assert(fd >= 0 && pwrite(fd, bytes, size, 0) == (ssize_t)size);
    return fd;
}

static int base_of_main(struct dl_phdr_info *info, size_t size, void *base)
{
    (void)size;
    *(uintptr_t *)base = info->dlpi_addr;
    return 1;
}

Test(text, the_linkage_table_is_a_library)
{
    size_t size;
    char *bytes = read_file("/proc/self/exe", &size);
    struct elf_loaded loaded = as_loaded(bytes);
    struct sections sections;
    uintptr_t base;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    dl_iterate_phdr(base_of_main, &base);
    cr_assert_eq(read_sections(fd, &loaded, &sections), 0);
    cr_assert(sections.count >= 4);
    cr_assert_eq(sections.guarded, 1);
    cr_assert_eq(sections.plts, 1);
    cr_assert_eq(kind_of((void *)(base + sections.plt + 16)), TEXT_LIBRARY);
    close(fd);
    free((void *)loaded.notes);
    free(bytes);
}

Test(text, a_file_cut_short_anywhere_is_refused)
{
    size_t size;
    char *bytes = read_file(LIBRARY, &size);
    struct elf_loaded loaded = as_loaded(bytes);
    struct sections sections;
    int fd = memory_file(bytes, size);

    cr_assert_eq(read_sections(fd, &loaded, &sections), 0);
    /* Section headers come last. */
    for (size_t cut = 1; cut < size; cut += cut < 128 ? 1 : 61) {
        cr_assert_eq(ftruncate(fd, (off_t)(size - cut)), 0);
        cr_assert_eq(read_sections(fd, &loaded, &sections), -ENOEXEC);
    }
    cr_assert_eq(read_sections(open("/dev/zero", O_RDONLY), &loaded, &sections), -ENOEXEC);
    cr_assert_eq(read_sections(open("/", O_RDONLY), &loaded, &sections), -ENOEXEC);
    cr_assert_eq(read_sections(-1, &loaded, &sections), -EBADF);
    free((void *)loaded.notes);
    free(bytes);
}

static uint64_t interesting(uint64_t random)
{
    static const uint64_t values[] = {
        0,          1,         0xff,       0xffff,          0xfff1,    0x7fffffff,
        0xffffffff, INT64_MAX, UINT64_MAX, UINT64_MAX - 63, 1ull << 58};

    return random % 3 ? values[random / 3 % (sizeof values / sizeof *values)] : random;
}

Test(text, a_file_of_anything_is_read_or_refused)
{
    size_t size, places;
    char *bytes = read_file(LIBRARY, &size);
    struct elf_loaded loaded = as_loaded(bytes);
    const ElfW(Ehdr) header = *(const ElfW(Ehdr) *)(const void *)bytes;
    struct sections sections;
    int fd = memory_file(bytes, size);
    struct random state = {1};
    unsigned refused = 0;

    places = sizeof header + header.e_shnum * sizeof(ElfW(Shdr));
    for (unsigned round = 0; round < 20000; round++) {
        uint64_t value = interesting(random_next(&state));
        size_t place = random_next(&state) % places;
        size_t width = (size_t)1 << random_next(&state) % 4;
        size_t at = place < sizeof header ? place : header.e_shoff + place - sizeof header;

        at = at / width * width;
        cr_assert_eq(pwrite(fd, &value, width, (off_t)at), (ssize_t)width);
        refused += read_sections(fd, &loaded, &sections) < 0;
        /* Several at once, now and then. */
        if (round % 4)
            cr_assert_eq(pwrite(fd, bytes, size, 0), (ssize_t)size);
        if (at + width > size)
            cr_assert_eq(ftruncate(fd, (off_t)size), 0);
    }
    cr_assert(refused > 1000 && refused < 19000, "%u", refused);
    close(fd);
    free((void *)loaded.notes);
    free(bytes);
}
