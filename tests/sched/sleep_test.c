/* Yielding, sleeping, the clock; and what an idle runtime costs. */
#include "inside.h"

#include "sched/sleeper.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

INSIDE(sleep, never_ends_early)
{
    static const int64_t durations[] = {1,      100,     1000,    10000,
                                        65535,  65536,   65537,   100000,
                                        500000, 1000000, 4194304, 5 * GYRE_MILLISECOND};

    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++)
        for (int64_t shift = 0; shift < 5; shift++) {
            int64_t duration = durations[i] + shift * 131, start = gyre_now();

            EXPECT_EQ(gyre_sleep(duration), 0);
            EXPECT(gyre_now() - start >= duration);
            start = gyre_now();
            EXPECT_EQ(gyre_sleep_until(start + duration), 0);
            EXPECT(gyre_now() >= start + duration);
        }
    return 0;
}

INSIDE(sleep, into_the_past_returns_at_once)
{
    static const int64_t before[] = {0, 1, -1, INT64_MIN, INT64_MIN + 1};
    int64_t start = gyre_now();

    for (int round = 0; round < 100; round++)
        for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
            EXPECT_EQ(gyre_sleep_until(before[i]), 0);
            EXPECT_EQ(gyre_sleep(before[i] <= 0 ? before[i] : 0), 0);
        }
    EXPECT_EQ(gyre_sleep_until(gyre_now()), 0);
    EXPECT(gyre_now() - start < 10 * GYRE_SECOND);
    return 0;
}

struct forever {
    int64_t when;
    atomic_int *asleep;
};

static int sleep_forever(void *arg)
{
    struct forever *forever = arg;

    atomic_fetch_add(forever->asleep, 1);
    return gyre_sleep_until(forever->when);
}

static int sleep_for(void *arg)
{
    struct forever *forever = arg;

    atomic_fetch_add(forever->asleep, 1);
    return gyre_sleep(forever->when);
}

INSIDE(sleep, for_ever_is_ended_by_the_context_alone)
{
    static const int64_t times[] = {INT64_MAX, INT64_MAX - 1, INT64_MAX / 2};
    gyre_handle handles[6];
    atomic_int asleep = 0;
    struct forever forever[3];
    int result;

    GYRE_CANCELLABLE();
    struct gyre_context *context = gyre_context_current();

    for (int i = 0; i < 3; i++) {
        forever[i] = (struct forever){times[i], &asleep};
        EXPECT_EQ(gyre_spawn(&handles[i], sleep_forever, &forever[i]), 0);
        EXPECT_EQ(gyre_spawn(&handles[3 + i], sleep_for, &forever[i]), 0);
    }
    await_flag(&asleep, 6);
    EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0);
    gyre_context_cancel(context);
    gyre_context_release(context);
    GYRE_SHIELD();
    for (int i = 0; i < 6; i++) {
        EXPECT_EQ(gyre_join(handles[i], &result), 0);
        EXPECT_EQ(result, -ECANCELED);
    }
    return 0;
}

INSIDE(sleep, in_an_ended_context_does_not_sleep)
{
    int64_t start = gyre_now();

    GYRE_TIMEOUT(0);
    EXPECT_EQ(gyre_sleep(GYRE_HOUR), -ETIMEDOUT);
    EXPECT_EQ(gyre_sleep(0), -ETIMEDOUT);
    EXPECT_EQ(gyre_sleep_until(0), -ETIMEDOUT);
    EXPECT_EQ(gyre_yield(), -ETIMEDOUT);
    EXPECT(gyre_now() - start < GYRE_MINUTE);
    return 0;
}

/* --- idle --------------------------------------------------------------------------------------
 */

static int64_t cpu_clock(void)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * GYRE_SECOND + time.tv_nsec;
}

static int64_t switches(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

INSIDE(idle, uses_no_cpu)
{
    enum { SLEEPERS = 1000 };
    atomic_int asleep = 0;
    struct forever forever = {GYRE_HOUR, &asleep};
    int64_t cpu, switched;

    for (int i = 0; i < SLEEPERS; i++)
        EXPECT_EQ(gyre_go(sleep_for, &forever), 0);
    await_flag(&asleep, SLEEPERS);
    EXPECT_EQ(gyre_sleep(20 * GYRE_MILLISECOND), 0);
    cpu = cpu_clock();
    switched = switches();
    EXPECT_EQ(gyre_sleep(GYRE_SECOND), 0);
    cpu = cpu_clock() - cpu;
    switched = switches() - switched;
    fprintf(stderr, "idle for a second, %u workers: %lld us of CPU, %lld switches\n",
            gyre_worker_count(), (long long)(cpu / 1000), (long long)switched);
    EXPECT(cpu < 5 * GYRE_MILLISECOND);
    EXPECT(switched < 100);
    return 0;
}

/* It waits again after an interruption, and must then wait for its next callback. */
INSIDE(sleep, a_sleeper_whose_callback_was_late_is_as_new)
{
    struct sleeper sleeper;

    gyre_sleeper_init(&sleeper, coro_current(), INT64_MAX);
    sleeper_start(worker_current(), &sleeper);
    EXPECT(gyre_wheel_stop(&sleeper.timer));
    atomic_store(&coro_current()->wait, WAIT_INTERRUPTED);
    sleeper.timer.fire(&sleeper.timer); /* as the wheel does: nobody waits any more */
    EXPECT(atomic_load(&sleeper.fired));
    gyre_sleeper_retire(&sleeper);
    EXPECT(!atomic_load(&sleeper.fired));
    EXPECT(!wait_finish(coro_current()));
    return 0;
}
