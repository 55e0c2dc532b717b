/* Watches: edges, or-ed events, ends. */
#include "harness.h"

#include <poll.h>

static int next_of(void *watch)
{
    return gyre_watch_next(watch);
}

static void expect_result(gyre_handle handle, int wanted)
{
    int result = 0;

    EXPECT_EQ(gyre_join(handle, &result), 0);
    EXPECT_EQ(result, wanted);
}

static void make_pair(int fds[2])
{
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
}

INSIDE(watch, tells_each_edge)
{
    struct gyre_watch *watch;
    gyre_handle handle;
    char byte;
    int fds[2];

    make_pair(fds);
    EXPECT_EQ(gyre_watch_open(&watch, fds[0], POLLIN | POLLOUT | POLLRDHUP), 0);
    EXPECT_EQ(gyre_watch_next(watch), POLLOUT);
    for (int i = 0; i < 1000; i++) {
        EXPECT_EQ(write(fds[1], "x", 1), 1);
        EXPECT(gyre_watch_next(watch) & POLLIN);
        EXPECT_EQ(read(fds[0], &byte, 1), 1);
    }
    do {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND); /* what came of the last read on the other side */
        if (gyre_watch_next(watch) == -ETIMEDOUT)
            break;
    } while (true);
    EXPECT_EQ(gyre_spawn(&handle, next_of, watch), 0);
    await_parked(handle);
    EXPECT_EQ(gyre_watch_next(watch), -EBUSY);
    close(fds[1]);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    gyre_watch_close(watch);
    close(fds[0]);
    return 0;
}

INSIDE(watch, collects_while_nobody_waits)
{
    struct gyre_watch *watch;
    int fds[2];

    make_pair(fds);
    EXPECT_EQ(gyre_watch_open(&watch, fds[0], POLLIN | POLLRDHUP), 0);
    EXPECT_EQ(write(fds[1], "x", 1), 1);
    EXPECT_EQ(gyre_sleep(2 * GYRE_MILLISECOND), 0);
    shutdown(fds[1], SHUT_WR);
    EXPECT_EQ(gyre_sleep(5 * GYRE_MILLISECOND), 0);
    EXPECT_EQ(gyre_watch_next(watch), POLLIN | POLLRDHUP);
    gyre_watch_close(watch);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

INSIDE(watch, is_closed_under_who_waits)
{
    struct gyre_watch *watch;
    gyre_handle handle;
    int fds[2];

    for (int i = 0; i < 20; i++) {
        make_pair(fds);
        EXPECT_EQ(gyre_watch_open(&watch, fds[0], POLLIN), 0);
        if (i % 2) {
            EXPECT_EQ(gyre_spawn(&handle, next_of, watch), 0);
            await_parked(handle);
            gyre_watch_close(watch);
            expect_result(handle, -EBADF);
        } else {
            gyre_watch_close(watch); /* perhaps before it is armed */
        }
        close(fds[0]);
        close(fds[1]);
    }
    gyre_watch_close(NULL);
    EXPECT_EQ(gyre_watch_next(NULL), -EBADF);
    return 0;
}

INSIDE(watch, is_ended_by_the_context_and_goes_on)
{
    struct gyre_watch *watch;
    int fds[2];

    make_pair(fds);
    EXPECT_EQ(gyre_watch_open(&watch, fds[0], POLLIN), 0);
    {
        GYRE_TIMEOUT(3 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_watch_next(watch), -ETIMEDOUT);
        EXPECT_EQ(write(fds[1], "x", 1), 1);
        EXPECT_EQ(gyre_watch_next(watch), -ETIMEDOUT); /* at entry, and nothing is lost */
        gyre_watch_close(NULL);
    }
    EXPECT_EQ(gyre_watch_next(watch), POLLIN);
    {
        GYRE_TIMEOUT(0);
        gyre_watch_close(watch); /* not cancelled */
    }
    close(fds[0]);
    close(fds[1]);
    return 0;
}

INSIDE(watch, refuses_what_cannot_be_polled)
{
    struct gyre_watch *watch = NULL;
    int file = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

    EXPECT_EQ(gyre_watch_open(&watch, file, POLLIN), -EPERM);
    close(file);
    EXPECT_EQ(gyre_watch_open(&watch, file, POLLIN), -EBADF);
    EXPECT_EQ(gyre_watch_open(&watch, -1, POLLIN), -EBADF);
    EXPECT(!watch);
    return 0;
}

/* gyre_close of another number of the same file cancels the watch's poll with its own operations.
 */
static int read_dup(void *fd)
{
    char byte;

    return (int)gyre_read(*(int *)fd, &byte, 1);
}

INSIDE(watch, is_armed_again_after_a_cancel_that_was_not_meant)
{
    struct gyre_watch *watch;
    gyre_handle reader, waiter;
    int fds[2], other;

    make_pair(fds);
    fcntl(fds[0], F_SETFL, 0);
    other = dup(fds[0]);
    EXPECT_EQ(gyre_watch_open(&watch, fds[0], POLLIN), 0);
    EXPECT_EQ(gyre_spawn(&waiter, next_of, watch), 0);
    EXPECT_EQ(gyre_spawn(&reader, read_dup, &other), 0);
    await_parked(waiter);
    await_parked(reader);
    EXPECT_EQ(gyre_sleep(2 * GYRE_MILLISECOND), 0);
    EXPECT_EQ(gyre_close(other), 0);
    expect_result(reader, -EBADF);
    EXPECT_EQ(gyre_sleep(2 * GYRE_MILLISECOND), 0);
    EXPECT_EQ(write(fds[1], "x", 1), 1);
    expect_result(waiter, POLLIN);
    gyre_watch_close(watch);
    close(fds[0]);
    close(fds[1]);
    return 0;
}
