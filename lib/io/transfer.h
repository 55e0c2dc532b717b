/* One transfer of bytes to or from a descriptor of any kind. */
#ifndef GYRE_LIB_IO_TRANSFER_H
#define GYRE_LIB_IO_TRANSFER_H

#include "io/operation.h"

#include <sys/socket.h>

/* The most that the kernel moves at once (its MAX_RW_COUNT); a submission has 32 bits for it. */
enum { TRANSFER_MAX = 0x7ffff000 };

enum transfer_kind { TRANSFER_READ, TRANSFER_WRITE, TRANSFER_READV, TRANSFER_WRITEV };

struct transfer {
    enum transfer_kind kind;
    void *buffer;
    size_t size;
    struct msghdr *message; /* of the v forms: only the pieces are set */
};

static inline struct transfer transfer_bytes(enum transfer_kind kind, const void *buffer,
                                             size_t size)
{
    return (struct transfer){kind, (void *)buffer, size < TRANSFER_MAX ? size : TRANSFER_MAX, NULL};
}

/*
 * Transfers once, as read(2) and write(2) do. The operation, zeroed at first, binds several
 * transfers of one call to one file: see operation.h.
 */
ssize_t gyre_transfer(const char *call, struct operation *operation, int fd,
                      const struct transfer *transfer);

ssize_t gyre_transfer_pieces(const char *call, struct operation *operation, int fd,
                             enum transfer_kind kind, const struct iovec *pieces, int count);

#endif
