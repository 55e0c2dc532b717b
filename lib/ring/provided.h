/*
 * A ring's provided buffers: the kernel takes one at the moment when something has come, so who
 * only waits holds none.
 *
 * All are parts of one reservation. A buffer of 16 KiB has memory for as many pages as were ever
 * written of it, one for small messages, and none when it is idle; one that circulates is in
 * the kernel's ring, or taken from it: filled, and then lent. The number that circulates doubles
 * when few are left in the ring, without an allocation, so from a completion or a signal handler as
 * well; gyre_provided_trim makes it smaller and gives their pages back.
 *
 * Invariants
 * - The kernel reads the ring up to its tail, which is stored with release under `lock`: any
 *   worker gives buffers back.
 * - `taken` counts what was reaped, under the ring's reap lock; added - taken is what the kernel
 *   has, or what it has used and nobody has reaped yet.
 * - What is in the kernel's ring can't be taken out of it: to trim, the ring is unregistered, all
 *   that came before is reaped, and what nobody took then is ours.
 *
 * Rejected: MADV_DONTNEED on buffers that the kernel has (it may have filled one that was not
 * reaped yet); keeping few in the ring and the others on a stack beside it (a burst then ends each
 * receive with -ENOBUFS, which costs a submission each).
 */
#ifndef GYRE_LIB_RING_PROVIDED_H
#define GYRE_LIB_RING_PROVIDED_H

#include "ring/ring.h"

enum {
    PROVIDED_GROUP = 1,
    PROVIDED_MOST = 4096,
    PROVIDED_SIZE = 16384,
    PROVIDED_NONE = 0xffff,
};

enum buffer_state { PROVIDED_IDLE, PROVIDED_IN_RING, PROVIDED_TAKEN, PROVIDED_LENT };

struct buffer {
    uint32_t size; /* what the kernel said when it was taken; the taker's */
    uint16_t next; /* the taker's, or of the idle ones */
    _Atomic(uint8_t) state;
};

struct provided {
    struct spinlock lock;
    bool registered;
    bool settling; /* being trimmed: the kernel has none, what comes back becomes idle */
    uint16_t idle; /* first of them */
    uint16_t used; /* no number from here on ever circulated */
    _Atomic(unsigned) circulating; /* changed under the lock */
    struct io_uring_buf_ring *ring;
    char *memory;
    _Atomic(uint32_t) added, taken;
    _Atomic(uint32_t) least; /* added - taken at its lowest, since somebody has set it */
    struct buffer all[PROVIDED_MOST];
};

/* How many circulate at first, and at most: PROVIDED_MOST; less in tests. */
extern unsigned gyre_provided_least, gyre_provided_most;

/* Zeroed memory. On the ring's thread. 0, -EOPNOTSUPP (the kernel has none), -ENOMEM. */
int gyre_provided_init(struct provided *buffers, struct ring *ring);
/* When the ring is gone. Returns how many are still lent. */
unsigned gyre_provided_destroy(struct provided *buffers);

/* Makes sure that they are registered, which a trim may have failed to do: 0, -ENOMEM. On the
 * ring's thread. */
int gyre_provided_ready(struct provided *buffers, struct ring *ring);

/* With the lock. False: all that may circulate do, or none can now. */
bool gyre_provided_grow(struct provided *buffers);

/* With the lock: the buffer is free again. */
void gyre_provided_put(struct provided *buffers, unsigned id);

/*
 * Leaves `keep` circulating, or those that are taken if that is more. On the ring's thread, outside
 * a reap, a signal handler and the lock; worker is who reaps. Receives may find no buffer
 * meanwhile.
 */
void gyre_provided_trim(struct provided *buffers, struct ring *ring, void *worker, unsigned keep);

/* Relaxed: who changes it has the buffer; a trim looks at all, and only whether somebody has. */
static inline void buffer_set(struct buffer *buffer, enum buffer_state state)
{
    atomic_store_explicit(&buffer->state, (uint8_t)state, memory_order_relaxed);
}

static inline enum buffer_state buffer_state(const struct buffer *buffer)
{
    return (enum buffer_state)atomic_load_explicit(&buffer->state, memory_order_relaxed);
}

static inline unsigned provided_circulating(const struct provided *buffers)
{
    return atomic_load_explicit(&buffers->circulating, memory_order_relaxed);
}

static inline uint32_t provided_left(const struct provided *buffers)
{
    /* Acquire: pairs with the release of who gave one back; its last user is done with it. */
    return atomic_load_explicit(&buffers->added, memory_order_acquire) -
           atomic_load_explicit(&buffers->taken, memory_order_relaxed);
}

/* A completion named the buffer. Under the reap lock; returns how many are left. */
static inline uint32_t provided_take(struct provided *buffers, unsigned id)
{
    uint32_t taken = atomic_load_explicit(&buffers->taken, memory_order_relaxed) + 1, left;

    atomic_store_explicit(&buffers->taken, taken, memory_order_relaxed);
    left = provided_left(buffers);
    buffer_set(&buffers->all[id], PROVIDED_TAKEN);
    if (left < atomic_load_explicit(&buffers->least, memory_order_relaxed))
        atomic_store_explicit(&buffers->least, left, memory_order_relaxed);
    return left;
}

static inline char *provided_at(const struct provided *buffers, unsigned id)
{
    return buffers->memory + (size_t)id * PROVIDED_SIZE;
}

#endif
