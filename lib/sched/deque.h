/*
 * The Chase-Lev deque: its owner pushes and takes at the bottom (LIFO), any thread steals from the
 * top (the oldest), one at a time. Each item comes out exactly once.
 *
 * Invariants: items live at indices [top, bottom) of the newest array. Only the owner writes bottom
 * and array; top only grows, and only by CAS. Indices are 64-bit and never wrap. An array that was
 * outgrown keeps its contents and its memory until destroy, since a thief may still read it: all of
 * them together are smaller than the newest.
 *
 * Rejected: a steal of several items by one CAS. The owner's take guards only the last item with a
 * CAS, so a thief that read [top, top + n) could take what the owner took meanwhile.
 *
 * ThreadSanitizer does not model fences: under it the operations around each fence are seq_cst.
 */
#ifndef GYRE_LIB_SCHED_DEQUE_H
#define GYRE_LIB_SCHED_DEQUE_H

#include "base/macros.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* What a steal returns when it lost a race: the deque was not empty, try again or elsewhere. */
#define DEQUE_RETRY ((void *)-1)

#ifdef GYRE_TSAN
#define DEQUE_ORDER(order) memory_order_seq_cst
#define deque_fence()      ((void)0)
#else
#define DEQUE_ORDER(order) (order)
#define deque_fence()      atomic_thread_fence(memory_order_seq_cst)
#endif

struct deque_array {
    int64_t size; /* A power of two. */
    struct deque_array *outgrown;
    _Atomic(void *) slots[];
};

struct deque {
    alignas(CACHE_LINE_PAIR) _Atomic int64_t bottom;
    _Atomic(struct deque_array *) array;
    int64_t top_seen; /* The owner's last view of top: top is this or more. */
    alignas(CACHE_LINE_PAIR) _Atomic int64_t top;
};

/* Room for 2^capacity_log2 items before the first growth. 0 or -ENOMEM. */
int gyre_deque_init(struct deque *d, unsigned capacity_log2);

/* Frees the arrays, not the items. Nobody may use the deque any more. */
void gyre_deque_destroy(struct deque *d);

/* The oldest item, by any thread, the owner included. NULL: empty. DEQUE_RETRY: lost a race. */
void *gyre_deque_steal(struct deque *d);

/* deque_push when its last view of the array is full. */
int gyre_deque_push_slow(struct deque *d, void *item);

/* Owner. 0, or -ENOMEM when the array is full and can't grow; the deque is then as before. */
static inline int deque_push(struct deque *d, void *item)
{
    int64_t b = atomic_load_explicit(&d->bottom, memory_order_relaxed);
    struct deque_array *a = atomic_load_explicit(&d->array, memory_order_relaxed);

    if (unlikely(b - d->top_seen >= a->size))
        return gyre_deque_push_slow(d, item);
    atomic_store_explicit(&a->slots[b & (a->size - 1)], item, memory_order_relaxed);
    /* Release, with the thief's acquire of bottom: it sees the slot, the array, and the item. */
    atomic_store_explicit(&d->bottom, b + 1, memory_order_release);
    return 0;
}

/* Owner. The newest item, or NULL. */
static inline void *deque_take(struct deque *d)
{
    int64_t b = atomic_load_explicit(&d->bottom, memory_order_relaxed) - 1;
    int64_t t = atomic_load_explicit(&d->top, memory_order_relaxed);

    if (t > b) /* Empty for certain: top never falls, and bottom is ours. No fence needed. */
        return 0;

    /*
     * Release, with the thief's acquire of bottom: a relaxed store would end the release sequence
     * of the push, and a thief that reads this value would not see the slots below it.
     */
    atomic_store_explicit(&d->bottom, b, DEQUE_ORDER(memory_order_release));
    /* With the fence in steal: either we see the thief's top, or it sees our bottom. */
    deque_fence();
    t = atomic_load_explicit(&d->top, DEQUE_ORDER(memory_order_relaxed));
    void *item = 0;

    if (likely(t <= b)) {
        struct deque_array *a = atomic_load_explicit(&d->array, memory_order_relaxed);

        item = atomic_load_explicit(&a->slots[b & (a->size - 1)], memory_order_relaxed);
        if (likely(t < b))
            return item;
        /* The last one: whoever moves top has it. seq_cst, with the CAS in steal. */
        if (!atomic_compare_exchange_strong_explicit(&d->top, &t, t + 1, memory_order_seq_cst,
                                                     memory_order_relaxed))
            item = 0;
    }
    /* Release, as above. */
    atomic_store_explicit(&d->bottom, b + 1, memory_order_release);
    return item;
}

/* Owner, in a runtime where nobody steals: no fence, no CAS. */
static inline void *deque_take_alone(struct deque *d)
{
    int64_t b = atomic_load_explicit(&d->bottom, memory_order_relaxed) - 1;

    if (atomic_load_explicit(&d->top, memory_order_relaxed) > b)
        return 0;
    struct deque_array *a = atomic_load_explicit(&d->array, memory_order_relaxed);

    atomic_store_explicit(&d->bottom, b, memory_order_relaxed);
    return atomic_load_explicit(&a->slots[b & (a->size - 1)], memory_order_relaxed);
}

/* Any thread. Exact for the owner while nobody steals, otherwise a moment's estimate. */
static inline size_t deque_count(struct deque *d)
{
    /* Acquire, with the thief's CAS: bottom is not older than top. */
    int64_t t = atomic_load_explicit(&d->top, memory_order_acquire);
    int64_t b = atomic_load_explicit(&d->bottom, memory_order_relaxed);

    return b > t ? (size_t)(b - t) : 0;
}

#endif
