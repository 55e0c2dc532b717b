/*
 * A worker's timers: a hierarchical wheel, so that starting and stopping cost the same with one
 * timer or a million, and a stopped one leaves nothing behind.
 *
 * Level 0 has slots of 65.5 us; each level above has 64 times wider ones. A timer lies in the level
 * of the highest bit in which its deadline differs from the wheel's time, and moves down as time
 * comes near. It never fires early: in the slot of the present, deadlines are compared exactly.
 *
 * A timer is started on its worker's wheel, by that worker, and may be stopped from any thread: the
 * lock is the wheel's. Callbacks run outside the lock; a timer is not touched after its callback
 * began.
 */
#ifndef GYRE_LIB_SCHED_TIMER_H
#define GYRE_LIB_SCHED_TIMER_H

#include "base/list.h"
#include "base/spinlock.h"

#include <stdint.h>

enum {
    TIMER_SHIFT = 16,
    TIMER_BITS = 6,
    TIMER_SLOTS = 1 << TIMER_BITS,
    TIMER_LEVELS = (63 - TIMER_SHIFT + TIMER_BITS - 1) / TIMER_BITS,
};

struct timers;

struct timer {
    struct list link; /* linked to itself: not pending */
    struct timers *wheel;
    int64_t deadline;
    uint16_t slot; /* level * TIMER_SLOTS + index */
    void (*fire)(struct timer *timer);
};

struct timers {
    struct spinlock lock;
    int64_t now;           /* all slots before its own are empty */
    _Atomic(int64_t) next; /* no timer is due before; INT64_MAX: none pending */
    uint64_t used[TIMER_LEVELS];
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
};

void gyre_timers_init(struct timers *wheel, int64_t now);

/* The timer must not be pending. fire must be set. */
void gyre_timer_start(struct timers *wheel, struct timer *timer, int64_t deadline);

/* True: it was pending and will not fire. False: it has fired, or its callback is running. The
 * timer must have been started once. */
bool gyre_timer_stop(struct timer *timer);

/* Fires what is due; returns how many. */
unsigned gyre_timers_expire(struct timers *wheel, int64_t now);

/* When to call gyre_timers_expire next; INT64_MAX: no timer is pending. */
static inline int64_t timers_next(const struct timers *wheel)
{
    return atomic_load_explicit(&wheel->next, memory_order_relaxed);
}

#endif
