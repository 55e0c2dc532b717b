/*
 * Event counters. They are non-blocking, so that adding never waits, from whichever thread; taking
 * polls first. A counter that somebody else made blocking is read by the ring, not by the thread.
 */
#include "io/operation.h"
#include "ring/tsan.h"

#include <gyre/poll.h>

#include <errno.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <unistd.h>

int gyre_event_open(uint64_t initial, int flags)
{
    int fd =
        eventfd(initial > UINT_MAX ? 0 : (unsigned)initial, flags | EFD_NONBLOCK | EFD_CLOEXEC);
    int error;

    if (fd < 0)
        return -errno;
    error = initial > UINT_MAX ? gyre_event_add(fd, initial) : 0;
    if (!error)
        return fd;
    close(fd);
    return error;
}

int gyre_event_add(int fd, uint64_t value)
{
    ssize_t result;

    ring_tsan_sends();
    do
        result = write(fd, &value, sizeof value);
    while (result < 0 && errno == EINTR);
    if (result < 0)
        return -errno;
    return result == sizeof value ? 0 : -EINVAL;
}

struct request {
    int fd;
    uint64_t *value;
};

static void prepare(struct io_uring_sqe *sqe, const void *argument)
{
    const struct request *request = argument;

    io_uring_prep_read(sqe, request->fd, request->value, sizeof *request->value, (uint64_t)-1);
}

int gyre_event_take(int fd, uint64_t *value)
{
    static const char call[] = "gyre_event_take";
    struct operation operation = {0};
    uint64_t taken;
    struct request request = {fd, &taken};
    int result;

    coro_required(call);
    if (fd < 0)
        return -EBADF;
    do {
        result = gyre_operation_poll(&operation, call, fd, POLLIN);
        if (result > 0)
            result = gyre_operation_repeat(&operation, call, fd, 0, prepare, &request);
    } while (result == -EAGAIN); /* another one was faster */
    if (result < 0)
        return result;
    ring_tsan_received();
    if (result != sizeof taken)
        return -EINVAL;
    *value = taken;
    return 0;
}
