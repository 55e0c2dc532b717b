/* One transfer of bytes to or from a descriptor of any kind. */
#ifndef GYRE_LIB_IO_TRANSFER_H
#define GYRE_LIB_IO_TRANSFER_H

#include "io/operation.h"

#include <sys/socket.h>

enum transfer_kind { TRANSFER_READ, TRANSFER_WRITE, TRANSFER_READV, TRANSFER_WRITEV };

struct transfer {
    enum transfer_kind kind;
    void *buffer;
    size_t size;
    struct msghdr *message; /* of the v forms: only the pieces are set */
};

ssize_t gyre_transfer(const char *call, int fd, const struct transfer *transfer);

#endif
