/*
 * Time: CLOCK_MONOTONIC in nanoseconds, through the vDSO, no system call; or, in a test, a time of
 * the scheduler's own (sched/quiet.c).
 */
#ifndef GYRE_LIB_BASE_CLOCK_H
#define GYRE_LIB_BASE_CLOCK_H

#include "base/macros.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* 0: time is real. Else what time it is in the test. Only the one worker moves it, while no
 * coroutine runs: relaxed, for what else is looked at is ordered by the queues. */
extern _Atomic(int64_t) gyre_clock_virtual;

static inline int64_t clock_real(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline bool clock_is_virtual(void)
{
    return atomic_load_explicit(&gyre_clock_virtual, memory_order_relaxed) != 0;
}

/* 0: time is real again. */
static inline void clock_set_virtual(int64_t time)
{
    atomic_store_explicit(&gyre_clock_virtual, time, memory_order_relaxed);
}

/* The moment duration after now: now itself for less than nothing, INT64_MAX for beyond. */
static inline int64_t clock_after(int64_t now, int64_t duration)
{
    int64_t when;

    if (duration < 0)
        return now;
    return __builtin_add_overflow(now, duration, &when) ? INT64_MAX : when;
}

static inline int64_t clock_now(void)
{
    int64_t time = atomic_load_explicit(&gyre_clock_virtual, memory_order_relaxed);

    return unlikely(time) ? time : clock_real();
}

#endif
