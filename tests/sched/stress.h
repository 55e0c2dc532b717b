/* For stress programs that run coroutines: each scenario for a while with 1, 2 and 5 workers. */
#ifndef GYRE_TESTS_SCHED_STRESS_H
#define GYRE_TESTS_SCHED_STRESS_H

#include "race.h"

#include <gyre.h>

#include <errno.h>

static uint64_t stress_seed;
static int64_t stress_slice, stress_end;

/* argv: the seed, and for how many seconds to play each scenario. */
static inline void stress_begin(int argc, char **argv)
{
    stress_seed = race_begin(argc, argv);
    stress_slice = (race_end - clock_now()) / 3;
}

static inline bool stress_goes_on(void)
{
    return clock_now() < stress_end;
}

/* Every coroutine and thread takes its own numbers from the seed. */
static inline struct random stress_random(void)
{
    static _Atomic(uint64_t) next;

    return (struct random){stress_seed + atomic_fetch_add(&next, 1) * 0x9e3779b97f4a7c15u};
}

/* A pause that lands anywhere in the window of a few hundred instructions. */
static inline void stress_pause(struct random *random)
{
    for (unsigned i = random_below(random, 200); i; i--)
        cpu_relax();
}

static inline void stress_run(const char *what, gyre_fn fn)
{
    static const unsigned workers[] = {1, 2, 5};

    for (size_t i = 0; i < ARRAY_SIZE(workers); i++) {
        struct gyre_options options = GYRE_OPTIONS_INIT;
        options.workers = workers[i];
        options.seed = stress_seed | 1;
        alarm(60 + (unsigned)(stress_slice / GYRE_SECOND));
        stress_end = clock_now() + stress_slice;
        CHECK(!gyre_run_options(fn, NULL, &options), "%s with %u workers", what, workers[i]);
    }
}

#endif
