/*
 * Timers, after, after-func, with Go 1.23's guarantees. Nearly all on the virtual clock, which
 * makes every moment exact and every order the only one; what is not destroyed there is a leak that
 * fails the test.
 */
#include "../sched/inside.h"

#include <stdlib.h>

/* --- faults ---------------------------------------------------------------------------------- */

static atomic_bool no_memory;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    return atomic_load(&no_memory) ? NULL : __real_malloc(size);
}

static atomic_int no_coroutines;

int __real_gyre_coro_create(void *worker, const char *site, gyre_handle *handle, gyre_fn fn,
                            void *arg, const void *options, void *context, void *created);
int __wrap_gyre_coro_create(void *worker, const char *site, gyre_handle *handle, gyre_fn fn,
                            void *arg, const void *options, void *context, void *created);
int __wrap_gyre_coro_create(void *worker, const char *site, gyre_handle *handle, gyre_fn fn,
                            void *arg, const void *options, void *context, void *created)
{
    if (atomic_load(&no_coroutines)) {
        atomic_fetch_sub(&no_coroutines, 1);
        return -ENOMEM;
    }
    return __real_gyre_coro_create(worker, site, handle, fn, arg, options, context, created);
}

/* --- what they wait for ---------------------------------------------------------------------- */

/* The moment it fired, or -1 when nothing comes within duration. */
static int64_t wait_for(gyre_receiver receiver, int64_t duration)
{
    int64_t moment = -1;
    struct gyre_case cases[] = {
        gyre_case_recv(receiver, &moment),
        gyre_case_after(duration),
    };

    return gyre_select(cases) == 0 ? moment : -1;
}

static bool is_empty(gyre_receiver receiver)
{
    int64_t moment;

    return gyre_chan_try_recv(receiver, &moment) == -EAGAIN;
}

static struct gyre_timer *timer_in(int64_t duration)
{
    struct gyre_timer *timer = NULL;

    GYRE_EXPECT(gyre_timer_create(&timer, duration) == 0);
    return timer;
}

/* --- firing ---------------------------------------------------------------------------------- */

GYRE_TEST(timer, fires_once_at_its_time)
{
    int64_t start = gyre_now(), moment;
    struct gyre_timer *timer = timer_in(GYRE_SECOND);

    GYRE_EXPECT(gyre_chan_recv(gyre_timer_channel(timer), &moment) == 1);
    GYRE_EXPECT(moment == start + GYRE_SECOND);
    GYRE_EXPECT(wait_for(gyre_timer_channel(timer), GYRE_HOUR) == -1);
    gyre_timer_destroy(timer);
}

GYRE_TEST(timer, of_no_or_negative_duration_fires_at_once)
{
    static const int64_t durations[] = {0, -1, -GYRE_HOUR, INT64_MIN};
    int64_t start = gyre_now();

    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        struct gyre_timer *timer = timer_in(durations[i]);

        GYRE_EXPECT(wait_for(gyre_timer_channel(timer), GYRE_SECOND) == start);
        gyre_timer_destroy(timer);
    }
}

GYRE_TEST(timer, of_a_duration_beyond_the_clock_does_not_fire)
{
    struct gyre_timer *timer = timer_in(INT64_MAX);

    GYRE_EXPECT(wait_for(gyre_timer_channel(timer), 1000 * GYRE_HOUR) == -1);
    GYRE_EXPECT(gyre_timer_reset(timer, INT64_MAX - 1) == 1);
    GYRE_EXPECT(wait_for(gyre_timer_channel(timer), 1000 * GYRE_HOUR) == -1);
    GYRE_EXPECT(gyre_timer_stop(timer) == 1);
    gyre_timer_destroy(timer);
}

GYRE_TEST(timer, many_fire_in_the_order_of_their_times)
{
    enum { COUNT = 200 };
    struct gyre_timer *timers[COUNT];
    int64_t start = gyre_now();

    for (int i = 0; i < COUNT; i++)
        timers[i] = timer_in((i * 7 % COUNT + 1) * GYRE_SECOND);
    for (int i = 0; i < COUNT; i++) {
        struct gyre_case cases[COUNT];
        int64_t moment = 0;
        int chosen;

        for (int j = 0; j < COUNT; j++)
            cases[j] = gyre_case_recv(gyre_timer_channel(timers[j]), &moment);
        chosen = gyre_select(cases);
        GYRE_EXPECT(chosen * 7 % COUNT == i);
        GYRE_EXPECT(moment == start + (i + 1) * GYRE_SECOND);
    }
    for (int i = 0; i < COUNT; i++)
        gyre_timer_destroy(timers[i]);
}

INSIDE(timer, never_fires_early_by_the_real_clock)
{
    for (int64_t duration = GYRE_MICROSECOND; duration < 20 * GYRE_MILLISECOND; duration *= 3) {
        struct gyre_timer *timer;
        int64_t start = gyre_now(), moment;

        EXPECT_EQ(gyre_timer_create(&timer, duration), 0);
        EXPECT_EQ(gyre_chan_recv(gyre_timer_channel(timer), &moment), 1);
        EXPECT(moment >= start + duration && moment <= gyre_now());
        gyre_timer_destroy(timer);
    }
    return 0;
}

GYRE_TEST(timer, without_memory_says_so)
{
    struct gyre_timer *timer = NULL;
    gyre_receiver receiver = {NULL};

    atomic_store(&no_memory, true);
    GYRE_EXPECT(gyre_timer_create(&timer, 1) == -ENOMEM);
    GYRE_EXPECT(gyre_after(&receiver, 1) == -ENOMEM);
    GYRE_EXPECT(gyre_after_func(&timer, 1, (gyre_fn)abort, NULL) == -ENOMEM);
    atomic_store(&no_memory, false);
    GYRE_EXPECT(!timer && !receiver.chan);
    GYRE_EXPECT(wait_for(receiver, GYRE_SECOND) == -1);
}

/* --- stop and reset -------------------------------------------------------------------------- */

GYRE_TEST(timer, stopped_does_not_fire)
{
    struct gyre_timer *timer = timer_in(GYRE_SECOND);

    GYRE_EXPECT(gyre_timer_stop(timer) == 1);
    GYRE_EXPECT(gyre_timer_stop(timer) == 0);
    GYRE_EXPECT(wait_for(gyre_timer_channel(timer), GYRE_HOUR) == -1);
    gyre_timer_destroy(timer);
}

GYRE_TEST(timer, stop_of_a_fired_and_unreceived_one_takes_it_back)
{
    struct gyre_timer *timer = timer_in(GYRE_SECOND);

    gyre_sleep(2 * GYRE_SECOND);
    GYRE_EXPECT(gyre_timer_stop(timer) == 1);
    GYRE_EXPECT(is_empty(gyre_timer_channel(timer)));
    GYRE_EXPECT(gyre_timer_stop(timer) == 0);
    gyre_timer_destroy(timer);
}

GYRE_TEST(timer, stop_of_a_received_one_says_that_it_has_fired)
{
    struct gyre_timer *timer = timer_in(GYRE_SECOND);

    GYRE_EXPECT(gyre_chan_recv(gyre_timer_channel(timer), NULL) == 1);
    GYRE_EXPECT(gyre_timer_stop(timer) == 0);
    gyre_timer_destroy(timer);
}

GYRE_TEST(timer, reset_of_a_running_one_moves_its_time_either_way)
{
    int64_t start = gyre_now();
    struct gyre_timer *timer = timer_in(GYRE_HOUR);

    GYRE_EXPECT(gyre_timer_reset(timer, GYRE_SECOND) == 1);
    GYRE_EXPECT(wait_for(gyre_timer_channel(timer), GYRE_MINUTE) == start + GYRE_SECOND);
    GYRE_EXPECT(gyre_timer_reset(timer, GYRE_SECOND) == 0);
    GYRE_EXPECT(gyre_timer_reset(timer, GYRE_HOUR) == 1);
    GYRE_EXPECT(wait_for(gyre_timer_channel(timer), GYRE_MINUTE) == -1);
    GYRE_EXPECT(wait_for(gyre_timer_channel(timer), GYRE_HOUR) == start + GYRE_SECOND + GYRE_HOUR);
    gyre_timer_destroy(timer);
}

GYRE_TEST(timer, reset_of_a_fired_and_unreceived_one_leaves_one_value)
{
    int64_t start = gyre_now();
    struct gyre_timer *timer = timer_in(GYRE_SECOND);

    gyre_sleep(2 * GYRE_SECOND);
    GYRE_EXPECT(gyre_timer_reset(timer, 3 * GYRE_SECOND) == 1);
    GYRE_EXPECT(is_empty(gyre_timer_channel(timer)));
    GYRE_EXPECT(wait_for(gyre_timer_channel(timer), GYRE_HOUR) == start + 5 * GYRE_SECOND);
    GYRE_EXPECT(is_empty(gyre_timer_channel(timer)));
    gyre_timer_destroy(timer);
}

static int receive(void *timer)
{
    return wait_for(gyre_timer_channel(timer), GYRE_HOUR) < 0;
}

GYRE_TEST(timer, reset_reaches_who_waits_already)
{
    struct gyre_timer *timer = timer_in(GYRE_MINUTE);
    int64_t start = gyre_now();
    gyre_handle waiter;
    int result;

    GYRE_EXPECT(gyre_spawn(&waiter, receive, timer) == 0);
    gyre_test_wait();
    GYRE_EXPECT(gyre_timer_stop(timer) == 1);
    gyre_sleep(2 * GYRE_MINUTE);
    GYRE_EXPECT(gyre_timer_reset(timer, GYRE_MINUTE) == 0);
    GYRE_EXPECT(gyre_join(waiter, &result) == 0 && result == 0);
    GYRE_EXPECT(gyre_now() == start + 3 * GYRE_MINUTE);
    gyre_timer_destroy(timer);
}

GYRE_TEST(timer, channel_shows_no_length_and_no_capacity)
{
    struct gyre_timer *timer = timer_in(GYRE_SECOND);
    gyre_receiver receiver = gyre_timer_channel(timer);

    GYRE_EXPECT(gyre_chan_len(receiver) == 0 && gyre_chan_cap(receiver) == 0);
    gyre_sleep(2 * GYRE_SECOND);
    GYRE_EXPECT(gyre_chan_len(receiver) == 0 && gyre_chan_cap(receiver) == 0);
    GYRE_EXPECT(!is_empty(receiver));
    gyre_timer_destroy(timer);
}

/* --- memory: the run reports a channel that is not freed ------------------------------------- */

GYRE_TEST(timer, is_freed_in_every_state)
{
    struct gyre_timer *received = timer_in(GYRE_SECOND), *fired = timer_in(GYRE_SECOND);
    struct gyre_timer *running = timer_in(GYRE_HOUR), *stopped = timer_in(GYRE_HOUR);

    GYRE_EXPECT(gyre_chan_recv(gyre_timer_channel(received), NULL) == 1);
    gyre_timer_stop(stopped);
    gyre_timer_destroy(received);
    gyre_timer_destroy(fired);
    gyre_timer_destroy(running);
    gyre_timer_destroy(stopped);
    gyre_timer_destroy(NULL);
}

GYRE_TEST(timer, channel_may_be_held_longer_and_then_gives_nothing)
{
    struct gyre_timer *fired = timer_in(GYRE_SECOND), *running = timer_in(GYRE_HOUR);
    gyre_receiver first = gyre_chan_hold_receiver(gyre_timer_channel(fired));
    gyre_receiver second = gyre_chan_hold_receiver(gyre_timer_channel(running));

    gyre_sleep(GYRE_MINUTE);
    gyre_timer_destroy(fired);
    gyre_timer_destroy(running);
    GYRE_EXPECT(is_empty(first));
    GYRE_EXPECT(wait_for(second, 2 * GYRE_HOUR) == -1);
    gyre_chan_release_receiver(first);
    gyre_chan_release_receiver(second);
}

GYRE_TEST(after, gives_the_moment_once)
{
    int64_t start = gyre_now();
    gyre_receiver receiver;

    GYRE_EXPECT(gyre_after(&receiver, GYRE_SECOND) == 0);
    GYRE_EXPECT(wait_for(receiver, GYRE_MINUTE) == start + GYRE_SECOND);
    GYRE_EXPECT(wait_for(receiver, GYRE_MINUTE) == -1);
    gyre_chan_release_receiver(receiver);
}

GYRE_TEST(after, is_stopped_and_freed_by_the_release)
{
    gyre_receiver receivers[3];

    for (int i = 0; i < 3; i++)
        GYRE_EXPECT(gyre_after(&receivers[i], GYRE_SECOND << i) == 0);
    gyre_chan_release_receiver(receivers[1]);
    gyre_sleep(GYRE_MINUTE);
    gyre_chan_release_receiver(receivers[0]);
    gyre_chan_release_receiver(receivers[2]);
}

/* --- after-func ------------------------------------------------------------------------------ */

static int calls;
static int64_t called;

static int call(void *arg)
{
    (void)arg;
    calls++;
    called = gyre_now();
    return 0;
}

GYRE_TEST(after_func, is_called_once_at_its_time)
{
    int64_t start = gyre_now();
    struct gyre_timer *timer;

    calls = 0;
    GYRE_EXPECT(gyre_after_func(&timer, GYRE_SECOND, call, NULL) == 0);
    GYRE_EXPECT(!gyre_timer_channel(timer).chan);
    gyre_sleep(GYRE_MINUTE);
    GYRE_EXPECT(calls == 1 && called == start + GYRE_SECOND);
    GYRE_EXPECT(gyre_timer_stop(timer) == 0);
    gyre_timer_destroy(timer);
}

GYRE_TEST(after_func, needs_no_handle_but_a_function)
{
    struct gyre_timer *timer = NULL;

    calls = 0;
    GYRE_EXPECT(gyre_after_func(NULL, GYRE_SECOND, call, NULL) == 0);
    GYRE_EXPECT(gyre_after_func(NULL, -1, call, NULL) == 0);
    gyre_sleep(GYRE_MINUTE);
    GYRE_EXPECT(calls == 2);
    GYRE_EXPECT(gyre_after_func_at("here\0nothing", &timer, 1, NULL, NULL) == -EINVAL && !timer);
}

GYRE_TEST(after_func, stopped_or_destroyed_is_not_called)
{
    struct gyre_timer *timers[100];

    calls = 0;
    for (int i = 0; i < 100; i++)
        GYRE_EXPECT(gyre_after_func(&timers[i], GYRE_SECOND, call, NULL) == 0);
    for (int i = 0; i < 100; i++) {
        if (i % 2)
            GYRE_EXPECT(gyre_timer_stop(timers[i]) == 1);
        gyre_timer_destroy(timers[i]);
    }
    gyre_sleep(GYRE_MINUTE);
    GYRE_EXPECT(calls == 0);
}

GYRE_TEST(after_func, reset_calls_it_again)
{
    struct gyre_timer *timer;

    calls = 0;
    GYRE_EXPECT(gyre_after_func(&timer, GYRE_SECOND, call, NULL) == 0);
    GYRE_EXPECT(gyre_timer_reset(timer, GYRE_MINUTE) == 1);
    gyre_sleep(GYRE_SECOND * 2);
    GYRE_EXPECT(calls == 0);
    gyre_sleep(GYRE_MINUTE);
    GYRE_EXPECT(calls == 1);
    GYRE_EXPECT(gyre_timer_reset(timer, GYRE_SECOND) == 0);
    gyre_sleep(GYRE_MINUTE);
    GYRE_EXPECT(calls == 2);
    gyre_timer_destroy(timer);
}

static struct gyre_timer *chain;

static int reset_itself(void *left)
{
    int *count = left;

    if (--*count)
        GYRE_EXPECT(gyre_timer_reset(chain, GYRE_MILLISECOND) == 0);
    return 0;
}

GYRE_TEST(after_func, may_reset_its_own_timer)
{
    int left = 10;

    GYRE_EXPECT(gyre_after_func(&chain, GYRE_MILLISECOND, reset_itself, &left) == 0);
    gyre_sleep(GYRE_SECOND);
    GYRE_EXPECT(left == 0);
    gyre_timer_destroy(chain);
}

static int note_context(void *error)
{
    *(int *)error = gyre_context_error();
    return 0;
}

GYRE_TEST(after_func, runs_outside_the_scope_that_made_it)
{
    int error = 1;
    {
        GYRE_CANCELLABLE();
        GYRE_EXPECT(gyre_after_func(NULL, GYRE_SECOND, note_context, &error) == 0);
    }
    gyre_sleep(GYRE_MINUTE);
    GYRE_EXPECT(error == 0);
}

GYRE_TEST(after_func, without_memory_is_called_later)
{
    int64_t start = gyre_now();
    struct gyre_timer *timer;

    calls = 0;
    GYRE_EXPECT(gyre_after_func(&timer, GYRE_SECOND, call, NULL) == 0);
    atomic_store(&no_coroutines, 3);
    gyre_sleep(GYRE_MINUTE);
    GYRE_EXPECT(calls == 1 && called == start + GYRE_SECOND + 3 * GYRE_MILLISECOND);
    atomic_store(&no_coroutines, 1);
    GYRE_EXPECT(gyre_timer_reset(timer, 0) == 0);
    gyre_sleep(GYRE_MICROSECOND);
    GYRE_EXPECT(atomic_load(&no_coroutines) == 0);
    GYRE_EXPECT(gyre_timer_stop(timer) == 1);
    gyre_sleep(GYRE_MINUTE);
    GYRE_EXPECT(calls == 1);
    gyre_timer_destroy(timer);
}

/* --- the runtime's end ----------------------------------------------------------------------- */

static struct gyre_timer *left_timer, *left_func;
static gyre_receiver left_receiver;
static atomic_int called_late;

static int call_late(void *arg)
{
    (void)arg;
    atomic_store(&called_late, 1);
    return 0;
}

static int leave_all(void *unused)
{
    (void)unused;
    EXPECT_EQ(gyre_timer_create(&left_timer, GYRE_HOUR), 0);
    EXPECT_EQ(gyre_after(&left_receiver, GYRE_HOUR), 0);
    EXPECT_EQ(gyre_after_func(&left_func, GYRE_HOUR, call_late, NULL), 0);
    EXPECT_EQ(gyre_after_func(NULL, GYRE_HOUR, call_late, NULL), 0);
    return 0;
}

Test(timer, pending_at_the_end_never_fires_and_may_be_freed_afterwards)
{
    for (unsigned workers = 1; workers < 4; workers++) {
        cr_assert_eq(run_with_workers(workers, leave_all, NULL), 0);
        cr_assert(is_empty(gyre_timer_channel(left_timer)));
        cr_assert(is_empty(left_receiver));
        cr_assert_eq(gyre_timer_stop(left_timer), 0);
        gyre_timer_destroy(left_timer);
        gyre_timer_destroy(left_func);
        gyre_chan_release_receiver(left_receiver);
        cr_assert_eq(atomic_load(&called_late), 0);
        cr_assert_eq(failed_expectations, 0);
    }
}
