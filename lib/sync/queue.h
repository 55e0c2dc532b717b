/*
 * Who waits for a sync object, in order, and how they are woken; channels have their own.
 *
 * Each object has a guard, a spinlock, under which its queue changes. A waiter lives on the stack
 * of the coroutine, or of the thread that is no worker, that waits. Who wakes one takes it off
 * the queue and claims it under the guard, and then, better without it, readies it: between the two
 * it can't go away. A claim fails only when the waiter was interrupted: what it should have got
 * goes to the next.
 *
 * The guard is held from before the waiter is queued until its coroutine's registers are saved (the
 * commit of the park releases it), so nobody can find one that still runs.
 */
#ifndef GYRE_LIB_SYNC_QUEUE_H
#define GYRE_LIB_SYNC_QUEUE_H

#include "sched/park.h"

#include <gyre/sync.h>

struct gyre_sync_waiter {
    struct gyre_sync_waiter *next, *previous;
    struct gyre_coro *coro; /* NULL: a thread of its own, asleep on `word` */
    _Atomic(uint32_t) word;
    bool queued;
    bool interruptible; /* the end of its context wakes it; a thread's never */
    bool granted;       /* set by the waker for itself: it need not compete */
    int64_t units;      /* what a semaphore's waiter asks for; when a mutex's began to wait */
};

/* The public structs are C++ too, and have no atomic types: their words are these. */
static inline struct spinlock *sync_guard(uint32_t *guard)
{
    _Static_assert(sizeof(struct spinlock) <= sizeof *guard, "a guard holds a spinlock");
    return (struct spinlock *)guard;
}

static inline _Atomic(uint32_t) *sync_word(uint32_t *word)
{
    return (_Atomic(uint32_t) *)word;
}

static inline _Atomic(uint64_t) *sync_long(uint64_t *word)
{
    return (_Atomic(uint64_t) *)word;
}

static inline bool sync_queue_empty(const struct gyre_sync_queue *queue)
{
    return !queue->first;
}

/* All of these under the guard. */
void gyre_sync_append(struct gyre_sync_queue *queue, struct gyre_sync_waiter *waiter);
void gyre_sync_prepend(struct gyre_sync_queue *queue, struct gyre_sync_waiter *waiter);
void gyre_sync_remove(struct gyre_sync_queue *queue, struct gyre_sync_waiter *waiter);

/* Fills in a waiter for the caller, a coroutine or a thread. */
void gyre_sync_waiter_init(struct gyre_sync_waiter *waiter, bool interruptible);

/* 0, or why the context of an interruptible waiter has ended: for the look at entry. */
static inline int sync_error(const struct gyre_sync_waiter *waiter)
{
    return waiter->interruptible ? coro_error(waiter->coro) : 0;
}

/*
 * Waits until woken: the guard is held at entry, the waiter in the queue. Returns 0, and the guard
 * is no longer held; or, once the context of an interruptible waiter has ended, its error: then the
 * guard is held again, and the waiter off the queue.
 */
int gyre_sync_wait(struct gyre_sync_waiter *waiter, struct gyre_sync_queue *queue,
                   struct spinlock *guard, enum park_reason reason);

/* Under the guard, off the queue: false when it was interrupted, and must not be readied. */
static inline bool sync_claim(struct gyre_sync_waiter *waiter)
{
    return !waiter->interruptible || wait_claim(waiter->coro, WAIT_WOKEN);
}

/* After the claim, with or without the guard: *waiter is gone after it. */
void gyre_sync_ready(struct gyre_sync_waiter *waiter);

/*
 * Takes the first that can be claimed off the queue, NULL: none is there. Under the guard.
 */
struct gyre_sync_waiter *gyre_sync_claim_first(struct gyre_sync_queue *queue);

/* Claims all; they are linked by `next`, in order. Under the guard. */
struct gyre_sync_waiter *gyre_sync_claim_all(struct gyre_sync_queue *queue);

/* Readies those of gyre_sync_claim_all. */
void gyre_sync_ready_all(struct gyre_sync_waiter *first);

#endif
