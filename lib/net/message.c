/*
 * sendmsg, recvmsg, sendto and recvfrom.
 *
 * Guarantees
 * - What the kernel has delivered reaches the caller: a cancellation that comes too late does not
 *   hide it, so no descriptor that came along is lost.
 * - A message is untouched when the call fails.
 *
 * A Unix datagram to a named receiver whose queue is full: the kernel offers nothing to poll for,
 * the ring would try some hundred times and then block one of its worker threads, of which there
 * are few. Such a send is tried by the plain call, after pauses.
 *
 * Ancillary data of Unix sockets: where a receive has to wait, the ring's first try may have put
 * data there already (on a stream with SO_PASSCRED the credentials of nobody: uid 0), and what the
 * second one adds is behind what the length covers, descriptors included. So nothing is left to the
 * ring's own second try: a receive that would wait fails, and is begun afresh after a poll.
 *
 * MSG_WAITALL with room for ancillary data is done here: the ring receives the rest without that
 * room, and forgets what it had put there.
 */
#include "net/message.h"

#include "io/socket.h"
#include "io/transfer.h"
#include "io/unix_datagram.h"
#include "ring/tsan.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/un.h>

static const int64_t pause_first = 100 * GYRE_MICROSECOND, pause_last = 10 * GYRE_MILLISECOND;

int gyre_message_pause(const char *call, struct operation *operation, int fd, int64_t *pause)
{
    struct __kernel_timespec time = {0};
    int result;

    *pause = *pause ? *pause * 2 : pause_first;
    if (*pause > pause_last)
        *pause = pause_last;
    time.tv_nsec = *pause;
    do {
        result = gyre_operation_begin(operation, call, fd, 0);
        if (result)
            return result;
        io_uring_prep_timeout(operation->sqe, &time, 0, 0);
        result = gyre_operation_wait(operation);
    } while (result == OPERATION_AGAIN);
    return result == -ETIME ? 0 : result;
}

/* --- sending ---------------------------------------------------------------------------------- */

static ssize_t send_now(int fd, const struct msghdr *message, int flags)
{
    ssize_t n = sendmsg(fd, message, flags | MSG_DONTWAIT);

    return n < 0 ? -errno : n;
}

static bool names_unix(const void *name, socklen_t length)
{
    return name && length >= sizeof(sa_family_t) &&
           ((const struct sockaddr *)name)->sa_family == AF_UNIX;
}

static ssize_t send_to_unix(const char *call, struct operation *operation, int fd,
                            const struct msghdr *message, int flags)
{
    int64_t pause = 0;
    ssize_t n;

    ring_tsan_sends();
    n = send_now(fd, message, flags);
    while (n == -EAGAIN) {
        int error = gyre_message_pause(call, operation, fd, &pause);

        if (error)
            return error;
        n = send_now(fd, message, flags);
    }
    return n;
}

ssize_t gyre_message_send(const char *call, struct operation *operation, int fd,
                          const struct msghdr *message, int flags)
{
    struct gyre_coro *self = coro_required(call);
    int result;

    flags |= MSG_NOSIGNAL;
    if (fd < 0)
        return -EBADF;
    if (flags & MSG_DONTWAIT || names_unix(message->msg_name, message->msg_namelen)) {
        result = coro_error(self);
        if (result)
            return result;
        return flags & MSG_DONTWAIT ? send_now(fd, message, flags)
                                    : send_to_unix(call, operation, fd, message, flags);
    }
    if (is_unix_datagram(fd))
        return gyre_unix_datagram_send(call, operation, fd, message, flags);
    do {
        result = gyre_operation_begin(operation, call, fd, 0);
        if (result)
            return result;
        io_uring_prep_sendmsg(operation->sqe, fd, message, (unsigned)flags);
        ring_tsan_sends();
        result = gyre_operation_wait(operation);
    } while (result == OPERATION_AGAIN);
    return result;
}

ssize_t gyre_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct operation operation = {0};

    return gyre_message_send("gyre_sendmsg", &operation, fd, message, flags);
}

/* The address in the entry itself saves the kernel the import of a message: as old as SENDMSG_ZC.
 */
static ssize_t send_to(int fd, const void *buffer, size_t size, int flags,
                       const struct gyre_address *to)
{
    struct operation operation = {0};
    int result;

    do {
        result = gyre_operation_begin(&operation, "gyre_sendto", fd, 0);
        if (result)
            return result;
        io_uring_prep_send(operation.sqe, fd, buffer, size, flags | MSG_NOSIGNAL);
        if (to)
            io_uring_prep_send_set_addr(operation.sqe, (const struct sockaddr *)&to->storage,
                                        (uint16_t)to->length);
        ring_tsan_sends();
        result = gyre_operation_wait(&operation);
    } while (result == OPERATION_AGAIN);
    return result;
}

ssize_t gyre_sendto(int fd, const void *buffer, size_t size, int flags,
                    const struct gyre_address *to)
{
    struct iovec piece = {(void *)buffer, size < TRANSFER_MAX ? size : TRANSFER_MAX};
    struct msghdr message = {.msg_name = to ? (void *)&to->storage : NULL,
                             .msg_namelen = to ? to->length : 0,
                             .msg_iov = &piece,
                             .msg_iovlen = 1};
    struct operation operation = {0};

    if (to && to->length > sizeof to->storage) {
        coro_required("gyre_sendto");
        return -EINVAL;
    }
    if (fd >= 0 && !(flags & MSG_DONTWAIT) && gyre_ring_supports(IORING_OP_SENDMSG_ZC) &&
        !names_unix(message.msg_name, message.msg_namelen) && !is_unix_datagram(fd))
        return send_to(fd, buffer, piece.iov_len, flags, to);
    return gyre_message_send("gyre_sendto", &operation, fd, &message, flags);
}

/* --- receiving -------------------------------------------------------------------------------- */

static ssize_t receive_now(int fd, struct msghdr *message, int flags)
{
    ssize_t n = recvmsg(fd, message, flags);

    return n < 0 ? -errno : n;
}

static int await_message(const char *call, struct operation *operation, int fd)
{
    int result = gyre_operation_poll(operation, call, fd, POLLIN);

    return result >= 0 ? OPERATION_AGAIN : result;
}

static ssize_t receive_by_ring(const char *call, struct operation *operation, int fd,
                               struct msghdr *message, int flags)
{
    bool anew =
        message->msg_control && message->msg_controllen && socket_option(fd, SO_DOMAIN) == AF_UNIX;
    ssize_t result;

    if (anew)
        flags |= MSG_DONTWAIT;
    do {
        result = gyre_operation_begin(operation, call, fd, 0);
        if (result)
            return result;
        io_uring_prep_recvmsg(operation->sqe, fd, message, (unsigned)flags);
        result = gyre_operation_wait(operation);
        ring_tsan_received();
        if (anew && result == -EAGAIN)
            result = await_message(call, operation, fd);
    } while (result == OPERATION_AGAIN);
    return result;
}

ssize_t gyre_message_receive(const char *call, struct operation *operation, int fd,
                             struct msghdr *message, int flags)
{
    struct gyre_coro *self = coro_required(call);
    ssize_t result;

    if (fd < 0)
        return -EBADF;
    if (flags & MSG_DONTWAIT) {
        result = coro_error(self);
        if (!result)
            result = receive_now(fd, message, flags | MSG_CMSG_CLOEXEC);
        ring_tsan_received();
    } else {
        result = receive_by_ring(call, operation, fd, message, flags | MSG_CMSG_CLOEXEC);
    }
    if (result >= 0 && !(flags & MSG_CMSG_CLOEXEC))
        message->msg_flags &= ~MSG_CMSG_CLOEXEC; /* the kernel shows what it was asked */
    return result;
}

/* What is left of the pieces behind count bytes; a piece that was cut comes alone, in *cut. */
static void cut_pieces(const struct msghdr *message, size_t count, struct msghdr *rest,
                       struct iovec *cut)
{
    struct iovec *piece = message->msg_iov;
    size_t left = message->msg_iovlen;

    *rest = *message;
    while (left && count >= piece->iov_len) {
        count -= piece->iov_len;
        piece++;
        left--;
    }
    rest->msg_iov = piece;
    rest->msg_iovlen = left;
    if (!left || !count)
        return;
    *cut = (struct iovec){(char *)piece->iov_base + count, piece->iov_len - count};
    rest->msg_iov = cut;
    rest->msg_iovlen = 1;
}

/* Until all the room is filled, or something came that a later part must not be joined with. */
static ssize_t receive_all(int fd, struct msghdr *message, int flags)
{
    struct operation operation = {0};
    struct msghdr part, last = *message;
    struct iovec cut;
    size_t count = 0;
    ssize_t n;

    for (;;) {
        cut_pieces(message, count, &part, &cut);
        if (count && !part.msg_iovlen)
            break;
        n = gyre_message_receive("gyre_recvmsg", &operation, fd, &part, flags & ~MSG_WAITALL);
        if (n < 0 && !count)
            return n;
        if (n < 0 || (n == 0 && count))
            break;
        last = part;
        count += (size_t)n;
        if (n == 0 || part.msg_controllen || part.msg_flags || flags & MSG_PEEK ||
            socket_option(fd, SO_TYPE) != SOCK_STREAM)
            break;
    }
    message->msg_namelen = last.msg_namelen;
    message->msg_controllen = last.msg_controllen;
    message->msg_flags = last.msg_flags;
    return (ssize_t)count;
}

ssize_t gyre_recvmsg(int fd, struct msghdr *message, int flags)
{
    struct operation operation = {0};

    if (flags & MSG_WAITALL && !(flags & MSG_DONTWAIT) && message->msg_control &&
        message->msg_controllen && message->msg_iovlen <= IOV_MAX)
        return receive_all(fd, message, flags);
    return gyre_message_receive("gyre_recvmsg", &operation, fd, message, flags);
}

ssize_t gyre_recvfrom(int fd, void *buffer, size_t size, int flags, struct gyre_address *from)
{
    struct iovec piece = {buffer, size < TRANSFER_MAX ? size : TRANSFER_MAX};
    struct msghdr message = {.msg_name = from ? &from->storage : NULL,
                             .msg_namelen = from ? sizeof from->storage : 0,
                             .msg_iov = &piece,
                             .msg_iovlen = 1};
    struct operation operation = {0};
    ssize_t n = gyre_message_receive("gyre_recvfrom", &operation, fd, &message, flags);

    if (n < 0 || !from)
        return n;
    from->length = message.msg_namelen;
    if (!from->length)
        from->storage.ss_family = AF_UNSPEC;
    return n;
}
