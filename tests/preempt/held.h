/*
 * For tests of what a coroutine may do with locks while it is interrupted: one worker, where
 * `other` gets a turn only when the coroutine that tests parks, which it does not, or is
 * interrupted.
 */
#ifndef GYRE_TESTS_PREEMPT_HELD_H
#define GYRE_TESTS_PREEMPT_HELD_H

#include <gyre.h>
#include <gyre/preempt.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s: ", __FILE__, __LINE__, #condition);                \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static uint64_t other_turns; /* by __atomic, for C++ */
static int other_ends;

static inline uint64_t turns(void)
{
    return __atomic_load_n(&other_turns, __ATOMIC_RELAXED);
}

static int other(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&other_ends, __ATOMIC_RELAXED)) {
        __atomic_fetch_add(&other_turns, 1, __ATOMIC_RELAXED);
        gyre_yield();
    }
    return 0;
}

/* Some 10 us in this program's own code. */
static __attribute__((noinline)) void compute(void)
{
    uint64_t x = turns();

    for (int i = 0; i < 10000; i++)
        __asm__("" : "+r"(x));
}

static inline struct gyre_preempt_counts get_counts(void)
{
    struct gyre_preempt_counts counts;

    memset(&counts, 0, sizeof counts);
    counts.size = sizeof counts;
    CHECK(!gyre_preempt_count(&counts), "counts");
    return counts;
}

/* Computes until it was refused for a lock a few times; nobody else may have a turn. */
static inline void compute_holding(const char *what)
{
    uint64_t before = turns(), refused = get_counts().refused[GYRE_REFUSED_LOCK];

    while (get_counts().refused[GYRE_REFUSED_LOCK] < refused + 3) {
        compute();
        CHECK(turns() == before, "interrupted inside %s", what);
    }
}

/* Computes until it is interrupted: never, when a lock that is not held counts. */
static inline void compute_until_interrupted(void)
{
    uint64_t before = turns();

    while (turns() == before)
        compute();
}

/* Runs fn beside `other`. 77: nothing is interrupted in this process, for another reason than
 * wanted. */
static inline int run_held(gyre_fn fn, void *arg)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 1;
    options.quantum = 200 * GYRE_MICROSECOND;
    alarm(60); /* "Alarm clock": somebody waits for ever */
    return gyre_run_options(fn, arg, &options);
}

static inline int is_asynchronous(void)
{
    const char *mode = get_counts().mode;

    if (strcmp(mode, "asynchronous") == 0)
        return 1;
    printf("%s\n", mode);
    return 0;
}

#endif
