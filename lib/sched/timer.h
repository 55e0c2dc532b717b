/*
 * A worker's timers: a hierarchical wheel, so that starting and stopping cost the same with one
 * timer or a million, and a stopped one leaves nothing behind.
 *
 * Level 0 has 64 slots of 65.536 us, each level above 64 slots as wide as the whole level below;
 * eight levels span every int64_t. A timer lies on the level of the highest group of six bits in
 * which its deadline differs from the wheel's time, in the slot that group names. So the slots need
 * no wrapping: all on a level come after the wheel's time, all on the level above after those, and
 * the first used slot of the first used level holds the earliest timer. When the wheel's time
 * enters a slot above level 0, its timers move down; each does so at most seven times.
 *
 * Exact: a timer never fires before its deadline, and fires in the first gyre_timers_expire with
 * now >= deadline; the slot of the present keeps those that are later. Each slot remembers a lower
 * bound of its deadlines, which is exact unless a timer was stopped, so that a sleeper isn't woken
 * only to move timers down: a stopped timer costs one early look at most.
 *
 * Any thread may do anything here; the lock is inside. Callbacks run outside it. Due timers wait in
 * a list of the wheel's, and leave it one at a time, each right before its callback: stopping one
 * from the callback of another works. Starts and stops of one timer must not run at the same time.
 *
 * What it costs: the timers of a slot move down all at once, under the lock, some 20 to 50 ns each
 * when they are not in the cache.
 *
 * Rejected: a heap (O(log n), and cancelled timers stay in it or need an index); coarser slots for
 * far timers (late by up to their width); popping a batch before its callbacks (a timer of the
 * batch could be neither stopped nor be said to have fired).
 */
#ifndef GYRE_LIB_SCHED_TIMER_H
#define GYRE_LIB_SCHED_TIMER_H

#include "base/list.h"
#include "base/spinlock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    TIMER_SHIFT = 16,
    TIMER_BITS = 6,
    TIMER_SLOTS = 1 << TIMER_BITS,
    TIMER_LEVELS = (64 - TIMER_SHIFT) / TIMER_BITS,
};

struct timers;

/* Zeroed, with fire set, before its first start. The memory stays valid while it is pending. */
struct timer {
    struct list link; /* next is NULL while it is not pending. */
    int64_t deadline;
    struct timers *wheel;
    void (*fire)(struct timer *timer); /* May start or free the timer. */
    unsigned slot;
    bool fires_at_end; /* gyre_timers_end fires it, on no worker, and does not only take it out */
};

struct timer_slot {
    struct list timers;
    int64_t earliest; /* No deadline in it is before; INT64_MAX when it is empty. */
};

struct timers {
    struct spinlock lock;
    unsigned levels;       /* Bit l: level l has a used slot. */
    _Atomic(int64_t) next; /* No timer is due before; INT64_MAX: none is pending. */
    uint64_t tick;         /* The wheel's time, in slots of level 0 since INT64_MIN. */
    struct list due;
    uint64_t used[TIMER_LEVELS]; /* Bit s: slot s of the level is not empty. */
    struct timer_slot slots[TIMER_LEVELS * TIMER_SLOTS];
};

void gyre_timers_init(struct timers *wheel, int64_t now);

/*
 * Any deadline will do, a past one is due at once. The timer must not be pending. Returns true if
 * it is now the first of all: who sleeps for an older timers_next sleeps too long.
 */
bool gyre_wheel_start(struct timers *wheel, struct timer *timer, int64_t deadline);

/* True: it was pending and will not fire. False: it has fired or its callback runs right now, or
 * it was never started. */
bool gyre_wheel_stop(struct timer *timer);

/*
 * Calls fire of every timer that is due, in the order of deadlines; returns how many. now may
 * be older than in an earlier call.
 */
unsigned gyre_timers_expire(struct timers *wheel, int64_t now);

/* When no other thread uses the wheel any more: takes all timers out, due or not. A late stop of
 * one says false, without a look at the wheel. */
void gyre_timers_end(struct timers *wheel);

/* When to call gyre_timers_expire next, or a little earlier; INT64_MAX: no timer is pending. */
static inline int64_t timers_next(const struct timers *wheel)
{
    /* Relaxed: who starts a timer elsewhere wakes the reader by other means. */
    return atomic_load_explicit(&wheel->next, memory_order_relaxed);
}

#endif
