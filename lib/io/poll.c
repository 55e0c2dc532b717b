/*
 * Polling one descriptor: one operation, nothing kept. Of events only those of poll(2) are passed
 * on: the bits above would make it edge-triggered or exclusive, or keep it armed.
 *
 * The kernel's operation always waits for POLLRDHUP as well. Where that alone came and was not
 * asked for, as of a peer that only receives from now on, an epoll descriptor stands between: it
 * has the very events. gyre_close finds such an operation by its coroutine.
 */
#include "io/poll.h"

#include "io/operation.h"

#include <gyre/poll.h>

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS_OF_POLL = 0xffff };

struct request {
    int fd;
    unsigned events;
};

static void prepare(struct io_uring_sqe *sqe, const void *argument)
{
    const struct request *request = argument;

    io_uring_prep_poll_add(sqe, request->fd, request->events);
}

static int poll_by_kernel(const char *call, int fd, unsigned events, int used)
{
    struct request request = {fd, events};

    return gyre_operation_run(call, used, 0, prepare, &request);
}

static int poll_by_set(const char *call, int fd, unsigned events, int used)
{
    struct epoll_event event = {.events = events};
    int set = epoll_create1(EPOLL_CLOEXEC), result;

    if (set < 0)
        return -errno;
    result = epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
    while (!result) {
        result = poll_by_kernel(call, set, POLLIN, used);
        if (result > 0)
            result = epoll_wait(set, &event, 1, 0) > 0 ? (int)event.events : 0;
    }
    close(set);
    return result;
}

int gyre_poll_wait(const char *call, int fd, unsigned events, int used)
{
    int result;

    events &= EVENTS_OF_POLL;
    result = poll_by_kernel(call, fd, events, used);
    if (result <= 0)
        return result;
    result &= (int)(events | POLLERR | POLLHUP | POLLNVAL);
    return result ? result : poll_by_set(call, fd, events, used);
}

static int poll_used(const char *call, int fd, unsigned events)
{
    coro_required(call);
    return fd < 0 ? -EBADF : gyre_poll_wait(call, fd, events, fd);
}

int gyre_poll(int fd, unsigned events)
{
    return poll_used("gyre_poll", fd, events);
}

int gyre_wait_readable(int fd)
{
    int result = poll_used("gyre_wait_readable", fd, POLLIN);

    return result > 0 ? 0 : result;
}

int gyre_wait_writable(int fd)
{
    int result = poll_used("gyre_wait_writable", fd, POLLOUT);

    return result > 0 ? 0 : result;
}
