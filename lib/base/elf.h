/*
 * Which sections with code the file of a loaded object has: that is not loaded with it. Nothing in
 * the file is trusted: it may be cut short, replaced by another version, or anything at all.
 */
#ifndef GYRE_LIB_BASE_ELF_H
#define GYRE_LIB_BASE_ELF_H

#include <link.h>
#include <stddef.h>
#include <stdint.h>

/* What the file has to agree with to be the one that was loaded. */
struct elf_loaded {
    const ElfW(Phdr) * headers;
    size_t header_count;
    /* The contents of the PT_NOTE segments, one after the other: the build ID is there. A segment
     * counts with its first ELF_NOTE_MAX bytes. */
    const char *notes;
    size_t notes_size;
};

enum { ELF_NOTE_MAX = 512, ELF_NAME_MAX = 23 };

struct elf_section {
    ElfW(Addr)
        address; /* as linked, before the load address is added; inside one segment with code */
    size_t size;
    char name[ELF_NAME_MAX + 1]; /* cut off there */
};

/* How many bytes of notes a segment has; 0 where it is none. */
static inline size_t elf_note_size(const ElfW(Phdr) * header)
{
    if (header->p_type != PT_NOTE)
        return 0;
    return header->p_filesz < ELF_NOTE_MAX ? (size_t)header->p_filesz : ELF_NOTE_MAX;
}

/* Calls `each` for every section that holds code. 0; -ENOEXEC: not the file that was loaded, or it
 * has no (or no plausible) section headers; what `each` was told until then is not to be believed;
 * or -errno of reading. */
int gyre_elf_code_sections(int fd, const struct elf_loaded *loaded,
                           void (*each)(void *argument, const struct elf_section *section),
                           void *argument);

#endif
