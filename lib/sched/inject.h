/*
 * The injection queue: any thread pushes and pops, oldest first. For what comes from threads that
 * have no queue of their own; rare, so a spinlock is enough. Not for signal handlers.
 *
 * The count lets a worker pass by an empty queue with one load of a line that stays shared. A push
 * changes it by a seq_cst read-modify-write, which serves the wake protocol as the mailbox's does.
 */
#ifndef GYRE_LIB_SCHED_INJECT_H
#define GYRE_LIB_SCHED_INJECT_H

#include "base/spinlock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Embedded in an item, which is in one queue at a time. */
struct inject_link {
    struct inject_link *next;
};

struct inject {
    atomic_size_t count;
    struct spinlock lock;
    struct inject_link *first, **last;
};

static inline void inject_init(struct inject *q)
{
    atomic_init(&q->count, 0);
    atomic_init(&q->lock.held, false);
    q->first = 0;
    q->last = &q->first;
}

/* Any thread. */
static inline void inject_push(struct inject *q, struct inject_link *item)
{
    item->next = 0;
    spin_lock(&q->lock);
    *q->last = item;
    q->last = &item->next;
    /* seq_cst: the wake protocol. Contents are passed on by the lock. */
    atomic_fetch_add_explicit(&q->count, 1, memory_order_seq_cst);
    spin_unlock(&q->lock);
}

/* Any thread: a moment's estimate. */
static inline size_t inject_count(struct inject *q)
{
    return atomic_load_explicit(&q->count, memory_order_relaxed);
}

/* Any thread. */
static inline bool inject_empty(struct inject *q)
{
    return !inject_count(q);
}

/* Any thread: up to max items, oldest first. Returns how many. */
static inline unsigned inject_pop_batch(struct inject *q, struct inject_link **out, unsigned max)
{
    unsigned n = 0;

    if (inject_empty(q))
        return 0;
    spin_lock(&q->lock);
    while (n < max && q->first) {
        out[n++] = q->first;
        q->first = q->first->next;
    }
    if (!q->first)
        q->last = &q->first;
    atomic_fetch_sub_explicit(&q->count, n, memory_order_relaxed);
    spin_unlock(&q->lock);
    return n;
}

/* Any thread: the oldest item, or NULL. */
static inline struct inject_link *inject_pop(struct inject *q)
{
    struct inject_link *item;

    return inject_pop_batch(q, &item, 1) ? item : 0;
}

#endif
