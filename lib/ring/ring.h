/*
 * A worker's io_uring: set up with the most that the kernel gives, submit, reap, wake.
 *
 * Who may do what. Only the worker that made the ring takes submission entries and enters.
 * Completions may be reaped by any worker that gets the reap lock: with COOP_TASKRUN they
 * appear in the completion queue by the kernel's next tick though the owner computes and never
 * enters, so another worker can bring them in. Any thread may wake.
 *
 * Invariants
 * - A completion's user_data is the address of a struct ring_target, with a 16-bit generation
 *   above it, or 0 for one that nobody waits for. A target lives until its last completion.
 * - An entry taken with ring_take must be filled before the next call on this ring: what is
 *   taken is what the next enter submits.
 * - No completion is lost: the kernel keeps what does not fit the queue (FEAT_NODROP), and
 *   an enter fetches it whenever IORING_SQ_CQ_OVERFLOW shows.
 *
 * Rejected: DEFER_TASKRUN. Measured even or slower for an echo (docs/decisions.md), and with it
 * nothing arrives while the owner computes, nor may anyone else fetch it.
 */
#ifndef GYRE_LIB_RING_RING_H
#define GYRE_LIB_RING_RING_H

#include "base/macros.h"
#include "base/spinlock.h"
#include "ring/abi.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ring_target {
    /*
     * Called with the reap lock held, on whichever worker reaps (worker is that one): must only
     * note the result and make coroutines ready.
     */
    void (*complete)(struct ring_target *target, void *worker, int result, unsigned flags,
                     unsigned generation);
};

struct ring {
    struct io_uring uring;
    unsigned setup_flags;
    _Atomic(unsigned) unsubmitted; /* taken since the last enter, not accepted by the kernel yet */
    bool send_msg_ring;            /* another thread may post here without a ring of its own */
    bool no_iowait;
    int8_t buffer_table; /* of registered buffers: 0 not asked for yet, 1 there, -1 refused */
    int wake_fd;     /* eventfd under a multishot poll, where send_msg_ring is missing; else -1 */
    bool wake_armed; /* the poll is on; its final completion says that it must be armed again */
    struct ring_target wake_target;
    _Alignas(CACHE_LINE) struct spinlock reap_lock;
    /* Submissions that wait for what may never come, as signals: no work in progress. */
    _Atomic(uint32_t) background;
    uint32_t extra; /* completions reaped that were no submission's last; under the lock */
};

/* Sets up on the calling thread, which becomes the only submitter. Returns 0 or -errno. */
int gyre_ring_init(struct ring *ring, unsigned entries);
void gyre_ring_destroy(struct ring *ring);

/* Whether the kernel has this IORING_OP_*, but for those of the mask: for tests, a bit each, to be
 * set before any ring is. False before the first ring. */
bool gyre_ring_supports(unsigned operation);
extern uint64_t gyre_ring_masked[4];

/* Why io_uring_setup gave this error, and what to do about it: prints the message. */
void gyre_ring_explain(int error);

/* One line that says what was taken. */
void gyre_ring_describe(const struct ring *ring, char *text, size_t size);

/*
 * Submits what was taken and runs what the kernel deferred; with wait, sleeps until a
 * completion is there or timeout nanoseconds went by (negative: for ever). Returns 0, or
 * -EAGAIN when the kernel could not accept everything now: reap and call again.
 */
int gyre_ring_enter(struct ring *ring, bool wait, int64_t timeout);

/* Hands every completion that is there to its target. Returns how many; 0 also when another
 * worker is reaping this ring. */
unsigned gyre_ring_reap(struct ring *ring, void *worker);

/* Makes the owner's gyre_ring_enter return, now or the next time. From any thread. */
void gyre_ring_wake(struct ring *ring);

static inline uint64_t ring_user_data(struct ring_target *target, unsigned generation)
{
    return (uint64_t)(uintptr_t)target | ((uint64_t)(generation & 0xffff) << 48);
}

/* Relaxed: the owner writes it, and others only want to know whether there are any. */
static inline unsigned ring_unsubmitted(const struct ring *ring)
{
    return atomic_load_explicit(&ring->unsubmitted, memory_order_relaxed);
}

/* A submission entry, or NULL when the queue is full. */
static inline struct io_uring_sqe *ring_take(struct ring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

    if (likely(sqe))
        atomic_store_explicit(&ring->unsubmitted, ring_unsubmitted(ring) + 1, memory_order_relaxed);
    return sqe;
}

/* Whether a reap would find something. Exact for the owner, a hint for others. */
static inline bool ring_completed(const struct ring *ring)
{
    const struct io_uring_cq *cq = &ring->uring.cq;

    /* Acquire: pairs with the kernel's release of the tail. */
    return __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE) !=
           __atomic_load_n(cq->khead, __ATOMIC_RELAXED);
}

/*
 * How many submissions have not had their last completion reaped, but for the ring's own and those
 * in the background. By the owner, where nobody else reaps this ring.
 */
static inline uint32_t ring_in_flight(const struct ring *ring)
{
    uint32_t ended = __atomic_load_n(ring->uring.cq.khead, __ATOMIC_RELAXED) - ring->extra;

    return ring->uring.sq.sqe_tail - ended - __atomic_load_n(&ring->wake_armed, __ATOMIC_RELAXED) -
           atomic_load_explicit(&ring->background, memory_order_relaxed);
}

/*
 * Whether the owner should enter even with nothing to submit: the kernel holds work or
 * completions that only an enter brings in. The flags are written by the kernel with a barrier
 * of its own; a stale look is repeated at the next poll.
 */
static inline bool ring_wants_enter(const struct ring *ring)
{
    return __atomic_load_n(ring->uring.sq.kflags, __ATOMIC_RELAXED) &
           (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

#endif
