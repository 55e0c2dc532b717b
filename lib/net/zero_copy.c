/*
 * Sending from the caller's memory.
 *
 * It costs a completion more and a wait until the peer has acknowledged, so that below a size,
 * measured in docs/decisions.md, a copy is cheaper: that is sent plainly. So is the rest of what
 * the kernel refuses to send in this way (a socket that can't, no memory left to lock).
 */
#include "io/socket.h"
#include "io/transfer.h"
#include "ring/tsan.h"

#include <gyre/datagram.h>

#include <errno.h>
#include <netinet/in.h>

enum { ZERO_COPY_LEAST = 32 << 10 };

struct sending {
    struct operation operation;
    unsigned flags; /* OPERATION_* */
    int fd;
    bool report;
    bool plain; /* this way does not work here */
    bool copied;
};

static unsigned connection_flags(int fd)
{
    return socket_is_tcp(fd) ? OPERATION_RESETS : 0;
}

static bool refused(int result)
{
    return result == -EOPNOTSUPP || result == -EINVAL || result == -ENOMEM || result == -ENOBUFS ||
           result == -ENOTSOCK;
}

/* OPERATION_AGAIN: go on plainly. */
static int send_in_place(struct sending *sending, const char *buffer, size_t size, size_t *sent)
{
    struct operation *operation = &sending->operation;
    int result;

    if (size > TRANSFER_MAX)
        size = TRANSFER_MAX;
    do {
        result =
            gyre_operation_begin(operation, "gyre_send_zero_copy", sending->fd, sending->flags);
        if (result)
            return result;
        io_uring_prep_send_zc(operation->sqe, sending->fd, buffer, size, MSG_NOSIGNAL | MSG_WAITALL,
                              sending->report ? ABI_SEND_ZC_REPORT_USAGE : 0);
        ring_tsan_sends();
        result = gyre_operation_wait(operation);
    } while (result == OPERATION_AGAIN && !gyre_operation_was_reset(operation));
    if (result > 0)
        *sent = (size_t)result;
    if (gyre_operation_was_reset(operation)) {
        int error = coro_error(operation->self);

        return error ? error : -EBADF;
    }
    sending->copied |= gyre_operation_copied(operation);
    sending->plain = refused(result);
    return sending->plain ? OPERATION_AGAIN : result;
}

static ssize_t send_plainly(struct sending *sending, const char *buffer, size_t size)
{
    struct transfer transfer = transfer_bytes(TRANSFER_WRITE, buffer, size);

    sending->copied = true;
    return gyre_transfer("gyre_send_zero_copy", &sending->operation, sending->fd, &transfer);
}

ssize_t gyre_send_zero_copy(int fd, const void *buffer, size_t size, size_t *done, int *copied)
{
    struct sending sending = {.fd = fd, .report = copied != NULL};
    size_t count = 0;
    ssize_t n;

    coro_required("gyre_send_zero_copy");
    sending.plain = fd < 0 || size < ZERO_COPY_LEAST || !gyre_ring_supports(IORING_OP_SEND_ZC);
    if (!sending.plain)
        sending.flags = connection_flags(fd);
    do {
        const char *at = (const char *)buffer + count;
        size_t sent = 0;

        n = OPERATION_AGAIN;
        if (!sending.plain && size - count >= ZERO_COPY_LEAST)
            n = send_in_place(&sending, at, size - count, &sent);
        if (n == OPERATION_AGAIN)
            n = send_plainly(&sending, at, size - count);
        count += n > 0 ? (size_t)n : sent;
        if (n == 0 && size)
            n = -EIO; /* would go on for ever */
    } while (n >= 0 && count < size);
    if (done)
        *done = count;
    if (n < 0)
        return n;
    if (copied)
        *copied = sending.copied;
    return (ssize_t)count;
}
