/*
 * For stress programs: a seed that is printed and can be given back (GYRE_STRESS_SEED), a watchdog
 * that turns a hang into a message, and how long to go on: GYRE_STRESS=n or the first argument
 * multiplies the rounds that are short enough for each commit. Runs the same body with 1, 2 and 5
 * workers.
 */
#ifndef GYRE_TESTS_IO_STRESS_H
#define GYRE_TESTS_IO_STRESS_H

#include "base/macros.h"
#include "base/random.h"
#include "descriptors.h"

#include <gyre.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned long stress_factor = 1;
static uint64_t stress_seed;
static const char *stress_phase = "start";

/* Ends the program: what was found is final. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: not so: %s (seed %llu)\n", __FILE__, __LINE__,             \
                    stress_phase, #condition, (unsigned long long)stress_seed);                    \
            fflush(stderr);                                                                        \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

#define CHECK_EQ(value, wanted)                                                                    \
    do {                                                                                           \
        long long got_ = (long long)(value), wanted_ = (long long)(wanted);                        \
        if (got_ != wanted_) {                                                                     \
            fprintf(stderr, "%s:%d: %s: %s is %lld, not %lld (seed %llu)\n", __FILE__, __LINE__,   \
                    stress_phase, #value, got_, wanted_, (unsigned long long)stress_seed);         \
            fflush(stderr);                                                                        \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static inline void stress_hangs(int signal_number)
{
    static const char text[] = "watchdog: it hangs in ";
    ssize_t n;

    (void)signal_number;
    n = write(STDERR_FILENO, text, sizeof text - 1);
    n = write(STDERR_FILENO, stress_phase, strlen(stress_phase));
    n = write(STDERR_FILENO, "\n", 1);
    (void)n;
    if (getenv("GYRE_STRESS_WAIT"))
        pause(); /* for a debugger */
    _exit(1);
}

static inline void stress_begin(int argc, char **argv)
{
    const char *factor = argc > 1 ? argv[1] : getenv("GYRE_STRESS");
    const char *seed = getenv("GYRE_STRESS_SEED");

    if (factor && atol(factor) > 0)
        stress_factor = (unsigned long)atol(factor);
    stress_seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)gyre_now();
    printf("seed %llu, factor %lu\n", (unsigned long long)stress_seed, stress_factor);
    fflush(stdout);
    signal(SIGALRM, stress_hangs);
}

/* A generator of its own for each user, from the seed. */
static inline struct random stress_random(uint64_t stream)
{
    struct random r = {stress_seed + stream * 0x632be59bd9b4e019u};

    random_next(&r);
    return r;
}

/* Under ThreadSanitizer everything is some ten times slower. */
static inline unsigned long stress_rounds(unsigned long rounds)
{
#ifdef GYRE_TSAN
    rounds /= 10;
#endif
    return rounds * stress_factor;
}

/* Sanitizers slow everything down, and the machine may be loaded. */
enum { STRESS_PATIENCE = 100 };

static inline void stress_run(const char *phase, unsigned workers, unsigned ring_entries,
                              gyre_fn fn)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    static char name[100];
    int before = open_descriptors();
    int64_t start = gyre_now();

    snprintf(name, sizeof name, "%s with %u workers", phase, workers);
    stress_phase = name;
    options.workers = workers;
    options.ring_entries = ring_entries;
    options.seed = stress_seed;
    alarm((unsigned)(STRESS_PATIENCE * stress_factor));
    CHECK_EQ(gyre_run_options(fn, NULL, &options), 0);
    alarm(0);
    CHECK_EQ(open_descriptors_soon(before), before);
    printf("%s: %.2f s\n", name, (double)(gyre_now() - start) / 1e9);
    fflush(stdout);
}

static inline void stress_run_each(const char *phase, unsigned ring_entries, gyre_fn fn)
{
    stress_run(phase, 1, ring_entries, fn);
    stress_run(phase, 2, ring_entries, fn);
    stress_run(phase, 5, ring_entries, fn);
}

#endif
