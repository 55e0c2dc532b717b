/*
 * Waiting for an object (a coroutine to end, a timer, a channel), so that either its waker or the
 * end of the context wakes the coroutine, and only one of them does (model:
 * tests/models/park_ready.pml).
 *
 * A commit that lets a waker find the coroutine has this order, the first two under the object's
 * lock: wait_publish; make it findable; release the lock; wait_check. Who finds it claims it with
 * wait_claim and then calls gyre_ready. The coroutine, resumed, asks wait_finish; interrupted,
 * it takes itself off the object, under the lock, before it returns, and waits again if its context
 * has not ended (an interruption is only a hint).
 *
 * An interruption needs no way to find the coroutine: from wait_publish on it may resume on another
 * worker while the commit still runs. The lock makes it wait for the commit there. A commit without
 * a lock (sleep.c, spawn.c) must have made the coroutine findable before it publishes.
 */
#ifndef GYRE_LIB_SCHED_PARK_H
#define GYRE_LIB_SCHED_PARK_H

#include "sched/worker.h"

static inline void wait_publish(struct gyre_coro *coro)
{
    /* Release: who claims it, and the coroutine after it, find what the commit did before. */
    atomic_store_explicit(&coro->wait, WAIT_OBJECT, memory_order_release);
}

/* True for exactly one caller: it must make the coroutine ready. */
static inline bool wait_claim(struct gyre_coro *coro, uint32_t to)
{
    uint32_t expected = WAIT_OBJECT;

    /* Acquire and release: the winner's writes reach the coroutine through its being readied. */
    return atomic_compare_exchange_strong_explicit(&coro->wait, &expected, to, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

/*
 * The last step of a commit: did the context end before it could see the wait? Under the root
 * nobody looks but the shutdown, which looks again and again.
 */
static inline void wait_check(struct gyre_coro *coro, struct gyre_context *context)
{
    if (likely(context->immortal) && likely(!context_error(context)))
        return;
    full_barrier(); /* pairs with the one in end_node */
    if (context_error(context) && wait_claim(coro, WAIT_INTERRUPTED))
        gyre_ready(coro);
}

/* Whether the waker, rather than an interruption, woke the calling coroutine. */
static inline bool wait_finish(struct gyre_coro *self)
{
    bool woken = atomic_load_explicit(&self->wait, memory_order_relaxed) == WAIT_WOKEN;

    atomic_store_explicit(&self->wait, WAIT_NONE, memory_order_relaxed);
    return woken;
}

static inline struct gyre_context *coro_context(struct gyre_coro *coro)
{
    return atomic_load_explicit(&coro->context, memory_order_relaxed);
}

/* What a call that parks returns at entry: 0, or why its context has ended. */
static inline int coro_error(struct gyre_coro *self)
{
    return context_error(coro_context(self));
}

#endif
