/* Starting, joining, letting go; names, numbers, local values; pinned coroutines. */
#include "inside.h"

#include <fenv.h>
#include <pthread.h>
#include <stdlib.h>

static int give_number(void *arg)
{
    return (int)(intptr_t)arg;
}

static int yield_and_give(void *arg)
{
    for (int i = 0; i < 10; i++)
        gyre_yield();
    return (int)(intptr_t)arg;
}

static int wait_for_end(void *arg)
{
    (void)arg;
    return gyre_sleep(INT64_MAX);
}

static int raise_flag(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

INSIDE(spawn, join_gives_the_result)
{
    static const int results[] = {0, 1, -EIO, INT32_MIN, INT32_MAX};
    gyre_handle handle;

    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        int result = 99;

        EXPECT_EQ(gyre_spawn(&handle, give_number, (void *)(intptr_t)results[i]), 0);
        EXPECT_EQ(gyre_join(handle, &result), 0);
        EXPECT_EQ(result, results[i]);
        EXPECT_EQ(gyre_spawn(&handle, yield_and_give, (void *)(intptr_t)results[i]), 0);
        EXPECT_EQ(gyre_join(handle, NULL), 0);
    }
    return 0;
}

INSIDE(spawn, join_after_the_end)
{
    gyre_handle handle;
    atomic_int ran = 0;
    int result = 1;

    EXPECT_EQ(gyre_spawn(&handle, raise_flag, &ran), 0);
    await_flag(&ran, 1);
    for (int i = 0; i < 100; i++)
        gyre_yield();
    EXPECT_EQ(gyre_join(handle, &result), 0);
    EXPECT_EQ(result, 0);
    return 0;
}

static int join_given(void *arg)
{
    int result = -1;

    EXPECT_EQ(gyre_join(*(gyre_handle *)arg, &result), 0);
    return result;
}

INSIDE(spawn, any_coroutine_may_join)
{
    gyre_handle child, joiner;
    int result = -1;

    EXPECT_EQ(gyre_spawn(&child, yield_and_give, (void *)42), 0);
    EXPECT_EQ(gyre_spawn(&joiner, join_given, &child), 0);
    EXPECT_EQ(gyre_join(joiner, &result), 0);
    EXPECT_EQ(result, 42);
    return 0;
}

INSIDE(spawn, join_in_an_ended_context_leaves_the_handle_good)
{
    gyre_handle handle, ended;
    atomic_int ran = 0;
    int result = 77;

    EXPECT_EQ(gyre_spawn(&handle, wait_for_end, NULL), 0);
    EXPECT_EQ(gyre_spawn(&ended, raise_flag, &ran), 0);
    await_flag(&ran, 1);
    for (int i = 0; i < 3; i++) {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_join(handle, &result), -ETIMEDOUT);
        EXPECT_EQ(gyre_join(ended, &result), -ETIMEDOUT); /* at entry too */
    }
    {
        GYRE_CANCELLABLE();
        struct gyre_context *context = gyre_context_current();

        gyre_context_cancel(context);
        gyre_context_release(context);
        EXPECT_EQ(gyre_join(handle, &result), -ECANCELED);
    }
    EXPECT_EQ(result, 77);
    EXPECT_EQ(gyre_join(ended, &result), 0);
    EXPECT_EQ(result, 0);
    gyre_detach(handle);
    return 0;
}

INSIDE(spawn, detach_before_and_after_the_end)
{
    gyre_handle handle;
    atomic_int ran = 0;

    for (int i = 1; i <= 50; i++) {
        EXPECT_EQ(gyre_spawn(&handle, raise_flag, &ran), 0);
        if (i % 2)
            await_flag(&ran, i);
        gyre_detach(handle);
        await_flag(&ran, i);
    }
    return 0;
}

static int detach_given(void *arg)
{
    gyre_handle *handle = arg;

    gyre_detach(*handle);
    handle->id = 0;
    return 0;
}

INSIDE(spawn, a_coroutine_may_let_itself_go)
{
    gyre_handle handle;
    volatile uint64_t *id = &handle.id;

    EXPECT_EQ(gyre_spawn(&handle, detach_given, &handle), 0);
    while (*id)
        gyre_yield();
    return 0;
}

/* --- arguments ---------------------------------------------------------------------------------
 */

struct block {
    unsigned char bytes[16384];
};

static size_t expected_size;
static atomic_int checked;

static int check_bytes(void *arg)
{
    const unsigned char *bytes = arg;

    EXPECT_EQ((uintptr_t)arg % 16, 0);
    for (size_t i = 0; i < expected_size; i++)
        if (bytes[i] != (unsigned char)(i * 7 + 1))
            EXPECT(!"the bytes that were copied");
    memset(arg, 0, expected_size); /* they are its own */
    atomic_fetch_add(&checked, 1);
    return 0;
}

INSIDE(spawn, copies_arguments_of_every_size)
{
    static const size_t sizes[] = {0, 1, 2, 8, 15, 16, 17, 100, 4095, 4096, 4097, 16383, 16384};
    struct block block;
    int count = 0;

    checked = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t b = 0; b < sizeof block.bytes; b++)
            block.bytes[b] = (unsigned char)(b * 7 + 1);
        expected_size = sizes[i];
        EXPECT_EQ(gyre_go_copy(check_bytes, &block, sizes[i]), 0);
        memset(&block, 0xff, sizeof block);
        await_flag(&checked, ++count);
    }
    expected_size = 0;
    EXPECT_EQ(gyre_go_copy(check_bytes, NULL, 0), 0);
    await_flag(&checked, ++count);
    return 0;
}

INSIDE(spawn, copies_onto_the_smallest_stack)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    struct block block;
    gyre_handle handle;

    for (size_t b = 0; b < sizeof block.bytes; b++)
        block.bytes[b] = (unsigned char)(b * 7 + 1);
    expected_size = sizeof block;
    options.stack_size = 1;
    options.copy = &block;
    options.copy_size = sizeof block;
    EXPECT_EQ(gyre_spawn_options(&handle, check_bytes, NULL, &options), 0);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    return 0;
}

static int must_not_run(void *arg)
{
    (void)arg;
    EXPECT(!"called");
    return 0;
}

INSIDE(spawn, refuses_what_makes_no_sense)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    const gyre_handle untouched = {(void *)&options, 12345};
    gyre_handle handle = untouched;
    struct block block[2] = {0};
    size_t before = gyre_coro_count();

    EXPECT_EQ(gyre_go(NULL, NULL), -EINVAL);
    EXPECT_EQ(gyre_spawn(&handle, NULL, NULL), -EINVAL);
    EXPECT_EQ(gyre_go_copy(must_not_run, block, 16385), -EINVAL);
    EXPECT_EQ(gyre_go_copy(must_not_run, block, SIZE_MAX), -EINVAL);
    EXPECT_EQ(gyre_go_copy(must_not_run, NULL, 1), -EINVAL);
    EXPECT_EQ(gyre_runtime_go(gyre_runtime_current(), NULL, NULL), -EINVAL);
    options.flags = 1 << 3;
    EXPECT_EQ(gyre_spawn_options(&handle, must_not_run, NULL, &options), -EINVAL);
    options.flags = GYRE_SPAWN_PINNED;
    options.worker = gyre_worker_count() + 1;
    EXPECT_EQ(gyre_spawn_options(&handle, must_not_run, NULL, &options), -EINVAL);
    options = (struct gyre_spawn_options)GYRE_SPAWN_INIT;
    options.stack_size = ((size_t)1 << 30) + 1;
    EXPECT_EQ(gyre_spawn_options(&handle, must_not_run, NULL, &options), -EINVAL);
    options.stack_size = SIZE_MAX;
    EXPECT_EQ(gyre_spawn_options(&handle, must_not_run, NULL, &options), -EINVAL);
    memset(&options, 0, sizeof options);
    EXPECT_EQ(gyre_spawn_options(&handle, must_not_run, NULL, &options), -EINVAL);
    EXPECT(handle.coro == untouched.coro && handle.id == untouched.id);
    EXPECT_EQ(gyre_coro_count(), before);
    return 0;
}

static int use_much_stack(void *arg)
{
    char much[1 << 20];

    (void)arg;
    memset(much, 1, sizeof much);
    __asm__ volatile("" : : "r"(much) : "memory");
    EXPECT(gyre_stack_used() >= sizeof much);
    return gyre_yield();
}

INSIDE(spawn, stacks_are_as_large_as_asked)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handle;

    options.stack_size = 2 << 20;
    EXPECT_EQ(gyre_spawn_options(&handle, use_much_stack, NULL, &options), 0);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    EXPECT(gyre_stack_used() < 64 << 10);
    return 0;
}

/* --- names, numbers, counts --------------------------------------------------------------------
 */

static int check_name(void *arg)
{
    const char *expected = arg;

    EXPECT(!strcmp(gyre_coro_name(), expected));
    gyre_coro_set_name("another");
    gyre_yield();
    EXPECT(!strcmp(gyre_coro_name(), "another"));
    gyre_coro_set_name(NULL);
    EXPECT(!strcmp(gyre_coro_name(), "check_name"));
    return 0;
}

INSIDE(spawn, names)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handle;

    EXPECT(!strcmp(gyre_coro_name(), "main"));
    EXPECT_EQ(gyre_spawn(&handle, check_name, "check_name"), 0);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    options.name = "worker";
    EXPECT_EQ(gyre_spawn_options(&handle, check_name, "worker", &options), 0);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    return 0;
}

Test(spawn, outside_a_coroutine_there_is_no_name_and_no_number)
{
    cr_assert_null(gyre_coro_name());
    cr_assert_eq(gyre_coro_id(), 0);
}

static int note_id(void *arg)
{
    *(uint64_t *)arg = gyre_coro_id();
    return 0;
}

INSIDE(spawn, numbers_are_not_reused)
{
    enum { COUNT = 5000 };
    static uint64_t ids[COUNT];
    static char seen[100 * COUNT];
    gyre_handle handle;

    EXPECT_EQ(gyre_coro_id(), 1);
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < COUNT; i++) {
        EXPECT_EQ(gyre_spawn(&handle, note_id, &ids[i]), 0);
        EXPECT_EQ(gyre_join(handle, NULL), 0);
        EXPECT_EQ(ids[i], handle.id);
        EXPECT(ids[i] > 1 && ids[i] < sizeof seen && !seen[ids[i]]++);
    }
    return 0;
}

INSIDE(spawn, counts_who_lives)
{
    enum { COUNT = 300 };
    gyre_handle handles[COUNT];

    EXPECT_EQ(gyre_coro_count(), 1);
    GYRE_CANCELLABLE();
    for (int i = 0; i < COUNT; i++)
        EXPECT_EQ(gyre_spawn(&handles[i], wait_for_end, NULL), 0);
    EXPECT_EQ(gyre_coro_count(), COUNT + 1);
    EXPECT_EQ(gyre_runtime_coro_count(gyre_runtime_current()), COUNT + 1);
    {
        struct gyre_context *context = gyre_context_current();

        gyre_context_cancel(context);
        gyre_context_release(context);
    }
    GYRE_SHIELD();
    for (int i = 0; i < COUNT; i++)
        EXPECT_EQ(gyre_join(handles[i], NULL), 0);
    while (gyre_coro_count() > 1) /* a snapshot: the last ones may be on their way */
        gyre_yield();
    return 0;
}

/* --- local values ------------------------------------------------------------------------------
 */

static atomic_int destroyed;

static void note_destroyed(void *value)
{
    (void)value;
    EXPECT(gyre_coro_id()); /* inside the coroutine */
    gyre_yield();
    atomic_fetch_add(&destroyed, 1);
}

static struct gyre_local plain_key, key = {note_destroyed}, other_key = {note_destroyed};

static void set_again(void *value);
static struct gyre_local stubborn = {set_again};

static void set_again(void *value)
{
    intptr_t left = (intptr_t)value;

    EXPECT(!gyre_local_get(&stubborn)); /* it is removed before it is destroyed */
    atomic_fetch_add(&destroyed, 1);
    if (left > 1)
        EXPECT_EQ(gyre_local_set(&stubborn, (void *)(left - 1)), 0);
    else
        EXPECT_EQ(gyre_local_set(&key, (void *)1), 0);
}

static int use_locals(void *arg)
{
    EXPECT(!gyre_local_get(&key)); /* nothing is inherited */
    EXPECT_EQ(gyre_local_set(&key, NULL), 0);
    EXPECT_EQ(gyre_local_set(&key, arg), 0);
    EXPECT(gyre_local_get(&key) == arg);
    EXPECT_EQ(gyre_local_set(&key, (void *)2), 0); /* not destroyed: replaced */
    EXPECT_EQ(gyre_local_set(&other_key, arg), 0);
    EXPECT_EQ(gyre_local_set(&other_key, NULL), 0); /* not destroyed: removed */
    EXPECT(!gyre_local_get(&other_key));
    EXPECT_EQ(gyre_local_set(&plain_key, arg), 0);
    EXPECT_EQ(gyre_local_set(&stubborn, (void *)5), 0);
    gyre_yield();
    EXPECT(gyre_local_get(&plain_key) == arg);
    EXPECT_EQ(destroyed, 0);
    return 0;
}

INSIDE(spawn, local_values_are_destroyed_at_the_end)
{
    gyre_handle handle;

    destroyed = 0;
    EXPECT_EQ(gyre_local_set(&plain_key, &handle), 0);
    EXPECT_EQ(gyre_spawn(&handle, use_locals, &handle), 0);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    EXPECT_EQ(destroyed, 1 + 5); /* the last of the five replaced the value of `key` */
    EXPECT(gyre_local_get(&plain_key) == &handle);
    return 0;
}

static int set_one(void *arg)
{
    (void)arg;
    return gyre_local_set(&key, (void *)1);
}

Test(spawn, local_values_of_main_are_destroyed_before_the_shutdown)
{
    destroyed = 0;
    cr_assert_eq(run_with_workers(2, set_one, NULL), 0);
    cr_assert_eq(destroyed, 1);
    cr_assert_eq(failed_expectations, 0);
}

/* --- pinned ------------------------------------------------------------------------------------
 */

struct pinned {
    unsigned worker;
    int rounds;
    pthread_t thread;
};

static int stay(void *arg)
{
    struct pinned *pinned = arg;
    pthread_t thread = pthread_self();

    for (int i = 0; i < pinned->rounds; i++) {
        EXPECT_EQ(gyre_worker_index(), pinned->worker);
        EXPECT(pthread_equal(thread, pthread_self()));
        if (i % 3 == 0)
            gyre_sleep(i % 7 * GYRE_MICROSECOND);
        else
            gyre_yield();
    }
    return 0;
}

static int busy_yielder(void *arg)
{
    while (!atomic_load((atomic_int *)arg))
        gyre_yield();
    return 0;
}

INSIDE(spawn, pinned_ones_stay_on_their_worker_and_run_in_turn)
{
    enum { EACH = 20 };
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    unsigned workers = gyre_worker_count();
    static struct pinned pinned[5][EACH];
    static gyre_handle handles[5][EACH];
    atomic_int over = 0;
    gyre_handle yielders[5];

    for (unsigned w = 0; w < workers; w++)
        EXPECT_EQ(gyre_spawn(&yielders[w], busy_yielder, &over), 0);
    options.flags = GYRE_SPAWN_PINNED;
    for (unsigned w = 0; w < workers; w++)
        for (int i = 0; i < EACH; i++) {
            pinned[w][i] = (struct pinned){w, 300, 0};
            options.worker = 1 + w;
            EXPECT_EQ(gyre_spawn_options(&handles[w][i], stay, &pinned[w][i], &options), 0);
        }
    for (unsigned w = 0; w < workers; w++)
        for (int i = 0; i < EACH; i++)
            EXPECT_EQ(gyre_join(handles[w][i], NULL), 0);
    atomic_store(&over, 1);
    for (unsigned w = 0; w < workers; w++)
        EXPECT_EQ(gyre_join(yielders[w], NULL), 0);
    return 0;
}

static int note_worker(void *arg)
{
    *(unsigned *)arg = gyre_worker_index();
    return 0;
}

INSIDE(spawn, pinned_without_a_number_means_here)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handle;

    options.flags = GYRE_SPAWN_PINNED;
    for (int i = 0; i < 100; i++) {
        unsigned here = gyre_worker_index(), there = 99;

        EXPECT_EQ(gyre_spawn_options(&handle, note_worker, &there, &options), 0);
        EXPECT_EQ(gyre_join(handle, NULL), 0);
        EXPECT_EQ(there, here);
    }
    return 0;
}

/* --- control words -----------------------------------------------------------------------------
 */

static int round_up(void *arg)
{
    fesetround(FE_UPWARD);
    gyre_yield();
    EXPECT_EQ(fegetround(), FE_UPWARD);
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int want_nearest(void *arg)
{
    atomic_int *over = arg;

    while (!atomic_load(over)) {
        EXPECT_EQ(fegetround(), FE_TONEAREST);
        gyre_yield();
    }
    return 0;
}

INSIDE(spawn, control_words_are_kept_apart_also_at_the_end)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    atomic_int ended = 0, over = 0;
    gyre_handle handles[5];

    options.flags = GYRE_SPAWN_SAVE_FPU;
    for (int i = 0; i < 5; i++)
        EXPECT_EQ(gyre_spawn(&handles[i], want_nearest, &over), 0);
    for (int i = 0; i < 50; i++)
        EXPECT_EQ(gyre_go_options(round_up, &ended, &options), 0);
    while (atomic_load(&ended) < 50) {
        EXPECT_EQ(fegetround(), FE_TONEAREST);
        gyre_yield();
    }
    EXPECT_EQ(fegetround(), FE_TONEAREST);
    atomic_store(&over, 1);
    for (int i = 0; i < 5; i++)
        EXPECT_EQ(gyre_join(handles[i], NULL), 0);
    return 0;
}

/* --- spreading ---------------------------------------------------------------------------------
 */

static atomic_int hogs;

/* Ends only when another one runs at the same moment. */
static int meet_another(void *arg)
{
    (void)arg;
    atomic_fetch_add(&hogs, 1);
    while (atomic_load(&hogs) < 2)
        ;
    return 0;
}

static int spawn_two_hogs(void *arg)
{
    gyre_handle handles[2];

    (void)arg;
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(gyre_spawn(&handles[i], meet_another, NULL), 0);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(gyre_join(handles[i], NULL), 0);
    return 0;
}

static int sleep_and_meet(void *arg)
{
    gyre_sleep_until(*(int64_t *)arg);
    return meet_another(NULL);
}

static int wake_two_hogs(void *arg)
{
    int64_t when = gyre_now() + 5 * GYRE_MILLISECOND;
    gyre_handle handles[2];

    (void)arg;
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(gyre_spawn(&handles[i], sleep_and_meet, &when), 0);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(gyre_join(handles[i], NULL), 0);
    return 0;
}

Test(spawn, two_hogs_run_on_two_workers)
{
    for (int i = 0; i < 200; i++) {
        hogs = 0;
        cr_assert_eq(run_with_workers(2 + (unsigned)i % 4, spawn_two_hogs, NULL), 0);
    }
    cr_assert_eq(failed_expectations, 0);
}

Test(spawn, two_hogs_woken_by_timers_run_on_two_workers)
{
    for (int i = 0; i < 50; i++) {
        hogs = 0;
        cr_assert_eq(run_with_workers(2 + (unsigned)i % 4, wake_two_hogs, NULL), 0);
    }
    cr_assert_eq(failed_expectations, 0);
}
