/*
 * inotify. To add a watch looks a path up, which may wait for a disk; and the end of an instance
 * waits some ten milliseconds, inside close, until no other CPU looks at its watches: both are for
 * a helper thread.
 */
#include "io/operation.h"

#include <gyre/blocking.h>
#include <gyre/context.h>
#include <gyre/io.h>
#include <gyre/poll.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

int gyre_inotify_open(struct gyre_inotify *inotify)
{
    int fd = inotify_init1(IN_CLOEXEC);

    if (fd < 0)
        return -errno;
    memset(inotify, 0, sizeof *inotify);
    inotify->fd = fd;
    return 0;
}

struct addition {
    int fd;
    const char *path;
    uint32_t mask;
};

static int add_watch(void *argument)
{
    const struct addition *addition = argument;
    int watch = inotify_add_watch(addition->fd, addition->path, addition->mask);

    return watch < 0 ? -errno : watch;
}

int gyre_inotify_add(struct gyre_inotify *inotify, const char *path, uint32_t mask)
{
    struct addition addition = {inotify->fd, path, mask};

    return gyre_blocking(add_watch, &addition);
}

int gyre_inotify_remove(struct gyre_inotify *inotify, int watch)
{
    return inotify_rm_watch(inotify->fd, watch) ? -errno : 0;
}

static void prepare(struct io_uring_sqe *sqe, const void *argument)
{
    const struct gyre_inotify *inotify = argument;

    io_uring_prep_read(sqe, inotify->fd, (void *)inotify->buffer, sizeof inotify->buffer,
                       (uint64_t)-1);
}

static int fill(struct gyre_inotify *inotify)
{
    static const char call[] = "gyre_inotify_next";
    struct operation operation = {0};
    const int fd = inotify->fd;
    int result;

    if (fd < 0)
        return -EBADF;
    do {
        result = gyre_operation_repeat(&operation, call, fd, 0, prepare, inotify);
        if (result == -EAGAIN) { /* the program's own, and non-blocking */
            result = gyre_operation_poll(&operation, call, fd, POLLIN);
            if (result > 0)
                result = -EAGAIN;
        }
    } while (result == -EAGAIN);
    if (result <= 0)
        return result;
    inotify->used = 0;
    inotify->filled = (unsigned)result;
    return 1;
}

int gyre_inotify_next(struct gyre_inotify *inotify, const struct inotify_event **event)
{
    const struct inotify_event *next;
    int result = coro_error(coro_required("gyre_inotify_next"));

    if (result)
        return result;
    if (inotify->used == inotify->filled) {
        result = fill(inotify);
        if (result <= 0)
            return result;
    }
    next = (const void *)((const char *)inotify->buffer + inotify->used);
    inotify->used += (unsigned)sizeof *next + next->len;
    *event = next;
    return 1;
}

static int close_last(void *fd)
{
    close(*(int *)fd);
    return 0;
}

int gyre_inotify_close(struct gyre_inotify *inotify)
{
    int last = fcntl(inotify->fd, F_DUPFD_CLOEXEC, 0);
    int result = gyre_close(inotify->fd);

    inotify->fd = -1;
    if (last >= 0) {
        GYRE_SHIELD();
        if (gyre_blocking(close_last, &last))
            close_last(&last);
    }
    return result;
}
