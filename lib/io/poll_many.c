/*
 * gyre_poll_many: what the descriptors have is always told by poll(2), which never waits here, so
 * that all its rules hold (negative ones, the same one twice, closed ones). To wait takes one
 * operation: on the only descriptor, or on an epoll descriptor made for the call, which has all of
 * them. Either only says when to look again.
 *
 * Rejected: one poll operation for each. They all have to be cancelled and awaited when the first
 * completes: twice as many completions as descriptors, for what epoll_ctl does in half the time.
 */
#include "base/clock.h"
#include "io/poll.h"
#include "sched/park.h"

#include <gyre/context.h>
#include <gyre/coro.h>
#include <gyre/poll.h>

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { POLL_MANY_MAX = 1024 };

/*
 * How many have something, or -errno. It does not wait, and fails with EINTR all the same where
 * none has and a signal is pending, or a completion of the ring, which the kernel tells in the same
 * way.
 */
static int look(struct pollfd *fds, size_t count)
{
    int ready;

    do
        ready = poll(fds, count, 0);
    while (ready < 0 && errno == EINTR);
    return ready < 0 ? -errno : ready;
}

/* What all entries of this descriptor want. */
static uint32_t wanted_of(const struct pollfd *fds, size_t count, int fd)
{
    uint32_t events = 0;

    for (size_t i = 0; i < count; i++)
        if (fds[i].fd == fd)
            events |= (unsigned short)fds[i].events;
    return events;
}

static int add(int set, const struct pollfd *fds, size_t count, const struct pollfd *one)
{
    struct epoll_event event = {.events = (unsigned short)one->events};
    int result = epoll_ctl(set, EPOLL_CTL_ADD, one->fd, &event);

    if (result && errno == EEXIST) {
        event.events = wanted_of(fds, count, one->fd);
        result = epoll_ctl(set, EPOLL_CTL_MOD, one->fd, &event);
    }
    if (!result)
        return 0;
    /* It can't be polled: were it asked for what it always has, there would be no wait. */
    return errno == EPERM ? 0 : -errno;
}

static int fill_set(int set, const struct pollfd *fds, size_t count)
{
    int error = 0;

    for (size_t i = 0; i < count && !error; i++)
        if (fds[i].fd >= 0)
            error = add(set, fds, count, &fds[i]);
    return error;
}

/* Until the descriptor may be ready (> 0 or 0), or -errno. */
static int wait_until(int fd, unsigned events, int64_t deadline, int used)
{
    struct gyre_scope scope;
    int result = -EINVAL;

    if (deadline != INT64_MAX)
        scope = gyre_scope_deadline(deadline);
    if (fd >= 0)
        result = gyre_poll_wait("gyre_poll_many", fd, events, used);
    if (result == -EINVAL) /* none at all, or one that can't be polled */
        result = gyre_sleep_until(INT64_MAX);
    if (deadline != INT64_MAX)
        gyre_scope_leave(&scope);
    return result;
}

static int wait_for(struct pollfd *fds, size_t count, int fd, unsigned events, int64_t deadline,
                    int used)
{
    int result;

    do {
        result = wait_until(fd, events, deadline, used);
        if (result == -ETIMEDOUT && !gyre_context_error())
            return look(fds, count);
        if (result >= 0)
            result = look(fds, count);
    } while (!result);
    return result;
}

static int wait_for_set(struct pollfd *fds, size_t count, int64_t deadline)
{
    int set = epoll_create1(EPOLL_CLOEXEC), error, result = 0;

    if (set < 0)
        return -errno;
    error = fill_set(set, fds, count);
    if (!error)
        result = wait_for(fds, count, set, POLLIN, deadline, -1);
    close(set);
    if (!error)
        return result;
    if (error != -EBADF && error != -EINVAL)
        return error;
    result = look(fds, count); /* closed since the first look; the set may have had its number */
    return result ? result : -EBADF;
}

int gyre_poll_many(struct pollfd *fds, size_t count, int64_t timeout)
{
    struct gyre_coro *self = coro_required("gyre_poll_many");
    int64_t deadline = timeout < 0 ? INT64_MAX : clock_after(clock_now(), timeout);
    int error = coro_error(self), ready;
    const struct pollfd *only = NULL;
    size_t used = 0;

    if (error)
        return error;
    if (count > POLL_MANY_MAX)
        return -EINVAL;
    ready = look(fds, count);
    if (ready || !timeout)
        return ready;
    for (size_t i = 0; i < count; i++) {
        if (fds[i].fd >= 0) {
            only = &fds[i];
            used++;
        }
    }
    if (used > 1)
        return wait_for_set(fds, count, deadline);
    return only ? wait_for(fds, count, only->fd, (unsigned short)only->events, deadline, only->fd)
                : wait_for(fds, count, -1, 0, deadline, -1);
}

int gyre_poll_many_real(struct pollfd *fds, size_t count, int64_t timeout)
{
    struct itimerspec time = {.it_value = {timeout / GYRE_SECOND, timeout % GYRE_SECOND}};
    struct pollfd all[POLL_REAL_MOST + 1];
    int timer, result;

    if (timeout <= 0 || !clock_is_virtual())
        return gyre_poll_many(fds, count, timeout);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timer < 0)
        return -errno;
    timerfd_settime(timer, 0, &time, NULL);
    memcpy(all, fds, count * sizeof *fds);
    all[count] = (struct pollfd){.fd = timer, .events = POLLIN};
    result = gyre_poll_many(all, count + 1, -1);
    close(timer);
    if (result < 0)
        return result;
    memcpy(fds, all, count * sizeof *fds);
    return result - (all[count].revents != 0);
}
