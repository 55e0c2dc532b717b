/*
 * What the race programs share: a seed that is printed and can be given as the first argument, a
 * time to play that can be given in seconds as the second (races are a matter of chance: on a busy
 * machine a number of rounds may take any time), a watchdog that turns a hang into a message,
 * threads, and a check that holds in every build.
 */
#ifndef GYRE_TESTS_SCHED_RACE_H
#define GYRE_TESTS_SCHED_RACE_H

#include "base/clock.h"
#include "base/macros.h"
#include "base/random.h"
#include "base/spinlock.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* More threads than CPUs, so that they lose their CPU in the middle of things. */
enum { RACE_THREADS = 5 };

static inline void race_hangs(int signal)
{
    static const char text[] = "the race hangs\n";

    (void)signal;
    _exit(write(STDERR_FILENO, text, sizeof text - 1) < 0 ? 2 : 1);
}

static int64_t race_half, race_end;

/* Returns the seed. */
static inline uint64_t race_begin(int argc, char **argv)
{
    uint64_t seed = 0;
    unsigned seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 3;

    if (argc > 1)
        seed = strtoull(argv[1], 0, 0);
    else if (getrandom(&seed, sizeof seed, 0) < 0)
        seed = (uint64_t)getpid();
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    signal(SIGALRM, race_hangs);
    alarm(100 + seconds);
    race_half = clock_now() + seconds * INT64_C(500000000);
    race_end = clock_now() + seconds * INT64_C(1000000000);
    return seed;
}

/* For programs of two parts. */
static inline bool race_first_half(void)
{
    return clock_now() < race_half;
}

static inline bool race_goes_on(void)
{
    return clock_now() < race_end;
}

static inline pthread_t race_thread(void *(*run)(void *), void *argument)
{
    pthread_t thread;

    CHECK(!pthread_create(&thread, 0, run, argument), "no thread");
    return thread;
}

/* Waits by spinning, so that what follows runs at the same time on all sides. */
static inline void race_wait(_Atomic(uint64_t) *word, uint64_t value)
{
    for (int spins = 0; atomic_load_explicit(word, memory_order_acquire) < value; spins++) {
        if (spins < 1000)
            cpu_relax();
        else
            sched_yield();
    }
}

/* The same for a flag that is to be cleared; acquire, with the release of who clears it. */
static inline void race_wait_clear(atomic_bool *flag)
{
    for (int spins = 0; atomic_load_explicit(flag, memory_order_acquire); spins++) {
        if (spins < 1000)
            cpu_relax();
        else
            sched_yield();
    }
}

/* Keeps two sides of a race at the same step, as long as both have a CPU. */
static inline void race_abreast(_Atomic(uint64_t) *mine, _Atomic(uint64_t) *other, uint64_t step)
{
    atomic_store_explicit(mine, step, memory_order_relaxed);
    for (int spins = 0; spins < 200; spins++)
        if (atomic_load_explicit(other, memory_order_relaxed) >= step)
            break;
}

#endif
