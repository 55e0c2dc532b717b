/*
 * Sending Unix datagrams. The kernel takes one from the caller's memory before it sees that the
 * receiver's queue is full; the ring then tries again with nothing left, and an empty one arrives
 * (as of Linux 6.18). So such a send is never left to wait in the ring: it is made by the plain
 * call, which does not wait, and where there is no room, again after a poll.
 */
#ifndef GYRE_LIB_IO_UNIX_DATAGRAM_H
#define GYRE_LIB_IO_UNIX_DATAGRAM_H

#include "io/operation.h"

#include <sys/socket.h>

/* Asks the kernel, and remembers it for the number if it is a socket. */
bool gyre_unix_datagram_ask(struct descriptor *descriptor, int fd);

static inline bool is_unix_datagram(int fd)
{
    struct descriptor *descriptor = fd >= 0 ? gyre_descriptor_get(fd) : NULL;
    unsigned kind;

    if (unlikely(!descriptor))
        return false; /* begin tells why */
    kind = atomic_load_explicit(&descriptor->kind, memory_order_relaxed);
    if (likely(kind == KIND_SOCKET))
        return false;
    return kind == KIND_UNIX_DATAGRAM ||
           (kind == KIND_UNKNOWN && gyre_unix_datagram_ask(descriptor, fd));
}

/* To whom the socket is connected: to a name there is nothing to poll for. Parks. Returns the size
 * or -errno. */
ssize_t gyre_unix_datagram_send(const char *call, struct operation *operation, int fd,
                                const struct msghdr *message, int flags);

#endif
