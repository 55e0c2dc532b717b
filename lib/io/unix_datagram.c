#include "io/unix_datagram.h"

#include "io/socket.h"
#include "ring/tsan.h"

#include <errno.h>
#include <poll.h>

bool gyre_unix_datagram_ask(struct descriptor *descriptor, int fd)
{
    const int domain = socket_option(fd, SO_DOMAIN);
    const bool is_one = domain == AF_UNIX && socket_option(fd, SO_TYPE) == SOCK_DGRAM;

    if (domain >= 0)
        atomic_store_explicit(&descriptor->kind, is_one ? KIND_UNIX_DATAGRAM : KIND_SOCKET,
                              memory_order_relaxed);
    return is_one;
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
        if (error == -EAGAIN) {
            int ready = gyre_operation_poll(operation, call, fd, POLLOUT);

            error = ready < 0 ? ready : 0;
        } else if (error == -EINTR) {
            error = coro_error(self);
        }
    }
    return error;
}
