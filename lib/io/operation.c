/* Submit, park, cancel, complete. */
#include "io/operation.h"

#include "io/close.h"
#include "sched/spawn.h"

#include <errno.h>

enum { ROOM_TRIES = 16 };

/*
 * The queue is full: hand it to the kernel. That may fail while completions are backed up or
 * memory is short; reaping helps against the first, and trying again against the second. This runs
 * on a coroutine's stack, but none of the entries is of this coroutine, so all whose operations may
 * complete are parked.
 */
static struct io_uring_sqe *make_room(struct worker *worker)
{
    for (int i = 0; i < ROOM_TRIES; i++) {
        struct io_uring_sqe *sqe;

        gyre_ring_enter(&worker->ring, false, 0);
        gyre_ring_reap(&worker->ring, worker);
        sqe = ring_take(&worker->ring);
        if (sqe)
            return sqe;
    }
    return NULL;
}

struct io_uring_sqe *gyre_operation_entry(struct worker *worker)
{
    struct io_uring_sqe *sqe = ring_take(&worker->ring);

    return likely(sqe) ? sqe : make_room(worker);
}

/* --- completion ----------------------------------------------------------------------------- */

bool gyre_operation_pending(struct worker *worker, int fd)
{
    struct descriptor_counts *counts = gyre_descriptor_counts(worker, fd);

    /* Acquire: pairs with the release in count_completed; the kernel has let go. */
    return counts && atomic_load_explicit(&counts->submitted, memory_order_relaxed) !=
                         atomic_load_explicit(&counts->completed, memory_order_acquire);
}

static inline void increment(_Atomic(uint32_t) *count)
{
    /* One writer at a time (the owner; the holder of the reap lock): no read-modify-write. */
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_release);
}

static void count_completed(struct worker *home, int fd)
{
    struct descriptor_counts *chunk = home->descriptors[(unsigned)fd / DESCRIPTOR_CHUNK];

    increment(&chunk[(unsigned)fd % DESCRIPTOR_CHUNK].completed);
    if (unlikely(home->closers))
        gyre_close_completed(home, fd);
}

static void complete(struct ring_target *target, void *reaper, int result, unsigned flags,
                     unsigned generation)
{
    struct gyre_coro *coro = container_of(target, struct gyre_coro, operation.target);
    struct coro_operation *operation = &coro->operation;

    if (unlikely(!operation->in_flight || operation->generation != generation))
        return;
    operation->result = result;
    operation->flags = flags;
    operation->in_flight = false;
    if (operation->fd >= 0)
        count_completed(atomic_load_explicit(&coro->home, memory_order_relaxed), operation->fd);
    gyre_ready_later(reaper, coro);
}

/* --- cancellation --------------------------------------------------------------------------- */

/* On the owner of the ring. False when there is no room for it now. */
static bool submit_cancel(struct worker *worker, struct gyre_coro *coro)
{
    struct coro_operation *operation = &coro->operation;
    struct io_uring_sqe *sqe = gyre_operation_entry(worker);

    if (!sqe)
        return false;
    /* Making room may have reaped the very completion. */
    if (!operation->in_flight) {
        io_uring_prep_nop(sqe);
        sqe->user_data = 0;
        return true;
    }
    operation->cancelled = true;
    io_uring_prep_cancel64(sqe, ring_user_data(&operation->target, operation->generation), 0);
    sqe->user_data = 0; /* found or not: the operation's own completion tells */
    return true;
}

/* Whether the coroutine has an operation on this ring that its context no longer wants. */
static bool wants_cancel(struct worker *worker, struct gyre_coro *coro)
{
    return atomic_load_explicit(&coro->wait, memory_order_acquire) == WAIT_OPERATION &&
           atomic_load_explicit(&coro->home, memory_order_relaxed) == worker &&
           coro->operation.in_flight && !coro->operation.cancelled &&
           context_error(coro_context(coro));
}

static void handle_cancel(void *argument, struct mailbox_message *message)
{
    struct worker *worker = argument;
    struct gyre_coro *coro = container_of(message, struct gyre_coro, cancel_message);
    bool retry = wants_cancel(worker, coro) && !submit_cancel(worker, coro);

    if (unlikely(retry)) {
        mailbox_push(&worker->mailbox, message);
        return;
    }
    /*
     * A canceller that found the message under way relies on us; if the coroutine has moved on to
     * another ring or a later operation whose context ended as well, tell that one.
     */
    if (gyre_coro_unqueue(worker, coro) &&
        atomic_load_explicit(&coro->wait, memory_order_seq_cst) == WAIT_OPERATION &&
        (atomic_load_explicit(&coro->home, memory_order_relaxed) != worker ||
         wants_cancel(worker, coro)))
        gyre_coro_interrupt(coro);
}

/* --- begin and wait ------------------------------------------------------------------------- */

static int use_descriptor(struct operation *operation, int fd)
{
    struct worker *worker = operation->worker;
    struct descriptor_counts *counts = gyre_descriptor_counts(worker, fd);
    struct descriptor *descriptor = gyre_descriptor_get(fd);
    uint64_t users, bit = descriptor_bit(worker);

    if (unlikely(!counts || !descriptor))
        return fd >= DESCRIPTOR_CHUNK * DESCRIPTOR_CHUNKS ? -EBADF : -ENOMEM;
    users = atomic_load_explicit(&descriptor->users, memory_order_relaxed);
    /* Seq_cst: pairs with the exchange in gyre_close; either it sees the bit, or this sees it
     * closing. */
    if (unlikely(!(users & bit)))
        users = atomic_fetch_or_explicit(&descriptor->users, bit, memory_order_seq_cst);
    if (unlikely(users & DESCRIPTOR_CLOSING))
        return -EBADF;
    operation->descriptor = descriptor;
    increment(&counts->submitted);
    return 0;
}

int gyre_operation_begin(struct operation *operation, const char *call, int fd, unsigned flags)
{
    struct gyre_coro *self = gyre_coro_required(call);
    struct worker *worker = worker_current();
    int error;

    operation->self = self;
    operation->worker = worker;
    operation->descriptor = NULL;
    operation->flags = flags;
    if (!(flags & OPERATION_SHIELDED)) {
        error = coro_error(self);
        if (unlikely(error))
            return error;
    }
    if (unlikely(fd < -1))
        return -EBADF;
    operation->sqe = gyre_operation_entry(worker);
    if (unlikely(!operation->sqe))
        return -ENOMEM;
    if (fd >= 0 && (error = use_descriptor(operation, fd))) {
        /* The entry is taken: it goes out as nothing. */
        io_uring_prep_nop(operation->sqe);
        operation->sqe->user_data = 0;
        return error;
    }
    self->operation.fd = fd;
    return 0;
}

static void commit_operation(struct worker *worker, struct gyre_coro *self, void *argument)
{
    struct operation *operation = argument;
    struct gyre_context *context;

    atomic_store_explicit(&self->home, worker, memory_order_relaxed);
    if (operation->flags & OPERATION_SHIELDED)
        return;
    context = coro_context(self);
    /* Release: who sees it, sees home. Nothing completes before the next enter on this thread. */
    atomic_store_explicit(&self->wait, WAIT_OPERATION, memory_order_release);
    if (likely(context->immortal))
        return;     /* its only end, the shutdown, looks again and again */
    full_barrier(); /* pairs with the one in end_node */
    if (unlikely(context_error(context)))
        gyre_coro_interrupt(self);
}

static int map_result(struct operation *operation, int result)
{
    struct gyre_coro *self = operation->self;
    int error;

    if (likely(result != -ECANCELED && result != -EINTR))
        return result;
    error = operation->flags & OPERATION_SHIELDED ? 0 : coro_error(self);
    if (error)
        return error;
    /* Not by our context: by gyre_close, or by a cancel meant for another number of the same file.
     */
    if (operation->descriptor &&
        atomic_load_explicit(&operation->descriptor->users, memory_order_relaxed) &
            DESCRIPTOR_CLOSING)
        return -EBADF;
    return OPERATION_AGAIN;
}

int gyre_operation_wait(struct operation *operation)
{
    struct gyre_coro *self = operation->self;
    struct coro_operation *mine = &self->operation;

    mine->target.complete = complete;
    mine->generation++;
    mine->in_flight = true;
    mine->cancelled = false;
    self->cancel_message.handle = handle_cancel;
    operation->sqe->user_data = ring_user_data(&mine->target, mine->generation);
    gyre_park(operation->worker, PARK_OPERATION, commit_operation, operation);
    atomic_store_explicit(&self->wait, WAIT_NONE, memory_order_relaxed);
    return map_result(operation, mine->result);
}
