/*
 * What runs next, of what is queued here. Inlined into the park: this is the hottest path there is,
 * and most of its cost is calls and dependent loads. A worker that is alone has no thieves, so it
 * needs neither fences nor exchanges.
 */
#ifndef GYRE_LIB_SCHED_PICK_H
#define GYRE_LIB_SCHED_PICK_H

#include "sched/worker.h"

static inline struct gyre_coro *take_slot(struct worker *worker, bool alone)
{
    struct gyre_coro *coro = atomic_load_explicit(&worker->slot, memory_order_relaxed);

    if (!coro)
        return NULL;
    if (alone) {
        atomic_store_explicit(&worker->slot, NULL, memory_order_relaxed);
        return coro;
    }
    /* Acquire and release: whoever wins the exchange, owner or thief, owns the coroutine. */
    return atomic_exchange_explicit(&worker->slot, NULL, memory_order_acq_rel);
}

static inline struct gyre_coro *take_fifo(struct worker *worker, bool alone)
{
    struct fifo_link *link = fifo_pop(&worker->fifo, alone);

    return link ? container_of(link, struct gyre_coro, link.fifo) : NULL;
}

static inline struct gyre_coro *take_deque(struct worker *worker, bool alone)
{
    return alone ? deque_take_alone(&worker->deque) : deque_take(&worker->deque);
}

static inline struct gyre_coro *take_private(struct worker *worker)
{
    struct fifo_link *link = worker->private_first;

    if (likely(!link))
        return NULL;
    worker->private_first = link->next;
    if (!link->next)
        worker->private_last = &worker->private_first;
    return container_of(link, struct gyre_coro, link.fifo);
}

static inline void append_private(struct worker *worker, struct gyre_coro *coro)
{
    coro->link.fifo.next = NULL;
    *worker->private_last = &coro->link.fifo;
    worker->private_last = &coro->link.fifo.next;
}

/* The slot at most SLOT_STREAK times in a row; deque and FIFO in turns, and so the private ones. */
__attribute__((always_inline)) static inline struct gyre_coro *
pick_from_queues(struct worker *worker, bool alone)
{
    struct gyre_coro *coro;
    unsigned turn;

    if (!alone && unlikely(worker->pace.since))
        pace_note(&worker->pace);
    if (likely(worker->slot_streak < SLOT_STREAK)) {
        coro = take_slot(worker, alone);
        if (coro) {
            worker->slot_streak++;
            return coro;
        }
    }
    worker->slot_streak = 0;
    /* A count of its own: that of the picks could keep step with the slot's streak for ever. */
    turn = worker->turn++;
    if (unlikely(worker->private_first) && turn & 2)
        return take_private(worker);
    if (turn & 1) {
        coro = take_fifo(worker, alone);
        if (!coro)
            coro = take_deque(worker, alone);
    } else {
        coro = take_deque(worker, alone);
        if (!coro)
            coro = take_fifo(worker, alone);
    }
    if (likely(coro))
        return coro;
    coro = take_private(worker);
    return coro ? coro : take_slot(worker, alone);
}

/* polled: see gyre_preempt_pick. */
static inline struct gyre_coro *pick_local(struct worker *worker, bool polled)
{
    if (unlikely(worker->pressed))
        return gyre_preempt_pick(worker, polled);
    return worker->alone ? pick_from_queues(worker, true) : pick_from_queues(worker, false);
}

/* Whether something can run here that was not preempted. */
static inline bool has_quick_work(struct worker *worker)
{
    return atomic_load_explicit(&worker->slot, memory_order_relaxed) ||
           deque_count(&worker->deque) || fifo_count(&worker->fifo) || worker->private_first ||
           worker->shuffle.count;
}

/* Whether something can run here, besides the caller. */
static inline bool has_local_work(struct worker *worker)
{
    return has_quick_work(worker) || worker->pressed;
}

/* Counts a pick; true: it is time to poll. */
static inline bool count_pick(struct worker *worker)
{
    uint64_t progress = atomic_load_explicit(&worker->progress, memory_order_relaxed) + 1;

    /* Relaxed: only shows to others that this worker moves on. */
    atomic_store_explicit(&worker->progress, progress, memory_order_relaxed);
    return progress >= worker->next_poll;
}

#endif
