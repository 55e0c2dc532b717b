/*
 * A file's section headers, by pread: a mapping of a file that is cut short meanwhile would raise
 * SIGBUS.
 *
 * It is the loaded file if its program headers and notes are what is in memory. A build without a
 * build ID that differs from the one before in no segment's place or size could still be taken for
 * it; whoever overwrites a program's files in place while it runs, instead of renaming new ones to
 * them, has changed the program's memory as well.
 */
#include "base/elf.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 16 }; /* headers read at once */

#if UINTPTR_MAX > UINT32_MAX
enum { OWN_CLASS = ELFCLASS64 };
#else
enum { OWN_CLASS = ELFCLASS32 };
#endif
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
enum { OWN_ORDER = ELFDATA2LSB };
#else
enum { OWN_ORDER = ELFDATA2MSB };
#endif

struct elf_file {
    int fd;
    uint64_t size;
    const struct elf_loaded *loaded;
    uint64_t names, names_size; /* the table of the sections' names */
};

/* 0, -ENOEXEC where the file has no such bytes, -errno. */
static int read_at(const struct elf_file *file, void *to, uint64_t offset, size_t size)
{
    char *at = to;

    if (offset > file->size || size > file->size - offset)
        return -ENOEXEC;
    while (size) {
        ssize_t got = pread(file->fd, at, size, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got ? -errno : -ENOEXEC;
        at += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return 0;
}

static int same_bytes(const struct elf_file *file, const char *expected, uint64_t offset,
                      size_t size)
{
    char bytes[1024];
    int error = 0;

    while (size && !error) {
        size_t part = size < sizeof bytes ? size : sizeof bytes;

        error = read_at(file, bytes, offset, part);
        if (!error && memcmp(bytes, expected, part))
            error = -ENOEXEC;
        expected += part;
        offset += part;
        size -= part;
    }
    return error;
}

static int check_loaded(const struct elf_file *file, const ElfW(Ehdr) * header)
{
    const struct elf_loaded *loaded = file->loaded;
    const char *notes = loaded->notes;
    int error;

    if (memcmp(header->e_ident, ELFMAG, SELFMAG) || header->e_ident[EI_CLASS] != OWN_CLASS ||
        header->e_ident[EI_DATA] != OWN_ORDER || header->e_phentsize != sizeof(ElfW(Phdr)) ||
        header->e_shentsize != sizeof(ElfW(Shdr)) || header->e_phnum != loaded->header_count)
        return -ENOEXEC;
    error = same_bytes(file, (const char *)loaded->headers, header->e_phoff,
                       loaded->header_count * sizeof(ElfW(Phdr)));
    for (size_t i = 0; i < loaded->header_count && !error; i++) {
        size_t size = elf_note_size(&loaded->headers[i]);

        if (size > (size_t)(loaded->notes + loaded->notes_size - notes))
            return -ENOEXEC;
        error = same_bytes(file, notes, loaded->headers[i].p_offset, size);
        notes += size;
    }
    return error;
}

static bool in_code_segment(const struct elf_loaded *loaded, const ElfW(Shdr) * section)
{
    for (size_t i = 0; i < loaded->header_count; i++) {
        const ElfW(Phdr) *segment = &loaded->headers[i];

        if (segment->p_type == PT_LOAD && segment->p_flags & PF_X &&
            section->sh_addr >= segment->p_vaddr &&
            section->sh_addr - segment->p_vaddr <= segment->p_memsz &&
            section->sh_size <= segment->p_memsz - (section->sh_addr - segment->p_vaddr))
            return true;
    }
    return false;
}

static int name_of(const struct elf_file *file, const ElfW(Shdr) * section, char *name)
{
    uint64_t left;

    if (section->sh_name >= file->names_size)
        return -ENOEXEC;
    left = file->names_size - section->sh_name;
    name[ELF_NAME_MAX] = '\0';
    if (left < ELF_NAME_MAX)
        name[left] = '\0';
    return read_at(file, name, file->names + section->sh_name,
                   left < ELF_NAME_MAX ? (size_t)left : ELF_NAME_MAX);
}

/* How many sections there are and where their names are; too many for the header's fields, the
 * first section has the numbers. */
static int find_names(struct elf_file *file, const ElfW(Ehdr) * header, uint64_t *count)
{
    ElfW(Shdr) section;
    uint64_t names = header->e_shstrndx;
    int error = read_at(file, &section, header->e_shoff, sizeof section);

    if (!header->e_shoff || error)
        return error ? error : -ENOEXEC;
    *count = header->e_shnum ? header->e_shnum : section.sh_size;
    if (names == SHN_XINDEX)
        names = section.sh_link;
    if (names >= *count || *count > file->size / sizeof section)
        return -ENOEXEC;
    error = read_at(file, &section, header->e_shoff + names * sizeof section, sizeof section);
    if (error)
        return error;
    if (section.sh_type != SHT_STRTAB || section.sh_offset > file->size ||
        section.sh_size > file->size - section.sh_offset)
        return -ENOEXEC;
    file->names = section.sh_offset;
    file->names_size = section.sh_size;
    return 0;
}

int gyre_elf_code_sections(int fd, const struct elf_loaded *loaded,
                           void (*each)(void *argument, const struct elf_section *section),
                           void *argument)
{
    struct elf_file file = {.fd = fd, .loaded = loaded};
    ElfW(Shdr) sections[CHUNK];
    ElfW(Ehdr) header;
    uint64_t count = 0;
    bool found = false;
    struct stat status;
    int error;

    /* A device or pipe might keep the reader waiting. */
    if (fstat(fd, &status))
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -ENOEXEC;
    file.size = (uint64_t)status.st_size;
    error = read_at(&file, &header, 0, sizeof header);
    if (!error)
        error = check_loaded(&file, &header);
    if (!error)
        error = find_names(&file, &header, &count);
    for (uint64_t i = 0; i < count && !error; i++) {
        const ElfW(Shdr) *section = &sections[i % CHUNK];
        struct elf_section told;

        if (i % CHUNK == 0)
            error = read_at(&file, sections, header.e_shoff + i * sizeof *section,
                            (count - i < CHUNK ? (size_t)(count - i) : CHUNK) * sizeof *section);
        if (error || ~section->sh_flags & (SHF_ALLOC | SHF_EXECINSTR))
            continue;
        if (!in_code_segment(loaded, section))
            return -ENOEXEC;
        error = name_of(&file, section, told.name);
        if (error)
            break;
        told.address = section->sh_addr;
        told.size = (size_t)section->sh_size;
        found = true;
        each(argument, &told);
    }
    return error || found ? error : -ENOEXEC;
}
