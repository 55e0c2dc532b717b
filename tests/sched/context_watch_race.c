/*
 * Watches against everything that ends a context: each round some threads and coroutines hold a
 * context, put watches on their stacks on it, take them off or leave them, end it or let its timer
 * or its parent end it, and let go of it, all at once.
 *
 * A watch that gyre_context_watch refused, or that was taken off, is never called; any other once,
 * before retire returns. Whoever lets go last gives the node back: no timer and no watch may come
 * after that. At the end no node is left.
 */
#include "stress.h"

#include "sched/context_watch.h"
#include "sched/worker.h"

enum { USERS = 4, THREADS = 2, WATCHES = 3 };

struct noting {
    struct context_watch watch;
    struct gyre_context *context;
    _Atomic(int) calls;
    _Atomic(bool) over; /* the call's last touch */
    bool on;
};

static _Atomic(struct gyre_context *) current[USERS]; /* one reference for each */
static _Atomic(bool) over;
static _Atomic(uint64_t) rounds_played, seen[2];

static void note(struct context_watch *watch)
{
    struct noting *noting = container_of(watch, struct noting, watch);

    CHECK(context_error(noting->context), "called before the end");
    CHECK(!atomic_fetch_add_explicit(&noting->calls, 1, memory_order_relaxed), "called twice");
    atomic_store_explicit(&noting->over, true, memory_order_release);
}

/* True: it will not be called. False: it has been, and that is over. */
static bool retire(struct gyre_context *context, struct noting *noting)
{
    if (gyre_context_unwatch(context, &noting->watch))
        return true;
    while (!atomic_load_explicit(&noting->over, memory_order_acquire))
        sched_yield();
    return false;
}

static void watch_some(struct gyre_context *context, struct random *random)
{
    struct noting watches[WATCHES];

    for (int i = 0; i < WATCHES; i++) {
        memset(&watches[i], 0, sizeof watches[i]);
        watches[i].watch.call = note;
        watches[i].context = context;
        watches[i].on = gyre_context_watch(context, &watches[i].watch);
        CHECK(watches[i].on || context_error(context), "refused");
    }
    stress_pause(random);
    if (random_below(random, 4) == 0)
        gyre_context_cancel_cause(context, -EPIPE);
    stress_pause(random);
    for (int i = 0; i < WATCHES; i++) {
        int wanted = 0;

        if (watches[i].on && !retire(context, &watches[i]))
            wanted = 1;
        CHECK(atomic_load(&watches[i].calls) == wanted, "called %d times, not %d", watches[i].calls,
              wanted);
        atomic_fetch_add_explicit(&seen[wanted], 1, memory_order_relaxed);
    }
}

/* Uses the context that waits for this user, if any. */
static bool use(int user, struct random *random)
{
    struct gyre_context *context = atomic_exchange(&current[user], NULL);
    int error;

    if (!context)
        return false;
    watch_some(context, random);
    error = context_error(context);
    CHECK(!error || context_cause(context) < 0, "an end without a cause");
    gyre_context_release(context);
    return true;
}

static void *thread_user(void *arg)
{
    struct random random = stress_random();

    while (!atomic_load(&over)) {
        if (!use((int)(intptr_t)arg, &random))
            sched_yield();
    }
    return NULL;
}

static int coroutine_user(void *arg)
{
    struct random random = stress_random();

    while (!atomic_load(&over)) {
        use((int)(intptr_t)arg, &random);
        gyre_yield();
    }
    return 0;
}

static struct gyre_context *make(struct gyre_context *parent, struct random *random)
{
    struct gyre_context *context;
    int error;

    if (random_below(random, 2))
        error = gyre_context_with_timeout(parent, random_below(random, 5000), &context);
    else
        error = gyre_context_with_cancel(parent, &context);
    CHECK(!error, "no memory");
    return context;
}

static void play(struct random *random)
{
    bool early = random_below(random, 2);
    struct gyre_context *parent, *context;

    CHECK(!gyre_context_with_cancel(gyre_context_background(), &parent), "no memory");
    context = make(parent, random);
    for (int i = 0; i < USERS; i++)
        gyre_context_release(atomic_exchange(&current[i], gyre_context_hold(context)));
    if (early)
        gyre_context_release(context);
    stress_pause(random);
    switch (random_below(random, 12)) {
    case 0:
    case 2:
    case 3:
        gyre_context_cancel(parent);
        break;
    case 1:
        for (int i = 0; i < USERS; i++)
            while (atomic_load(&current[i]))
                CHECK(!gyre_yield(), "ended");
        break;
    }
    if (!early)
        gyre_context_release(context);
    gyre_context_cancel(parent);
    gyre_context_release(parent);
    atomic_fetch_add(&rounds_played, 1);
}

static int rounds(void *arg)
{
    struct random random = stress_random();
    pthread_t threads[THREADS];
    gyre_handle handles[USERS - THREADS];

    (void)arg;
    atomic_store(&over, false);
    for (intptr_t i = 0; i < THREADS; i++)
        threads[i] = race_thread(thread_user, (void *)i);
    for (intptr_t i = THREADS; i < USERS; i++)
        CHECK(!gyre_spawn(&handles[i - THREADS], coroutine_user, (void *)i), "no memory");
    while (stress_goes_on())
        play(&random);
    atomic_store(&over, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < USERS - THREADS; i++)
        CHECK(!gyre_join(handles[i], NULL), "join");
    for (int i = 0; i < USERS; i++)
        gyre_context_release(atomic_exchange(&current[i], NULL));
    /* Timers that fire right now hold theirs a little longer. */
    while (gyre_contexts_leaked(gyre_runtime_instance, NULL))
        CHECK(!gyre_yield(), "ended");
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run("watches", rounds);
    printf("%llu rounds, %llu watches called, %llu not\n", (unsigned long long)rounds_played,
           (unsigned long long)seen[1], (unsigned long long)seen[0]);
    return 0;
}
