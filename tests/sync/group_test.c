/* Groups: the first error, waits, who is reached by which end, what can't be started. */
#include "members.h"

/* --- faults -------------------------------------------------------------------------------------
 */

static atomic_bool no_memory;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return atomic_load(&no_memory) ? NULL : __real_calloc(count, size);
}

/* --- waiting ------------------------------------------------------------------------------------
 */

INSIDE(group, without_members_is_done)
{
    GYRE_GROUP(group);

    EXPECT_EQ(gyre_group_wait(&group), 0);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    return 0;
}

INSIDE(group, has_ended_entirely_when_wait_returns)
{
    reset();
    for (int round = 1; round <= 20; round++) {
        GYRE_GROUP(group);

        for (int i = 0; i < 20; i++)
            EXPECT_EQ(gyre_group_go(&group, run, NULL), 0);
        EXPECT_EQ(gyre_group_wait(&group), 0);
        EXPECT_EQ(gyre_coro_count(), 1);
        EXPECT_EQ(ran, 20 * round);
    }
    return 0;
}

INSIDE(group, is_as_new_after_wait)
{
    GYRE_GROUP(group);

    reset();
    EXPECT_EQ(gyre_group_go(&group, return_it, (void *)(intptr_t)-EIO), 0);
    EXPECT_EQ(gyre_group_wait(&group), -EIO);
    EXPECT_EQ(gyre_group_go(&group, run, NULL), 0);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    gyre_group_cancel(&group);
    EXPECT_EQ(gyre_group_wait(&group), -ECANCELED);
    EXPECT_EQ(gyre_group_go(&group, return_it, (void *)(intptr_t)7), 0);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    EXPECT_EQ(ran, 3);
    return 0;
}

INSIDE(group, wait_is_not_cancelled)
{
    GYRE_GROUP(group);

    reset();
    EXPECT_EQ(gyre_group_go(&group, sleep_a_little, NULL), 0);
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_group_wait(&group), 0);
        EXPECT_EQ(gyre_coro_count(), 1);
    }
    EXPECT_EQ(ran, 1);
    return 0;
}

/* --- errors --------------------------------------------------------------------------------------
 */

INSIDE(group, first_error_cancels_the_others_and_is_waits)
{
    GYRE_GROUP(group);

    reset();
    for (int i = 0; i < 10; i++)
        EXPECT_EQ(gyre_group_go(&group, sleep_for_ever, NULL), 0);
    EXPECT_EQ(gyre_group_go(&group, return_it, (void *)(intptr_t)-EIO), 0);
    EXPECT_EQ(gyre_group_wait(&group), -EIO);
    EXPECT_EQ(ran, 11);
    EXPECT_EQ(cancelled, 10);
    EXPECT_EQ(gyre_coro_count(), 1);
    EXPECT_EQ(gyre_context_error(), 0);
    return 0;
}

INSIDE(group, later_errors_are_dropped)
{
    GYRE_GROUP(group, .limit = 1);

    reset();
    EXPECT_EQ(gyre_group_go(&group, return_it, (void *)(intptr_t)-EIO), 0);
    /* Refused or not, it does not come first. */
    gyre_group_go(&group, return_it, (void *)(intptr_t)-EPERM);
    EXPECT_EQ(gyre_group_wait(&group), -EIO);
    return 0;
}

static int told_error, told_cause;

static int tell_the_end(void *arg)
{
    (void)arg;
    gyre_sleep(INT64_MAX);
    told_error = gyre_context_error();
    told_cause = gyre_context_cause();
    return 0;
}

INSIDE(group, members_see_the_error_as_the_cause)
{
    GYRE_GROUP(group);

    EXPECT_EQ(gyre_group_go(&group, tell_the_end, NULL), 0);
    EXPECT_EQ(gyre_group_go(&group, return_it, (void *)(intptr_t)-EIO), 0);
    EXPECT_EQ(gyre_group_wait(&group), -EIO);
    EXPECT_EQ(told_error, -ECANCELED);
    EXPECT_EQ(told_cause, -EIO);
    return 0;
}

INSIDE(group, starts_nobody_after_an_error)
{
    GYRE_GROUP(group);

    reset();
    EXPECT_EQ(gyre_group_go(&group, await_gate, (void *)1), 0);
    EXPECT_EQ(gyre_group_go(&group, return_it, (void *)(intptr_t)-EIO), 0);
    while (gyre_coro_count() > 2)
        gyre_yield();
    while (!group.error)
        gyre_yield();
    EXPECT_EQ(gyre_group_go(&group, run, NULL), -ECANCELED);
    EXPECT_EQ(gyre_group_try_go(&group, run, NULL), -ECANCELED);
    atomic_store(&gate, 1);
    EXPECT_EQ(gyre_group_wait(&group), -EIO);
    EXPECT_EQ(ran, 2);
    return 0;
}

INSIDE(group, refuses_what_gyre_go_refuses_and_fails_with_it)
{
    static char large[20000];
    GYRE_GROUP(group);

    EXPECT_EQ(gyre_group_go(&group, NULL, NULL), -EINVAL);
    EXPECT_EQ(gyre_group_wait(&group), -EINVAL);
    EXPECT_EQ(gyre_group_go_copy(&group, run, NULL, 1), -EINVAL);
    EXPECT_EQ(gyre_group_wait(&group), -EINVAL);
    EXPECT_EQ(gyre_group_go_copy(&group, run, large, sizeof large), -EINVAL);
    EXPECT_EQ(gyre_group_wait(&group), -EINVAL);
    return 0;
}

/* --- cancelling
 * ----------------------------------------------------------------------------------- */

INSIDE(group, cancel_ends_the_members)
{
    GYRE_GROUP(group);

    reset();
    for (int i = 0; i < 5; i++)
        EXPECT_EQ(gyre_group_go(&group, sleep_for_ever, NULL), 0);
    gyre_group_cancel(&group);
    EXPECT_EQ(gyre_group_go(&group, run, NULL), -ECANCELED);
    EXPECT_EQ(gyre_group_wait(&group), -ECANCELED);
    EXPECT_EQ(ran, 5);
    EXPECT_EQ(cancelled, 5);
    return 0;
}

INSIDE(group, cancel_before_the_first_member_refuses_it)
{
    GYRE_GROUP(group);

    reset();
    gyre_group_cancel(&group);
    EXPECT_EQ(gyre_group_go(&group, run, NULL), -ECANCELED);
    EXPECT_EQ(gyre_group_wait(&group), -ECANCELED);
    EXPECT_EQ(ran, 0);
    return 0;
}

INSIDE(group, is_reached_by_the_end_of_the_context_it_began_in)
{
    GYRE_GROUP(group);

    reset();
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_group_go(&group, sleep_for_ever, NULL), 0);
        EXPECT_EQ(gyre_group_wait(&group), -ETIMEDOUT);
    }
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_group_go(&group, run, NULL), -ETIMEDOUT);
        EXPECT_EQ(gyre_group_wait(&group), -ETIMEDOUT);
    }
    {
        GYRE_CANCELLABLE();
        EXPECT_EQ(gyre_group_go(&group, sleep_for_ever, NULL), 0);
    }
    EXPECT_EQ(gyre_group_go(&group, run, NULL), -ECANCELED);
    EXPECT_EQ(gyre_group_wait(&group), -ECANCELED);
    EXPECT_EQ(ran, 2);
    EXPECT_EQ(cancelled, 1);
    return 0;
}

INSIDE(group, in_a_shield_is_not_reached)
{
    GYRE_TIMEOUT(0);
    GYRE_SHIELD();
    GYRE_GROUP(group);

    reset();
    EXPECT_EQ(gyre_group_go(&group, sleep_a_little, NULL), 0);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    EXPECT_EQ(cancelled, 0);
    return 0;
}

static int start_a_stranger(void *arg)
{
    (void)arg;
    return gyre_go(sleep_for_ever, NULL);
}

INSIDE(group, wait_cancels_what_members_left_behind)
{
    GYRE_GROUP(group);

    reset();
    EXPECT_EQ(gyre_group_go(&group, start_a_stranger, NULL), 0);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    await_flag(&cancelled, 1);
    return 0;
}

/* --- leaving
 * ---------------------------------------------------------------------------------------- */

static int leave_early(void)
{
    GYRE_GROUP(group);

    for (int i = 0; i < 5; i++)
        EXPECT_EQ(gyre_group_go(&group, sleep_for_ever, NULL), 0);
    return 42;
}

INSIDE(group, leaving_its_block_cancels_and_waits)
{
    reset();
    EXPECT_EQ(leave_early(), 42);
    EXPECT_EQ(cancelled, 5);
    EXPECT_EQ(gyre_coro_count(), 1);
    for (int i = 0; i < 3; i++) {
        GYRE_GROUP(group);
        EXPECT_EQ(gyre_group_go(&group, sleep_for_ever, NULL), 0);
        if (i)
            continue;
    }
    EXPECT_EQ(cancelled, 8);
    EXPECT_EQ(gyre_coro_count(), 1);
    return 0;
}

INSIDE(group, leaving_is_not_cancelled)
{
    GYRE_TIMEOUT(GYRE_MILLISECOND);

    reset();
    {
        GYRE_GROUP(group);
        EXPECT_EQ(gyre_group_go(&group, await_gate, (void *)1), 0);
        EXPECT_EQ(gyre_sleep(INT64_MAX), -ETIMEDOUT);
        atomic_store(&gate, 1);
    }
    EXPECT_EQ(gyre_coro_count(), 1);
    return 0;
}

INSIDE(group, a_nursery_waits_without_cancelling)
{
    reset();
    {
        GYRE_NURSERY(nursery);
        for (int i = 0; i < 5; i++)
            EXPECT_EQ(gyre_group_go(&nursery, sleep_a_little, NULL), 0);
    }
    EXPECT_EQ(ran, 5);
    EXPECT_EQ(cancelled, 0);
    EXPECT_EQ(gyre_coro_count(), 1);
    {
        GYRE_NURSERY(nursery, .limit = 2);
        EXPECT_EQ(gyre_group_go(&nursery, sleep_for_ever, NULL), 0);
        EXPECT_EQ(gyre_group_go(&nursery, return_it, (void *)(intptr_t)-EIO), 0);
    }
    EXPECT_EQ(cancelled, 1);
    EXPECT_EQ(gyre_coro_count(), 1);
    return 0;
}

/* --- members that start others
 * ------------------------------------------------------------------------ */

static gyre_group *shared;

static int start_two(void *arg)
{
    int depth = (int)(intptr_t)arg - 1;

    atomic_fetch_add(&ran, 1);
    for (int i = 0; i < 2 && depth; i++)
        EXPECT_EQ(gyre_group_go(shared, start_two, (void *)(intptr_t)depth), 0);
    return 0;
}

INSIDE(group, members_may_start_others)
{
    GYRE_GROUP(group);

    reset();
    shared = &group;
    EXPECT_EQ(gyre_group_go(&group, start_two, (void *)8), 0);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    EXPECT_EQ(ran, 255);
    EXPECT_EQ(gyre_coro_count(), 1);
    return 0;
}

static int be_a_group(void *arg)
{
    GYRE_GROUP(inner, .limit = 2);
    int error = 0;

    for (int i = 0; i < 3; i++)
        gyre_group_go(&inner, arg ? be_a_group : be_counted, NULL);
    if (!arg)
        return gyre_group_wait(&inner);
    error = gyre_group_wait(&inner);
    return error;
}

INSIDE(group, groups_nest)
{
    GYRE_GROUP(group);

    reset();
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(gyre_group_go(&group, be_a_group, (void *)1), 0);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    EXPECT_EQ(ran, 27);
    EXPECT_EQ(gyre_coro_count(), 1);
    return 0;
}

static int sleep_in_a_group(void *arg)
{
    GYRE_GROUP(inner);

    (void)arg;
    gyre_group_go(&inner, sleep_for_ever, NULL);
    gyre_group_go(&inner, sleep_for_ever, NULL);
    return gyre_group_wait(&inner);
}

INSIDE(group, an_error_reaches_inner_groups)
{
    GYRE_GROUP(group);

    reset();
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(gyre_group_go(&group, sleep_in_a_group, NULL), 0);
    while (gyre_coro_count() < 10)
        gyre_yield();
    EXPECT_EQ(gyre_group_go(&group, return_it, (void *)(intptr_t)-EIO), 0);
    EXPECT_EQ(gyre_group_wait(&group), -EIO);
    EXPECT_EQ(cancelled, 6);
    EXPECT_EQ(gyre_coro_count(), 1);
    return 0;
}

INSIDE(group, an_inner_error_is_the_outers)
{
    GYRE_GROUP(group);

    reset();
    EXPECT_EQ(gyre_group_go(&group, sleep_for_ever, NULL), 0);
    {
        GYRE_GROUP(inner);
        EXPECT_EQ(gyre_group_go(&inner, return_it, (void *)(intptr_t)-EIO), 0);
        EXPECT_EQ(gyre_group_wait(&inner), -EIO);
    }
    EXPECT_EQ(cancelled, 0);
    gyre_group_cancel(&group);
    EXPECT_EQ(gyre_group_wait(&group), -ECANCELED);
    return 0;
}

/* --- arguments
 * ------------------------------------------------------------------------------------------ */

static int check_copy(void *arg)
{
    const int *numbers = arg;

    gyre_yield();
    EXPECT_EQ(numbers[1], 2 * numbers[0]);
    EXPECT(!strcmp(gyre_coro_name(), "check_copy"));
    atomic_fetch_add(&ran, numbers[0]);
    return 0;
}

INSIDE(group, members_get_copies_of_their_own)
{
    GYRE_GROUP(group);

    reset();
    for (int i = 1; i <= 10; i++) {
        int numbers[2] = {i, 2 * i};

        EXPECT_EQ(gyre_group_go_copy(&group, check_copy, numbers, sizeof numbers), 0);
        numbers[0] = numbers[1] = 0;
    }
    EXPECT_EQ(gyre_group_wait(&group), 0);
    EXPECT_EQ(ran, 55);
    return 0;
}

/* --- what can't be started
 * ------------------------------------------------------------------------------- */

INSIDE(group, without_memory_for_a_stack_fails)
{
    GYRE_GROUP(group);
    int started = 1, error;

    reset();
    EXPECT_EQ(gyre_group_go(&group, sleep_for_ever, NULL), 0);
    atomic_store(&no_memory, true);
    /* All that is left of the slabs. */
    while (!(error = gyre_group_go(&group, sleep_for_ever, NULL)))
        started++;
    atomic_store(&no_memory, false);
    EXPECT_EQ(error, -ENOMEM);
    EXPECT_EQ(gyre_group_wait(&group), -ENOMEM);
    EXPECT_EQ(ran, started);
    EXPECT_EQ(cancelled, started);
    EXPECT_EQ(gyre_group_go(&group, run, NULL), 0);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    return 0;
}

INSIDE(group, without_memory_for_its_context_fails)
{
    struct gyre_scope scopes[1000];
    GYRE_GROUP(group);
    int used = 0;

    reset();
    atomic_store(&no_memory, true);
    /* All that is left of the slabs. */
    do
        scopes[used++] = gyre_scope_cancellable();
    while (!gyre_context_error());
    gyre_scope_leave(&scopes[--used]);
    EXPECT_EQ(gyre_group_go(&group, run, NULL), -ENOMEM);
    atomic_store(&no_memory, false);
    EXPECT_EQ(gyre_group_wait(&group), -ENOMEM);
    while (used)
        gyre_scope_leave(&scopes[--used]);
    EXPECT_EQ(ran, 0);
    EXPECT_EQ(gyre_group_go(&group, run, NULL), 0);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    return 0;
}

/* --- shutdown
 * ---------------------------------------------------------------------------------------------- */

static atomic_int late_error, late_go;

static int wait_beyond_the_end(void *arg)
{
    GYRE_GROUP(group);

    (void)arg;
    gyre_group_go(&group, sleep_for_ever, NULL);
    gyre_group_go(&group, sleep_for_ever, NULL);
    atomic_store(&gate, 1);
    atomic_store(&late_error, gyre_group_wait(&group));
    atomic_store(&late_go, gyre_group_go(&group, sleep_for_ever, NULL));
    return 0;
}

static int leave_it_behind(void *arg)
{
    (void)arg;
    gyre_go(wait_beyond_the_end, NULL);
    await_flag(&gate, 1);
    return 0;
}

Test(group, the_shutdown_reaches_members)
{
    for (unsigned workers = 1; workers <= 5; workers += 2) {
        reset();
        cr_assert_eq(run_with_workers(workers, leave_it_behind, NULL), 0);
        cr_assert_eq(cancelled, 2);
        cr_assert_eq(late_error, -ECANCELED);
        cr_assert_eq(late_go, -ECANCELED);
    }
}

GYRE_CHAN_TYPE(numbers, int);

static int send_one_and_fail(void *arg)
{
    numbers_send(*(numbers_sender *)arg, 1);
    return -EPROTO;
}

/* A member that fails before it closes the channel does not leave the receiver waiting. */
INSIDE(group, its_context_is_for_those_who_work_with_members)
{
    numbers channel;
    int number, got = 0, result;

    EXPECT_EQ(numbers_make(&channel, 0), 0);
    {
        GYRE_GROUP(group);
        struct gyre_context *context;

        EXPECT_EQ(gyre_group_context(&group, &context), 0);
        EXPECT_EQ(gyre_group_go(&group, send_one_and_fail, &channel.sender), 0);
        {
            GYRE_WITH_CONTEXT(context);
            while ((result = numbers_recv(channel.receiver, &number)) > 0)
                got++;
            EXPECT_EQ(result, -ECANCELED);
            EXPECT_EQ(gyre_context_cause(), -EPROTO);
        }
        EXPECT_EQ(got, 1);
        EXPECT_EQ(gyre_context_error(), 0);
        gyre_context_release(context);
        EXPECT_EQ(gyre_group_wait(&group), -EPROTO);
    }
    numbers_release(channel);
    return 0;
}

INSIDE(group, its_context_without_members_ends_with_the_block)
{
    struct gyre_context *context;

    {
        GYRE_GROUP(group);

        EXPECT_EQ(gyre_group_context(&group, &context), 0);
        EXPECT_EQ(gyre_context_error_of(context), 0);
    }
    EXPECT_EQ(gyre_context_error_of(context), -ECANCELED);
    gyre_context_release(context);
    return 0;
}
