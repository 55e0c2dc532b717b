/* What belongs to any connected socket: options, addresses, half-close, recv and send. */
#include "io/transfer.h"
#include "io/unix_datagram.h"
#include "net/address.h"
#include "ring/tsan.h"

#include <gyre/net.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

static int address_text(bool peer, int fd, char *text, size_t size)
{
    struct gyre_address found = {.length = sizeof found.storage};
    struct sockaddr *address = (struct sockaddr *)&found.storage;
    int result =
        peer ? getpeername(fd, address, &found.length) : getsockname(fd, address, &found.length);

    return result < 0 ? -errno : gyre_address_text(&found, text, size);
}

int gyre_local_address(int fd, char *text, size_t size)
{
    return address_text(false, fd, text, size);
}

int gyre_peer_address(int fd, char *text, size_t size)
{
    return address_text(true, fd, text, size);
}

static int set_number(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

int gyre_set_nodelay(int fd, int on)
{
    return set_number(fd, IPPROTO_TCP, TCP_NODELAY, on != 0);
}

/* Nanoseconds as whole seconds, at least one. */
static int seconds(int64_t duration)
{
    int64_t value = duration / GYRE_SECOND + (duration % GYRE_SECOND > 0);

    return value > 32767 ? 32767 : (int)value;
}

int gyre_set_keepalive(int fd, int on, int64_t idle, int64_t interval, int count)
{
    int error;

    if (idle < 0 || interval < 0 || count < 0)
        return -EINVAL;
    error = set_number(fd, SOL_SOCKET, SO_KEEPALIVE, on != 0);
    if (!error && on && idle)
        error = set_number(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds(idle));
    if (!error && on && interval)
        error = set_number(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds(interval));
    if (!error && on && count)
        error = set_number(fd, IPPROTO_TCP, TCP_KEEPCNT, count);
    return error;
}

int gyre_set_buffers(int fd, int receive, int send)
{
    int error = 0;

    if (receive < 0 || send < 0)
        return -EINVAL;
    if (receive)
        error = set_number(fd, SOL_SOCKET, SO_RCVBUF, receive);
    if (!error && send)
        error = set_number(fd, SOL_SOCKET, SO_SNDBUF, send);
    return error;
}

int gyre_set_linger(int fd, int on, int wait)
{
    struct linger linger = {on != 0, wait};
    struct descriptor *descriptor;

    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) < 0)
        return -errno;
    descriptor = worker_current() ? gyre_descriptor_get(fd) : NULL;
    if (descriptor)
        atomic_store_explicit(&descriptor->lingers, on && wait, memory_order_relaxed);
    return 0;
}

/* The ring would run it on a kernel worker thread; the plain call doesn't block. */
int gyre_shutdown(int fd, int how)
{
    coro_required("gyre_shutdown");
    ring_tsan_sends();
    return shutdown(fd, how) < 0 ? -errno : 0;
}

/*
 * MSG_DONTWAIT: the ring would take the flag off where it can poll, so the plain call is made; it
 * can't block.
 */
static ssize_t transfer_now(bool receive, int fd, void *buffer, size_t size, int flags)
{
    ssize_t n = receive ? recv(fd, buffer, size, flags) : send(fd, buffer, size, flags);

    return n < 0 ? -errno : n;
}

static ssize_t transfer(bool receive, int fd, void *buffer, size_t size, int flags)
{
    const char *call = receive ? "gyre_recv" : "gyre_send";
    struct gyre_coro *self = coro_required(call);
    struct operation operation = {0};
    int result;

    if (fd < 0)
        return -EBADF;
    if (size > TRANSFER_MAX)
        size = TRANSFER_MAX;
    if (flags & MSG_DONTWAIT) {
        result = coro_error(self);
        return result ? result : transfer_now(receive, fd, buffer, size, flags);
    }
    if (!receive && is_unix_datagram(fd)) {
        struct iovec piece = {buffer, size};
        const struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

        return gyre_unix_datagram_send(call, &operation, fd, &message, flags);
    }
    do {
        result = gyre_operation_begin(&operation, call, fd, 0);
        if (result)
            return result;
        if (receive)
            io_uring_prep_recv(operation.sqe, fd, buffer, size, flags);
        else
            io_uring_prep_send(operation.sqe, fd, buffer, size, flags);
        ring_tsan_sends();
        result = gyre_operation_wait(&operation);
        ring_tsan_received();
    } while (result == OPERATION_AGAIN);
    return result;
}

ssize_t gyre_recv(int fd, void *buffer, size_t size, int flags)
{
    return transfer(true, fd, buffer, size, flags);
}

ssize_t gyre_send(int fd, const void *buffer, size_t size, int flags)
{
    return transfer(false, fd, (void *)buffer, size, flags | MSG_NOSIGNAL);
}
