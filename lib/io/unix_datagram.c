#include "io/unix_datagram.h"

#include "ring/tsan.h"

#include <errno.h>
#include <poll.h>

static int option_of(int fd, int option)
{
    int value = -1;
    socklen_t length = sizeof value;

    return getsockopt(fd, SOL_SOCKET, option, &value, &length) < 0 ? -1 : value;
}

bool gyre_unix_datagram_ask(struct descriptor *descriptor, int fd)
{
    const int domain = option_of(fd, SO_DOMAIN);
    const bool is_one = domain == AF_UNIX && option_of(fd, SO_TYPE) == SOCK_DGRAM;

    if (domain >= 0)
        atomic_store_explicit(&descriptor->kind, is_one ? KIND_UNIX_DATAGRAM : KIND_SOCKET,
                              memory_order_relaxed);
    return is_one;
}

static int await_room(const char *call, struct operation *operation, int fd)
{
    int result;

    do {
        result = gyre_operation_begin(operation, call, fd, 0);
        if (result)
            return result;
        io_uring_prep_poll_add(operation->sqe, fd, POLLOUT);
        result = gyre_operation_wait(operation);
    } while (result == OPERATION_AGAIN);
    return result < 0 ? result : 0;
}

ssize_t gyre_unix_datagram_send(const char *call, struct operation *operation, int fd,
                                const struct msghdr *message, int flags)
{
    struct gyre_coro *self = coro_required(call);
    int error = coro_error(self);

    while (!error) {
        ssize_t n;

        ring_tsan_sends();
        n = sendmsg(fd, message, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0)
            return n;
        error = -errno;
        if (error == -EAGAIN)
            error = await_room(call, operation, fd);
        else if (error == -EINTR)
            error = coro_error(self);
    }
    return error;
}
