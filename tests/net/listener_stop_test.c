/* gyre_listener_stop: what was accepted is given out, what comes later is the successor's. */
#include "../io/harness.h"

enum { CLIENTS = 40 };

static char address[GYRE_ADDRESS_SIZE];

static struct gyre_listener *listen_ahead(unsigned ahead)
{
    struct gyre_listen_options options = GYRE_LISTEN_INIT;
    struct gyre_listener *listener = NULL;

    options.ahead = ahead;
    EXPECT_EQ(gyre_tcp_listen_options(&listener, "127.0.0.1:0", &options), 0);
    EXPECT(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) > 0);
    return listener;
}

/* Until it says that this was all. */
static int take_all(struct gyre_listener *listener)
{
    int count = 0, fd;

    while ((fd = gyre_accept(listener)) >= 0) {
        EXPECT_EQ(gyre_close(fd), 0);
        count++;
    }
    EXPECT_EQ(fd, -ESHUTDOWN);
    EXPECT_EQ(gyre_accept(listener), -ESHUTDOWN);
    return count;
}

static void between_two(unsigned ahead)
{
    struct gyre_listener *listener = listen_ahead(ahead), *successor;
    int clients[CLIENTS], taken, fd;

    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = gyre_tcp_dial(address);
        EXPECT(clients[i] >= 0);
        if (i == 0) {
            fd = gyre_accept(listener); /* from here on it accepts ahead */
            EXPECT(fd >= 0);
            EXPECT_EQ(gyre_close(fd), 0);
        }
        if (i == CLIENTS / 2)
            gyre_listener_stop(listener);
    }
    EXPECT_EQ(gyre_listener_adopt(&successor, dup(gyre_listener_fd(listener)), NULL), 0);
    taken = 1 + take_all(listener);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    for (; taken < CLIENTS; taken++) {
        fd = gyre_accept(successor);
        EXPECT(fd >= 0);
        EXPECT_EQ(gyre_close(fd), 0);
    }
    gyre_listener_stop(successor);
    EXPECT_EQ(take_all(successor), 0);
    EXPECT_EQ(gyre_listener_close(successor), 0);
    for (int i = 0; i < CLIENTS; i++)
        EXPECT_EQ(gyre_close(clients[i]), 0);
}

INSIDE(listener_stop, nothing_is_lost_between_two_listeners)
{
    static const unsigned ahead[] = {1, 4, 16, 64};

    for (size_t i = 0; i < sizeof ahead / sizeof *ahead; i++)
        between_two(ahead[i]);
    return 0;
}

static int accept_until_stopped(void *arg)
{
    return gyre_accept(arg);
}

INSIDE(listener_stop, those_who_accept_are_told)
{
    struct gyre_listener *listener = listen_ahead(0);
    gyre_handle handles[3];
    int result;

    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(gyre_spawn(&handles[i], accept_until_stopped, listener), 0);
        await_parked(handles[i]);
    }
    gyre_listener_stop(listener);
    gyre_listener_stop(listener);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(gyre_join(handles[i], &result), 0);
        EXPECT_EQ(result, -ESHUTDOWN);
    }
    EXPECT_EQ(gyre_listener_close(listener), 0);
    EXPECT_EQ(gyre_accept(listener), -EBADF);
    return 0;
}

INSIDE(listener_stop, one_that_never_accepted_says_so_at_once)
{
    struct gyre_listener *listener = listen_ahead(0);

    gyre_listener_stop(listener);
    EXPECT_EQ(take_all(listener), 0);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    return 0;
}

INSIDE(listener_stop, a_close_right_after_it_waits_for_the_accept)
{
    for (int i = 0; i < 20; i++) {
        struct gyre_listener *listener = listen_ahead(i % 2 ? 1 : 64);
        gyre_handle handle;
        int result;

        EXPECT_EQ(gyre_spawn(&handle, accept_until_stopped, listener), 0);
        await_parked(handle);
        gyre_listener_stop(listener);
        EXPECT_EQ(gyre_listener_close(listener), 0);
        EXPECT_EQ(gyre_join(handle, &result), 0);
        EXPECT(result == -ESHUTDOWN || result == -EBADF);
    }
    return 0;
}
