/* What getdents64(2) gives. To be called on a helper thread only. */
#ifndef GYRE_LIB_FS_DIRENT_H
#define GYRE_LIB_FS_DIRENT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    DIRENT_BATCH = 32 << 10,
    DIRENT_ROOM = 1 << 10, /* more than one entry takes: with less room it may not fit */
};

struct dirent_raw {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    unsigned char type;
    char name[];
};

static inline struct dirent_raw *dirent_at(char *batch, size_t at)
{
    return (struct dirent_raw *)(void *)(batch + at);
}

static inline bool dirent_is_dots(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/*
 * Fills the batch, which is aligned as the structure, as far as it goes, so that a small directory
 * is read, with its end, at once. Returns how many bytes there are, 0 at the end, -errno.
 */
static inline int dirent_read(int fd, char *batch, bool *ended)
{
    size_t filled = 0;

    while (!*ended && DIRENT_BATCH - filled >= DIRENT_ROOM) {
        long n = syscall(SYS_getdents64, fd, batch + filled, DIRENT_BATCH - filled);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return filled ? (int)filled : -errno; /* it fails again the next time */
        *ended = n == 0;
        filled += (size_t)n;
    }
    return (int)filled;
}

#endif
