/* Values of contexts: who sees which, when they are dropped, and what a shield does to them. */
#include "inside.h"

#include "sched/worker.h"

#include <pthread.h>

static const struct gyre_context_key plain;
static const struct gyre_context_key another;

static atomic_int dropped;

static void count_drop(void *value)
{
    atomic_fetch_add(&dropped, value ? *(int *)value : 1000);
}

static const struct gyre_context_key counted = {count_drop};

static int one = 1;

INSIDE(context_value, none_at_first)
{
    EXPECT(gyre_context_value(&plain) == NULL);
    EXPECT(gyre_context_value(NULL) == NULL);
    EXPECT(gyre_context_value_of(gyre_context_background(), &plain) == NULL);
    return 0;
}

INSIDE(context_value, the_innermost_counts)
{
    int a, b, c;

    {
        GYRE_CONTEXT_VALUE(&plain, &a);
        EXPECT(gyre_context_value(&plain) == &a);
        EXPECT(gyre_context_value(&another) == NULL);
        {
            GYRE_TIMEOUT(GYRE_HOUR);
            GYRE_CONTEXT_VALUE(&another, &b);
            GYRE_CANCELLABLE();
            EXPECT(gyre_context_value(&plain) == &a);
            EXPECT(gyre_context_value(&another) == &b);
            GYRE_CONTEXT_VALUE(&plain, &c);
            EXPECT(gyre_context_value(&plain) == &c);
            GYRE_CONTEXT_VALUE(&plain, NULL);
            EXPECT(gyre_context_value(&plain) == NULL); /* hides the outer ones */
            EXPECT(gyre_context_deadline() < INT64_MAX);
        }
        EXPECT(gyre_context_value(&plain) == &a);
        EXPECT(gyre_context_value(&another) == NULL);
    }
    EXPECT(gyre_context_value(&plain) == NULL);
    return 0;
}

static int want_value(void *arg)
{
    EXPECT(gyre_context_value(&plain) == arg);
    gyre_yield();
    GYRE_CANCELLABLE();
    EXPECT(gyre_context_value(&plain) == arg);
    return 0;
}

INSIDE(context_value, is_inherited_but_not_outside)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handles[2];
    int a;

    options.flags = GYRE_SPAWN_OUTSIDE_CONTEXT;
    GYRE_CONTEXT_VALUE(&plain, &a);
    EXPECT_EQ(gyre_spawn(&handles[0], want_value, &a), 0);
    EXPECT_EQ(gyre_spawn_options(&handles[1], want_value, NULL, &options), 0);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(gyre_join(handles[i], NULL), 0);
    return 0;
}

INSIDE(context_value, is_dropped_when_nobody_holds_the_context)
{
    struct gyre_context *context;
    int before = atomic_load(&dropped);

    {
        GYRE_CONTEXT_VALUE(&counted, &one);
        EXPECT_EQ(atomic_load(&dropped), before);
    }
    EXPECT_EQ(atomic_load(&dropped), before + 1);
    {
        GYRE_CONTEXT_VALUE(&counted, &one);
        GYRE_CANCELLABLE();
        context = gyre_context_current();
    }
    EXPECT_EQ(atomic_load(&dropped), before + 1); /* the child's handle holds it */
    EXPECT_EQ(gyre_context_error_of(context), -ECANCELED);
    EXPECT(gyre_context_value_of(context, &counted) == &one);
    gyre_context_release(context);
    EXPECT_EQ(atomic_load(&dropped), before + 2);
    {
        GYRE_CONTEXT_VALUE(&counted, NULL); /* dropped, too */
    }
    EXPECT_EQ(atomic_load(&dropped), before + 1002);
    return 0;
}

static void *look_and_release(void *arg)
{
    EXPECT(gyre_context_value_of(arg, &counted) == &one);
    gyre_context_release(arg);
    return NULL;
}

INSIDE(context_value, may_be_dropped_by_a_foreign_thread)
{
    struct gyre_context *context;
    int before = atomic_load(&dropped);
    pthread_t thread;

    EXPECT_EQ(gyre_context_with_value(gyre_context_background(), &counted, &one, &context), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, look_and_release, context), 0);
    pthread_join(thread, NULL);
    EXPECT_EQ(atomic_load(&dropped), before + 1);
    return 0;
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void spawn_something(void *value)
{
    EXPECT_EQ(gyre_go(nothing, value), 0);
    EXPECT_EQ(gyre_context_error(), 0);
}

static const struct gyre_context_key spawning = {spawn_something};

static int last_holder(void *arg)
{
    gyre_context_release(arg);
    return 0;
}

/* The coroutine's own end drops the value: no new one may inherit what is going away. */
INSIDE(context_value, a_drop_at_the_end_of_a_coroutine_may_start_another)
{
    struct gyre_context *context;
    gyre_handle handle;

    for (int i = 0; i < 10; i++) {
        EXPECT_EQ(gyre_context_with_value(gyre_context_background(), &spawning, &one, &context), 0);
        {
            GYRE_WITH_CONTEXT(context);
            EXPECT_EQ(gyre_spawn(&handle, last_holder, context), 0);
        }
        EXPECT_EQ(gyre_join(handle, NULL), 0);
    }
    return 0;
}

/* --- shields ---------------------------------------------------------------------------------- */

static int in_shield(void *arg)
{
    atomic_int *go_on = arg;

    EXPECT(gyre_context_value(&plain) == &one);
    while (!atomic_load(go_on))
        EXPECT_EQ(gyre_yield(), 0);
    EXPECT(gyre_context_value(&plain) == &one);
    return gyre_context_error();
}

INSIDE(context_value, is_seen_through_shields)
{
    gyre_handle handle;
    atomic_int go_on = 0;

    {
        GYRE_CONTEXT_VALUE(&plain, &one);
        GYRE_TIMEOUT(0);
        {
            GYRE_SHIELD();
            EXPECT_EQ(gyre_context_error(), 0);
            EXPECT_EQ(gyre_context_cause(), 0);
            EXPECT_EQ(gyre_context_deadline(), INT64_MAX);
            EXPECT(gyre_context_value(&plain) == &one);
            EXPECT_EQ(gyre_sleep(1), 0);
            {
                GYRE_TIMEOUT(1);
                GYRE_SHIELD();
                EXPECT(gyre_context_value(&plain) == &one);
                EXPECT_EQ(gyre_sleep(10), 0);
            }
            EXPECT_EQ(gyre_spawn(&handle, in_shield, &go_on), 0);
        }
        EXPECT_EQ(gyre_context_error(), -ETIMEDOUT);
    }
    atomic_store(&go_on, 1);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    return 0;
}

INSIDE(context_value, a_shields_handle_ends_nothing)
{
    int a;

    for (int with = 0; with < 2; with++) {
        struct gyre_scope value = with ? gyre_scope_value(&plain, &a) : gyre_scope_cancellable();
        {
            GYRE_SHIELD();
            struct gyre_context *shield = gyre_context_current(), *child;

            gyre_context_cancel(shield);
            EXPECT_EQ(gyre_context_error(), 0);
            EXPECT_EQ(gyre_yield(), 0);
            EXPECT_EQ(gyre_context_with_cancel(shield, &child), 0);
            EXPECT(gyre_context_value_of(child, &plain) == (with ? &a : NULL));
            gyre_context_cancel_cause(shield, -EPIPE);
            EXPECT_EQ(gyre_context_error_of(child), 0);
            gyre_context_cancel(child);
            EXPECT_EQ(gyre_context_error_of(child), -ECANCELED);
            gyre_context_release(child);
            gyre_context_release(shield);
        }
        gyre_scope_leave(&value);
    }
    return 0;
}

INSIDE(context_value, without_cancel_keeps_the_values)
{
    struct gyre_context *parent, *valued, *without, *child;

    for (int with = 0; with < 2; with++) {
        EXPECT_EQ(gyre_context_with_timeout(gyre_context_background(), GYRE_HOUR, &parent), 0);
        if (with)
            EXPECT_EQ(gyre_context_with_value(parent, &plain, &one, &valued), 0);
        else
            valued = gyre_context_hold(parent);
        EXPECT_EQ(gyre_context_without_cancel(valued, &without), 0);
        EXPECT_EQ(gyre_context_with_timeout(without, GYRE_HOUR, &child), 0);
        gyre_context_cancel(parent);
        gyre_context_release(parent);
        EXPECT_EQ(gyre_context_error_of(valued), -ECANCELED);
        gyre_context_release(valued);
        gyre_context_cancel(without);
        EXPECT_EQ(gyre_context_error_of(without), 0);
        EXPECT_EQ(gyre_context_deadline_of(without), INT64_MAX);
        EXPECT_EQ(gyre_context_error_of(child), 0);
        EXPECT(gyre_context_value_of(without, &plain) == (with ? &one : NULL));
        EXPECT(gyre_context_value_of(child, &plain) == (with ? &one : NULL));
        gyre_context_release(without);
        {
            GYRE_WITH_CONTEXT(child);
            EXPECT_EQ(gyre_yield(), 0);
            gyre_context_cancel(child);
            EXPECT_EQ(gyre_yield(), -ECANCELED);
        }
        gyre_context_release(child);
    }
    return 0;
}

/* --- no memory -------------------------------------------------------------------------------- */

static bool fail;
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return fail ? NULL : __real_calloc(count, size);
}

/* Takes all nodes there are. */
static void use_up(struct gyre_context **children, int count)
{
    int i = 0;

    fail = true;
    while (!gyre_context_with_cancel(gyre_context_background(), &children[i]))
        EXPECT(++i < count);
    EXPECT(children[i] == NULL);
}

static int without_memory(void *arg)
{
    static struct gyre_context *children[1000];
    int before = atomic_load(&dropped);
    struct gyre_context *context = &gyre_runtime_instance->contexts.root;

    (void)arg;
    GYRE_CONTEXT_VALUE(&plain, &one);
    use_up(children, 1000);
    EXPECT_EQ(gyre_context_with_timeout(gyre_context_background(), 1, &context), -ENOMEM);
    EXPECT(context == NULL);
    EXPECT_EQ(gyre_context_with_value(gyre_context_background(), &counted, &one, &context),
              -ENOMEM);
    EXPECT_EQ(atomic_load(&dropped), before); /* still the caller's */
    {
        GYRE_SHIELD(); /* holds, and hides them */
        EXPECT_EQ(gyre_yield(), 0);
        EXPECT(gyre_context_value(&plain) == NULL);
    }
    {
        GYRE_CONTEXT_VALUE(&counted, &one);
        EXPECT_EQ(atomic_load(&dropped), before + 1);
        EXPECT_EQ(gyre_yield(), -ENOMEM);
        EXPECT_EQ(gyre_context_cause(), -ENOMEM);
        EXPECT(gyre_context_value(&counted) == NULL);
    }
    EXPECT_EQ(atomic_load(&dropped), before + 1);
    EXPECT_EQ(gyre_context_without_cancel(gyre_context_background(), &context), 0);
    fail = false;
    for (int i = 0; children[i]; i++)
        gyre_context_release(children[i]);
    return 0;
}

Test(context_value, without_memory)
{
    cr_assert_eq(run_with_workers(1, without_memory, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}
