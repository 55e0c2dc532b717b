/*
 * gyre_call, gyre_submit and gyre_finish of many threads against gyre_stop: none hangs, none
 * touches what was freed, each function that was taken tells once, and none that was refused was
 * called.
 */
#include "race.h"

#include <gyre.h>

#include <errno.h>
#include <sched.h>

static _Atomic(struct gyre_runtime *) current;
static atomic_bool over;
static atomic_ulong called, returned, submitted, done_calls, done_results, run_submitted;

static int run(void *arg)
{
    struct random *random = arg;

    atomic_fetch_add(&called, 1);
    if (random && !random_below(random, 4))
        gyre_yield();
    return 1;
}

static int run_submitted_one(void *unused)
{
    (void)unused;
    atomic_fetch_add(&run_submitted, 1);
    return 1;
}

static void done(void *unused, int result)
{
    (void)unused;
    atomic_fetch_add(&done_calls, 1);
    if (result == 1)
        atomic_fetch_add(&done_results, 1);
    else
        CHECK(result == -ECANCELED, "%d", result);
}

static void *call(void *argument)
{
    struct random random = {(uintptr_t)argument * 0x9e3779b97f4a7c15u + 1};

    while (!atomic_load(&over)) {
        struct gyre_runtime *runtime = atomic_load(&current);
        int result;

        if (random_below(&random, 3)) {
            result = gyre_call(runtime, run, &random);
            CHECK(result == 1 || result == -ECANCELED, "%d", result);
            if (result == 1)
                atomic_fetch_add(&returned, 1);
        } else {
            result = gyre_submit(runtime, run_submitted_one, NULL, done);
            CHECK(!result || result == -ECANCELED, "%d", result);
            if (!result)
                atomic_fetch_add(&submitted, 1);
        }
        if (result)
            sched_yield();
    }
    return NULL;
}

static int play(struct random *random)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    struct gyre_runtime *runtime;
    int finished = 0;

    options.workers = 1 + random_below(random, 3);
    options.seed = random_next(random) | 1;
    CHECK(!gyre_start(&runtime, NULL, NULL, &options), "start");
    atomic_store(&current, runtime);
    for (unsigned i = random_below(random, 200); i; i--) {
        finished += gyre_finish(runtime);
        sched_yield();
    }
    CHECK(!gyre_stop(runtime), "stop");
    return finished;
}

int main(int argc, char **argv)
{
    struct random random = {race_begin(argc, argv)};
    pthread_t threads[RACE_THREADS];
    unsigned rounds = 0;

    for (uintptr_t i = 0; i < RACE_THREADS; i++)
        CHECK(!pthread_create(&threads[i], NULL, call, (void *)(i + 1)), "thread");
    for (; clock_now() < race_end || rounds < 20; rounds++)
        play(&random);
    atomic_store(&over, true);
    for (int i = 0; i < RACE_THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(called == returned, "%lu called, %lu returned", called, returned);
    CHECK(submitted == done_calls, "%lu submitted, %lu done", submitted, done_calls);
    CHECK(run_submitted == done_results, "%lu ran, %lu told", run_submitted, done_results);
    printf("%u rounds, %lu calls, %lu submissions\n", rounds, called, submitted);
    return 0;
}
