/*
 * Telling of coroutines, a line each, in the order of their numbers:
 *
 *     2 "worker", started at pool.c:57, receiving from a channel
 *
 * From any thread. What is looked at may be changing; where all coroutines are parked it is exact.
 */
#ifndef GYRE_LIB_SCHED_REPORT_H
#define GYRE_LIB_SCHED_REPORT_H

#include "sched/worker.h"

/* What a coroutine does whose park has this reason, such as "joining". */
const char *gyre_park_words(unsigned reason);

enum report_kind {
    REPORT_ALIVE,
    REPORT_UNJOINED, /* ended; nobody joins them or has let them go */
};

/* How many coroutines of a kind there are, but for one of them (NULL: none). */
size_t gyre_report_count(struct gyre_runtime *runtime, enum report_kind kind,
                         const struct gyre_coro *but);

/* Prints those, up to a limit, and how many more there are. */
void gyre_report_lines(struct gyre_runtime *runtime, enum report_kind kind,
                       const struct gyre_coro *but);

static inline bool coro_alive(const struct gyre_coro *coro)
{
    /* Acquire: pairs with the release that set it up. */
    return atomic_load_explicit(&coro->life, memory_order_acquire) & LIFE_ALIVE;
}

#endif
