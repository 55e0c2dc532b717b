/* One read or write at an offset. */
#ifndef GYRE_LIB_FS_READ_AT_H
#define GYRE_LIB_FS_READ_AT_H

#include "io/operation.h"

#include <sys/uio.h>

/* The most that the kernel moves at once, in whole pages: more could not be O_DIRECT. */
enum { ACCESS_MAX = 0x7ffff000 };

enum access_kind { ACCESS_READ, ACCESS_WRITE, ACCESS_READV, ACCESS_WRITEV };

struct gyre_buffers;

struct access {
    enum access_kind kind;
    void *buffer; /* of the v forms: the pieces, and size is their number */
    size_t size;
    off_t offset;
    int flags;                    /* RWF_*, of the v forms */
    struct gyre_buffers *buffers; /* or NULL; buffer is that of index then */
    unsigned index;
};

/* Once. The operation, zeroed at first, binds several of one call to one file. */
ssize_t gyre_access(const char *call, struct operation *operation, int fd,
                    const struct access *access);

#endif
