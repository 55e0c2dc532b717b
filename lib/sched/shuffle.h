/*
 * Picking at random: in a test, what runs next is any of those that could, by the worker's
 * generator, so that a seed stands for a schedule.
 *
 * A worker that shuffles polls at every pick: each goes through its loop, which asks here, and the
 * paths that don't shuffle pay nothing. One that is alone gathers all that its queues hold,
 * whatever they would have preferred, and takes one out; no thief misses them. With thieves about
 * they stay where they are, and chance decides from which queue it takes.
 */
#ifndef GYRE_LIB_SCHED_SHUFFLE_H
#define GYRE_LIB_SCHED_SHUFFLE_H

#include <stdbool.h>
#include <stddef.h>

struct gyre_coro;
struct worker;

/* The owner's alone; zeroed: off. */
struct shuffle {
    bool on;
    struct gyre_coro **coros;
    size_t count, capacity;
};

void gyre_shuffle_start(struct worker *worker);
struct gyre_coro *gyre_shuffle_pick(struct worker *worker);

#endif
