/* Functions on helper threads: where they run, in which order, and what cancellation does. */
#include "harness.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

static bool fails_to_start;
int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument)
{
    return fails_to_start ? EAGAIN : __real_pthread_create(thread, attributes, start, argument);
}

/* A gate that holds helper threads. */
struct hold {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int inside, calls, dropped;
    bool open;
};

#define HOLD_INIT                                                                                  \
    {                                                                                              \
        .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                    \
    }

static int wait_at(void *arg)
{
    struct hold *hold = arg;

    pthread_mutex_lock(&hold->mutex);
    hold->inside++;
    hold->calls++;
    while (!hold->open)
        pthread_cond_wait(&hold->changed, &hold->mutex);
    hold->inside--;
    pthread_mutex_unlock(&hold->mutex);
    return 7;
}

static int wait_at_pointer(void *arg)
{
    return wait_at(*(struct hold **)arg);
}

static void note_drop(void *copy, int result)
{
    struct hold *hold = *(struct hold **)copy;

    pthread_mutex_lock(&hold->mutex);
    hold->dropped += result;
    pthread_mutex_unlock(&hold->mutex);
}

static void open_hold(struct hold *hold)
{
    pthread_mutex_lock(&hold->mutex);
    hold->open = true;
    pthread_cond_broadcast(&hold->changed);
    pthread_mutex_unlock(&hold->mutex);
}

static int number_of(struct hold *hold, const int *which)
{
    int number;

    pthread_mutex_lock(&hold->mutex);
    number = *which;
    pthread_mutex_unlock(&hold->mutex);
    return number;
}

static void await_number(struct hold *hold, const int *which, int wanted)
{
    while (number_of(hold, which) != wanted)
        gyre_yield();
}

static struct gyre_blocking_counts counts(void)
{
    struct gyre_blocking_counts count = {.size = sizeof count};

    EXPECT_EQ(gyre_blocking_count(&count), 0);
    return count;
}

static int in_blocking(void *hold)
{
    return gyre_blocking(wait_at, hold);
}

static void expect_result(gyre_handle handle, int wanted)
{
    int result = 0;

    EXPECT_EQ(gyre_join(handle, &result), 0);
    EXPECT_EQ(result, wanted);
}

/* --- where it runs -----------------------------------------------------------------------------
 */

static int give(void *result)
{
    return *(int *)result;
}

INSIDE(blocking, returns_what_the_function_returned)
{
    int results[] = {0, 5, -5, -4096, INT32_MIN};

    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        EXPECT_EQ(gyre_blocking(give, &results[i]), results[i]);
    EXPECT_EQ(counts().calls, 5);
    EXPECT_EQ(counts().helpers, 1);
    EXPECT_EQ(counts().busy, 0);
    EXPECT_EQ(counts().queued, 0);
    EXPECT_EQ(counts().limit, 4);
    return 0;
}

static cpu_set_t cpus_of_caller;
static sigset_t mask_of_caller;

static int look_around(void *arg)
{
    char name[16] = "";
    cpu_set_t cpus;
    sigset_t mask;

    EXPECT(pthread_self() != *(pthread_t *)arg);
    pthread_getname_np(pthread_self(), name, sizeof name);
    EXPECT_EQ(strcmp(name, "gyre-help-0"), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (int i = 1; i < 32; i++)
        EXPECT_EQ(sigismember(&mask, i), sigismember(&mask_of_caller, i));
    EXPECT_EQ(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    EXPECT(CPU_EQUAL(&cpus, &cpus_of_caller));
    return 0;
}

static int look_from_thread(void *unused)
{
    pthread_t self = pthread_self();

    (void)unused;
    return gyre_blocking(look_around, &self);
}

Test(blocking, runs_on_a_thread_with_the_callers_mask_and_affinity)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    sigaddset(&mask_of_caller, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &mask_of_caller, NULL);
    pthread_sigmask(SIG_BLOCK, NULL, &mask_of_caller);
    sched_getaffinity(0, sizeof cpus_of_caller, &cpus_of_caller);
    options.pinning = GYRE_PINNING_ON;
    cr_assert_eq(gyre_run_options(look_from_thread, NULL, &options), 0);
    cr_assert_eq(failed_expectations, 0);
}

/* CPU time of its own, and yet no signal of the runtime's: those are for workers. */
static atomic_int urgent;

static void note_urgent(int signal_number)
{
    (void)signal_number;
    atomic_fetch_add(&urgent, 1);
}

static int compute(void *unused)
{
    struct timespec time;

    (void)unused;
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    while (time.tv_nsec < 100 * GYRE_MILLISECOND);
    return 3;
}

static int compute_there(void *unused)
{
    (void)unused;
    return gyre_blocking(compute, NULL);
}

Test(blocking, gets_no_ticks)
{
    signal(SIGURG, note_urgent); /* gyre's handler passes on what is not its own */
    cr_assert_eq(run_with_workers(2, compute_there, NULL), 3);
    cr_assert_eq(urgent, 0);
}

/* --- how many ----------------------------------------------------------------------------------
 */

static int fill_pool(void *unused)
{
    enum { CALLS = 10 };
    struct hold hold = HOLD_INIT;
    gyre_handle handles[CALLS];
    struct gyre_blocking_counts count;

    (void)unused;
    for (int i = 0; i < CALLS; i++)
        EXPECT_EQ(gyre_spawn(&handles[i], in_blocking, &hold), 0);
    await_number(&hold, &hold.inside, 2);
    for (int i = 0; i < CALLS; i++)
        await_parked(handles[i]);
    count = counts();
    EXPECT_EQ(count.limit, 2);
    EXPECT_EQ(count.helpers, 2);
    EXPECT_EQ(count.busy, 2);
    EXPECT_EQ(count.queued, CALLS - 2);
    EXPECT_EQ(count.calls, 2);
    open_hold(&hold);
    for (int i = 0; i < CALLS; i++)
        expect_result(handles[i], 7);
    EXPECT_EQ(counts().calls, CALLS);
    EXPECT_EQ(counts().busy, 0);
    return 0;
}

Test(blocking, more_than_the_helpers_wait_in_a_queue)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.helpers = 2;
    cr_assert_eq(gyre_run_options(fill_pool, NULL, &options), 0);
    setenv("GYRE_HELPERS", "2", 1);
    cr_assert_eq(gyre_run(fill_pool, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}

static int order[8], ordered;

static int note_order(void *number)
{
    order[ordered++] = *(int *)number; /* one helper */
    return 0;
}

static int in_order(void *number)
{
    return gyre_blocking(note_order, number);
}

static int check_order(void *unused)
{
    struct hold hold = HOLD_INIT;
    gyre_handle first, handles[8];
    int numbers[8];

    (void)unused;
    EXPECT_EQ(gyre_spawn(&first, in_blocking, &hold), 0);
    await_number(&hold, &hold.inside, 1);
    for (int i = 0; i < 8; i++) {
        numbers[i] = i;
        EXPECT_EQ(gyre_spawn(&handles[i], in_order, &numbers[i]), 0);
        await_parked(handles[i]);
    }
    open_hold(&hold);
    expect_result(first, 7);
    for (int i = 0; i < 8; i++) {
        expect_result(handles[i], 0);
        EXPECT_EQ(order[i], i);
    }
    return 0;
}

Test(blocking, the_oldest_is_next)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.helpers = 1;
    cr_assert_eq(gyre_run_options(check_order, NULL, &options), 0);
    cr_assert_eq(failed_expectations, 0);
}

Test(blocking, count_is_zero_without_a_runtime)
{
    struct gyre_blocking_counts count = {.size = sizeof count, .calls = 1, .limit = 1};

    cr_assert_eq(gyre_blocking_count(NULL), -EINVAL);
    cr_assert_eq(gyre_blocking_count(&count), 0);
    cr_assert(!count.calls && !count.limit && !count.helpers && !count.busy && !count.queued);
    count.size--;
    cr_assert_eq(gyre_blocking_count(&count), -EINVAL);
}

/* --- errors ------------------------------------------------------------------------------------
 */

INSIDE(blocking, refuses_nonsense)
{
    EXPECT_EQ(gyre_blocking(NULL, NULL), -EINVAL);
    EXPECT_EQ(gyre_blocking_detached(NULL, NULL, 0, NULL), -EINVAL);
    EXPECT_EQ(gyre_blocking_detached(wait_at, NULL, SIZE_MAX, NULL), -ENOMEM);
    EXPECT_EQ(counts().helpers, 0);
    return 0;
}

static int without_threads(void *unused)
{
    struct hold hold = HOLD_INIT;
    int result = 4;

    (void)unused;
    fails_to_start = true;
    EXPECT_EQ(gyre_blocking(wait_at, &hold), -EAGAIN);
    EXPECT_EQ(gyre_blocking_detached(wait_at, &hold, sizeof hold, NULL), -EAGAIN);
    EXPECT_EQ(counts().queued, 0);
    EXPECT_EQ(counts().helpers, 0);
    fails_to_start = false;
    EXPECT_EQ(gyre_blocking(give, &result), 4);
    fails_to_start = true;
    EXPECT_EQ(gyre_blocking(give, &result), 4); /* the one there is serves */
    fails_to_start = false;
    return 0;
}

Test(blocking, without_threads_fails)
{
    cr_assert_eq(run_with_workers(2, without_threads, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}

INSIDE(blocking, in_an_ended_context_calls_nothing)
{
    struct hold hold = HOLD_INIT;
    GYRE_TIMEOUT(0);

    EXPECT_EQ(gyre_blocking(wait_at, &hold), -ETIMEDOUT);
    EXPECT_EQ(gyre_blocking_detached(wait_at, &hold, sizeof hold, NULL), -ETIMEDOUT);
    EXPECT_EQ(hold.calls, 0);
    return 0;
}

static int sleep_there(void *unused)
{
    (void)unused;
    return gyre_sleep(1);
}

static int sleep_on_helper(void *unused)
{
    (void)unused;
    return gyre_blocking(sleep_there, NULL);
}

Test(blocking, a_call_that_parks_panics_there, .signal = SIGABRT)
{
    run_with_workers(1, sleep_on_helper, NULL);
}

/* --- cancellation ------------------------------------------------------------------------------
 */

static int with_timeout(void *hold)
{
    GYRE_TIMEOUT(5 * GYRE_MILLISECOND);

    return gyre_blocking(wait_at, hold);
}

static int cancel_queued(void *unused)
{
    struct hold hold = HOLD_INIT, other = HOLD_INIT;
    gyre_handle holder;

    (void)unused;
    EXPECT_EQ(gyre_spawn(&holder, in_blocking, &hold), 0);
    await_number(&hold, &hold.inside, 1);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(with_timeout(&other), -ETIMEDOUT);
        EXPECT_EQ(counts().queued, 0);
    }
    open_hold(&hold);
    expect_result(holder, 7);
    EXPECT_EQ(other.calls, 0);
    return 0;
}

Test(blocking, a_queued_one_is_taken_out)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.helpers = 1;
    cr_assert_eq(gyre_run_options(cancel_queued, NULL, &options), 0);
    cr_assert_eq(failed_expectations, 0);
}

static atomic_int over;

struct in_context {
    struct gyre_context *context;
    struct hold hold;
};

static int look_at_context_after(void *arg)
{
    struct in_context *in = arg;

    GYRE_WITH_CONTEXT(in->context);
    EXPECT_EQ(gyre_blocking(wait_at, &in->hold), 7);
    atomic_store(&over, 1);
    EXPECT_EQ(gyre_yield(), -ECANCELED);
    return 0;
}

INSIDE(blocking, a_running_one_is_awaited)
{
    struct in_context in = {.hold = HOLD_INIT};
    gyre_handle handle;

    atomic_store(&over, 0);
    EXPECT_EQ(gyre_context_with_cancel(gyre_context_current(), &in.context), 0);
    EXPECT_EQ(gyre_spawn(&handle, look_at_context_after, &in), 0);
    await_number(&in.hold, &in.hold.inside, 1);
    gyre_context_cancel(in.context);
    EXPECT_EQ(gyre_sleep(10 * GYRE_MILLISECOND), 0);
    EXPECT_EQ(atomic_load(&over), 0);
    open_hold(&in.hold);
    expect_result(handle, 0);
    gyre_context_release(in.context);
    return 0;
}

struct words {
    char text[40];
    int length;
};

static int measure(void *arg)
{
    struct words *words = arg;

    words->length = (int)strlen(words->text);
    memset(words->text, 'x', 3);
    return 1;
}

INSIDE(detached, works_on_a_copy_that_is_copied_back)
{
    struct words words = {"forty-two", 0};

    EXPECT_EQ(gyre_blocking_detached(measure, &words, sizeof words, note_drop), 1);
    EXPECT_EQ(words.length, 9);
    EXPECT_EQ(strcmp(words.text, "xxxty-two"), 0);
    return 0;
}

static int detach_in_context(void *arg)
{
    struct in_context *in = arg;
    struct hold *pointer = &in->hold;
    int result;

    GYRE_WITH_CONTEXT(in->context);
    result = gyre_blocking_detached(wait_at_pointer, &pointer, sizeof pointer, note_drop);
    EXPECT(pointer == &in->hold);
    return result;
}

INSIDE(detached, does_not_wait_for_it)
{
    struct in_context in = {.hold = HOLD_INIT};
    gyre_handle handle;

    EXPECT_EQ(gyre_context_with_cancel(gyre_context_current(), &in.context), 0);
    EXPECT_EQ(gyre_spawn(&handle, detach_in_context, &in), 0);
    await_number(&in.hold, &in.hold.inside, 1);
    gyre_context_cancel(in.context);
    expect_result(handle, -ECANCELED);
    EXPECT_EQ(counts().busy, 1);
    EXPECT_EQ(number_of(&in.hold, &in.hold.dropped), 0);
    open_hold(&in.hold);
    await_number(&in.hold, &in.hold.dropped, 7);
    while (counts().busy)
        gyre_yield();
    gyre_context_release(in.context);
    return 0;
}

/* --- the end of the runtime --------------------------------------------------------------------
 */

static struct in_context late = {.hold = HOLD_INIT};

static int leave_one(void *unused)
{
    gyre_handle handle;

    (void)unused;
    EXPECT_EQ(gyre_context_with_cancel(gyre_context_current(), &late.context), 0);
    EXPECT_EQ(gyre_spawn(&handle, detach_in_context, &late), 0);
    await_number(&late.hold, &late.hold.inside, 1);
    gyre_context_cancel(late.context);
    expect_result(handle, -ECANCELED);
    gyre_context_release(late.context);
    return 0;
}

static char printed[2000];

static void note_message(void *unused, const char *line, size_t length)
{
    (void)unused;
    if (strlen(printed) + length + 2 < sizeof printed)
        strncat(printed, line, length);
    strcat(printed, "\n");
}

Test(detached, one_left_running_is_reported)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    gyre_set_message_handler(note_message, NULL);
    options.grace = 30 * GYRE_MILLISECOND;
    options.keep_stragglers = 1;
    cr_assert_eq(gyre_run_options(leave_one, NULL, &options), -EBUSY);
    cr_assert(strstr(printed, "1 function of gyre_blocking_detached did not return within the "
                              "grace of 30 ms:"));
    cr_assert(!strstr(printed, "coroutine"));
    open_hold(&late.hold);
}

Test(detached, one_left_running_aborts, .signal = SIGABRT)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.grace = -1;
    gyre_run_options(leave_one, NULL, &options);
}

static void *open_soon(void *unused)
{
    struct timespec time = {.tv_nsec = 20 * GYRE_MILLISECOND};

    (void)unused;
    while (!number_of(&late.hold, &late.hold.inside))
        sched_yield();
    nanosleep(&time, NULL); /* the runtime is to wait for a while */
    open_hold(&late.hold);
    return NULL;
}

Test(detached, the_end_waits_for_it)
{
    pthread_t thread;

    pthread_create(&thread, NULL, open_soon, NULL);
    cr_assert_eq(run_with_workers(2, leave_one, NULL), 0);
    cr_assert_eq(late.hold.dropped, 7);
    pthread_join(thread, NULL);
}

static int leave_coroutine(void *unused)
{
    gyre_handle handle;

    (void)unused;
    EXPECT_EQ(gyre_spawn(&handle, in_blocking, &late.hold), 0);
    await_number(&late.hold, &late.hold.inside, 1);
    return 0;
}

Test(blocking, one_left_running_is_a_coroutine_that_did_not_end)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    gyre_set_message_handler(note_message, NULL);
    options.grace = 30 * GYRE_MILLISECOND;
    options.keep_stragglers = 1;
    cr_assert_eq(gyre_run_options(leave_coroutine, NULL, &options), -EBUSY);
    cr_assert(strstr(printed, "shutdown: 1 coroutine did not end"));
    cr_assert(strstr(printed, ", in gyre_blocking\n"));
    open_hold(&late.hold);
}

/* --- a test's clock ----------------------------------------------------------------------------
 */

static int sleep_really(void *unused)
{
    struct timespec time = {.tv_nsec = 20 * GYRE_MILLISECOND};

    (void)unused;
    nanosleep(&time, NULL);
    return 9;
}

static int doze(void *unused)
{
    (void)unused;
    return gyre_sleep(GYRE_HOUR);
}

GYRE_TEST(blocking, time_stands_still_while_a_function_runs)
{
    int64_t before = gyre_now();
    gyre_handle handle;

    GYRE_EXPECT(gyre_spawn(&handle, doze, NULL) == 0);
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        GYRE_EXPECT(gyre_blocking(sleep_really, NULL) == 9);
        GYRE_EXPECT(gyre_blocking_detached(sleep_really, NULL, 0, NULL) == 9);
        GYRE_EXPECT(gyre_now() == before);
    }
    GYRE_EXPECT(gyre_join(handle, NULL) == 0);
    GYRE_EXPECT(gyre_now() == before + GYRE_HOUR);
}

static int detach(void *context)
{
    GYRE_WITH_CONTEXT(context);

    return gyre_blocking_detached(sleep_really, NULL, 0, NULL);
}

/* What nobody waits for makes nothing ready when it returns; the clock must go on all the same. */
GYRE_TEST(blocking, time_goes_on_after_one_that_was_left)
{
    for (int i = 0; i < 10; i++) {
        struct gyre_context *context;
        gyre_handle handle;
        int result = 0;

        GYRE_EXPECT(gyre_context_with_cancel(gyre_context_current(), &context) == 0);
        GYRE_EXPECT(gyre_spawn(&handle, detach, context) == 0);
        while (!counts().busy)
            gyre_yield();
        gyre_context_cancel(context);
        GYRE_EXPECT(gyre_join(handle, &result) == 0);
        GYRE_EXPECT(result == -ECANCELED);
        GYRE_EXPECT(gyre_sleep(GYRE_SECOND) == 0);
        GYRE_EXPECT(counts().busy == 0);
        gyre_context_release(context);
    }
}
