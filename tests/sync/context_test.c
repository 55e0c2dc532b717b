/* Contexts as channels, and functions that run at a context's end. */
#include "../sched/inside.h"

#include "sched/context.h"

#include <pthread.h>

/* --- the done channel --------------------------------------------------------------------------
 */

static int recv_done(void *arg)
{
    gyre_receiver done;

    EXPECT_EQ(gyre_context_done(arg, &done), 0);
    return gyre_chan_recv(done, NULL);
}

INSIDE(context_done, is_closed_when_the_context_ends)
{
    struct gyre_context *parent, *context;
    gyre_receiver done, again;
    gyre_handle handles[20];

    for (int by_parent = 0; by_parent < 2; by_parent++) {
        EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &parent), 0);
        EXPECT_EQ(gyre_context_with_timeout(parent, GYRE_HOUR, &context), 0);
        EXPECT_EQ(gyre_context_done(context, &done), 0);
        EXPECT_EQ(gyre_context_done(context, &again), 0);
        EXPECT(done.chan == again.chan && done.chan);
        EXPECT_EQ(gyre_chan_len(done), 0);
        EXPECT_EQ(gyre_chan_cap(done), 0);
        EXPECT_EQ(gyre_chan_try_recv(done, NULL), -EAGAIN);
        for (int i = 0; i < 20; i++)
            EXPECT_EQ(gyre_spawn(&handles[i], recv_done, context), 0);
        if (by_parent)
            EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0);
        gyre_context_cancel_cause(by_parent ? parent : context, -EPIPE);
        for (int i = 0; i < 20; i++) {
            int result = -1;

            EXPECT_EQ(gyre_join(handles[i], &result), 0);
            EXPECT_EQ(result, 0);
        }
        EXPECT_EQ(gyre_chan_recv(done, NULL), 0);
        gyre_context_release(context);
        gyre_context_release(parent);
    }
    return 0;
}

INSIDE(context_done, of_one_that_has_ended_is_closed)
{
    struct gyre_context *context;
    gyre_receiver done;

    EXPECT_EQ(gyre_context_with_timeout(gyre_context_background(), 0, &context), 0);
    EXPECT_EQ(gyre_context_done(context, &done), 0);
    EXPECT_EQ(gyre_chan_recv(done, NULL), 0);
    gyre_context_release(context);
    return 0;
}

INSIDE(context_done, of_a_shield_is_nil)
{
    struct gyre_context *context;
    static const struct gyre_context_key key;
    gyre_receiver done;

    for (int with = 0; with < 2; with++) {
        struct gyre_scope scope = with ? gyre_scope_value(&key, &done) : gyre_scope_cancellable();
        {
            GYRE_SHIELD();
            context = gyre_context_current();
            EXPECT_EQ(gyre_context_done(context, &done), 0);
            EXPECT(done.chan == NULL);
            gyre_context_release(context);
        }
        gyre_scope_leave(&scope);
    }
    return 0;
}

static int recv_held(void *arg)
{
    gyre_receiver done = {arg};
    int result = gyre_chan_recv(done, NULL);

    gyre_chan_release_receiver(done);
    return result;
}

/* Whoever holds the channel alone does not wait for ever, by whatever way the context goes. */
INSIDE(context_done, outlives_its_context)
{
    for (int way = 0; way < 6; way++) {
        struct gyre_context *context;
        gyre_receiver done;
        gyre_handle handle;
        int result = -1;

        {
            GYRE_CANCELLABLE();
            if (way < 3)
                context = gyre_context_current();
            else
                EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &context), 0);
            EXPECT_EQ(gyre_context_done(context, &done), 0);
            gyre_chan_hold_receiver(done);
            {
                GYRE_SHIELD();
                EXPECT_EQ(gyre_spawn(&handle, recv_held, done.chan), 0);
            }
            if (way % 3 == 1)
                EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0); /* it waits */
            if (way % 3 == 2)
                gyre_context_cancel(context);
            gyre_context_release(context);
        }
        EXPECT_EQ(gyre_join(handle, &result), 0);
        EXPECT_EQ(result, 0);
    }
    return 0;
}

static int keep_done(void *arg)
{
    gyre_receiver *done = arg;

    EXPECT_EQ(gyre_context_done(gyre_context_background(), done), 0);
    EXPECT_EQ(gyre_chan_try_recv(*done, NULL), -EAGAIN);
    gyre_chan_hold_receiver(*done);
    return 0;
}

Test(context_done, of_the_background_is_closed_by_the_shutdown)
{
    gyre_receiver done;

    cr_assert_eq(run_with_workers(2, keep_done, &done), 0);
    cr_assert_eq(failed_expectations, 0);
    cr_assert_eq(gyre_chan_try_recv(done, NULL), 0);
    gyre_chan_release_receiver(done);
}

static int cancel_later(void *arg)
{
    gyre_yield();
    gyre_context_cancel(arg);
    gyre_context_release(arg);
    return 0;
}

static void *cancel_on_thread(void *arg)
{
    gyre_context_cancel_cause(arg, -EPIPE);
    gyre_context_release(arg);
    return NULL;
}

INSIDE(context_done, in_a_select)
{
    struct gyre_context *context, *timed;
    gyre_receiver done;
    pthread_t thread;

    for (int how = 0; how < 4; how++) {
        EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &context), 0);
        EXPECT_EQ(gyre_context_with_timeout(context, how < 2 ? 1000 : GYRE_HOUR, &timed), 0);
        EXPECT_EQ(gyre_context_done(timed, &done), 0);
        if (how == 2)
            EXPECT_EQ(gyre_go(cancel_later, gyre_context_hold(context)), 0);
        if (how == 3)
            EXPECT_EQ(pthread_create(&thread, NULL, cancel_on_thread, gyre_context_hold(context)),
                      0);
        struct gyre_case cases[] = {
            gyre_case_done(context),
            how % 2 ? gyre_case_recv(done, NULL) : gyre_case_done(timed),
            gyre_case_after(GYRE_HOUR),
        };
        int chosen = gyre_select(cases);

        EXPECT(chosen == 1 || (how > 1 && chosen == 0));
        EXPECT_EQ(cases[chosen].result,
                  chosen && how % 2 ? 0 : (how < 2 ? -ETIMEDOUT : -ECANCELED));
        if (how == 3) {
            pthread_join(thread, NULL); /* till then the children may still be ending */
            EXPECT_EQ(gyre_context_cause_of(timed), -EPIPE);
        }
        gyre_context_release(timed);
        gyre_context_release(context);
    }
    return 0;
}

/* --- after -------------------------------------------------------------------------------------
 */

static atomic_int called;
static int value;
static const struct gyre_context_key key;

static int count_call(void *arg)
{
    EXPECT_EQ(gyre_context_error(), 0);
    EXPECT_EQ(gyre_context_deadline(), INT64_MAX);
    EXPECT(gyre_context_value(&key) == arg);
    EXPECT_EQ(gyre_sleep(1), 0);
    atomic_fetch_add(&called, 1);
    return 0;
}

INSIDE(context_after, runs_shielded_with_the_values)
{
    struct gyre_context *context, *valued;

    called = 0;
    for (int stop = 0; stop < 2; stop++)
        for (int with = 0; with < 2; with++) {
            struct gyre_context_after *after = NULL;

            EXPECT_EQ(gyre_context_with_timeout(gyre_context_background(), GYRE_HOUR, &context), 0);
            EXPECT_EQ(gyre_context_with_value(context, &key, with ? &value : NULL, &valued), 0);
            EXPECT_EQ(
                gyre_context_after(valued, count_call, with ? &value : NULL, stop ? &after : NULL),
                0);
            gyre_context_release(valued);
            EXPECT_EQ(gyre_sleep(1), 0);
            EXPECT_EQ(called, 2 * stop + with);
            gyre_context_cancel(context);
            await_flag(&called, 2 * stop + with + 1);
            if (stop)
                EXPECT_EQ(gyre_context_after_stop(after), 0);
            gyre_context_release(context);
        }
    EXPECT_EQ(gyre_context_after_stop(NULL), 0);
    return 0;
}

INSIDE(context_after, runs_at_once_when_the_context_has_ended)
{
    struct gyre_context_after *after;
    struct gyre_context *context;

    called = 0;
    EXPECT_EQ(gyre_context_with_timeout(gyre_context_background(), 0, &context), 0);
    EXPECT_EQ(gyre_context_after(context, count_call, NULL, &after), 0);
    gyre_context_release(context);
    EXPECT_EQ(gyre_context_after_stop(after), 0);
    await_flag(&called, 1);
    return 0;
}

INSIDE(context_after, stopped_it_is_never_called)
{
    struct gyre_context_after *after[10];
    size_t count = gyre_coro_count();

    called = 0;
    for (int sheltered = 0; sheltered < 2; sheltered++) {
        struct gyre_scope scope = sheltered ? gyre_scope_shield() : gyre_scope_cancellable();
        {
            GYRE_CANCELLABLE();
            struct gyre_context *context = gyre_context_current();

            EXPECT_EQ(gyre_context_after(context, NULL, NULL, &after[0]), -EINVAL);
            EXPECT(after[0] == NULL);
            for (int i = 0; i < 10; i++)
                EXPECT_EQ(gyre_context_after(context, count_call, NULL, &after[i]), 0);
            EXPECT_EQ(gyre_coro_count(), count + 10);
            for (int i = 0; i < 10; i += 2)
                EXPECT_EQ(gyre_context_after_stop(after[i]), 1);
            EXPECT_EQ(gyre_coro_count(), count + 5);
            gyre_context_release(context);
        }
        await_flag(&called, 5 * (sheltered + 1));
        for (int i = 1; i < 10; i += 2)
            EXPECT_EQ(gyre_context_after_stop(after[i]), 0);
        gyre_scope_leave(&scope);
        while (gyre_coro_count() > count)
            gyre_yield();
    }
    EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0);
    EXPECT_EQ(called, 10);
    return 0;
}

/* The context is held until it has run: a handle released without a cancel is its parent's still.
 */
INSIDE(context_after, runs_when_a_forgotten_context_is_ended_by_its_parent)
{
    struct gyre_context *parent, *context;

    called = 0;
    EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &parent), 0);
    EXPECT_EQ(gyre_context_with_cancel(parent, &context), 0);
    EXPECT_EQ(gyre_context_after(context, count_call, NULL, NULL), 0);
    gyre_context_release(context);
    EXPECT_EQ(gyre_sleep(1), 0);
    EXPECT_EQ(called, 0);
    gyre_context_cancel(parent);
    gyre_context_release(parent);
    await_flag(&called, 1);
    return 0;
}

static int leave_some(void *arg)
{
    struct gyre_context *context, *shield;

    (void)arg;
    EXPECT_EQ(gyre_context_after(gyre_context_background(), count_call, NULL, NULL), 0);
    EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &context), 0);
    EXPECT_EQ(gyre_context_after(context, count_call, NULL, NULL), 0);
    gyre_context_release(context);
    {
        GYRE_CONTEXT_VALUE(&key, &value);
        GYRE_SHIELD();
        shield = gyre_context_current();
        EXPECT_EQ(gyre_context_after(shield, count_call, &value, NULL), 0);
        EXPECT_EQ(gyre_context_with_timeout(shield, GYRE_HOUR, &context), 0);
        EXPECT_EQ(gyre_context_after(context, count_call, &value, NULL), 0);
        gyre_context_release(context);
        gyre_context_release(shield);
    }
    GYRE_SHIELD();
    shield = gyre_context_current();
    EXPECT_EQ(gyre_context_after(shield, count_call, NULL, NULL), 0);
    EXPECT_EQ(called, 0);
    return 0;
}

/* Under shields as well, or the shutdown would wait for them. */
Test(context_after, runs_at_the_shutdown_at_the_latest)
{
    for (unsigned workers = 1; workers < 4; workers++) {
        called = 0;
        cr_assert_eq(run_with_workers(workers, leave_some, NULL), 0);
        cr_assert_eq(called, 5);
        cr_assert_eq(failed_expectations, 0);
    }
}

static int too_late(void *arg)
{
    struct gyre_context_after *after = arg;
    int error;

    /* From the moment at which the shutdown begins. */
    while ((error = gyre_go(count_call, NULL)) != -ECANCELED)
        gyre_yield();
    error = gyre_context_after(gyre_context_background(), count_call, NULL, &after);
    EXPECT_EQ(error, -ECANCELED);
    EXPECT(after == NULL);
    return 0;
}

static int start_too_late(void *arg)
{
    return gyre_go(too_late, arg);
}

Test(context_after, not_any_more_in_the_shutdown)
{
    cr_assert_eq(run_with_workers(2, start_too_late, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}

INSIDE(context_after, a_foreign_thread_may_end_the_context)
{
    struct gyre_context_after *after;
    struct gyre_context *context;
    pthread_t thread;

    called = 0;
    EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &context), 0);
    EXPECT_EQ(gyre_context_after(context, count_call, NULL, &after), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, cancel_on_thread, context), 0);
    await_flag(&called, 1);
    pthread_join(thread, NULL);
    EXPECT_EQ(gyre_context_after_stop(after), 0);
    return 0;
}
