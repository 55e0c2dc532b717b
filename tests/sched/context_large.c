/*
 * Deep and wide trees of contexts: made, ended and left in a time that grows with their size alone,
 * without recursion. Prints nanoseconds for each node; the largest may take at most so many times
 * as long for each as a hundredth of it.
 */
#include "stress.h"

#include "sched/worker.h"

#include <sys/resource.h>

enum { DEEP = 100000, WIDE = 1000000, CORO = 200000, FACTOR = 12, SMALLER = 100 };

static double cost[2];

static int64_t cpu(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * GYRE_SECOND +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * GYRE_MICROSECOND;
}

static void report(const char *what, int count, int64_t made, int64_t ended, int64_t left)
{
    printf("%s, %d: made %.1f, ended %.1f, left %.1f ns each\n", what, count, (double)made / count,
           (double)ended / count, (double)left / count);
    fflush(stdout);
    cost[0] = cost[1];
    cost[1] = (double)(made + ended + left) / count;
}

/* A chain: each inside the one before; the outermost is ended. */
static int deep(void *arg)
{
    int count = *(int *)arg;
    struct gyre_scope *scopes = malloc((size_t)count * sizeof *scopes);
    int64_t start, made, ended;
    struct gyre_context *outermost = NULL;

    CHECK(scopes, "no memory");
    start = cpu();
    for (int i = 0; i < count; i++) {
        scopes[i] = gyre_scope_cancellable();
        if (!i)
            outermost = gyre_context_current();
    }
    made = cpu();
    CHECK(!gyre_context_error(), "too early");
    gyre_context_cancel(outermost);
    CHECK(gyre_context_error() == -ECANCELED, "the innermost goes on");
    ended = cpu();
    for (int i = count - 1; i >= 0; i--)
        gyre_scope_leave(&scopes[i]);
    report("a chain", count, made - start, ended - made, cpu() - ended);
    CHECK(!gyre_context_error(), "left");
    gyre_context_release(outermost);
    free(scopes);
    return 0;
}

/* Children of one node: every other has a timer, every fourth was cancelled before. */
static int wide(void *arg)
{
    int count = *(int *)arg;
    struct gyre_context **children = malloc((size_t)count * sizeof *children), *parent;
    int64_t start, made, ended;

    CHECK(children, "no memory");
    CHECK(!gyre_context_with_cancel(gyre_context_background(), &parent), "no memory");
    start = cpu();
    for (int i = 0; i < count; i++) {
        int error = i % 2 ? gyre_context_with_timeout(parent, GYRE_HOUR + i, &children[i])
                          : gyre_context_with_cancel(parent, &children[i]);

        CHECK(!error, "no memory");
        if (i % 4 == 3)
            gyre_context_cancel_cause(children[i], -EPIPE);
    }
    made = cpu();
    gyre_context_cancel(parent);
    ended = cpu();
    CHECK(list_empty(&parent->members.children), "still linked");
    CHECK(timers_next(&worker_current()->timers) == INT64_MAX, "a timer is left");
    for (int i = 0; i < count; i++) {
        CHECK(gyre_context_error_of(children[i]) == -ECANCELED, "child %d", i);
        CHECK(gyre_context_cause_of(children[i]) == (i % 4 == 3 ? -EPIPE : -ECANCELED), "cause");
        gyre_context_release(children[i]);
    }
    report("children", count, made - start, ended - made, cpu() - ended);
    gyre_context_release(parent);
    free(children);
    return 0;
}

/* Children of one node that unlink themselves, in any order, and so do their timers. */
static int leaving(void *arg)
{
    int count = *(int *)arg;
    struct gyre_context **children = malloc((size_t)count * sizeof *children), *parent;
    int64_t start, made, ended;

    CHECK(children, "no memory");
    CHECK(!gyre_context_with_cancel(gyre_context_background(), &parent), "no memory");
    start = cpu();
    for (int i = 0; i < count; i++)
        CHECK(!gyre_context_with_timeout(parent, GYRE_HOUR + i, &children[i]), "no memory");
    made = cpu();
    for (int from = 0; from < 2; from++)
        for (int i = from; i < count; i += 2)
            gyre_context_cancel(children[i]);
    CHECK(timers_next(&worker_current()->timers) == INT64_MAX, "a timer is left");
    ended = cpu();
    for (int i = count - 1; i >= 0; i--)
        gyre_context_release(children[i]);
    report("leaving", count, made - start, ended - made, cpu() - ended);
    CHECK(list_empty(&parent->members.children), "still linked");
    CHECK(atomic_load(&parent->references) == 1, "still held");
    gyre_context_release(parent);
    free(children);
    return 0;
}

static _Atomic(int) asleep, woken;

static int sleeper(void *arg)
{
    (void)arg;
    atomic_fetch_add(&asleep, 1);
    {
        GYRE_CANCELLABLE();
        CHECK(gyre_sleep(INT64_MAX) == -ECANCELED, "not ended");
    }
    atomic_fetch_add(&woken, 1);
    return 0;
}

/* Coroutines under one node, each asleep in a scope of its own. */
static int coroutines(void *arg)
{
    int count = *(int *)arg;
    int64_t start = cpu(), made, ended;

    asleep = woken = 0;
    {
        GYRE_CANCELLABLE();
        struct gyre_context *context = gyre_context_current();

        for (int i = 0; i < count; i++)
            CHECK(!gyre_go(sleeper, NULL), "no memory");
        while (atomic_load(&asleep) < count)
            gyre_yield();
        made = cpu();
        gyre_context_cancel(context);
        gyre_context_release(context);
        ended = cpu();
    }
    while (atomic_load(&woken) < count)
        gyre_yield();
    report("coroutines", count, made - start, ended - made, cpu() - ended);
    return 0;
}

static void compare(gyre_fn fn, int count)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    int smaller = count / SMALLER;

    options.workers = 1;
    CHECK(!gyre_run_options(fn, &smaller, &options), "run");
    CHECK(!gyre_run_options(fn, &count, &options), "run");
    /* Caches and page faults make large ones dearer, a quadratic walk makes them a hundred times
     * as dear. */
    CHECK(cost[1] < FACTOR * cost[0], "%.1f ns each, and %.1f for a hundredth", cost[1], cost[0]);
}

int main(int argc, char **argv)
{
    int divisor = argc > 1 ? atoi(argv[1]) : 1;

    signal(SIGALRM, race_hangs);
    alarm(100);
    compare(deep, DEEP / divisor);
    compare(wide, WIDE / divisor);
    compare(leaving, WIDE / divisor);
    compare(coroutines, CORO / divisor);
    return 0;
}
