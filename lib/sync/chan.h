/*
 * A channel: a lock, a ring buffer, and two queues of those who wait.
 *
 * Invariants, under the lock
 * - Receivers wait only while the buffer is empty, senders only while it is full; both at once
 *   only where all of them are one select's, which does not meet itself, or were interrupted.
 * - A waiter is a struct gyre_case on its coroutine's stack, linked by case.waiter. It is QUEUED
 *   while it is in a queue. Who takes it off the queue claims the coroutine (sched/park.h): a
 *   select is in several queues, and its context may end; exactly one of all these wins. The loser
 *   just passes on to the next waiter.
 * - Who wins copies the element, from stack to stack where nothing is buffered, stores the case's
 *   result, marks it CHOSEN, and readies the coroutine once the lock is free: a claimed coroutine
 *   can't go away before. (Model: tests/models/select.pml, close.pml.)
 *
 * The lock is held from before a waiter is queued until its registers are saved: the park's commit
 * releases it.
 */
#ifndef GYRE_LIB_SYNC_CHAN_H
#define GYRE_LIB_SYNC_CHAN_H

#include "sched/park.h"

#include <gyre/select.h>

#include <string.h>

enum waiter_state {
    WAITER_IDLE,   /* in no queue, or passed over */
    WAITER_QUEUED, /* under the channel's lock */
    WAITER_CHOSEN, /* its result is there */
};

/* Results that are nobody's: an element is 1, a channel may be closed with any error below zero. */
enum {
    RESULT_CLOSED = 2, /* of a sender that was waiting when the channel was closed */
    RESULT_NONE,       /* nothing was done: it has to wait, or to try again */
};

/* Changed under the channel's lock. Atomic is what a select looks at without it. */
struct chan_queue {
    _Atomic(struct gyre_waiter *) first;
    struct gyre_waiter *last;
};

struct gyre_chan {
    struct spinlock lock;
    atomic_bool closed;
    bool embedded; /* part of another object: drop(chan) disposes of it; its len and cap are 0 */
    bool recorded; /* a record precedes it: chan_record.c */
    _Atomic(uint32_t) references;
    uint32_t element_size;
    uint32_t capacity;
    _Atomic(uint32_t) count;
    uint32_t head;
    int close_error;
    struct chan_queue senders, receivers;
    void (*drop)(void *element);
    const char *name;
    _Alignas(16) unsigned char buffer[];
};

/* One reference. The memory behind has room for the buffer. */
void gyre_chan_init(struct gyre_chan *chan, size_t element_size, size_t capacity);

/*
 * Both with the lock held, which they release, unless they return RESULT_NONE. gyre_chan_put sends:
 * 0, RESULT_NONE; panics when it is closed. gyre_chan_take receives: 1, 0 or the error it was
 * closed with, RESULT_NONE.
 */
int gyre_chan_put(struct gyre_chan *chan, const void *element);
int gyre_chan_take(struct gyre_chan *chan, void *element);

_Noreturn void gyre_chan_panic(const struct gyre_chan *chan, const char *what)
    __attribute__((cold));

/* Parks until the context ends: what a nil channel and a select without cases come to. */
int gyre_chan_wait_for_ever(struct gyre_coro *self, enum park_reason reason);

static inline struct gyre_case *case_of(struct gyre_waiter *waiter)
{
    return container_of(waiter, struct gyre_case, waiter);
}

/* Relaxed, all of these: exact under the lock, a guess without. */
static inline struct gyre_waiter *chan_first(const struct chan_queue *queue)
{
    return atomic_load_explicit(&queue->first, memory_order_relaxed);
}

static inline uint32_t chan_count(const struct gyre_chan *chan)
{
    return atomic_load_explicit(&chan->count, memory_order_relaxed);
}

static inline bool chan_closed(const struct gyre_chan *chan)
{
    return atomic_load_explicit(&chan->closed, memory_order_relaxed);
}

static inline void chan_queue_append(struct chan_queue *queue, struct gyre_waiter *waiter)
{
    waiter->next = NULL;
    waiter->previous = queue->last;
    if (chan_first(queue))
        queue->last->next = waiter;
    else
        atomic_store_explicit(&queue->first, waiter, memory_order_relaxed);
    queue->last = waiter;
    waiter->state = WAITER_QUEUED;
}

static inline void chan_queue_remove(struct chan_queue *queue, struct gyre_waiter *waiter)
{
    if (waiter->previous)
        waiter->previous->next = waiter->next;
    else
        atomic_store_explicit(&queue->first, waiter->next, memory_order_relaxed);
    if (waiter->next)
        waiter->next->previous = waiter->previous;
    else
        queue->last = waiter->previous;
    waiter->state = WAITER_IDLE;
}

/* A released channel's count is zero, as long as its memory is not used again: with checks on
 * that takes a while. */
static inline void chan_check(const struct gyre_chan *chan)
{
    if (unlikely(!atomic_load_explicit(&chan->references, memory_order_relaxed)))
        gyre_chan_panic(chan, "use after the last release of");
}

/*
 * chan_record.c. With checks on a channel's memory is preceded by a record of who made it, and is
 * not used again for a while after the release. `recorded` says so to free.
 */
struct gyre_chan *gyre_chan_allocate(size_t size, bool recorded, void *made_by);
void gyre_chan_free(struct gyre_chan *chan);

/* Calls report, unless NULL, for each recorded channel that was not released; returns how many. It
 * must not make or release channels. */
size_t gyre_chan_live(void (*report)(const struct gyre_chan *chan, void *made_by));

#endif
