/* The FIFO's slow half: the list behind the ring, and batches for thieves. */
#include "sched/fifo.h"

void gyre_fifo_init(struct fifo *f)
{
    atomic_init(&f->tail, 0);
    atomic_init(&f->head, 0);
    atomic_init(&f->listed, 0);
    f->head_seen = 0;
    atomic_init(&f->lock.held, false);
    f->first = 0;
    f->last = &f->first;
}

/* Under the lock. */
static struct fifo_link *unlist(struct fifo *f)
{
    struct fifo_link *item = f->first;

    f->first = item->next;
    if (!f->first)
        f->last = &f->first;
    return item;
}

/* Under the lock, by the owner. */
static void move_to_ring(struct fifo *f)
{
    size_t listed = atomic_load_explicit(&f->listed, memory_order_relaxed);
    uint64_t t = atomic_load_explicit(&f->tail, memory_order_relaxed);

    /* Acquire, with the takers' CAS, as in fifo_first. */
    f->head_seen = atomic_load_explicit(&f->head, memory_order_acquire);
    for (; listed && t - f->head_seen < FIFO_RING; listed--, t++)
        atomic_store_explicit(&f->ring[t % FIFO_RING], unlist(f), memory_order_relaxed);
    /* Release, with the thief's acquire of tail. */
    atomic_store_explicit(&f->tail, t, memory_order_release);
    /* Release, with the acquires of listed: who sees less in the list sees more in the ring. */
    atomic_store_explicit(&f->listed, listed, memory_order_release);
}

void gyre_fifo_refill(struct fifo *f)
{
    spin_lock(&f->lock);
    move_to_ring(f);
    spin_unlock(&f->lock);
}

void gyre_fifo_push_slow(struct fifo *f, struct fifo_link *item)
{
    item->next = 0;
    /* Full by an old view of head: look again before going through the list. */
    if (!atomic_load_explicit(&f->listed, memory_order_relaxed)) {
        /* Acquire, with the takers' CAS, as in fifo_first. */
        f->head_seen = atomic_load_explicit(&f->head, memory_order_acquire);
        if (atomic_load_explicit(&f->tail, memory_order_relaxed) - f->head_seen < FIFO_RING) {
            fifo_push(f, item);
            return;
        }
    }
    spin_lock(&f->lock);
    size_t listed = atomic_load_explicit(&f->listed, memory_order_relaxed);

    *f->last = item;
    f->last = &item->next;
    atomic_store_explicit(&f->listed, listed + 1, memory_order_relaxed);
    spin_unlock(&f->lock);
}

static unsigned share(uint64_t count, unsigned max)
{
    uint64_t half = (count + 1) / 2;

    if (max > FIFO_BATCH_MAX)
        max = FIFO_BATCH_MAX;
    return half < max ? (unsigned)half : max;
}

/* How many were taken from the list; 0 as well when the ring is not empty. */
static unsigned steal_listed(struct fifo *f, struct fifo_link **out, unsigned max)
{
    unsigned n = 0;

    spin_lock(&f->lock);
    size_t listed = atomic_load_explicit(&f->listed, memory_order_relaxed);
    /* Both can't change under us so as to make a mistake: see Order, in the header. */
    uint64_t h = atomic_load_explicit(&f->head, memory_order_relaxed);
    uint64_t t = atomic_load_explicit(&f->tail, memory_order_relaxed);

    if (h == t) {
        unsigned take = share(listed, max);

        while (n < take)
            out[n++] = unlist(f);
        atomic_store_explicit(&f->listed, listed - n, memory_order_relaxed);
    }
    spin_unlock(&f->lock);
    return n;
}

unsigned gyre_fifo_steal_batch(struct fifo *f, struct fifo_link **out, unsigned max)
{
    for (;;) {
        /* Acquire, with another thief's CAS: the tail read next is no older than that thief's. */
        uint64_t h = atomic_load_explicit(&f->head, memory_order_acquire);
        /* Acquire, with the owner's stores of tail. */
        uint64_t t = atomic_load_explicit(&f->tail, memory_order_acquire);

        if (h == t) {
            /* Acquire, with move_to_ring. */
            if (!atomic_load_explicit(&f->listed, memory_order_acquire)) {
                /* What left the list for the ring between the two looks. */
                if (atomic_load_explicit(&f->tail, memory_order_relaxed) == t)
                    return 0;
                continue;
            }
            unsigned n = steal_listed(f, out, max);

            if (n || !max)
                return n;
            continue;
        }
        if (t - h > FIFO_RING) /* An old head: the CAS would fail. */
            continue;
        unsigned n = share(t - h, max);

        for (unsigned i = 0; i < n; i++)
            out[i] = atomic_load_explicit(&f->ring[(h + i) % FIFO_RING], memory_order_relaxed);
        /* Release, with the owner's acquire of head: our reads of the slots come before. */
        if (atomic_compare_exchange_strong_explicit(&f->head, &h, h + n, memory_order_release,
                                                    memory_order_relaxed))
            return n;
    }
}
