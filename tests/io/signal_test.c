/* SIGPIPE, and signals that interrupt workers. */
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static atomic_int pipe_signals;

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(&pipe_signals, 1);
}

static int break_pipes(void *arg)
{
    char bytes[4] = "abc";
    struct iovec piece = {bytes, 3};
    int fds[2], pipes[2], tcp;
    struct gyre_listener *listener;
    char address[GYRE_ADDRESS_SIZE];

    (void)arg;
    make_stream_pair(fds);
    EXPECT_EQ(close(fds[1]), 0);
    EXPECT_EQ(gyre_write(fds[0], bytes, 3), -EPIPE);
    EXPECT_EQ(gyre_writev(fds[0], &piece, 1), -EPIPE);
    EXPECT_EQ(gyre_write_all(fds[0], bytes, 3, NULL), -EPIPE);
    EXPECT_EQ(gyre_writev_all(fds[0], &piece, 1, NULL), -EPIPE);
    EXPECT_EQ(gyre_send(fds[0], bytes, 3, 0), -EPIPE);
    EXPECT_EQ(gyre_send(fds[0], bytes, 3, MSG_DONTWAIT), -EPIPE);
    EXPECT_EQ(gyre_close(fds[0]), 0);

    EXPECT_EQ(gyre_tcp_listen(&listener, "127.0.0.1:0"), 0);
    EXPECT(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) > 0);
    tcp = gyre_tcp_dial(address);
    EXPECT_EQ(gyre_shutdown(tcp, SHUT_WR), 0);
    EXPECT_EQ(gyre_write(tcp, bytes, 3), -EPIPE);
    EXPECT_EQ(gyre_send(tcp, bytes, 3, 0), -EPIPE);
    EXPECT_EQ(gyre_close(tcp), 0);
    EXPECT_EQ(gyre_listener_close(listener), 0);

    make_pipe(pipes);
    EXPECT_EQ(close(pipes[0]), 0);
    EXPECT_EQ(gyre_write(pipes[1], bytes, 3), -EPIPE);
    EXPECT_EQ(gyre_writev(pipes[1], &piece, 1), -EPIPE);
    EXPECT_EQ(gyre_close(pipes[1]), 0);
    return 0;
}

Test(signal, no_broken_pipe_raises_sigpipe)
{
    run_on_each(break_pipes); /* the default: it would kill */
    signal(SIGPIPE, count_signal);
    run_on_each(break_pipes);
    cr_assert_eq(pipe_signals, 0);
    signal(SIGPIPE, SIG_IGN);
    run_on_each(break_pipes);
}

/* A child gets the caller's signal mask, for which a worker lends itself; what a pipe left pending
 * must not strike then. */
static int spawn_after_broken_pipe(void *arg)
{
    char *const argv[] = {"true", NULL};
    int pipes[2], status = -1;
    pid_t child;

    (void)arg;
    make_pipe(pipes);
    EXPECT_EQ(close(pipes[0]), 0);
    EXPECT_EQ(gyre_write(pipes[1], "x", 1), -EPIPE);
    EXPECT_EQ(posix_spawnp(&child, "true", NULL, NULL, argv, environ), 0);
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(system("exit 3"), 3 << 8);
    EXPECT_EQ(gyre_close(pipes[1]), 0);
    return 0;
}

Test(signal, a_broken_pipe_does_not_strike_at_the_next_spawn)
{
    run_on_each(spawn_after_broken_pipe);
    signal(SIGPIPE, count_signal);
    run_on_each(spawn_after_broken_pipe);
    cr_assert_eq(pipe_signals, 0);
}
