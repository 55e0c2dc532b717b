/*
 * The deque's slow half: growth, which copies [top, bottom) into an array of twice the size and
 * publishes it before bottom can lead a thief to an index that only the new one holds; and steal.
 */
#include "sched/deque.h"

#include <errno.h>
#include <stdlib.h>

static struct deque_array *new_array(int64_t size)
{
    struct deque_array *a = malloc(sizeof *a + (size_t)size * sizeof a->slots[0]);

    if (a) {
        a->size = size;
        a->outgrown = 0;
    }
    return a;
}

int gyre_deque_init(struct deque *d, unsigned capacity_log2)
{
    struct deque_array *a = new_array((int64_t)1 << capacity_log2);

    if (!a)
        return -ENOMEM;
    atomic_init(&d->bottom, 0);
    atomic_init(&d->top, 0);
    atomic_init(&d->array, a);
    d->top_seen = 0;
    return 0;
}

void gyre_deque_destroy(struct deque *d)
{
    struct deque_array *a = atomic_load_explicit(&d->array, memory_order_relaxed);

    while (a) {
        struct deque_array *outgrown = a->outgrown;

        free(a);
        a = outgrown;
    }
    atomic_store_explicit(&d->array, 0, memory_order_relaxed);
}

static int grow(struct deque *d, int64_t t, int64_t b)
{
    struct deque_array *old = atomic_load_explicit(&d->array, memory_order_relaxed);
    struct deque_array *a = new_array(2 * old->size);

    if (!a)
        return -ENOMEM;
    a->outgrown = old;
    for (int64_t i = t; i < b; i++) {
        void *item = atomic_load_explicit(&old->slots[i & (old->size - 1)], memory_order_relaxed);

        atomic_store_explicit(&a->slots[i & (a->size - 1)], item, memory_order_relaxed);
    }
    /* Release, with the thief's acquire of array: it sees the size and the copied slots. */
    atomic_store_explicit(&d->array, a, memory_order_release);
    return 0;
}

int gyre_deque_push_slow(struct deque *d, void *item)
{
    int64_t b = atomic_load_explicit(&d->bottom, memory_order_relaxed);
    struct deque_array *a = atomic_load_explicit(&d->array, memory_order_relaxed);

    /* Acquire, with the thief's CAS: it has read its slot before we write over it. */
    d->top_seen = atomic_load_explicit(&d->top, memory_order_acquire);
    if (b - d->top_seen >= a->size) {
        int r = grow(d, d->top_seen, b);

        if (r < 0)
            return r;
    }
    return deque_push(d, item);
}

void *gyre_deque_steal(struct deque *d)
{
    /* Acquire, with another thief's CAS: bottom and array are no older than that thief's. */
    int64_t t = atomic_load_explicit(&d->top, DEQUE_ORDER(memory_order_acquire));

    /* With the fence in deque_take. */
    deque_fence();
    /* Acquire, with the owner's stores of bottom. */
    int64_t b = atomic_load_explicit(&d->bottom, DEQUE_ORDER(memory_order_acquire));

    if (t >= b)
        return 0;
    /* Acquire, with grow. After bottom: an older array may lack index t. */
    struct deque_array *a = atomic_load_explicit(&d->array, memory_order_acquire);
    void *item = atomic_load_explicit(&a->slots[t & (a->size - 1)], memory_order_relaxed);

    /* seq_cst, with the CAS in deque_take; release, with push_slow's acquire of top. */
    if (!atomic_compare_exchange_strong_explicit(&d->top, &t, t + 1, memory_order_seq_cst,
                                                 memory_order_relaxed))
        return DEQUE_RETRY;
    return item;
}
