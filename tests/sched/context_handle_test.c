/* Contexts passed by hand: made, ended with a cause or by time, forgotten; and watches. */
#include "inside.h"

#include "base/checks.h"
#include "sched/context_watch.h"
#include "sched/worker.h"

#include <pthread.h>

static int sleep_for_ever(void *arg)
{
    (void)arg;
    return gyre_sleep(INT64_MAX);
}

INSIDE(context_handle, background_never_ends)
{
    struct gyre_context *background = gyre_context_background();

    GYRE_TIMEOUT(0);
    EXPECT(gyre_context_todo() == background);
    EXPECT_EQ(gyre_context_error_of(background), 0);
    EXPECT_EQ(gyre_context_cause_of(background), 0);
    EXPECT_EQ(gyre_context_deadline_of(background), INT64_MAX);
    gyre_context_release(background);
    gyre_context_release(gyre_context_hold(background));
    return 0;
}

INSIDE(context_handle, is_cancelled_with_all_below)
{
    struct gyre_context *parent, *child, *grandchild, *late;

    EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &parent), 0);
    EXPECT_EQ(gyre_context_with_timeout(parent, GYRE_HOUR, &child), 0);
    EXPECT_EQ(gyre_context_with_cancel(child, &grandchild), 0);
    gyre_context_cancel(child);
    EXPECT_EQ(gyre_context_error_of(parent), 0);
    EXPECT_EQ(gyre_context_error_of(child), -ECANCELED);
    EXPECT_EQ(gyre_context_error_of(grandchild), -ECANCELED);
    EXPECT_EQ(gyre_context_with_timeout(grandchild, GYRE_HOUR, &late), 0);
    EXPECT_EQ(gyre_context_error_of(late), -ECANCELED);
    gyre_context_release(parent);
    gyre_context_release(child);
    gyre_context_release(grandchild);
    gyre_context_release(late);
    EXPECT_EQ(timers_next(&worker_current()->timers), INT64_MAX);
    return 0;
}

/* Go: a child that was cancelled is its parent's no more. */
INSIDE(context_handle, unlinks_itself)
{
    struct gyre_context *parent, *child;

    EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &parent), 0);
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(gyre_context_with_timeout(parent, GYRE_HOUR, &child), 0);
        if (i % 2)
            gyre_context_cancel(child);
        else
            gyre_context_cancel_cause(child, -EPIPE);
        gyre_context_release(child);
    }
    EXPECT(list_empty(&parent->members.children));
    EXPECT_EQ(atomic_load(&parent->references), 1);
    gyre_context_release(parent);
    return 0;
}

INSIDE(context_handle, times_out)
{
    struct gyre_context *context, *child;
    int64_t start = gyre_now();

    EXPECT_EQ(gyre_context_with_timeout(gyre_context_background(), 2 * GYRE_MILLISECOND, &context),
              0);
    EXPECT(gyre_context_deadline_of(context) >= start + 2 * GYRE_MILLISECOND);
    EXPECT_EQ(gyre_context_with_deadline(context, INT64_MAX, &child), 0);
    EXPECT_EQ(gyre_context_deadline_of(child), gyre_context_deadline_of(context));
    {
        GYRE_WITH_CONTEXT(child);
        EXPECT_EQ(gyre_sleep(GYRE_HOUR), -ETIMEDOUT);
        EXPECT_EQ(gyre_context_cause(), -ETIMEDOUT);
    }
    EXPECT(gyre_now() >= start + 2 * GYRE_MILLISECOND);
    EXPECT_EQ(gyre_context_error_of(context), -ETIMEDOUT);
    gyre_context_cancel_cause(context, -EPIPE);
    EXPECT_EQ(gyre_context_error_of(context), -ETIMEDOUT);
    EXPECT_EQ(gyre_context_cause_of(child), -ETIMEDOUT);
    gyre_context_release(context);
    gyre_context_release(child);
    EXPECT_EQ(gyre_context_error(), 0);
    return 0;
}

INSIDE(context_handle, may_be_over_when_made)
{
    static const int64_t past[] = {0, -1, INT64_MIN};
    struct gyre_context *context, *ended;

    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(gyre_context_with_timeout(gyre_context_background(), past[i], &context), 0);
        EXPECT_EQ(gyre_context_error_of(context), -ETIMEDOUT);
        gyre_context_release(context);
        EXPECT_EQ(gyre_context_with_deadline(gyre_context_background(), past[i], &context), 0);
        EXPECT_EQ(gyre_context_error_of(context), -ETIMEDOUT);
        gyre_context_release(context);
    }
    EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &ended), 0);
    gyre_context_cancel_cause(ended, -EPIPE);
    EXPECT_EQ(gyre_context_with_timeout(ended, 0, &context), 0);
    EXPECT_EQ(gyre_context_error_of(context), -ECANCELED); /* the parent was first */
    EXPECT_EQ(gyre_context_cause_of(context), -EPIPE);
    gyre_context_release(context);
    gyre_context_release(ended);
    return 0;
}

/* Nothing of a timer that was stopped, by whatever end, stays behind. */
INSIDE(context_handle, its_timer_stops_at_the_end)
{
    struct gyre_context *parent, *children[64], *child;
    int64_t none = timers_next(&worker_current()->timers);

    EXPECT_EQ(none, INT64_MAX);
    EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &parent), 0);
    for (int i = 0; i < 64; i++)
        EXPECT_EQ(gyre_context_with_timeout(parent, GYRE_HOUR, &children[i]), 0);
    EXPECT_EQ(atomic_load(&children[0]->references), 2);
    gyre_context_cancel(parent);
    for (int i = 0; i < 64; i++) {
        EXPECT_EQ(atomic_load(&children[i]->references), 1);
        gyre_context_release(children[i]);
    }
    EXPECT_EQ(timers_next(&worker_current()->timers), INT64_MAX);
    EXPECT_EQ(gyre_context_with_timeout(parent, GYRE_HOUR, &child), 0); /* born ended */
    EXPECT_EQ(atomic_load(&child->references), 1);
    gyre_context_release(child);
    gyre_context_release(parent);
    EXPECT_EQ(timers_next(&worker_current()->timers), INT64_MAX);
    {
        GYRE_TIMEOUT(GYRE_HOUR);
        struct gyre_context *own = gyre_context_current();

        gyre_context_cancel(own);
        EXPECT_EQ(timers_next(&worker_current()->timers), INT64_MAX);
        gyre_context_release(own);
    }
    return 0;
}

INSIDE(context_handle, released_without_a_cancel_it_runs_out)
{
    struct gyre_context *context;

    EXPECT_EQ(gyre_context_with_timeout(gyre_context_background(), GYRE_MILLISECOND, &context), 0);
    gyre_context_release(context);
    EXPECT_EQ(gyre_sleep(2 * GYRE_MILLISECOND), 0);
    return 0;
}

/* --- causes ----------------------------------------------------------------------------------- */

INSIDE(context_handle, the_cause_is_told_below)
{
    struct gyre_context *parent, *child, *late;
    gyre_handle handle;

    EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &parent), 0);
    EXPECT_EQ(gyre_context_with_timeout(parent, GYRE_HOUR, &child), 0);
    {
        GYRE_WITH_CONTEXT(child);
        EXPECT_EQ(gyre_spawn(&handle, sleep_for_ever, NULL), 0);
        GYRE_CANCELLABLE();
        EXPECT_EQ(gyre_context_cause(), 0);
        gyre_context_cancel_cause(parent, -EPIPE);
        EXPECT_EQ(gyre_context_cause(), -EPIPE);
        EXPECT_EQ(gyre_context_error(), -ECANCELED);
        EXPECT_EQ(gyre_sleep(1), -ECANCELED);
    }
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    gyre_context_cancel_cause(parent, -EIO); /* the first stays */
    gyre_context_cancel(child);
    EXPECT_EQ(gyre_context_cause_of(parent), -EPIPE);
    EXPECT_EQ(gyre_context_cause_of(child), -EPIPE);
    EXPECT_EQ(gyre_context_with_cancel(child, &late), 0);
    EXPECT_EQ(gyre_context_cause_of(late), -EPIPE);
    gyre_context_release(late);
    gyre_context_release(parent);
    gyre_context_release(child);
    return 0;
}

INSIDE(context_handle, a_cause_that_is_none)
{
    static const int none[] = {0, 1, EPIPE};
    struct gyre_context *context;

    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &context), 0);
        gyre_context_cancel_cause(context, none[i]);
        EXPECT_EQ(gyre_context_cause_of(context), -ECANCELED);
        gyre_context_release(context);
    }
    return 0;
}

INSIDE(context_handle, the_runtimes_own_has_a_cause_too)
{
    gyre_context_cancel_cause(gyre_context_background(), -EPIPE);
    gyre_context_cancel_cause(gyre_context_background(), -EIO);
    EXPECT_EQ(gyre_context_error(), -ECANCELED);
    EXPECT_EQ(gyre_context_cause(), -EPIPE);
    return 0;
}

/* --- foreign threads ---------------------------------------------------------------------------
 */

static void *ask_and_cancel(void *arg)
{
    struct gyre_context *context = gyre_context_hold(arg);

    EXPECT_EQ(gyre_context_error_of(context), 0);
    EXPECT_EQ(gyre_context_cause_of(context), 0);
    EXPECT(gyre_context_deadline_of(context) < INT64_MAX);
    gyre_context_cancel_cause(context, -EPIPE);
    EXPECT_EQ(gyre_context_error_of(context), -ECANCELED);
    EXPECT_EQ(gyre_context_cause_of(context), -EPIPE);
    gyre_context_release(context);
    gyre_context_release(arg);
    return NULL;
}

INSIDE(context_handle, foreign_threads_may_ask_cancel_and_release)
{
    struct gyre_context *context;
    pthread_t thread;

    EXPECT_EQ(gyre_context_with_timeout(gyre_context_background(), GYRE_HOUR, &context), 0);
    {
        GYRE_WITH_CONTEXT(context);
        EXPECT_EQ(pthread_create(&thread, NULL, ask_and_cancel, context), 0);
        EXPECT_EQ(gyre_sleep(GYRE_HOUR), -ECANCELED);
        EXPECT_EQ(gyre_context_cause(), -EPIPE);
    }
    pthread_join(thread, NULL);
    return 0;
}

/* --- watches -----------------------------------------------------------------------------------
 */

struct noting {
    struct context_watch watch;
    struct gyre_context *context;
    int calls;
};

static void note(struct context_watch *watch)
{
    struct noting *noting = container_of(watch, struct noting, watch);

    noting->calls++;
    EXPECT(gyre_context_error_of(noting->context) < 0);
}

INSIDE(context_watch, is_called_once_at_the_end)
{
    struct noting watches[10];
    struct gyre_context *context;

    EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &context), 0);
    for (int i = 0; i < 10; i++) {
        watches[i] = (struct noting){.watch.call = note, .context = context};
        EXPECT(gyre_context_watch(context, &watches[i].watch));
    }
    EXPECT(gyre_context_unwatch(context, &watches[0].watch)); /* the last of the list */
    EXPECT(gyre_context_unwatch(context, &watches[9].watch)); /* the first */
    EXPECT(gyre_context_unwatch(context, &watches[5].watch));
    EXPECT(!gyre_context_unwatch(context, &watches[5].watch));
    EXPECT(gyre_context_watch(context, &watches[5].watch)); /* again */
    gyre_context_cancel(context);
    gyre_context_cancel(context);
    for (int i = 0; i < 10; i++) {
        EXPECT_EQ(watches[i].calls, i && i != 9);
        if (i && i != 9)
            EXPECT(!gyre_context_unwatch(context, &watches[i].watch));
    }
    EXPECT(!gyre_context_watch(context, &watches[0].watch));
    EXPECT(!gyre_context_unwatch(context, &watches[0].watch));
    EXPECT_EQ(watches[0].calls, 0);
    gyre_context_release(context);
    return 0;
}

static struct noting others[2];

/* Takes the other off, whichever is called first. */
static void take_off_other(struct context_watch *watch)
{
    bool first = watch == &others[0].watch;

    note(watch);
    EXPECT(gyre_context_unwatch(others[0].context, &others[first].watch));
}

INSIDE(context_watch, may_take_off_others_when_called)
{
    struct gyre_context *context;

    EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &context), 0);
    for (int i = 0; i < 2; i++) {
        others[i] = (struct noting){.watch.call = take_off_other, .context = context};
        EXPECT(gyre_context_watch(context, &others[i].watch));
    }
    gyre_context_cancel(context);
    EXPECT_EQ(others[0].calls + others[1].calls, 1);
    gyre_context_release(context);
    return 0;
}

INSIDE(context_watch, of_a_shield_is_not_called)
{
    struct noting watch = {.watch.call = note};

    GYRE_SHIELD();
    struct gyre_context *context = gyre_context_current();

    EXPECT(gyre_context_watch(context, &watch.watch));
    gyre_context_cancel(context);
    EXPECT(gyre_context_unwatch(context, &watch.watch));
    gyre_context_release(context);
    EXPECT_EQ(watch.calls, 0);
    return 0;
}

static struct noting at_shutdown[2];

static int watch_the_root(void *arg)
{
    struct gyre_context *child;

    (void)arg;
    EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &child), 0);
    at_shutdown[0] = (struct noting){.watch.call = note, .context = gyre_context_background()};
    at_shutdown[1] = (struct noting){.watch.call = note, .context = child};
    for (int i = 0; i < 2; i++)
        EXPECT(gyre_context_watch(at_shutdown[i].context, &at_shutdown[i].watch));
    return 0; /* child is forgotten */
}

Test(context_watch, the_shutdown_is_an_end)
{
    for (unsigned workers = 1; workers < 3; workers++) {
        cr_assert_eq(run_with_workers(workers, watch_the_root, NULL), 0);
        cr_assert_eq(at_shutdown[0].calls, 1);
        cr_assert_eq(at_shutdown[1].calls, 1);
        cr_assert_eq(failed_expectations, 0);
    }
}

/* --- forgotten ones ----------------------------------------------------------------------------
 */

static int reported;
static void *reported_site;

static void report(void *made_by)
{
    reported++;
    reported_site = made_by;
}

static __attribute__((noinline)) struct gyre_context *make_timed(struct gyre_context *parent)
{
    struct gyre_context *context;

    EXPECT_EQ(gyre_context_with_timeout(parent, GYRE_HOUR, &context), 0);
    return context;
}

INSIDE(context_leak, those_whom_only_children_hold_are_not_counted)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;
    struct gyre_context *parent, *child, *shield, *other;
    static const struct gyre_context_key key;

    gyre_checks = true;
    EXPECT_EQ(gyre_contexts_leaked(runtime, report), 0);
    EXPECT_EQ(gyre_context_with_value(gyre_context_background(), &key, NULL, &parent), 0);
    EXPECT_EQ(gyre_context_without_cancel(parent, &shield), 0);
    gyre_context_release(parent);
    child = make_timed(shield);
    gyre_context_release(shield);
    gyre_context_cancel(child);
    reported = 0;
    EXPECT_EQ(gyre_contexts_leaked(runtime, report), 1);
    EXPECT_EQ(reported, 1);
    EXPECT((char *)reported_site > (char *)(uintptr_t)make_timed &&
           (char *)reported_site < (char *)(uintptr_t)make_timed + 200);
    EXPECT_EQ(gyre_contexts_leaked(runtime, NULL), 1);
    other = gyre_context_hold(shield); /* that is one more */
    EXPECT_EQ(gyre_contexts_leaked(runtime, NULL), 2);
    gyre_context_release(other);
    gyre_context_release(child);
    EXPECT_EQ(gyre_contexts_leaked(runtime, NULL), 0);
    gyre_checks = false;
    return 0;
}
