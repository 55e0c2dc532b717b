/*
 * For unit tests whose body runs in a coroutine: INSIDE(suite, name) is a Criterion test that runs
 * its body under gyre_run with 1, 2 and 5 workers, and then wants no expectation failed and no
 * descriptor leaked. An expectation that fails only counts: Criterion's own would jump off the
 * coroutine's stack.
 */
#ifndef GYRE_TESTS_IO_HARNESS_H
#define GYRE_TESTS_IO_HARNESS_H

#include "descriptors.h"
#include "sched/coro.h"

#include <gyre.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_int failed_expectations;

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            atomic_fetch_add(&failed_expectations, 1);                                             \
        }                                                                                          \
    } while (0)

#define EXPECT_EQ(value, wanted)                                                                   \
    do {                                                                                           \
        long long got_ = (long long)(value), wanted_ = (long long)(wanted);                        \
        if (got_ != wanted_) {                                                                     \
            fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #value, got_,     \
                    wanted_);                                                                      \
            atomic_fetch_add(&failed_expectations, 1);                                             \
        }                                                                                          \
    } while (0)

static inline int run_with_workers(unsigned workers, gyre_fn fn, void *arg)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = workers;
    return gyre_run_options(fn, arg, &options);
}

static inline void run_on_each(gyre_fn fn)
{
    static const unsigned workers[] = {1, 2, 5};

    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++) {
        int before = open_descriptors();

        cr_assert_eq(run_with_workers(workers[i], fn, NULL), 0, "with %u workers", workers[i]);
        cr_assert_eq(failed_expectations, 0, "with %u workers", workers[i]);
        cr_assert_eq(open_descriptors_soon(before), before, "descriptors leaked with %u workers",
                     workers[i]);
    }
}

#define INSIDE(suite, name)                                                                        \
    static int inside_##suite##_##name(void *unused_);                                             \
    Test(suite, name)                                                                              \
    {                                                                                              \
        run_on_each(inside_##suite##_##name);                                                      \
    }                                                                                              \
    static int inside_##suite##_##name(__attribute__((unused)) void *unused_)

static inline void make_stream_pair(int fds[2])
{
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static inline void make_pipe(int fds[2])
{
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
}

/*
 * An address on this machine whose listener's queue is full: a connect waits. fds are what keeps it
 * so.
 */
struct deaf {
    struct sockaddr_in address;
    int fds[3];
};

static inline void make_deaf(struct deaf *deaf)
{
    socklen_t length = sizeof deaf->address;

    deaf->address = (struct sockaddr_in){.sin_family = AF_INET};
    deaf->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 3; i++)
        deaf->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(deaf->fds[0], (struct sockaddr *)&deaf->address, length), 0);
    EXPECT_EQ(listen(deaf->fds[0], 0), 0);
    EXPECT_EQ(getsockname(deaf->fds[0], (struct sockaddr *)&deaf->address, &length), 0);
    EXPECT_EQ(fcntl(deaf->fds[1], F_SETFL, O_NONBLOCK), 0);
    EXPECT_EQ(fcntl(deaf->fds[2], F_SETFL, O_NONBLOCK), 0);
    connect(deaf->fds[1], (struct sockaddr *)&deaf->address, sizeof deaf->address);
    connect(deaf->fds[2], (struct sockaddr *)&deaf->address, sizeof deaf->address);
}

static inline void close_deaf(const struct deaf *deaf)
{
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(close(deaf->fds[i]), 0);
}

/* Until the coroutine, which must not end meanwhile, waits for an operation or an object. */
static inline void await_parked(gyre_handle handle)
{
    uint32_t wait;

    do {
        gyre_yield();
        wait = atomic_load(&handle.coro->wait);
    } while (wait != WAIT_OPERATION && wait != WAIT_OBJECT);
}

#endif
