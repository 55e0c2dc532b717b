/*
 * What the scheduler must know of the helper threads, which are lib/io's (blocking.c): whether they
 * have something to do, for a test's quiet and for the shutdown, and how to end them.
 */
#ifndef GYRE_LIB_SCHED_HELPERS_H
#define GYRE_LIB_SCHED_HELPERS_H

#include "sched/worker.h"

struct helpers_calls {
    /* How many functions run that no coroutine waits for; with lines a message line for each. */
    size_t (*left)(bool lines);
    /* By gyre_run's thread, when nothing is pending and no coroutine lives: joins them all. */
    void (*end)(void);
};

struct helpers {
    /* Calls from before they are queued until what they made ready is queued, or they are undone.
     */
    _Atomic(uint32_t) pending;
    _Atomic(const struct helpers_calls *) calls; /* NULL until the first thread is to be started */
};

extern struct helpers gyre_helpers;

static inline uint32_t helpers_pending(void)
{
    /* Acquire: pairs with helpers_done. Behind publish_sleep's barrier: see there. */
    return atomic_load_explicit(&gyre_helpers.pending, memory_order_acquire);
}

static inline void helpers_begin(void)
{
    /* Relaxed: by a coroutine, before whoever looks can find it gone from its worker. */
    atomic_fetch_add_explicit(&gyre_helpers.pending, 1, memory_order_relaxed);
}

/*
 * By any thread. Of a call that made nothing ready nobody else tells a worker that sleeps until
 * nothing is pending: either it is seen asleep here, or it sees the count (work_visible).
 */
static inline void helpers_done(void)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;
    bool quiet = runtime->workers->quiet;

    /* Release: what was made ready is seen by who sees this. The last touch of the runtime, if it
     * is not quiet. */
    atomic_fetch_sub_explicit(&gyre_helpers.pending, 1, memory_order_seq_cst);
    if (unlikely(quiet)) {
        full_barrier(); /* pairs with the one in publish_sleep */
        gyre_worker_notify(runtime->workers);
    }
}

static inline size_t helpers_left(bool lines)
{
    /* Acquire: pairs with the release of who sets it. */
    const struct helpers_calls *calls =
        atomic_load_explicit(&gyre_helpers.calls, memory_order_acquire);

    return calls ? calls->left(lines) : 0;
}

static inline void helpers_end(void)
{
    const struct helpers_calls *calls =
        atomic_load_explicit(&gyre_helpers.calls, memory_order_acquire);

    if (calls)
        calls->end();
}

#endif
