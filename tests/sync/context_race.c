/*
 * gyre_context_after and done channels against the ends of their contexts: each round a context
 * gets functions and waiters, while a thread, another coroutine, its timer or its parent end it and
 * the functions are stopped.
 *
 * A function whose stop said 1 is not called, each other one once; every waiter on the channel
 * comes back; nothing is left alive: no coroutine, no context.
 */
#include "../sched/stress.h"

#include "sched/context.h"
#include "sched/worker.h"

enum { AFTERS = 4, WAITERS = 3 };

static _Atomic(int) called, woken;
static _Atomic(uint64_t) stopped_all, called_all;
static _Atomic(struct gyre_context *) shared; /* what the thread ends */
static _Atomic(bool) over;

static int call(void *arg)
{
    CHECK(!gyre_context_error(), "not shielded");
    CHECK(gyre_context_error_of(arg), "called before the end");
    gyre_context_release(arg);
    atomic_fetch_add(&called, 1);
    return 0;
}

static int wait_done(void *arg)
{
    gyre_receiver done = {arg};

    CHECK(gyre_chan_recv(done, NULL) == 0, "recv");
    gyre_chan_release_receiver(done);
    atomic_fetch_add(&woken, 1);
    return 0;
}

static void *ender(void *arg)
{
    struct random random = stress_random();

    (void)arg;
    while (!atomic_load(&over)) {
        struct gyre_context *context = atomic_exchange(&shared, NULL);

        if (!context) {
            sched_yield();
            continue;
        }
        stress_pause(&random);
        gyre_context_cancel(context);
        gyre_context_release(context);
    }
    return NULL;
}

static struct gyre_context *make(struct gyre_context *parent, struct random *random)
{
    struct gyre_context *context;
    int error = random_below(random, 2)
                    ? gyre_context_with_timeout(parent, random_below(random, 20000), &context)
                    : gyre_context_with_cancel(parent, &context);

    CHECK(!error, "no memory");
    return context;
}

static void play(struct random *random)
{
    static const struct gyre_context_key key;
    struct gyre_context_after *afters[AFTERS];
    struct gyre_context *parent, *context;
    int stopped = 0, wanted = 0;
    gyre_receiver done;

    atomic_store(&called, 0);
    atomic_store(&woken, 0);
    CHECK(!gyre_context_with_value(gyre_context_background(), &key,
                                   random_below(random, 2) ? NULL : random, &parent),
          "no memory");
    context = make(parent, random);
    gyre_context_release(atomic_exchange(&shared, gyre_context_hold(context)));
    for (int i = 0; i < AFTERS; i++, wanted++)
        CHECK(!gyre_context_after(context, call, gyre_context_hold(context), &afters[i]),
              "no memory");
    CHECK(!gyre_context_done(context, &done), "no memory");
    for (int i = 0; i < WAITERS; i++)
        CHECK(!gyre_go(wait_done, gyre_chan_hold_receiver(done).chan), "no memory");
    stress_pause(random);
    for (unsigned i = random_below(random, 60); i && !gyre_context_error_of(context); i--)
        gyre_yield();
    for (int i = 0; i < AFTERS; i++) {
        stress_pause(random);
        if (gyre_context_after_stop(afters[i])) {
            gyre_context_release(context);
            stopped++;
        }
    }
    gyre_context_cancel(random_below(random, 2) ? parent : context);
    gyre_context_cancel(parent);
    gyre_context_release(context);
    gyre_context_release(parent);
    while (atomic_load(&called) < wanted - stopped || atomic_load(&woken) < WAITERS)
        gyre_yield();
    CHECK(atomic_load(&called) == wanted - stopped, "a stopped one was called");
    atomic_fetch_add(&stopped_all, (uint64_t)stopped);
    atomic_fetch_add(&called_all, (uint64_t)(wanted - stopped));
}

static int rounds(void *arg)
{
    struct random random = stress_random();
    pthread_t thread;

    (void)arg;
    atomic_store(&over, false);
    thread = race_thread(ender, NULL);
    while (stress_goes_on())
        play(&random);
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    gyre_context_release(atomic_exchange(&shared, NULL));
    while (gyre_coro_count() > 1 || gyre_contexts_leaked(gyre_runtime_instance, NULL))
        gyre_yield();
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run("functions", rounds);
    printf("%llu called, %llu stopped\n", (unsigned long long)called_all,
           (unsigned long long)stopped_all);
    return 0;
}
