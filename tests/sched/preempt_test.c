/*
 * Who computes for ever is interrupted, whatever started it; what forbids that, and for how long;
 * checkpoints. Nothing here depends on how long anything takes: what is not interrupted hangs.
 */
#include "inside.h"

#include "../coro/child.h"
#include "base/text.h"
#include "sched/preempt.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static atomic_int stop, begun;

static uint64_t refused(enum gyre_refusal refusal)
{
    struct gyre_preempt_counts counts = {.size = sizeof counts};

    return gyre_preempt_count(&counts) ? 0 : counts.refused[refusal];
}

static uint64_t preempted(void)
{
    struct gyre_preempt_counts counts = {.size = sizeof counts};

    return gyre_preempt_count(&counts) ? 0 : counts.preempted;
}

static int note_mode(void *mode)
{
    struct gyre_preempt_counts counts = {.size = sizeof counts};
    int error = gyre_preempt_count(&counts);

    *(const char **)mode = counts.mode;
    return error;
}

/* Where nothing is interrupted (sanitizers, a processor without the code), there is nothing to
 * test. */
static void need_preemption(void)
{
    const char *mode = NULL;

    cr_assert_eq(run_with_workers(1, note_mode, &mode), 0);
    if (strcmp(mode, "asynchronous"))
        cr_skip_test("%s", mode);
}

#define INTERRUPTED(suite, name)                                                                   \
    static int inside_##suite##_##name(void *unused_);                                             \
    Test(suite, name)                                                                              \
    {                                                                                              \
        need_preemption();                                                                         \
        run_on_each(inside_##suite##_##name);                                                      \
    }                                                                                              \
    static int inside_##suite##_##name(__attribute__((unused)) void *unused_)

static int compute(void *unused)
{
    unsigned long i = 0;

    (void)unused;
    atomic_fetch_add(&begun, 1);
    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        i++;
    return 0;
}

static int stop_all(void *unused)
{
    (void)unused;
    await_flag(&begun, 1);
    atomic_store(&stop, 1);
    return 0;
}

/* Starts who ends the hogs; on one worker it runs only if they are interrupted. */
static void begin(void)
{
    atomic_store(&stop, 0);
    atomic_store(&begun, 0);
    gyre_go(stop_all, NULL);
}

/* --- hogs of all kinds -------------------------------------------------------------------------
 */

INTERRUPTED(hog, spawned)
{
    gyre_handle handle;

    begin();
    gyre_spawn(&handle, compute, NULL);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    return 0;
}

INTERRUPTED(hog, main_coroutine)
{
    begin();
    compute(NULL);
    return 0;
}

INTERRUPTED(hog, group_members)
{
    GYRE_GROUP(group);

    begin();
    gyre_group_go(&group, compute, NULL);
    gyre_group_go(&group, compute, NULL);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    return 0;
}

INTERRUPTED(hog, nursery_member)
{
    begin();
    {
        GYRE_NURSERY(nursery);
        gyre_group_go(&nursery, compute, NULL);
    }
    EXPECT_EQ(atomic_load(&stop), 1);
    return 0;
}

INTERRUPTED(hog, pinned)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handle;

    begin();
    options.flags = GYRE_SPAWN_PINNED;
    gyre_spawn_at(GYRE_SITE("pinned"), &handle, compute, NULL, &options);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    return 0;
}

static atomic_int over;

static int compute_then_tell(void *unused)
{
    compute(unused);
    atomic_store(&over, 1);
    return 0;
}

INTERRUPTED(hog, function_of_a_timer)
{
    atomic_store(&over, 0);
    begin();
    EXPECT_EQ(gyre_after_func(NULL, 1, compute_then_tell, NULL), 0);
    await_flag(&over, 1);
    return 0;
}

static int end_context(void *unused)
{
    struct gyre_context_after *after;
    struct gyre_context *context = gyre_context_current();
    (void)unused;

    EXPECT_EQ(gyre_context_after(context, compute_then_tell, NULL, &after), 0);
    return 0;
}

INTERRUPTED(hog, function_after_a_context)
{
    atomic_store(&over, 0);
    begin();
    {
        GYRE_CANCELLABLE();
        end_context(NULL);
    }
    await_flag(&over, 1);
    return 0;
}

static void compute_at_end(void *value)
{
    compute(value);
}

static int leave_a_local(void *unused)
{
    static struct gyre_local key = {compute_at_end};

    return gyre_local_set(&key, &unused);
}

INTERRUPTED(hog, destructor_of_a_local)
{
    gyre_handle handle;

    begin();
    gyre_spawn(&handle, leave_a_local, NULL);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    return 0;
}

INTERRUPTED(hog, once_initialiser)
{
    gyre_once once = GYRE_ONCE_INIT;

    begin();
    EXPECT_EQ(gyre_once_do(&once, compute, NULL), 0);
    return 0;
}

/* --- what stays as it was ----------------------------------------------------------------------
 */

static _Thread_local int of_the_thread;

static __attribute__((noinline)) int *thread_local_address(void)
{
    int *address = &of_the_thread;

    __asm__ volatile("" : "+r"(address) : : "memory");
    return address;
}

static int stay(void *unused)
{
    const unsigned worker = gyre_worker_index();
    const pthread_t thread = pthread_self();
    int *const address = thread_local_address(), *const at = &errno;

    (void)unused;
    errno = 12345;
    compute(NULL);
    EXPECT_EQ(*at, 12345);
    EXPECT(&errno == at);
    EXPECT_EQ(gyre_worker_index(), worker);
    EXPECT(pthread_equal(pthread_self(), thread));
    EXPECT(thread_local_address() == address);
    return 0;
}

static int spoil_errno(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        errno = 777;
        gyre_yield();
    }
    return 0;
}

INTERRUPTED(interrupted, stays_on_its_thread_and_keeps_errno)
{
    uint64_t before = preempted();
    GYRE_GROUP(group);

    atomic_store(&stop, 0);
    for (int i = 0; i < 6; i++)
        gyre_group_go(&group, stay, NULL);
    gyre_group_go(&group, spoil_errno, NULL);
    while (preempted() < before + 12)
        gyre_yield();
    atomic_store(&stop, 1);
    gyre_group_wait(&group);
    return 0;
}

/* --- what forbids it ---------------------------------------------------------------------------
 */

static atomic_ulong others;

static int count_turns(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        atomic_fetch_add(&others, 1);
        gyre_yield();
    }
    return 0;
}

/* Computes until it was refused for that reason. */
static void compute_refused(enum gyre_refusal refusal)
{
    uint64_t limit = refused(refusal) + 1;
    unsigned long before = atomic_load(&others);

    while (refused(refusal) < limit)
        ;
    if (gyre_worker_count() == 1)
        EXPECT_EQ(atomic_load(&others), before);
}

/* Until somebody else had a turn on the only worker. */
static void compute_until_interrupted(void)
{
    unsigned long before = atomic_load(&others);

    while (atomic_load(&others) == before)
        ;
}

static void begin_turns(void)
{
    atomic_store(&stop, 0);
    gyre_go(count_turns, NULL);
    gyre_yield();
}

INTERRUPTED(section, is_honoured_and_the_tick_made_up_for)
{
    begin_turns();
    gyre_preempt_off();
    compute_refused(GYRE_REFUSED_SECTION);
    gyre_preempt_off();
    gyre_preempt_on();
    compute_refused(GYRE_REFUSED_SECTION);
    gyre_preempt_on();
    compute_until_interrupted();
    atomic_store(&stop, 1);
    return 0;
}

INTERRUPTED(section, short_ones_that_follow_each_other_do_not_last_for_ever)
{
    begin_turns();
    for (unsigned long before = atomic_load(&others); atomic_load(&others) == before;) {
        gyre_preempt_off();
        gyre_preempt_on();
    }
    atomic_store(&stop, 1);
    return 0;
}

GYRE_NO_PREEMPT static void compute_guarded(void)
{
    compute_refused(GYRE_REFUSED_SECTION);
}

static __attribute__((noinline)) void compute_below_guarded(void)
{
    compute_refused(GYRE_REFUSED_CALLER);
    __asm__ volatile("" : : : "memory");
}

GYRE_NO_PREEMPT static void guard(void)
{
    compute_below_guarded();
}

INTERRUPTED(section, function_and_what_it_calls)
{
    begin_turns();
    (void)compute_guarded;
    guard();
    compute_until_interrupted();
    atomic_store(&stop, 1);
    return 0;
}

INTERRUPTED(mask, of_its_own)
{
    sigset_t one, before;

    sigemptyset(&one);
    sigaddset(&one, SIGUSR2);
    begin_turns();
    pthread_sigmask(SIG_BLOCK, &one, &before);
    compute_refused(GYRE_REFUSED_MASK);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    compute_until_interrupted();
    atomic_store(&stop, 1);
    return 0;
}

static int too_deep(void)
{
    for (unsigned i = 0; i <= UINT16_MAX; i++)
        gyre_preempt_off();
    return 0;
}

static int nest_too_deep(void *unused)
{
    (void)unused;
    return too_deep();
}

static int on_without_off(void *unused)
{
    (void)unused;
    gyre_preempt_off();
    gyre_preempt_on();
    gyre_preempt_on();
    return 0;
}

static void run_too_deep(void)
{
    run_with_workers(1, nest_too_deep, NULL);
}

static void run_on_without_off(void)
{
    run_with_workers(1, on_without_off, NULL);
}

Test(section, misuse_panics)
{
    struct child child;

    child_run(&child, run_too_deep);
    cr_assert_eq(child.status, -SIGABRT);
    cr_assert(child_said(&child, "gyre: panic: gyre_preempt_off nested too deep"), "%s",
              child.output);
    child_run(&child, run_on_without_off);
    cr_assert_eq(child.status, -SIGABRT);
    cr_assert(child_said(&child, "gyre: panic: gyre_preempt_on without gyre_preempt_off"), "%s",
              child.output);
}

Test(outside, a_coroutine_nothing_happens)
{
    gyre_preempt_on();
    gyre_preempt_off();
    gyre_preempt_off();
    cr_assert_eq(gyre_checkpoint(), 0);
    cr_assert_eq(gyre_checkpoint_slow(), 0);
}

/* --- checkpoints -------------------------------------------------------------------------------
 */

/* In a section, so that only the checkpoints give way: that works in every mode. */
INSIDE(checkpoint, gives_way)
{
    begin();
    gyre_preempt_off();
    atomic_fetch_add(&begun, 1);
    while (!atomic_load(&stop))
        EXPECT_EQ(gyre_checkpoint(), 0);
    gyre_preempt_on();
    return 0;
}

static int check_until_error(void *unused)
{
    int error;

    (void)unused;
    gyre_preempt_off();
    atomic_fetch_add(&begun, 1);
    do
        error = gyre_checkpoint();
    while (!error);
    gyre_preempt_on();
    return error;
}

INSIDE(checkpoint, tells_that_the_context_has_ended)
{
    gyre_handle handle;
    int result = 0;

    atomic_store(&begun, 0);
    {
        GYRE_CANCELLABLE();
        gyre_spawn(&handle, check_until_error, NULL);
        await_flag(&begun, 1);
    }
    EXPECT_EQ(gyre_join(handle, &result), 0);
    EXPECT_EQ(result, -ECANCELED);
    return 0;
}

/* Those who give way and those who yield: each goes on. Also where there are no timers. */
static int give_way_to_many(void *unused)
{
    (void)unused;
    begin_turns();
    gyre_preempt_off();
    for (int i = 0; i < 3; i++)
        for (unsigned long before = atomic_load(&others); atomic_load(&others) == before;)
            gyre_checkpoint();
    gyre_preempt_on();
    atomic_store(&stop, 1);
    return 0;
}

INSIDE(checkpoint, has_its_turn_again)
{
    return give_way_to_many(NULL);
}

static int check_for_a_while(void *ended)
{
    struct timespec from, now;

    begin_turns();
    clock_gettime(CLOCK_MONOTONIC, &from);
    do {
        EXPECT_EQ(gyre_checkpoint(), 0);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < 60);
    EXPECT_EQ(atomic_load(&others), *(unsigned long *)ended);
    atomic_store(&stop, 1);
    return 0;
}

static int raise_flag(void *flag)
{
    atomic_store((atomic_int *)flag, 1);
    return 0;
}

static int check_until_another_ran(void *unused)
{
    atomic_int flag = 0;

    (void)unused;
    EXPECT_EQ(gyre_go(raise_flag, &flag), 0);
    while (!atomic_load(&flag))
        EXPECT_EQ(gyre_checkpoint(), 0);
    return 0;
}

Test(checkpoint, gives_way_where_nothing_is_interrupted)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 1;
    options.quantum = -1;
    cr_assert_eq(gyre_run_options(check_until_another_ran, NULL, &options), 0);
    cr_assert_eq(failed_expectations, 0);
}

Test(checkpoint, gives_not_way_before_a_long_quantum_is_over)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    unsigned long turns = 1;

    options.workers = 1;
    options.quantum = 10 * GYRE_SECOND;
    cr_assert_eq(gyre_run_options(check_for_a_while, &turns, &options), 0);
    cr_assert_eq(failed_expectations, 0);
}

Test(checkpoint, wanted_is_left_by_no_run)
{
    for (int i = 0; i < 3; i++)
        run_with_workers(2, give_way_to_many, NULL);
    cr_assert_eq(gyre_checkpoint_wanted, 0);
}

/* --- one who computes lets the others in -------------------------------------------------------
 */

static int sleep_then_count(void *unused)
{
    (void)unused;
    EXPECT_EQ(gyre_sleep(2 * GYRE_MILLISECOND), 0);
    atomic_fetch_add(&over, 1);
    return 0;
}

static int read_then_count(void *fd)
{
    char byte;

    EXPECT_EQ(gyre_read(*(int *)fd, &byte, 1), 1);
    atomic_fetch_add(&over, 1);
    return 0;
}

static int time_out_then_count(void *fd)
{
    char byte;

    GYRE_TIMEOUT(2 * GYRE_MILLISECOND);
    EXPECT_EQ(gyre_read(*(int *)fd, &byte, 1), -ETIMEDOUT);
    atomic_fetch_add(&over, 1);
    return 0;
}

INTERRUPTED(lone_hog, lets_timers_reads_and_cancels_in)
{
    int ready[2], never[2];

    EXPECT_EQ(pipe(ready), 0);
    EXPECT_EQ(pipe(never), 0);
    atomic_store(&over, 0);
    gyre_go(sleep_then_count, NULL);
    gyre_go(read_then_count, &ready[0]);
    gyre_go(time_out_then_count, &never[0]);
    gyre_yield();
    EXPECT_EQ(write(ready[1], "x", 1), 1);
    while (atomic_load_explicit(&over, memory_order_relaxed) < 3)
        ;
    for (int i = 0; i < 2; i++) {
        gyre_close(ready[i]);
        gyre_close(never[i]);
    }
    return 0;
}

/* --- counts ------------------------------------------------------------------------------------
 */

static int count_wrongly(void *unused)
{
    struct gyre_preempt_counts counts = {.size = sizeof counts - 1};

    (void)unused;
    EXPECT_EQ(gyre_preempt_count(&counts), -EINVAL);
    counts.size = 0;
    EXPECT_EQ(gyre_preempt_count(&counts), -EINVAL);
    EXPECT_EQ(gyre_preempt_count(NULL), -EINVAL);
    counts.size = sizeof counts;
    EXPECT_EQ(gyre_preempt_count(&counts), 0);
    EXPECT_EQ(counts.size, sizeof counts);
    return 0;
}

Test(count, takes_its_own_size_and_only_while_a_runtime_runs)
{
    struct gyre_preempt_counts counts = {.size = sizeof counts};

    cr_assert_eq(gyre_preempt_count(&counts), -EINVAL);
    run_on_each(count_wrongly);
    cr_assert_eq(gyre_preempt_count(&counts), -EINVAL);
}

Test(count, every_refusal_has_a_name)
{
    for (int i = 0; i < GYRE_REFUSAL_COUNT; i++)
        cr_assert(gyre_refusal_name((enum gyre_refusal)i) && *gyre_refusal_name(i));
    cr_assert_eq(gyre_refusal_name(GYRE_REFUSAL_COUNT), NULL);
    cr_assert_eq(gyre_refusal_name((enum gyre_refusal) - 1), NULL);
    cr_assert_str_eq(gyre_refusal_name(GYRE_REFUSED_LIBRARY), "in a library");
}

Test(count, mode_is_off_when_preemption_is)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    const char *mode = NULL;

    options.quantum = -1;
    cr_assert_eq(gyre_run_options(note_mode, &mode, &options), 0);
    cr_assert_str_eq(mode, "off");
    setenv("GYRE_QUANTUM", "10ms", 1);
    cr_assert_eq(gyre_run_options(note_mode, &mode, &options), 0);
    cr_assert_str_neq(mode, "off");
    setenv("GYRE_QUANTUM", "off", 1);
    cr_assert_eq(run_with_workers(1, note_mode, &mode), 0);
    cr_assert_str_eq(mode, "off");
}

/* --- want of something -------------------------------------------------------------------------
 */

int __real_timer_create(clockid_t clock, struct sigevent *event, timer_t *timer);
int __wrap_timer_create(clockid_t clock, struct sigevent *event, timer_t *timer);
int __real_sigaction(int signal, const struct sigaction *action, struct sigaction *before);
int __wrap_sigaction(int signal, const struct sigaction *action, struct sigaction *before);
int __real_gyre_text_map_make(struct text_map **map);
int __wrap_gyre_text_map_make(struct text_map **map);

static bool no_timers, no_handler, no_map;

static int nothing(void *unused)
{
    (void)unused;
    return 0;
}

int __wrap_timer_create(clockid_t clock, struct sigevent *event, timer_t *timer)
{
    if (!no_timers)
        return __real_timer_create(clock, event, timer);
    errno = EAGAIN;
    return -1;
}

int __wrap_sigaction(int signal, const struct sigaction *action, struct sigaction *before)
{
    if (!no_handler || signal != SIGURG)
        return __real_sigaction(signal, action, before);
    errno = ENOSYS;
    return -1;
}

int __wrap_gyre_text_map_make(struct text_map **map)
{
    return no_map ? -ENOMEM : __real_gyre_text_map_make(map);
}

Test(without, timers_it_is_said_once_and_checkpoints_give_way)
{
    note_messages();
    no_timers = true;
    cr_assert_eq(run_with_workers(3, give_way_to_many, NULL), 0);
    cr_assert_eq(run_with_workers(1, give_way_to_many, NULL), 0);
#ifdef PREEMPT_SIGNALS
    cr_assert_str_eq(messages, "gyre: a coroutine may keep its worker for ever: no timer for "
                               "preemption: Resource temporarily unavailable\n");
#endif
    cr_assert_eq(failed_expectations, 0);
}

Test(without, a_handler_nothing_starts)
{
    no_handler = true;
#ifdef PREEMPT_SIGNALS
    cr_assert_eq(run_with_workers(1, nothing, NULL), -ENOSYS);
#endif
    no_handler = false;
    cr_assert_eq(run_with_workers(1, nothing, NULL), 0);
}

Test(without, memory_for_the_map_nothing_starts)
{
    no_map = true;
    cr_assert_eq(run_with_workers(1, nothing, NULL), -ENOMEM);
    no_map = false;
    cr_assert_eq(run_with_workers(1, nothing, NULL), 0);
}

/* --- short quanta, and the end -----------------------------------------------------------------
 */

static int sleep_and_compute(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0);
        for (volatile int n = 0; n < 20000; n++)
            ;
    }
    return 0;
}

static int many_sleep(void *unused)
{
    GYRE_GROUP(group);

    (void)unused;
    for (int i = 0; i < 10; i++)
        gyre_group_go(&group, sleep_and_compute, NULL);
    return gyre_group_wait(&group);
}

Test(quantum, short_ones_disturb_no_sleep)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.quantum = 200 * GYRE_MICROSECOND;
    for (unsigned workers = 1; workers <= 5; workers += 2) {
        options.workers = workers;
        cr_assert_eq(gyre_run_options(many_sleep, NULL, &options), 0);
        cr_assert_eq(failed_expectations, 0);
    }
}

static int leave_a_hog(void *unused)
{
    (void)unused;
    atomic_store(&stop, 0);
    atomic_store(&begun, 0);
    gyre_go(compute, NULL);
    await_flag(&begun, 1);
    return 0;
}

static void run_leave_a_hog(void)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 1;
    options.grace = 30 * GYRE_MILLISECOND;
    gyre_run_options(leave_a_hog, NULL, &options);
}

Test(shutdown, names_who_computes_on)
{
    struct child child;

    need_preemption();
    child_run(&child, run_leave_a_hog);
    cr_assert_eq(child.status, -SIGABRT, "%s", child.output);
    cr_assert(child_said(&child, "gyre: shutdown: 1 coroutine did not end within the grace of 30 "
                                 "ms:\n"),
              "%s", child.output);
    cr_assert(child_said(&child, "\"compute\""), "%s", child.output);
}
