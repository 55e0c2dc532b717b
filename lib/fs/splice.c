/*
 * splice(2) and tee(2). They always run on a kernel worker thread, so it is the coroutine that
 * waits, by polling, until both sides can go on; then the kernel is told not to wait for a pipe.
 * What can't wait (a regular file) is always ready, and one poll(2) that doesn't wait tells for
 * both sides: the usual case costs no operation.
 */
#include "fs/run.h"

#include <gyre/file.h>

#include <poll.h>

/* 0: both sides can go on. */
static int await_sides(struct operation *const operations[2], const char *call, int in, int out)
{
    struct pollfd sides[2] = {{.fd = in, .events = POLLIN}, {.fd = out, .events = POLLOUT}};
    int result = 0;

    poll(sides, 2, 0); /* failed, it has marked nothing as ready */
    for (int i = 0; i < 2 && result >= 0; i++)
        if (!sides[i].revents)
            result =
                gyre_operation_poll(operations[i], call, sides[i].fd, (unsigned)sides[i].events);
    if (result >= 0 && gyre_operation_lost(operations[0], in)) /* while out was waited for */
        return -EBADF;
    return result < 0 ? result : 0;
}

static ssize_t move(struct operation *const operations[2], const char *call, int in, int out,
                    unsigned flags, const struct io_uring_sqe *entry, struct plain_call *plain)
{
    int result;

    coro_required(call);
    if (in < 0 || out < 0)
        return -EBADF;
    do {
        result = flags & SPLICE_F_NONBLOCK ? 0 : await_sides(operations, call, in, out);
        if (!result)
            result = gyre_file_repeat(operations[1], call, out, entry, plain);
    } while (result == -EAGAIN && !(flags & SPLICE_F_NONBLOCK));
    return result;
}

/* The most that the kernel moves at once; an entry has 32 bits for it. */
static unsigned clamp_size(size_t size)
{
    enum { LARGEST = 0x7ffff000 };

    return size < LARGEST ? (unsigned)size : LARGEST;
}

ssize_t gyre_file_splice(struct operation *const operations[2], const char *call, int in,
                         off_t *in_offset, int out, off_t *out_offset, size_t size, unsigned flags)
{
    struct io_uring_sqe entry = {0};
    loff_t from = in_offset ? *in_offset : -1, to = out_offset ? *out_offset : -1;
    struct plain_call *plain =
        PLAIN(SYS_splice, in, in_offset ? address_of(&from) : 0, out,
              out_offset ? address_of(&to) : 0, clamp_size(size), flags | SPLICE_F_NONBLOCK);
    const loff_t in_first = from, out_first = to;
    ssize_t n;

    if ((in_offset && from < 0) || (out_offset && to < 0)) {
        coro_required(call);
        return -EINVAL; /* the ring would take it for the position */
    }
    io_uring_prep_splice(&entry, in, from, out, to, clamp_size(size), flags | SPLICE_F_NONBLOCK);
    n = move(operations, call, in, out, flags, &entry, plain);
    if (n > 0 && in_offset)
        *in_offset = in_first + n;
    if (n > 0 && out_offset)
        *out_offset = out_first + n;
    return n;
}

ssize_t gyre_splice(int in, off_t *in_offset, int out, off_t *out_offset, size_t size,
                    unsigned flags)
{
    struct operation sides[2] = {{0}}, *const operations[2] = {&sides[0], &sides[1]};

    gyre_operation_bind(&sides[0], in);
    gyre_operation_bind(&sides[1], out);
    return gyre_file_splice(operations, "gyre_splice", in, in_offset, out, out_offset, size, flags);
}

ssize_t gyre_tee(int in, int out, size_t size, unsigned flags)
{
    struct operation sides[2] = {{0}}, *const operations[2] = {&sides[0], &sides[1]};
    struct io_uring_sqe entry = {0};

    io_uring_prep_tee(&entry, in, out, clamp_size(size), flags | SPLICE_F_NONBLOCK);
    gyre_operation_bind(&sides[0], in);
    gyre_operation_bind(&sides[1], out);
    return move(operations, "gyre_tee", in, out, flags, &entry,
                PLAIN(SYS_tee, in, out, clamp_size(size), flags | SPLICE_F_NONBLOCK));
}

int gyre_pipe(int fds[2])
{
    int made[2];

    if (pipe2(made, O_CLOEXEC) < 0)
        return -errno;
    fds[0] = made[0];
    fds[1] = made[1];
    return 0;
}
