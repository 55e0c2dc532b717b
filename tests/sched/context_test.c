/* Contexts and scopes: who is ended by what, with which error, and who is not. */
#include "inside.h"

#include <pthread.h>
#include <stdlib.h>

/* What the ambient context was when the coroutine, asleep for ever, was woken. */
static int sleep_for_ever(void *arg)
{
    int error;

    if (arg)
        atomic_fetch_add((atomic_int *)arg, 1);
    error = gyre_sleep(INT64_MAX);
    EXPECT_EQ(error, gyre_context_error());
    return error;
}

static void join_all(gyre_handle *handles, int count, int wanted)
{
    int result;

    GYRE_SHIELD();
    for (int i = 0; i < count; i++) {
        EXPECT_EQ(gyre_join(handles[i], &result), 0);
        EXPECT_EQ(result, wanted);
    }
}

INSIDE(context, none_at_first)
{
    EXPECT_EQ(gyre_context_error(), 0);
    EXPECT_EQ(gyre_context_deadline(), INT64_MAX);
    return 0;
}

INSIDE(context, timeout_ends_a_sleep)
{
    int64_t start = gyre_now();

    {
        GYRE_TIMEOUT(2 * GYRE_MILLISECOND);
        EXPECT(gyre_context_deadline() >= start + 2 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_context_error(), 0);
        EXPECT_EQ(gyre_sleep(GYRE_HOUR), -ETIMEDOUT);
        EXPECT(gyre_now() >= start + 2 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_context_error(), -ETIMEDOUT);
        EXPECT_EQ(gyre_yield(), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_context_error(), 0);
    EXPECT_EQ(gyre_context_deadline(), INT64_MAX);
    EXPECT_EQ(gyre_sleep(1), 0);
    return 0;
}

INSIDE(context, timeouts_out_of_range)
{
    static const int64_t none[] = {0, -1, INT64_MIN};
    static const int64_t never[] = {INT64_MAX, INT64_MAX - 1, INT64_MAX / 2};

    for (int i = 0; i < 3; i++) {
        GYRE_TIMEOUT(none[i]);
        EXPECT_EQ(gyre_context_error(), -ETIMEDOUT);
    }
    for (int i = 0; i < 3; i++) {
        GYRE_DEADLINE(none[i]);
        EXPECT_EQ(gyre_context_error(), -ETIMEDOUT);
        EXPECT_EQ(gyre_context_deadline(), none[i]);
    }
    for (int i = 0; i < 3; i++) {
        GYRE_TIMEOUT(never[i]);
        EXPECT_EQ(gyre_context_error(), 0);
        EXPECT_EQ(gyre_sleep(1), 0);
    }
    for (int i = 0; i < 3; i++) {
        GYRE_DEADLINE(never[i]);
        EXPECT_EQ(gyre_context_deadline(), never[i]);
        EXPECT_EQ(gyre_sleep(1), 0);
    }
    return 0;
}

INSIDE(context, the_earliest_deadline_counts)
{
    int64_t now = gyre_now(), outer = now + GYRE_HOUR, inner = now + GYRE_MINUTE;

    GYRE_DEADLINE(outer);
    {
        GYRE_DEADLINE(inner);
        EXPECT_EQ(gyre_context_deadline(), inner);
        {
            GYRE_DEADLINE(outer + 1);
            EXPECT_EQ(gyre_context_deadline(), inner);
            GYRE_CANCELLABLE();
            EXPECT_EQ(gyre_context_deadline(), inner);
        }
    }
    EXPECT_EQ(gyre_context_deadline(), outer);
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        GYRE_TIMEOUT(GYRE_HOUR);
        EXPECT_EQ(gyre_sleep(GYRE_MINUTE), -ETIMEDOUT); /* the parent's */
    }
    EXPECT_EQ(gyre_context_error(), 0);
    return 0;
}

/* Else who waits for a part of the time in a loop, and takes this for the end of a part, loops for
 * ever: the outer one's timer fires only when the worker comes to look. */
INSIDE(context, an_outer_deadline_that_has_passed_is_told_by_an_inner_timeout)
{
    int64_t until = gyre_now() + GYRE_MILLISECOND;
    GYRE_DEADLINE(until);

    while (gyre_now() <= until)
        ;
    {
        GYRE_SHIELD();
        GYRE_TIMEOUT(GYRE_HOUR);
        EXPECT_EQ(gyre_context_error(), 0);
    }
    {
        GYRE_CANCELLABLE();
        {
            GYRE_TIMEOUT(GYRE_HOUR);
            EXPECT_EQ(gyre_context_error(), -ETIMEDOUT);
        }
        EXPECT_EQ(gyre_context_error(), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_context_error(), -ETIMEDOUT);
    return 0;
}

INSIDE(context, an_inner_timeout_leaves_the_outer_alone)
{
    GYRE_TIMEOUT(GYRE_HOUR);
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_sleep(GYRE_MINUTE), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_context_error(), 0);
    EXPECT_EQ(gyre_sleep(1), 0);
    return 0;
}

static int leave_by(int how)
{
    for (int i = 0; i < 2; i++) {
        GYRE_CANCELLABLE();
        GYRE_TIMEOUT(GYRE_HOUR);
        if (how == 0)
            break;
        if (how == 1)
            return 1;
        if (how == 2)
            goto out;
        if (how == 3)
            continue;
        GYRE_SHIELD();
    }
out:
    return 0;
}

INSIDE(context, blocks_may_be_left_by_any_way)
{
    for (int how = 0; how < 5; how++) {
        leave_by(how);
        EXPECT_EQ(gyre_context_deadline(), INT64_MAX);
        EXPECT_EQ(gyre_context_error(), 0);
    }
    return 0;
}

INSIDE(context, leaving_ends_what_was_spawned_inside)
{
    gyre_handle handles[30];
    atomic_int asleep = 0;

    for (int i = 0; i < 30; i++) {
        GYRE_TIMEOUT(i % 3 ? GYRE_HOUR : INT64_MAX);
        EXPECT_EQ(gyre_spawn(&handles[i], sleep_for_ever, &asleep), 0);
        if (i % 2)
            await_flag(&asleep, i + 1);
    }
    join_all(handles, 30, -ECANCELED);
    return 0;
}

INSIDE(context, a_deadline_is_inherited_and_ends_children)
{
    gyre_handle handles[30];

    GYRE_TIMEOUT(3 * GYRE_MILLISECOND);
    for (int i = 0; i < 30; i++)
        EXPECT_EQ(gyre_spawn(&handles[i], sleep_for_ever, NULL), 0);
    join_all(handles, 30, -ETIMEDOUT);
    return 0;
}

static int want_deadline(void *arg)
{
    EXPECT_EQ(gyre_context_deadline(), *(int64_t *)arg);
    return gyre_context_error();
}

INSIDE(context, outside_context_escapes)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle inside, outside;
    int64_t deadline, never = INT64_MAX;
    int result = -1;

    options.flags = GYRE_SPAWN_OUTSIDE_CONTEXT;
    {
        GYRE_TIMEOUT(GYRE_HOUR);
        deadline = gyre_context_deadline();
        EXPECT_EQ(gyre_spawn(&inside, want_deadline, &deadline), 0);
        EXPECT_EQ(gyre_join(inside, NULL), 0);
        EXPECT_EQ(gyre_spawn_options(&outside, want_deadline, &never, &options), 0);
        EXPECT_EQ(gyre_join(outside, NULL), 0);
        EXPECT_EQ(gyre_spawn_options(&outside, sleep_for_ever, NULL, &options), 0);
    }
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_join(outside, &result), -ETIMEDOUT); /* it was not ended by the first */
        EXPECT_EQ(result, -1);
    }
    gyre_detach(outside);
    return 0;
}

/* --- handles -----------------------------------------------------------------------------------
 */

static int cancel_given(void *arg)
{
    gyre_context_cancel(arg);
    gyre_context_release(arg);
    return 0;
}

static void *cancel_on_thread(void *arg)
{
    cancel_given(arg);
    return NULL;
}

INSIDE(context, others_cancel_through_a_handle)
{
    for (int foreign = 0; foreign < 2; foreign++) {
        GYRE_CANCELLABLE();
        struct gyre_context *context = gyre_context_current();

        if (foreign) {
            pthread_t thread;

            EXPECT_EQ(pthread_create(&thread, NULL, cancel_on_thread, context), 0);
            EXPECT_EQ(gyre_sleep(GYRE_HOUR), -ECANCELED);
            pthread_join(thread, NULL);
        } else {
            EXPECT_EQ(gyre_go(cancel_given, context), 0);
            EXPECT_EQ(gyre_sleep(GYRE_HOUR), -ECANCELED);
        }
        EXPECT_EQ(gyre_context_error(), -ECANCELED);
    }
    EXPECT_EQ(gyre_context_error(), 0);
    return 0;
}

INSIDE(context, a_handle_outlives_its_scope)
{
    struct gyre_context *context, *timed, *inner;

    {
        GYRE_CANCELLABLE();
        context = gyre_context_current();
        EXPECT_EQ(gyre_context_error_of(context), 0);
        GYRE_TIMEOUT(0);
        timed = gyre_context_current();
        GYRE_CANCELLABLE();
        inner = gyre_context_current();
    }
    EXPECT_EQ(gyre_context_error_of(context), -ECANCELED);
    EXPECT_EQ(gyre_context_error_of(timed), -ETIMEDOUT);
    EXPECT_EQ(gyre_context_error_of(inner), -ETIMEDOUT);
    for (int i = 0; i < 1000; i++) {
        GYRE_CANCELLABLE(); /* memory that is used again is not theirs */
        struct gyre_context *another = gyre_context_current();

        EXPECT(another != context && another != timed && another != inner);
        gyre_context_release(another);
    }
    gyre_context_cancel(context);
    gyre_context_cancel(timed);
    EXPECT_EQ(gyre_context_error_of(timed), -ETIMEDOUT);
    gyre_context_release(inner);
    gyre_context_release(context);
    gyre_context_release(timed);
    gyre_context_release(NULL);
    return 0;
}

INSIDE(context, the_first_reason_stays)
{
    {
        GYRE_TIMEOUT(0);
        struct gyre_context *context = gyre_context_current();

        gyre_context_cancel(context);
        gyre_context_cancel(context);
        EXPECT_EQ(gyre_context_error(), -ETIMEDOUT);
        gyre_context_release(context);
    }
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        struct gyre_context *context = gyre_context_current();

        gyre_context_cancel(context);
        GYRE_SHIELD();
        EXPECT_EQ(gyre_sleep(3 * GYRE_MILLISECOND), 0);
        EXPECT_EQ(gyre_context_error_of(context), -ECANCELED);
        gyre_context_release(context);
    }
    return 0;
}

INSIDE(context, hold_and_release)
{
    GYRE_CANCELLABLE();
    struct gyre_context *context = gyre_context_current();

    for (int i = 0; i < 10; i++)
        EXPECT(gyre_context_hold(context) == context);
    for (int i = 0; i < 11; i++)
        gyre_context_release(context);
    EXPECT_EQ(gyre_context_error(), 0);
    EXPECT_EQ(gyre_sleep(1), 0);
    return 0;
}

INSIDE(context, with_context_uses_the_given_one)
{
    struct gyre_context *given, *seen;
    gyre_handle inside[2];
    int64_t deadline;

    GYRE_TIMEOUT(GYRE_HOUR);
    given = gyre_context_current();
    deadline = gyre_context_deadline();
    {
        GYRE_SHIELD();
        EXPECT_EQ(gyre_context_deadline(), INT64_MAX);
        {
            GYRE_WITH_CONTEXT(given);
            EXPECT_EQ(gyre_context_deadline(), deadline);
            seen = gyre_context_current();
            EXPECT(seen == given);
            gyre_context_release(seen);
            EXPECT_EQ(gyre_spawn(&inside[0], sleep_for_ever, NULL), 0);
        }
        EXPECT_EQ(gyre_context_deadline(), INT64_MAX);
        EXPECT_EQ(gyre_context_error_of(given), 0); /* not cancelled at the end */
    }
    {
        int result = -1;

        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_join(inside[0], &result), -ETIMEDOUT); /* nor what was spawned under it */
    }
    {
        GYRE_WITH_CONTEXT(given);
        EXPECT_EQ(gyre_spawn(&inside[1], sleep_for_ever, NULL), 0);
        EXPECT_EQ(gyre_go(cancel_given, gyre_context_hold(given)), 0);
        EXPECT_EQ(gyre_sleep(GYRE_MINUTE), -ECANCELED);
    }
    join_all(inside, 2, -ECANCELED);
    {
        GYRE_WITH_CONTEXT(given); /* ended already */
        EXPECT_EQ(gyre_sleep(0), -ECANCELED);
        GYRE_WITH_CONTEXT(given);
        EXPECT_EQ(gyre_context_error(), -ECANCELED);
    }
    gyre_context_release(given);
    return 0;
}

/* --- shields -----------------------------------------------------------------------------------
 */

static int work_in_shield(void *arg)
{
    atomic_int *over = arg;

    {
        GYRE_SHIELD();
        do {
            EXPECT_EQ(gyre_sleep(100 * GYRE_MICROSECOND), 0);
            EXPECT_EQ(gyre_context_error(), 0);
        } while (!atomic_load(over));
        EXPECT_EQ(gyre_context_deadline(), INT64_MAX);
    }
    return gyre_context_error();
}

INSIDE(context, a_shield_keeps_the_end_away)
{
    gyre_handle handles[10];
    atomic_int over = 0;

    {
        GYRE_CANCELLABLE();
        for (int i = 0; i < 10; i++)
            EXPECT_EQ(gyre_spawn(&handles[i], work_in_shield, &over), 0);
        for (int i = 0; i < 20; i++)
            gyre_yield();
    }
    EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0);
    atomic_store(&over, 1);
    join_all(handles, 10, -ECANCELED);
    return 0;
}

INSIDE(context, a_timeout_inside_a_shield_counts)
{
    GYRE_TIMEOUT(0);
    EXPECT_EQ(gyre_yield(), -ETIMEDOUT);
    {
        GYRE_SHIELD();
        EXPECT_EQ(gyre_yield(), 0);
        {
            GYRE_TIMEOUT(GYRE_MILLISECOND);
            EXPECT_EQ(gyre_context_error(), 0);
            EXPECT_EQ(gyre_sleep(GYRE_HOUR), -ETIMEDOUT);
        }
        EXPECT_EQ(gyre_sleep(1), 0);
        GYRE_TIMEOUT(GYRE_HOUR);
        GYRE_SHIELD();
        EXPECT_EQ(gyre_context_deadline(), INT64_MAX);
    }
    EXPECT_EQ(gyre_yield(), -ETIMEDOUT);
    return 0;
}

/* --- the tree ----------------------------------------------------------------------------------
 */

INSIDE(context, cancelling_in_the_middle_of_a_chain)
{
    enum { DEPTH = 200 };
    struct gyre_scope scopes[DEPTH];
    struct gyre_context *contexts[DEPTH];

    for (int i = 0; i < DEPTH; i++) {
        scopes[i] = i % 2 ? gyre_scope_cancellable() : gyre_scope_timeout(GYRE_HOUR);
        contexts[i] = gyre_context_current();
    }
    gyre_context_cancel(contexts[DEPTH / 2]);
    for (int i = 0; i < DEPTH; i++)
        EXPECT_EQ(gyre_context_error_of(contexts[i]), i < DEPTH / 2 ? 0 : -ECANCELED);
    for (int i = DEPTH - 1; i >= 0; i--) {
        EXPECT_EQ(gyre_context_error(), i < DEPTH / 2 ? 0 : -ECANCELED);
        gyre_scope_leave(&scopes[i]);
        gyre_scope_leave(&scopes[i]); /* nothing to leave any more */
    }
    for (int i = 0; i < DEPTH; i++)
        gyre_context_release(contexts[i]);
    EXPECT_EQ(gyre_context_error(), 0);
    return 0;
}

static int own_scopes(void *arg)
{
    int error;

    GYRE_CANCELLABLE();
    GYRE_TIMEOUT(GYRE_HOUR);
    error = sleep_for_ever(arg);
    {
        GYRE_CANCELLABLE(); /* under an ended one */
        EXPECT_EQ(gyre_context_error(), error);
    }
    return error;
}

INSIDE(context, the_end_reaches_inner_scopes_of_children)
{
    gyre_handle handles[20];
    atomic_int asleep = 0;

    {
        GYRE_CANCELLABLE();
        for (int i = 0; i < 20; i++)
            EXPECT_EQ(gyre_spawn(&handles[i], own_scopes, &asleep), 0);
        await_flag(&asleep, 20);
        EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0);
    }
    join_all(handles, 20, -ECANCELED);
    return 0;
}

static int spawn_under_ended(void *arg)
{
    gyre_handle handle;
    int result = 0;

    (void)arg;
    EXPECT_EQ(gyre_sleep(GYRE_HOUR), -ECANCELED);
    EXPECT_EQ(gyre_spawn(&handle, sleep_for_ever, NULL), 0);
    GYRE_SHIELD();
    EXPECT_EQ(gyre_join(handle, &result), 0);
    return result;
}

INSIDE(context, what_is_spawned_under_an_ended_context_sees_it)
{
    gyre_handle handle;
    int result = 0;

    {
        GYRE_CANCELLABLE();
        EXPECT_EQ(gyre_spawn(&handle, spawn_under_ended, NULL), 0);
        gyre_sleep(GYRE_MILLISECOND);
    }
    EXPECT_EQ(gyre_join(handle, &result), 0);
    EXPECT_EQ(result, -ECANCELED);
    return 0;
}

/* --- the runtime's own --------------------------------------------------------------------------
 */

static int sleep_again(void *arg)
{
    (void)arg;
    EXPECT_EQ(gyre_sleep(INT64_MAX), -ECANCELED);
    EXPECT_EQ(gyre_sleep(INT64_MAX), -ECANCELED);
    GYRE_SHIELD();
    EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0);
    return 0;
}

INSIDE(context, the_runtimes_own_can_be_ended_too)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handles[20];
    struct gyre_context *context = gyre_context_current();

    for (int i = 0; i < 20; i++)
        EXPECT_EQ(gyre_spawn(&handles[i], i % 2 ? own_scopes : sleep_again, NULL), 0);
    EXPECT_EQ(gyre_sleep(2 * GYRE_MILLISECOND), 0);
    gyre_context_cancel(context);
    EXPECT_EQ(gyre_context_error(), -ECANCELED);
    EXPECT_EQ(gyre_context_error_of(context), -ECANCELED);
    gyre_context_release(context);
    EXPECT_EQ(gyre_yield(), -ECANCELED);
    {
        GYRE_CANCELLABLE();
        EXPECT_EQ(gyre_context_error(), -ECANCELED);
    }
    GYRE_SHIELD();
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(gyre_join(handles[i], NULL), 0);
    options.flags = GYRE_SPAWN_OUTSIDE_CONTEXT; /* that is not refused */
    EXPECT_EQ(gyre_spawn_options(&handles[0], sleep_again, NULL, &options), 0);
    EXPECT_EQ(gyre_join(handles[0], NULL), 0);
    return 0;
}
