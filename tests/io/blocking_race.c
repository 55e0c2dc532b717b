/*
 * Races the end of a context against a helper that takes the call, runs it and returns.
 *
 * Hypothesis: a call that returns an error was not called (gyre_blocking), or is called on its copy
 * and dropped (gyre_blocking_detached); any other was called exactly once, and its result is the
 * one returned; nothing is lost, and no stack is touched after its call has returned.
 *
 * Few helpers for many callers, so that calls are taken out of the queue, left, and begun at the
 * very moment; the canceller hits a caller at any time, and calls in a context that lives come
 * between. The pool is empty at the start of each round: helpers are started under load.
 */
#include "stress.h"

enum { CALLERS = 24 };

struct work {
    atomic_uint *calls, *drops;
    unsigned number;
    unsigned spins;
};

static struct caller {
    _Atomic(struct gyre_context *) target;
    struct random random;
    atomic_uint calls, drops;
    unsigned long done, ended;
} callers[CALLERS];

static unsigned long calls_each;
static atomic_int running;
static unsigned helpers;

static int work(void *arg)
{
    struct work *mine = arg;

    atomic_fetch_add(mine->calls, 1);
    for (unsigned i = 0; i < mine->spins; i++)
        __asm__ volatile("");
    mine->number = ~mine->number;
    return (int)(mine->number & 0xffffff);
}

static void drop(void *copy, int result)
{
    struct work *mine = copy;

    CHECK_EQ(result, (int)(mine->number & 0xffffff));
    atomic_fetch_add(mine->drops, 1);
}

static void call_once(struct caller *caller, bool cancellable)
{
    struct random *random = &caller->random;
    struct work mine = {&caller->calls, &caller->drops, (unsigned)random_next(random),
                        (unsigned)random_below(random, 3000)};
    unsigned number = mine.number, calls = atomic_load(&caller->calls);
    bool detached = random_below(random, 2);
    int result = detached ? gyre_blocking_detached(work, &mine, sizeof mine, drop)
                          : gyre_blocking(work, &mine);

    caller->done++;
    if (result < 0) {
        CHECK(cancellable && result == -ECANCELED);
        CHECK_EQ(mine.number, number);
        caller->ended++;
        if (!detached)
            CHECK_EQ(atomic_load(&caller->calls), calls);
    } else {
        CHECK_EQ(mine.number, ~number);
        CHECK_EQ(result, (int)(~number & 0xffffff));
    }
    /* What is left may run late: the next calls would not know it from theirs. */
    if (result < 0 && detached) {
        GYRE_SHIELD();
        for (int i = 0; i < 3; i++)
            gyre_yield();
        while (atomic_load(&caller->calls) != calls + 1) {
            struct gyre_blocking_counts count = {.size = sizeof count};

            gyre_blocking_count(&count);
            if (!count.busy && !count.queued)
                break; /* it never began */
            gyre_yield();
        }
    }
}

static int call_on(void *arg)
{
    struct caller *caller = arg;

    for (unsigned long i = 0; i < calls_each; i++) {
        struct gyre_context *context;

        CHECK_EQ(gyre_context_with_cancel(gyre_context_current(), &context), 0);
        atomic_store(&caller->target, context);
        {
            GYRE_WITH_CONTEXT(context);
            call_once(caller, true);
        }
        /* The canceller takes it out while it looks at it. */
        while (!atomic_exchange(&caller->target, NULL))
            gyre_yield();
        gyre_context_release(context);
        call_once(caller, false);
    }
    atomic_fetch_sub(&running, 1);
    return 0;
}

static int cancel_on(void *unused)
{
    struct random random = stress_random(CALLERS);

    (void)unused;
    while (atomic_load(&running)) {
        struct caller *caller = &callers[random_below(&random, CALLERS)];
        struct gyre_context *context = atomic_exchange(&caller->target, NULL);

        if (context) {
            gyre_context_cancel(context);
            atomic_store(&caller->target, context);
        }
        if (!random_below(&random, 4))
            gyre_sleep(random_below(&random, 50) * GYRE_MICROSECOND);
        else
            gyre_yield();
    }
    return 0;
}

static int run_callers(void *unused)
{
    gyre_handle handles[CALLERS], canceller;
    struct gyre_blocking_counts count = {.size = sizeof count};
    unsigned long done = 0, ended = 0;

    (void)unused;
    atomic_store(&running, CALLERS);
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i].random = stress_random(i);
        callers[i].done = callers[i].ended = 0;
        CHECK_EQ(gyre_spawn(&handles[i], call_on, &callers[i]), 0);
    }
    CHECK_EQ(gyre_spawn(&canceller, cancel_on, NULL), 0);
    for (unsigned i = 0; i < CALLERS; i++) {
        CHECK_EQ(gyre_join(handles[i], NULL), 0);
        done += callers[i].done;
        ended += callers[i].ended;
    }
    CHECK_EQ(gyre_join(canceller, NULL), 0);
    do {
        gyre_yield();
        CHECK_EQ(gyre_blocking_count(&count), 0);
    } while (count.busy);
    CHECK_EQ(count.queued, 0);
    CHECK(count.helpers <= helpers);
    printf("  %lu calls, %lu ended early, %llu functions called\n", done, ended,
           (unsigned long long)count.calls);
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const numbers[] = {"1", "3", "8"};

    stress_begin(argc, argv);
    calls_each = stress_rounds(300);
    for (int i = 0; i < 3; i++) {
        setenv("GYRE_HELPERS", numbers[i], 1);
        helpers = (unsigned)atoi(numbers[i]);
        stress_run_each(numbers[i], 0, run_callers);
    }
    return 0;
}
