/* The virtual clock: moves only while nothing can run and nothing is in the kernel. */
#include <criterion/criterion.h>

#include <gyre.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t real_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * GYRE_SECOND + t.tv_nsec;
}

GYRE_TEST(clock, an_hours_sleep_takes_no_time)
{
    int64_t before = gyre_now(), real = real_now();

    GYRE_EXPECT(gyre_sleep(GYRE_HOUR) == 0);
    GYRE_EXPECT(gyre_now() == before + GYRE_HOUR);
    GYRE_EXPECT(gyre_sleep(10000 * GYRE_HOUR) == 0);
    GYRE_EXPECT(gyre_sleep_until(before + 20000 * GYRE_HOUR) == 0);
    GYRE_EXPECT(gyre_now() == before + 20000 * GYRE_HOUR);
    GYRE_EXPECT(real_now() - real < 10 * GYRE_SECOND);
}

GYRE_TEST(clock, a_past_point_of_time_is_no_wait)
{
    int64_t before = gyre_now();

    GYRE_EXPECT(gyre_sleep_until(0) == 0);
    GYRE_EXPECT(gyre_sleep(0) == 0);
    GYRE_EXPECT(gyre_sleep_until(before) == 0);
    GYRE_EXPECT(gyre_now() == before);
}

GYRE_TEST(clock, timers_beyond_all_clocks_come_to_pass)
{
    GYRE_EXPECT(gyre_sleep_until(INT64_MAX - 1) == 0);
    GYRE_EXPECT(gyre_now() == INT64_MAX - 1);
}

static int64_t first_time;

static int note_time(void *arg)
{
    (void)arg;
    first_time = gyre_now();
    return gyre_sleep(GYRE_SECOND);
}

Test(clock, begins_at_the_same_time_in_each_test_and_is_real_outside)
{
    int64_t real = real_now(), once;

    cr_assert_eq(gyre_test(note_time, NULL), 0);
    once = first_time;
    cr_assert_eq(gyre_test(note_time, NULL), 0);
    cr_assert_eq(first_time, once);
    cr_assert(gyre_now() >= real && gyre_now() <= real_now());
}

GYRE_TEST(clock, a_timeout_ends_what_waits_for_ever)
{
    int64_t before = gyre_now();
    {
        GYRE_TIMEOUT(30 * GYRE_MINUTE);
        GYRE_EXPECT(gyre_sleep(GYRE_HOUR) == -ETIMEDOUT);
        GYRE_EXPECT(gyre_context_error() == -ETIMEDOUT);
    }
    GYRE_EXPECT(gyre_now() == before + 30 * GYRE_MINUTE);
    {
        GYRE_TIMEOUT(30 * GYRE_MINUTE);
        GYRE_EXPECT(gyre_sleep(GYRE_MINUTE) == 0);
        GYRE_EXPECT(gyre_context_error() == 0);
    }
    /* The timer that was let go of moves nothing. */
    GYRE_EXPECT(gyre_sleep(GYRE_SECOND) == 0);
    GYRE_EXPECT(gyre_now() == before + 31 * GYRE_MINUTE + GYRE_SECOND);
}

enum { SLEEPERS = 50 };

static struct {
    int order[SLEEPERS];
    int count;
} woken;

static int sleep_and_note(void *arg)
{
    int number = *(int *)arg;
    int64_t when = gyre_now() + (SLEEPERS - number) * GYRE_MINUTE;

    GYRE_EXPECT(gyre_sleep((SLEEPERS - number) * GYRE_MINUTE) == 0);
    GYRE_EXPECT(gyre_now() == when);
    woken.order[woken.count++] = number;
    return 0;
}

GYRE_TEST(clock, sleepers_wake_in_order_each_at_its_time)
{
    woken.count = 0;
    for (int i = 0; i < SLEEPERS; i++)
        gyre_go_copy(sleep_and_note, &i, sizeof i);
    gyre_sleep(GYRE_HOUR);
    GYRE_EXPECT(woken.count == SLEEPERS);
    for (int i = 0; i < woken.count; i++)
        GYRE_EXPECT(woken.order[i] == SLEEPERS - 1 - i);
}

static int yield_many_times(void *arg)
{
    int *left = arg;

    while (*left > 0) {
        (*left)--;
        gyre_yield();
    }
    return 0;
}

GYRE_TEST(clock, stands_still_while_anything_can_run)
{
    int left = 10000;
    int64_t before = gyre_now();

    gyre_go(yield_many_times, &left);
    GYRE_EXPECT(gyre_sleep(1) == 0);
    GYRE_EXPECT(left == 0);
    GYRE_EXPECT(gyre_now() == before + 1);
}

/* --- the kernel ----------------------------------------------------------------------------- */

struct writer {
    int fd;
    pthread_t thread;
};

static void *write_later(void *arg)
{
    struct writer *writer = arg;
    const struct timespec pause = {0, 20 * 1000 * 1000};

    nanosleep(&pause, NULL); /* what would move the clock wrongly has the time to */
    if (write(writer->fd, "x", 1) != 1)
        perror("write");
    return NULL;
}

static int note_wake(void *arg)
{
    int *order = arg;
    int error = gyre_sleep(GYRE_HOUR);

    *order = *order * 10 + 2;
    return error;
}

GYRE_TEST(clock, what_is_in_the_kernel_holds_the_clock)
{
    int fds[2], order = 0;
    struct writer writer;
    int64_t before = gyre_now();
    gyre_handle sleeper;
    char byte;

    GYRE_EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    writer.fd = fds[1];
    GYRE_EXPECT(gyre_spawn(&sleeper, note_wake, &order) == 0);
    gyre_yield();
    pthread_create(&writer.thread, NULL, write_later, &writer);
    GYRE_EXPECT(gyre_read(fds[0], &byte, 1) == 1);
    GYRE_EXPECT(gyre_now() == before);
    order = order * 10 + 1;
    GYRE_EXPECT(gyre_join(sleeper, NULL) == 0);
    GYRE_EXPECT(order == 12);
    GYRE_EXPECT(gyre_now() == before + GYRE_HOUR);
    pthread_join(writer.thread, NULL);
    gyre_close(fds[0]);
    gyre_close(fds[1]);
}

GYRE_TEST(clock, goes_on_after_operations_of_every_outcome)
{
    int64_t before = gyre_now();
    int fds[2];
    char bytes[16];

    for (int i = 0; i < 50; i++) {
        GYRE_EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        GYRE_EXPECT(gyre_write(fds[0], "abc", 3) == 3);
        GYRE_EXPECT(gyre_read(fds[1], bytes, sizeof bytes) == 3);
        GYRE_EXPECT(gyre_read(-1, bytes, 1) == -EBADF);
        GYRE_EXPECT(gyre_read(12345, bytes, 1) == -EBADF);
        GYRE_EXPECT(gyre_close(fds[0]) == 0);
        GYRE_EXPECT(gyre_read(fds[1], bytes, 1) == 0);
        GYRE_EXPECT(gyre_close(fds[1]) == 0);
        GYRE_EXPECT(gyre_sleep(GYRE_HOUR) == 0);
    }
    GYRE_EXPECT(gyre_now() == before + 50 * GYRE_HOUR);
}

static int read_until_cancelled(void *arg)
{
    char byte;

    return gyre_read(*(int *)arg, &byte, 1) == -ECANCELED ? 0 : -EIO;
}

GYRE_TEST(clock, goes_on_after_a_cancelled_operation)
{
    gyre_handle reader;
    int fds[2], result = -1;

    GYRE_EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    {
        GYRE_CANCELLABLE();
        GYRE_EXPECT(gyre_spawn(&reader, read_until_cancelled, &fds[0]) == 0);
        gyre_yield();
    }
    GYRE_EXPECT(gyre_join(reader, &result) == 0);
    GYRE_EXPECT(result == 0);
    GYRE_EXPECT(gyre_sleep(GYRE_HOUR) == 0);
    gyre_close(fds[0]);
    gyre_close(fds[1]);
}

static int connect_and_close(void *arg)
{
    int fd = gyre_tcp_dial(arg);

    GYRE_EXPECT(fd >= 0);
    return gyre_close(fd);
}

/* The multishot accept is in flight until the listener closes. */
GYRE_TEST(clock, goes_on_when_the_listener_is_closed)
{
    struct gyre_listener *listener;
    char address[64];

    GYRE_EXPECT(gyre_tcp_listen(&listener, "127.0.0.1:0") == 0);
    GYRE_EXPECT(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) >= 0);
    for (int i = 0; i < 10; i++) {
        gyre_handle client;
        int fd;

        GYRE_EXPECT(gyre_spawn(&client, connect_and_close, address) == 0);
        fd = gyre_accept(listener);
        GYRE_EXPECT(fd >= 0);
        gyre_close(fd);
        GYRE_EXPECT(gyre_join(client, NULL) == 0);
    }
    GYRE_EXPECT(gyre_listener_close(listener) == 0);
    GYRE_EXPECT(gyre_sleep(GYRE_HOUR) == 0);
}

/* --- gyre_test_wait ------------------------------------------------------------------------- */

static int step(void *arg)
{
    int *count = arg;

    for (int i = 0; i < 3; i++) {
        int error;

        for (int k = 0; k < 100; k++)
            gyre_yield();
        ++*count;
        error = gyre_sleep(GYRE_SECOND);
        if (error)
            return error;
    }
    return 0;
}

GYRE_TEST(clock, wait_lets_all_others_run_until_they_park)
{
    int64_t before = gyre_now();
    int count = 0;

    gyre_go(step, &count);
    gyre_go(step, &count);
    for (int i = 1; i <= 3; i++) {
        GYRE_EXPECT(gyre_test_wait() == 0);
        GYRE_EXPECT(count == 2 * i);
        GYRE_EXPECT(gyre_now() == before + (i - 1) * GYRE_SECOND);
        GYRE_EXPECT(gyre_test_wait() == 0);
        GYRE_EXPECT(count == 2 * i);
        gyre_sleep(GYRE_SECOND);
    }
}

GYRE_TEST(clock, wait_waits_for_the_kernel)
{
    struct writer writer;
    gyre_handle reader;
    int fds[2], result = 0;

    GYRE_EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    writer.fd = fds[1];
    GYRE_EXPECT(gyre_spawn(&reader, read_until_cancelled, &fds[0]) == 0);
    gyre_yield();
    pthread_create(&writer.thread, NULL, write_later, &writer);
    GYRE_EXPECT(gyre_test_wait() == 0);
    GYRE_EXPECT(gyre_coro_count() == 1); /* it has read and ended */
    GYRE_EXPECT(gyre_join(reader, &result) == 0);
    GYRE_EXPECT(result == -EIO);
    pthread_join(writer.thread, NULL);
    gyre_close(fds[0]);
    gyre_close(fds[1]);
}

static int wait_in_scope(void *arg)
{
    (void)arg;
    return gyre_test_wait();
}

GYRE_TEST(clock, wait_ends_with_its_context)
{
    gyre_handle waiter;
    int result = 0;
    {
        GYRE_CANCELLABLE();
        GYRE_EXPECT(gyre_spawn(&waiter, wait_in_scope, NULL) == 0);
        gyre_yield();
    }
    GYRE_EXPECT(gyre_join(waiter, &result) == 0);
    GYRE_EXPECT(result == -ECANCELED);
    GYRE_EXPECT(gyre_test_wait() == 0);
}

static int real_sleep(void *arg)
{
    int64_t before = real_now();

    (void)arg;
    GYRE_EXPECT(gyre_now() - before < GYRE_SECOND);
    GYRE_EXPECT(gyre_sleep(5 * GYRE_MILLISECOND) == 0);
    GYRE_EXPECT(real_now() - before >= 5 * GYRE_MILLISECOND);
    return gyre_test_wait();
}

Test(clock, can_be_the_real_one)
{
    struct gyre_test_options options = GYRE_TEST_OPTIONS_INIT;

    options.real_clock = 1;
    cr_assert_eq(gyre_test_run(real_sleep, NULL, &options), 0);
}
