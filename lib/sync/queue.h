/*
 * Who waits for a sync object, in order, and how they are woken; channels have their own.
 *
 * Each object has a guard, a spinlock, under which its queue changes. A waiter lives on the stack
 * of the coroutine, or of the thread that is no worker, that waits.
 *
 * What decides is who takes a waiter off the queue, under the guard: a waker, and then it has what
 * it waited for, or itself, once its context has ended. An interrupted one looks under the guard:
 * off the queue, it was woken, and its context's end comes too late. So nothing that was given is
 * ever lost or has to be passed on; the claim of the wait only tells who readies the coroutine.
 * Rejected: a waker that passes over those it can't claim, for an interruption may be for nothing
 * (a shield), and the one passed over would then wait for what is past.
 *
 * The guard is held from before the waiter is queued until its coroutine's registers are saved (the
 * commit of the park releases it), so nobody can find one that still runs. A condition's waiter
 * is queued before it sleeps, and says so (`asleep`).
 *
 * The storage of an object belongs to who used it last: a waker touches nothing of it after what
 * lets another one through, and readies those it took after that.
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
    bool asleep;        /* must be readied when taken off */
    bool granted;       /* set by the waker for itself: it need not compete */
    int64_t units;      /* what a semaphore's waiter asks for; when a mutex's began to wait */
};

/* Those taken off a queue who must be readied. */
struct sync_taken {
    struct gyre_sync_waiter *first, *last;
};

/* The public structs are C++ too, and have no atomic types: their words are these. */
static inline struct spinlock *sync_guard(uint32_t *guard)
{
    _Static_assert(sizeof(struct spinlock) <= sizeof *guard, "a guard holds a spinlock");
    return (struct spinlock *)guard;
}

static inline _Atomic(uint32_t) *sync_word(uint32_t *word)
{
    explore_point();
    return (_Atomic(uint32_t) *)word;
}

static inline _Atomic(uint64_t) *sync_long(uint64_t *word)
{
    explore_point();
    return (_Atomic(uint64_t) *)word;
}

static inline bool sync_queue_empty(const struct gyre_sync_queue *queue)
{
    return !queue->first;
}

/* Fills in a waiter for the caller, a coroutine or a thread. */
void gyre_sync_waiter_init(struct gyre_sync_waiter *waiter, bool interruptible);

/* 0, or why the context of an interruptible waiter has ended: for the look at entry. */
static inline int sync_error(const struct gyre_sync_waiter *waiter)
{
    return waiter->interruptible ? coro_error(waiter->coro) : 0;
}

/* The look at entry of a call that can be cancelled; a thread has no context. */
static inline int sync_entry_error(void)
{
    struct gyre_coro *self = coro_current();

    return self ? coro_error(self) : 0;
}

/* All of these under the guard. */
void gyre_sync_append(struct gyre_sync_queue *queue, struct gyre_sync_waiter *waiter);
void gyre_sync_prepend(struct gyre_sync_queue *queue, struct gyre_sync_waiter *waiter);
void gyre_sync_remove(struct gyre_sync_queue *queue, struct gyre_sync_waiter *waiter);

/*
 * Takes a waiter off for good: it has been woken. From then on it may be gone as soon as the guard
 * is free, unless it was put into `taken`.
 */
void gyre_sync_take(struct gyre_sync_queue *queue, struct gyre_sync_waiter *waiter,
                    struct sync_taken *taken);
void gyre_sync_take_all(struct gyre_sync_queue *queue, struct sync_taken *taken);

/*
 * Waits until taken off: the guard is held at entry, the waiter in the queue. Returns, and the
 * guard is no longer held, 0; or 1 when it was interrupted as well, so that nobody readies it and
 * it may return before its waker is done. Or, once the context of an interruptible waiter has
 * ended, its error: then the guard is held again, and the waiter off the queue.
 */
int gyre_sync_wait(struct gyre_sync_waiter *waiter, struct gyre_sync_queue *queue,
                   struct spinlock *guard, enum park_reason reason);

/* Readies those taken, in order, with or without the guard: their waiters are gone after it. */
void gyre_sync_ready(struct sync_taken *taken);

#endif
