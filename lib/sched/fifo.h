/*
 * A worker's FIFO of yielded and I/O-readied coroutines: the owner pushes; the owner pops one at a
 * time, thieves pop batches. A push can't fail: items carry a link, and no memory is needed.
 *
 * A ring of 256 slots without locks, and behind it, while the ring is full, a linked list under a
 * spinlock, whose items move into the ring as it drains. A thief that finds the ring empty takes
 * from the list, so that nothing is hidden behind an owner that is stuck in a coroutine.
 *
 * Order: everything in the list is newer than everything in the ring. The owner pushes into the
 * ring only while the list is empty, or moves the list's oldest there under the lock; others take
 * from the list only when, under the lock, the ring is empty. Each consumer sees items in the order
 * of their pushes.
 *
 * Batches by one CAS are sound, unlike in the deque, because every taker, the owner included, moves
 * head by CAS. A thief reads head = h, then tail = t, then the slots of [h, h + n), h + n <= t,
 * then does CAS(head, h, h + n). (1) The slots held those items: they were written before tail
 * became t, and a slot of index i is written again only for i + 256, after the owner read head > i;
 * head is 64-bit, never falls, and was still h at the CAS, hence at each read. (2) Nobody else has
 * them: whoever takes index i moves head from <= i to > i, and of all these CAS only one succeeds.
 *
 * Rejected: a growable ring (a readied coroutine must not be lost for lack of memory, so the list
 * would be needed all the same); a list that only the owner sees (thieves idle beside a full list).
 */
#ifndef GYRE_LIB_SCHED_FIFO_H
#define GYRE_LIB_SCHED_FIFO_H

#include "base/macros.h"
#include "base/spinlock.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FIFO_RING      256u
#define FIFO_BATCH_MAX 16u

/* Embedded in an item, which is in one queue at a time. */
struct fifo_link {
    struct fifo_link *next;
};

struct fifo {
    alignas(CACHE_LINE_PAIR) _Atomic uint64_t tail; /* Written by the owner. */
    uint64_t head_seen;                             /* The owner's: head is this or more. */
    alignas(CACHE_LINE_PAIR) _Atomic uint64_t head;
    alignas(CACHE_LINE_PAIR) atomic_size_t listed; /* Grown by the owner alone, under the lock. */
    struct spinlock lock;
    struct fifo_link *first, **last;
    _Atomic(struct fifo_link *) ring[FIFO_RING];
};

void gyre_fifo_init(struct fifo *f);

/* fifo_push when the ring is full or the list is not empty. */
void gyre_fifo_push_slow(struct fifo *f, struct fifo_link *item);

/* Owner: moves what fits from the list into the ring. */
void gyre_fifo_refill(struct fifo *f);

/*
 * Any thread: takes half of the items, rounded up, at most max and FIFO_BATCH_MAX, oldest first.
 * Returns how many; 0 when it is empty.
 */
unsigned gyre_fifo_steal_batch(struct fifo *f, struct fifo_link **out, unsigned max);

/* Owner. */
static inline void fifo_push(struct fifo *f, struct fifo_link *item)
{
    uint64_t t = atomic_load_explicit(&f->tail, memory_order_relaxed);

    /* Relaxed: only the owner makes it grow, so 0 is certain. */
    if (unlikely(t - f->head_seen >= FIFO_RING ||
                 atomic_load_explicit(&f->listed, memory_order_relaxed))) {
        gyre_fifo_push_slow(f, item);
        return;
    }
    atomic_store_explicit(&f->ring[t % FIFO_RING], item, memory_order_relaxed);
    /* Release, with the thief's acquire of tail: it sees the slot and the item. */
    atomic_store_explicit(&f->tail, t + 1, memory_order_release);
}

/* Owner: a look at the ring for pop. Refills it in time; false: all is empty. */
static inline bool fifo_first(struct fifo *f, uint64_t *head, uint64_t *tail)
{
    /* Acquire, with the takers' CAS: they have read their slots before we write over them. */
    *head = f->head_seen = atomic_load_explicit(&f->head, memory_order_acquire);
    *tail = atomic_load_explicit(&f->tail, memory_order_relaxed);
    if (unlikely(atomic_load_explicit(&f->listed, memory_order_relaxed)) &&
        *tail - *head <= FIFO_RING / 4) {
        gyre_fifo_refill(f);
        *tail = atomic_load_explicit(&f->tail, memory_order_relaxed);
    }
    return *head != *tail;
}

/* Owner. The oldest item, or NULL. alone: in a runtime where nobody steals; saves the CAS. */
static inline struct fifo_link *fifo_pop(struct fifo *f, bool alone)
{
    uint64_t h, t;

    while (fifo_first(f, &h, &t)) {
        struct fifo_link *item =
            atomic_load_explicit(&f->ring[h % FIFO_RING], memory_order_relaxed);

        /* Release, with the acquires of head elsewhere: who sees it sees no older tail. */
        if (alone) {
            atomic_store_explicit(&f->head, h + 1, memory_order_release);
            return item;
        }
        if (likely(atomic_compare_exchange_strong_explicit(
                &f->head, &h, h + 1, memory_order_release, memory_order_relaxed)))
            return item;
    }
    return 0;
}

/*
 * Any thread. Exact for the owner while nobody steals; otherwise a moment's estimate, which may
 * count an item twice on its way from list to ring, but misses none.
 */
static inline size_t fifo_count(struct fifo *f)
{
    /* Acquire, with move_to_ring: who sees less in the list sees more in the ring. */
    size_t listed = atomic_load_explicit(&f->listed, memory_order_acquire);
    /* Acquire, with the takers' CAS: tail is not older than head. */
    uint64_t h = atomic_load_explicit(&f->head, memory_order_acquire);
    uint64_t t = atomic_load_explicit(&f->tail, memory_order_relaxed);

    return (t > h ? (size_t)(t - h) : 0) + listed;
}

#endif
