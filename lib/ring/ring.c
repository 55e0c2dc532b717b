/*
 * Enter and reap are written here rather than taken from liburing, for three reasons: one enter
 * must both submit and fetch, its timeout must not cost a submission entry, and completions are
 * consumed under a lock by whichever worker comes. Set-up, memory and the entries' layout are
 * liburing's.
 */
#include "ring/ring.h"

#include "ring/tsan.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#ifdef GYRE_TSAN
char gyre_ring_tsan_bytes;
#endif

/* Hands n entries from liburing's private tail to the kernel. */
static unsigned publish(struct ring *ring)
{
    struct io_uring_sq *sq = &ring->uring.sq;

    ring_tsan_enters(ring);
    /* Release: the kernel's load of the tail must see filled entries. */
    __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
    sq->sqe_head = sq->sqe_tail;
    return sq->sqe_tail - __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);
}

/*
 * The poll on the eventfd ends for reasons of the kernel's own; then the owner arms it again
 * before it enters. False: the queue is full, which this enter, that must not sleep, remedies.
 */
static bool arm_wake(struct ring *ring)
{
    struct io_uring_sqe *sqe;

    if (__atomic_load_n(&ring->wake_armed, __ATOMIC_RELAXED))
        return true;
    sqe = ring_take(ring);
    if (!sqe)
        return false;
    io_uring_prep_poll_multishot(sqe, ring->wake_fd, POLLIN);
    sqe->user_data = ring_user_data(&ring->wake_target, 0);
    __atomic_store_n(&ring->wake_armed, true, __ATOMIC_RELAXED);
    return true;
}

int gyre_ring_enter(struct ring *ring, bool wait, int64_t timeout)
{
    struct __kernel_timespec time;
    struct io_uring_getevents_arg argument = {0};
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    unsigned pending, left;
    int result;

    if (unlikely(ring->wake_fd >= 0) && !arm_wake(ring))
        wait = false;
    pending = publish(ring);
    if (ring->uring.int_flags & 1) /* the ring's descriptor is registered */
        flags |= IORING_ENTER_REGISTERED_RING;
    if (wait && ring->no_iowait)
        flags |= ABI_ENTER_NO_IOWAIT;
    if (wait && timeout >= 0) {
        time.tv_sec = timeout / 1000000000;
        time.tv_nsec = timeout % 1000000000;
        argument.ts = (uint64_t)(uintptr_t)&time;
    }
    result = io_uring_enter2((unsigned)ring->uring.enter_ring_fd, pending, wait ? 1 : 0, flags,
                             (sigset_t *)&argument, sizeof argument);
    /*
     * EINTR and ETIME say that the wait ended; EBUSY and EAGAIN that memory or the completion queue
     * is short: whatever was accepted shows in the head that the kernel moved.
     */
    left = ring->uring.sq.sqe_tail - __atomic_load_n(ring->uring.sq.khead, __ATOMIC_ACQUIRE);
    atomic_store_explicit(&ring->unsubmitted, left, memory_order_relaxed);
    (void)result;
    return left ? -EAGAIN : 0;
}

unsigned gyre_ring_reap(struct ring *ring, void *worker)
{
    struct io_uring_cq *cq = &ring->uring.cq;
    unsigned head, tail, count, extra = 0;

    /* Acquire by the try-lock: what the last reaper wrote to targets is seen here. */
    if (!ring_completed(ring) || !spin_try_lock(&ring->reap_lock))
        return 0;
    head = __atomic_load_n(cq->khead, __ATOMIC_RELAXED); /* written under the lock only */
    /* Acquire: pairs with the kernel's release of the tail, after it filled the entries. */
    tail = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);
    count = tail - head;
    ring_tsan_reaps(ring);
    while (head != tail) {
        const struct io_uring_cqe *cqe = &cq->cqes[head & *cq->kring_mask];
        uint64_t data = cqe->user_data;
        int result = cqe->res;
        unsigned flags = cqe->flags;

        head++;
        extra += (flags & IORING_CQE_F_MORE) != 0;
        /* Release: the kernel may overwrite the entry only after it was read. */
        __atomic_store_n(cq->khead, head, __ATOMIC_RELEASE);
        if (data) {
            struct ring_target *target =
                (struct ring_target *)(uintptr_t)(data & 0x0000ffffffffffff);

            ring_tsan_completed(target);
            target->complete(target, worker, result, flags, (unsigned)(data >> 48));
        }
    }
    ring->extra += extra;
    spin_unlock(&ring->reap_lock);
    return count;
}
