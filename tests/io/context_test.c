/* Every operation inside an ended context, and ended while it waits. */
#include "harness.h"

#include <sys/uio.h>

static void expect_all(int error, int fd, struct gyre_listener *listener)
{
    char bytes[4] = "abc";
    struct iovec piece = {bytes, 3};
    struct sockaddr_in address = {.sin_family = AF_INET};
    size_t done = 9;

    EXPECT_EQ(gyre_context_error(), error);
    /* There is data to read and room to write: none of them would have to wait. */
    EXPECT_EQ(gyre_read(fd, bytes, 3), error);
    EXPECT_EQ(gyre_write(fd, bytes, 3), error);
    EXPECT_EQ(gyre_readv(fd, &piece, 1), error);
    EXPECT_EQ(gyre_writev(fd, &piece, 1), error);
    EXPECT_EQ(gyre_read_all(fd, bytes, 3, &done), error);
    EXPECT_EQ(done, 0);
    done = 9;
    EXPECT_EQ(gyre_write_all(fd, bytes, 3, &done), error);
    EXPECT_EQ(done, 0);
    done = 9;
    EXPECT_EQ(gyre_writev_all(fd, &piece, 1, &done), error);
    EXPECT_EQ(done, 0);
    EXPECT_EQ(gyre_recv(fd, bytes, 3, 0), error);
    EXPECT_EQ(gyre_recv(fd, bytes, 3, MSG_DONTWAIT), error);
    EXPECT_EQ(gyre_send(fd, bytes, 3, 0), error);
    EXPECT_EQ(gyre_send(fd, bytes, 3, MSG_DONTWAIT), error);
    EXPECT_EQ(gyre_read(fd, bytes, 0), error);
    EXPECT_EQ(gyre_write(fd, bytes, 0), error);
    EXPECT_EQ(gyre_connect(fd, (struct sockaddr *)&address, sizeof address), error);
    EXPECT_EQ(gyre_tcp_dial("127.0.0.1:9"), error);
    EXPECT_EQ(gyre_tcp_dial("127.0.0.1:x"), error);
    EXPECT_EQ(gyre_accept(listener), error);
    EXPECT_EQ(gyre_sleep(GYRE_HOUR), error);
    EXPECT_EQ(gyre_yield(), error);
}

static struct gyre_listener *listen_with_a_connection(int *client)
{
    struct gyre_listener *listener = NULL;
    char address[GYRE_ADDRESS_SIZE];

    EXPECT_EQ(gyre_tcp_listen(&listener, "127.0.0.1:0"), 0);
    EXPECT(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) > 0);
    *client = gyre_tcp_dial(address);
    EXPECT(*client >= 0);
    return listener;
}

INSIDE(context, every_operation_looks_at_entry)
{
    struct gyre_context *context;
    struct gyre_listener *listener;
    char bytes[8];
    int fds[2], client, fd;

    make_stream_pair(fds);
    listener = listen_with_a_connection(&client);
    EXPECT_EQ(gyre_write(fds[1], "data", 4), 4);
    {
        GYRE_TIMEOUT(0);
        expect_all(-ETIMEDOUT, fds[0], listener);
    }
    {
        GYRE_CANCELLABLE();
        context = gyre_context_current();
        gyre_context_cancel(context);
        gyre_context_release(context);
        expect_all(-ECANCELED, fds[0], listener);
        {
            GYRE_TIMEOUT(GYRE_HOUR); /* inherits the end */
            expect_all(-ECANCELED, fds[0], listener);
        }
        EXPECT_EQ(gyre_shutdown(fds[0], SHUT_WR), 0);
        {
            GYRE_SHIELD();
            EXPECT_EQ(gyre_read(fds[0], bytes, sizeof bytes), 4);
            EXPECT(!memcmp(bytes, "data", 4));
            EXPECT_EQ(gyre_read(fds[1], bytes, sizeof bytes), 0);
        }
        EXPECT_EQ(gyre_close(fds[0]), 0);
    }
    EXPECT_EQ(gyre_close(fds[1]), 0);
    /* The connection that waited was not lost. */
    fd = gyre_accept(listener);
    EXPECT(fd >= 0);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_close(client), 0);
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_listener_close(listener), 0);
    }
    return 0;
}

/* --- ended while waiting ---------------------------------------------------------------------- */

static struct deaf deaf;

struct waiter {
    int fd;
    struct gyre_listener *listener;
    int kind;
};

enum { KIND_ACCEPT = 8, KINDS = 12 };

static int wait_for_nothing(struct waiter *waiter)
{
    static char block[4 << 20];
    struct iovec piece = {block, sizeof block};
    int fd = waiter->fd;

    switch (waiter->kind) {
    case 0:
        return (int)gyre_read(fd, block, 1);
    case 1:
        return (int)gyre_readv(fd, &piece, 1);
    case 2:
        return (int)gyre_read_all(fd, block, 1, NULL);
    case 3:
        return (int)gyre_recv(fd, block, 1, 0);
    case 4:
        return (int)gyre_recv(fd, block, 1, MSG_WAITALL);
    case 5:
        return (int)gyre_write_all(fd, block, sizeof block, NULL);
    case 6:
        return (int)gyre_writev_all(fd, &piece, 1, NULL);
    case 7: {
        ssize_t n;

        while ((n = gyre_send(fd, block, sizeof block, 0)) > 0)
            ;
        return (int)n;
    }
    case KIND_ACCEPT:
        return gyre_accept(waiter->listener);
    case 9:
        return gyre_sleep(GYRE_HOUR);
    case 10: {
        ssize_t n;

        while ((n = gyre_write(fd, block, sizeof block)) > 0)
            ;
        return (int)n;
    }
    default: {
        int result, other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        result = gyre_connect(other, (struct sockaddr *)&deaf.address, sizeof deaf.address);
        EXPECT_EQ(gyre_close(other), 0);
        return result;
    }
    }
}

static int wait_until_timeout(void *arg)
{
    int64_t start = gyre_now();
    GYRE_TIMEOUT(10 * GYRE_MILLISECOND);

    EXPECT_EQ(wait_for_nothing(arg), -ETIMEDOUT);
    EXPECT(gyre_now() - start >= 10 * GYRE_MILLISECOND);
    return 0;
}

static int wait_until_cancelled(void *arg)
{
    EXPECT_EQ(wait_for_nothing(arg), -ECANCELED);
    return 0;
}

INSIDE(context, every_operation_ends_with_it)
{
    struct gyre_listener *listener = NULL;
    int fds[KINDS][2];

    make_deaf(&deaf);
    EXPECT_EQ(gyre_tcp_listen(&listener, "127.0.0.1:0"), 0);
    for (int i = 0; i < KINDS; i++)
        make_stream_pair(fds[i]);
    for (int round = 0; round < 2; round++) {
        gyre_handle handles[KINDS];
        struct waiter waiters[KINDS];

        GYRE_CANCELLABLE();
        for (int i = 0; i < KINDS; i++) {
            waiters[i] = (struct waiter){fds[i][0], listener, i};
            EXPECT_EQ(gyre_spawn(&handles[i], round ? wait_until_cancelled : wait_until_timeout,
                                 &waiters[i]),
                      0);
        }
        if (round) {
            struct gyre_context *context = gyre_context_current();

            for (int i = 0; i < KINDS; i++)
                await_parked(handles[i]);
            gyre_context_cancel(context);
            gyre_context_release(context);
        }
        {
            GYRE_SHIELD();
            for (int i = 0; i < KINDS; i++)
                EXPECT_EQ(gyre_join(handles[i], NULL), 0);
        }
    }
    for (int i = 0; i < KINDS; i++) {
        EXPECT_EQ(gyre_close(fds[i][0]), 0);
        EXPECT_EQ(gyre_close(fds[i][1]), 0);
    }
    EXPECT_EQ(gyre_listener_close(listener), 0);
    close_deaf(&deaf);
    return 0;
}

static int accept_until_cancelled(void *arg)
{
    struct waiter *waiter = arg;

    EXPECT_EQ(wait_for_nothing(waiter), -ECANCELED);
    EXPECT_EQ(gyre_listener_close(waiter->listener), 0);
    return 0;
}

/* Coroutines left in every kind of wait when the main one ends. */
static int leave_them_waiting(void *unused)
{
    static struct waiter waiters[KINDS];
    static int fds[KINDS][2];
    struct gyre_listener *listener;

    (void)unused;
    make_deaf(&deaf);
    EXPECT_EQ(gyre_tcp_listen(&listener, "127.0.0.1:0"), 0);
    for (int i = 0; i < KINDS; i++) {
        make_stream_pair(fds[i]);
        waiters[i] = (struct waiter){fds[i][0], listener, i};
        if (i == KIND_ACCEPT)
            EXPECT_EQ(gyre_go(accept_until_cancelled, &waiters[i]), 0);
        else
            EXPECT_EQ(gyre_go(wait_until_cancelled, &waiters[i]), 0);
    }
    gyre_sleep(2 * GYRE_MILLISECOND); /* most of them wait now; the others find the end at entry */
    return 42;
}

Test(context, shutdown_ends_operations_of_every_kind)
{
    static const unsigned workers[] = {1, 2, 5};
    static struct gyre_listener *listeners[3]; /* none is closed: that would end the accept */

    for (int i = 0; i < 3; i++) {
        cr_assert_eq(run_with_workers(workers[i], leave_them_waiting, &listeners[i]), 42);
        cr_assert_eq(failed_expectations, 0);
    }
}
