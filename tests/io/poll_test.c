/* gyre_poll and gyre_poll_many on every kind of descriptor, and what ends a wait. */
#include "harness.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

struct wait {
    int fd;
    unsigned events;
};

static int poll_one(void *arg)
{
    const struct wait *wait = arg;

    return gyre_poll(wait->fd, wait->events);
}

static void expect_result(gyre_handle handle, int wanted)
{
    int result = 0;

    EXPECT_EQ(gyre_join(handle, &result), 0);
    EXPECT_EQ(result, wanted);
}

/* --- one ---------------------------------------------------------------------------------------
 */

INSIDE(poll, waits_for_a_librarys_socket)
{
    struct wait wait = {.events = POLLIN};
    gyre_handle handle;
    int fds[2];

    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    wait.fd = fds[0];
    EXPECT_EQ(gyre_spawn(&handle, poll_one, &wait), 0);
    await_parked(handle);
    EXPECT_EQ(write(fds[1], "x", 1), 1);
    expect_result(handle, POLLIN);
    EXPECT_EQ(gyre_wait_readable(fds[0]), 0);
    EXPECT_EQ(gyre_wait_writable(fds[0]), 0);
    EXPECT_EQ(gyre_poll(fds[0], POLLIN | POLLOUT), POLLIN | POLLOUT);
    shutdown(fds[1], SHUT_WR);
    EXPECT_EQ(gyre_poll(fds[0], POLLRDHUP), POLLRDHUP);
    close(fds[1]);
    EXPECT_EQ(gyre_poll(fds[0], 0), POLLHUP);
    EXPECT_EQ(gyre_poll(fds[0], ~0xffffu), POLLHUP);
    close(fds[0]);
    return 0;
}

/* The kernel's own operation would tell of POLLRDHUP. */
INSIDE(poll, of_a_half_closed_socket_waits_for_what_was_asked)
{
    static char page[1 << 16];
    struct wait wait = {.events = POLLOUT};
    gyre_handle handle;
    int fds[2];

    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    wait.fd = fds[0];
    while (write(fds[0], page, sizeof page) > 0)
        ;
    shutdown(fds[1], SHUT_WR);
    {
        GYRE_TIMEOUT(3 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_poll(fds[0], POLLOUT), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_spawn(&handle, poll_one, &wait), 0);
    EXPECT_EQ(gyre_sleep(2 * GYRE_MILLISECOND), 0);
    while (read(fds[1], page, sizeof page) > 0)
        ;
    expect_result(handle, POLLOUT);
    while (write(fds[0], page, sizeof page) > 0)
        ;
    EXPECT_EQ(gyre_spawn(&handle, poll_one, &wait), 0);
    EXPECT_EQ(gyre_sleep(2 * GYRE_MILLISECOND), 0);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    expect_result(handle, -EBADF);
    close(fds[1]);
    return 0;
}

INSIDE(poll, of_pipe_that_is_full_or_broken)
{
    static char page[1 << 16];
    int fds[2];

    EXPECT_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    EXPECT_EQ(gyre_wait_writable(fds[1]), 0);
    while (write(fds[1], page, sizeof page) > 0)
        ;
    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_wait_writable(fds[1]), -ETIMEDOUT);
    }
    close(fds[0]);
    EXPECT(gyre_poll(fds[1], POLLOUT) & POLLERR);
    close(fds[1]);
    return 0;
}

INSIDE(poll, of_what_cannot_be_polled_is_ready)
{
    static const char *const paths[] = {"/etc/passwd", "/", "/dev/null"};

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int fd = open(paths[i], O_RDONLY | O_CLOEXEC);

        EXPECT_EQ(gyre_poll(fd, POLLIN), POLLIN);
        EXPECT_EQ(gyre_wait_readable(fd), 0);
        EXPECT_EQ(gyre_wait_writable(fd), 0);
        EXPECT_EQ(gyre_poll(fd, POLLPRI), -EINVAL);
        close(fd);
    }
    return 0;
}

INSIDE(poll, of_timer_child_counter_and_terminal)
{
    struct itimerspec soon = {.it_value.tv_nsec = GYRE_MILLISECOND};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), counter = eventfd(0, EFD_CLOEXEC);
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave, child_fd;
    pid_t child = fork();

    if (!child)
        _exit(0);
    child_fd = (int)syscall(SYS_pidfd_open, child, 0);
    EXPECT_EQ(gyre_wait_readable(child_fd), 0);
    waitpid(child, NULL, 0);
    timerfd_settime(timer, 0, &soon, NULL);
    EXPECT_EQ(gyre_poll(timer, POLLIN), POLLIN);
    EXPECT_EQ(gyre_poll(counter, POLLIN | POLLOUT), POLLOUT);
    EXPECT_EQ(grantpt(master), 0);
    EXPECT_EQ(unlockpt(master), 0);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT_EQ(gyre_poll(slave, POLLIN | POLLOUT), POLLOUT);
    EXPECT_EQ(write(master, "x\n", 2), 2);
    EXPECT_EQ(gyre_wait_readable(slave), 0);
    close(child_fd);
    close(timer);
    close(counter);
    close(slave);
    close(master);
    return 0;
}

INSIDE(poll, of_a_bad_descriptor_fails)
{
    int fds[2];

    make_pipe(fds);
    close(fds[0]);
    EXPECT_EQ(gyre_poll(fds[0], POLLIN), -EBADF);
    close(fds[1]);
    EXPECT_EQ(gyre_poll(-1, POLLIN), -EBADF);
    EXPECT_EQ(gyre_poll(INT32_MIN, POLLIN), -EBADF);
    EXPECT_EQ(gyre_poll(INT32_MAX, POLLIN), -EBADF);
    return 0;
}

INSIDE(poll, is_ended_by_close)
{
    for (int i = 0; i < 20; i++) {
        struct wait wait = {.events = POLLIN};
        gyre_handle handles[3];
        int fds[2];

        make_stream_pair(fds);
        wait.fd = fds[0];
        for (int k = 0; k < 3; k++)
            EXPECT_EQ(gyre_spawn(&handles[k], poll_one, &wait), 0);
        for (int k = 0; k < i % 4 && k < 3; k++)
            await_parked(handles[k]);
        EXPECT_EQ(gyre_close(fds[0]), 0);
        for (int k = 0; k < 3; k++)
            expect_result(handles[k], -EBADF);
        close(fds[1]);
    }
    return 0;
}

INSIDE(poll, is_ended_by_the_context)
{
    struct gyre_context *context;
    int fds[2];

    make_pipe(fds);
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_poll(fds[1], POLLOUT), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_context_with_cancel(gyre_context_current(), &context), 0);
    {
        GYRE_WITH_CONTEXT(context);
        gyre_context_cancel(context);
        EXPECT_EQ(gyre_wait_writable(fds[1]), -ECANCELED);
        EXPECT_EQ(gyre_wait_readable(fds[0]), -ECANCELED);
    }
    gyre_context_release(context);
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_wait_readable(fds[0]), -ETIMEDOUT);
    }
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* --- many --------------------------------------------------------------------------------------
 */

INSIDE(poll_many, tells_what_each_has)
{
    int pair[2], file = open("/etc/passwd", O_RDONLY | O_CLOEXEC), closed;
    struct pollfd fds[6];

    make_stream_pair(pair);
    closed = dup(file);
    close(closed);
    fds[0] = (struct pollfd){pair[0], POLLIN | POLLOUT, 0};
    fds[1] = (struct pollfd){-1, POLLIN, 99};
    fds[2] = (struct pollfd){pair[1], POLLIN, 99};
    fds[3] = (struct pollfd){file, POLLIN, 0};
    fds[4] = (struct pollfd){closed, POLLIN, 0};
    fds[5] = (struct pollfd){pair[0], POLLOUT, 0};
    EXPECT_EQ(gyre_poll_many(fds, 6, -1), 4);
    EXPECT_EQ(fds[0].revents, POLLOUT);
    EXPECT_EQ(fds[1].revents, 0);
    EXPECT_EQ(fds[2].revents, 0);
    EXPECT_EQ(fds[3].revents, POLLIN);
    EXPECT_EQ(fds[4].revents, POLLNVAL);
    EXPECT_EQ(fds[5].revents, POLLOUT);
    close(pair[0]);
    close(pair[1]);
    close(file);
    return 0;
}

struct set {
    struct pollfd fds[4];
    size_t count;
    int64_t timeout;
};

static int poll_set(void *arg)
{
    struct set *set = arg;

    return gyre_poll_many(set->fds, set->count, set->timeout);
}

/* As curl hands them out: the same one to read and to write, one that is no more, an odd one. */
static atomic_int interruptions; /* of poll(2), to come */

int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    int result = __real_poll(fds, count, timeout);

    if (result || !atomic_load(&interruptions))
        return result;
    atomic_fetch_sub(&interruptions, 1);
    errno = EINTR;
    return -1;
}

/* As the kernel does it, where nothing is ready and a signal is pending, though it does not wait.
 */
INSIDE(poll_many, a_signal_at_a_look_is_not_noticed)
{
    int fds[2];
    struct pollfd one = {.events = POLLIN};

    make_pipe(fds);
    one.fd = fds[0];
    atomic_store(&interruptions, 1);
    EXPECT_EQ(gyre_poll_many(&one, 1, 0), 0);
    atomic_store(&interruptions, 2);
    EXPECT_EQ(gyre_poll_many(&one, 1, GYRE_MILLISECOND), 0);
    EXPECT_EQ(atomic_load(&interruptions), 0);
    EXPECT_EQ(close(fds[0]), 0);
    EXPECT_EQ(close(fds[1]), 0);
    return 0;
}

INSIDE(poll_many, waits_for_any_of_them)
{
    for (size_t i = 0; i < 4; i++) {
        int first[2], second[2], file = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
        struct set set = {.count = 4, .timeout = i % 2 ? -1 : GYRE_HOUR};
        gyre_handle handle;

        make_pipe(first);
        make_stream_pair(second);
        set.fds[0] = (struct pollfd){first[0], POLLIN, 0};
        set.fds[1] = (struct pollfd){second[0], POLLPRI, 0};
        set.fds[2] = (struct pollfd){second[0], POLLIN, 0};
        set.fds[3] = (struct pollfd){file, POLLPRI, 0};
        EXPECT_EQ(gyre_spawn(&handle, poll_set, &set), 0);
        await_parked(handle);
        EXPECT_EQ(write(i / 2 ? first[1] : second[1], "x", 1), 1);
        expect_result(handle, 1);
        EXPECT_EQ(set.fds[i / 2 ? 0 : 2].revents, POLLIN);
        EXPECT_EQ(set.fds[i / 2 ? 2 : 0].revents, 0);
        EXPECT_EQ(set.fds[1].revents, 0);
        EXPECT_EQ(set.fds[3].revents, 0);
        for (int k = 0; k < 2; k++) {
            close(first[k]);
            close(second[k]);
        }
        close(file);
    }
    return 0;
}

INSIDE(poll_many, honours_its_time)
{
    int pair[2], file = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    struct pollfd fds[3];

    make_stream_pair(pair);
    for (size_t count = 0; count <= 3; count++) {
        int64_t before = gyre_now();

        fds[0] = (struct pollfd){pair[0], POLLIN, 5};
        fds[1] = (struct pollfd){-2, POLLIN, 5};
        fds[2] = (struct pollfd){pair[1], POLLIN, 5};
        EXPECT_EQ(gyre_poll_many(fds, count, 0), 0);
        EXPECT_EQ(gyre_poll_many(fds, count, 1), 0);
        EXPECT_EQ(gyre_poll_many(fds, count, 3 * GYRE_MILLISECOND + 1), 0);
        EXPECT(gyre_now() - before > 3 * GYRE_MILLISECOND);
        for (size_t i = 0; i < count; i++)
            EXPECT_EQ(fds[i].revents, 0);
    }
    fds[0] = (struct pollfd){file, POLLPRI, 5};
    EXPECT_EQ(gyre_poll_many(fds, 1, GYRE_MILLISECOND), 0);
    close(pair[0]);
    close(pair[1]);
    close(file);
    return 0;
}

INSIDE(poll_many, tells_its_own_time_from_the_contexts)
{
    int pair[2];
    struct pollfd fds[2];

    make_stream_pair(pair);
    fds[0] = (struct pollfd){pair[0], POLLIN, 0};
    fds[1] = (struct pollfd){pair[1], POLLIN, 0};
    for (size_t count = 0; count <= 2; count++) {
        {
            GYRE_TIMEOUT(GYRE_HOUR);
            EXPECT_EQ(gyre_poll_many(fds, count, GYRE_MILLISECOND), 0);
        }
        {
            GYRE_TIMEOUT(GYRE_MILLISECOND);
            EXPECT_EQ(gyre_poll_many(fds, count, GYRE_HOUR), -ETIMEDOUT);
            EXPECT_EQ(gyre_poll_many(fds, count, -1), -ETIMEDOUT);
            EXPECT_EQ(gyre_poll_many(fds, count, 0), -ETIMEDOUT);
        }
        {
            GYRE_TIMEOUT(GYRE_MILLISECOND);
            EXPECT_EQ(gyre_poll_many(fds, count, -1), -ETIMEDOUT);
        }
    }
    close(pair[0]);
    close(pair[1]);
    return 0;
}

static int use_up_descriptors(struct pollfd *fds)
{
    struct rlimit limit, none;
    int result;

    getrlimit(RLIMIT_NOFILE, &limit);
    none = limit;
    none.rlim_cur = (rlim_t)(fds[1].fd > fds[0].fd ? fds[1].fd : fds[0].fd) + 1;
    setrlimit(RLIMIT_NOFILE, &none);
    result = gyre_poll_many(fds, 2, GYRE_SECOND);
    setrlimit(RLIMIT_NOFILE, &limit);
    return result;
}

INSIDE(poll_many, fails_as_it_says)
{
    static struct pollfd many[1025];
    struct set set = {.count = 1, .timeout = -1};
    gyre_handle handle;
    int pair[2], room[64], used = 0;

    for (size_t i = 0; i < 1025; i++)
        many[i].fd = -1;
    EXPECT_EQ(gyre_poll_many(many, 1025, 0), -EINVAL);
    EXPECT_EQ(gyre_poll_many(many, 1024, 0), 0);
    make_stream_pair(pair);
    many[0] = (struct pollfd){pair[0], POLLIN, 0};
    many[1] = (struct pollfd){pair[1], POLLIN, 0};
    while (used < 64 && (room[used] = dup(pair[0])) < pair[1] && room[used] >= 0)
        used++; /* none free below */
    EXPECT_EQ(use_up_descriptors(many), -EMFILE);
    for (int i = 0; i <= used; i++)
        close(room[i]);
    set.fds[0] = many[0];
    EXPECT_EQ(gyre_spawn(&handle, poll_set, &set), 0);
    await_parked(handle);
    EXPECT_EQ(gyre_close(pair[0]), 0);
    expect_result(handle, -EBADF);
    close(pair[1]);
    return 0;
}

/* --- signals -----------------------------------------------------------------------------------
 */

static atomic_int signals;

static void note_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
}

static int poll_through_signals(void *unused)
{
    struct wait wait = {.events = POLLIN};
    gyre_handle handle;
    int fds[2];

    (void)unused;
    make_pipe(fds);
    wait.fd = fds[0];
    EXPECT_EQ(gyre_spawn(&handle, poll_one, &wait), 0);
    for (int i = 0; i < 20; i++) {
        kill(getpid(), SIGUSR1);
        raise(SIGUSR1);
        gyre_sleep(100 * GYRE_MICROSECOND);
    }
    EXPECT_EQ(write(fds[1], "x", 1), 1);
    expect_result(handle, POLLIN);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

Test(poll, is_not_broken_off_by_signals)
{
    struct sigaction action = {.sa_handler = note_signal};

    sigaction(SIGUSR1, &action, NULL);
    run_on_each(poll_through_signals);
    cr_assert(signals > 0);
}

struct storm {
    pthread_t target;
    atomic_bool over;
};

static void *send_signals(void *argument)
{
    struct storm *storm = argument;

    while (!atomic_load(&storm->over)) {
        pthread_kill(storm->target, SIGUSR1);
        sched_yield();
    }
    return NULL;
}

/* poll(2) that doesn't wait says EINTR too. */
static int look_through_signals(void *unused)
{
    struct storm storm = {.target = pthread_self()};
    struct pollfd polled = {.events = POLLIN};
    int fds[2], before = atomic_load(&signals);
    pthread_t thread;

    (void)unused;
    make_pipe(fds);
    polled.fd = fds[0];
    EXPECT_EQ(pthread_create(&thread, NULL, send_signals, &storm), 0);
    while (atomic_load(&signals) < before + 500)
        EXPECT_EQ(gyre_poll_many(&polled, 1, 0), 0);
    atomic_store(&storm.over, true);
    pthread_join(thread, NULL);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

Test(poll, a_look_is_not_broken_off_by_signals)
{
    struct sigaction action = {.sa_handler = note_signal};

    sigaction(SIGUSR1, &action, NULL);
    cr_assert_eq(run_with_workers(1, look_through_signals, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}
