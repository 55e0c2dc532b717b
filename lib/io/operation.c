/* Submit, park, cancel, complete. */
#include "io/operation.h"

#include "io/close.h"
#include "ring/tsan.h"
#include "sched/handover.h"
#include "sched/spawn.h"

#include <gyre/coro.h>

#include <errno.h>
#include <sys/socket.h>

enum { ROOM_TRIES = 16 };

/*
 * The queue is full: hand it to the kernel. That may fail while completions are backed up or
 * memory is short; reaping helps against the first, and trying again against the second. This runs
 * on a coroutine's stack, but none of the entries is of this coroutine, so all whose operations may
 * complete are parked.
 */
static struct io_uring_sqe *make_room(struct worker *worker)
{
    if (worker->handling)
        return NULL; /* completions may need memory: not in a signal handler */
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

unsigned gyre_operation_in_flight(struct worker *worker, int fd)
{
    struct descriptor_counts *counts = gyre_descriptor_counts(worker, fd);

    /* Acquire: pairs with the release in count_completed; the kernel has let go. */
    return counts ? atomic_load_explicit(&counts->submitted, memory_order_relaxed) -
                        atomic_load_explicit(&counts->completed, memory_order_acquire)
                  : 0;
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

static inline bool broken_off(int result)
{
    return result == -ECANCELED || result == -EINTR ||
           (result <= -ABI_RESTART_FIRST && result >= -ABI_RESTART_LAST);
}

static bool being_closed(const struct coro_operation *operation)
{
    struct descriptor *descriptor = operation->fd >= 0 ? gyre_descriptor_get(operation->fd) : NULL;

    return descriptor &&
           atomic_load_explicit(&descriptor->users, memory_order_relaxed) & DESCRIPTOR_CLOSING;
}

/*
 * Why the kernel cancelled it: for gyre_close, which cannot go on before this completion is
 * counted, so that its mark is still there. Later is too late to look: the number may stand for
 * another file.
 */
static bool cancelled_by_close(const struct coro_operation *operation, int result)
{
    return unlikely(broken_off(result)) && being_closed(operation);
}

/* The first of two completions. Who wanted it cancelled meanwhile has cancelled the sending. */
static void note_sent(struct gyre_coro *coro, int result)
{
    struct coro_operation *operation = &coro->operation;

    operation->result = cancelled_by_close(operation, result) ? -EBADF : result;
    operation->sent = true;
    if (operation->cancelled || being_closed(operation))
        gyre_coro_interrupt(coro);
}

static void complete(struct ring_target *target, void *reaper, int result, unsigned flags,
                     unsigned generation)
{
    struct gyre_coro *coro = container_of(target, struct gyre_coro, operation.target);
    struct coro_operation *operation = &coro->operation;
    struct worker *home = atomic_load_explicit(&operation->flight, memory_order_relaxed);

    if (unlikely(!home || operation->generation != generation))
        return;
    if (unlikely(flags & IORING_CQE_F_MORE)) {
        note_sent(coro, result);
        return;
    }
    if (unlikely(flags & IORING_CQE_F_NOTIF))
        operation->copied = ((unsigned)result & ABI_NOTIF_USAGE_COPIED) != 0;
    else
        operation->result = cancelled_by_close(operation, result) ? -EBADF : result;
    atomic_store_explicit(&operation->flight, NULL, memory_order_relaxed);
    if (operation->fd >= 0)
        count_completed(home, operation->fd);
    gyre_ready_later(reaper, coro);
}

/* --- cancellation --------------------------------------------------------------------------- */

/*
 * Whether the coroutine has an operation on this ring that is no longer wanted (once it is sent:
 * neither by the descriptor's closer). On the owner with the reap lock: an operation found in
 * flight here can't complete, so nothing that is looked at afterwards belongs to another one.
 */
static bool wants_cancel(struct worker *worker, struct gyre_coro *coro)
{
    const struct coro_operation *operation = &coro->operation;
    bool unwanted;

    if (atomic_load_explicit(&operation->flight, memory_order_relaxed) != worker ||
        atomic_load_explicit(&coro->wait, memory_order_acquire) != WAIT_OPERATION)
        return false;
    unwanted = context_error(coro_context(coro)) || operation_revoked(coro);
    if (unlikely(operation->sent))
        return operation->resets && !operation->reset && (unwanted || being_closed(operation));
    return !operation->cancelled && unwanted;
}

/* Not through the ring: by the time it gets there the number may stand for another connection. Here
 * the lock keeps the operation, and so who wants to close, from ending. */
static void reset(struct coro_operation *operation)
{
    static const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    int saved = errno;

    operation->reset = true;
    (void)connect(operation->fd, &nobody, sizeof nobody);
    errno = saved;
}

void gyre_operation_prepare_cancel(struct coro_operation *operation, struct io_uring_sqe *sqe)
{
    if (unlikely(operation->sent && operation->resets)) {
        reset(operation);
        io_uring_prep_nop(sqe);
    } else {
        operation->cancelled = true;
        io_uring_prep_cancel64(sqe, ring_user_data(&operation->target, operation->generation), 0);
    }
    sqe->user_data = 0; /* found or not: the operation's own completion tells */
}

static bool look_wants_cancel(struct worker *worker, struct gyre_coro *coro)
{
    bool wanted;

    spin_lock(&worker->ring.reap_lock);
    wanted = wants_cancel(worker, coro);
    spin_unlock(&worker->ring.reap_lock);
    return wanted;
}

/* On the owner of the ring. False when there is no room for it now. */
static bool submit_cancel(struct worker *worker, struct gyre_coro *coro)
{
    struct io_uring_sqe *sqe = gyre_operation_entry(worker);

    if (!sqe)
        return false;
    spin_lock(&worker->ring.reap_lock);
    /* Making room may have reaped the very completion. */
    if (wants_cancel(worker, coro)) {
        gyre_operation_prepare_cancel(&coro->operation, sqe);
    } else {
        io_uring_prep_nop(sqe);
        sqe->user_data = 0;
    }
    spin_unlock(&worker->ring.reap_lock);
    return true;
}

static void handle_cancel(void *argument, struct mailbox_message *message)
{
    struct worker *worker = argument;
    struct gyre_coro *coro = container_of(message, struct gyre_coro, cancel_message);
    bool retry = look_wants_cancel(worker, coro) && !submit_cancel(worker, coro);

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
         look_wants_cancel(worker, coro)))
        gyre_coro_interrupt(coro);
}

void gyre_operation_revoke(struct gyre_coro *coro, int error)
{
    atomic_store_explicit(&coro->operation.revoked, error, memory_order_relaxed);
    full_barrier(); /* pairs with the one in commit_operation: it sees this, or its wait is seen */
    gyre_coro_interrupt(coro);
}

/* --- begin and wait ------------------------------------------------------------------------- */

void gyre_descriptor_await_release(struct descriptor *descriptor)
{
    /* Acquire: pairs with the last store of gyre_close. */
    while (atomic_load_explicit(&descriptor->users, memory_order_acquire) & DESCRIPTOR_RELEASING)
        gyre_yield();
}

/* Announces the worker as a user. 0, -EBADF, -ENOMEM, OPERATION_AGAIN: the number is being freed.
 */
static int use_descriptor(struct operation *operation, int fd, struct descriptor_counts **counts)
{
    struct worker *worker = operation->worker;
    struct descriptor *descriptor = gyre_descriptor_get(fd);
    uint64_t users, bit = descriptor_bit(worker);

    *counts = gyre_descriptor_counts(worker, fd);
    operation->descriptor = descriptor;
    if (unlikely(!*counts || !descriptor))
        return fd >= DESCRIPTOR_CHUNK * DESCRIPTOR_CHUNKS ? -EBADF : -ENOMEM;
    /* Acquire: pairs with the last store of gyre_close. */
    users = atomic_load_explicit(&descriptor->users, memory_order_acquire);
    /* Seq_cst: pairs with the exchange in gyre_close; either it sees the bit, or this sees it
     * closing. */
    if (unlikely(!(users & bit)))
        users = atomic_fetch_or_explicit(&descriptor->users, bit, memory_order_seq_cst);
    /* A call is for the owner that the number has when it is begun, however often it is begun
     * again; while the number is being freed, that is the next one. */
    if (unlikely(operation->bound && operation->closings != descriptor_closings(users)))
        return -EBADF;
    operation->bound = true;
    operation->closings = descriptor_closings(users);
    if (unlikely(users & DESCRIPTOR_CLOSING))
        return users & DESCRIPTOR_RELEASING ? OPERATION_AGAIN : -EBADF;
    return 0;
}

/* What begin and admit have in common. */
static inline int admit(struct operation *operation, const char *call, int fd, unsigned flags,
                        struct descriptor_counts **counts)
{
    struct gyre_coro *self = coro_required(call);
    int error;

    operation->self = self;
    operation->worker = worker_current();
    operation->descriptor = NULL;
    operation->flags = flags;
    if (!(flags & OPERATION_SHIELDED)) {
        error = coro_error(self);
        if (unlikely(error))
            return error;
    }
    if (operation->revocable) {
        error = operation_revoked(self);
        if (unlikely(error))
            return error;
    }
    if (unlikely(fd < -1))
        return -EBADF;
    while (fd >= 0 && unlikely(error = use_descriptor(operation, fd, counts))) {
        if (error != OPERATION_AGAIN)
            return error;
        gyre_descriptor_await_release(operation->descriptor);
        operation->worker = worker_current();
    }
    return 0;
}

int gyre_operation_begin(struct operation *operation, const char *call, int fd, unsigned flags)
{
    struct descriptor_counts *counts = NULL;
    int error = admit(operation, call, fd, flags, &counts);

    if (unlikely(error))
        return error;
    operation->sqe = gyre_operation_entry(operation->worker);
    if (unlikely(!operation->sqe))
        return -ENOMEM;
    /* A closer that saw the bit asks this worker, which can't answer before the next park. */
    if (counts)
        increment(&counts->submitted);
    operation->self->operation.fd = fd;
    return 0;
}

int gyre_operation_admit(struct operation *operation, const char *call, int fd, unsigned flags)
{
    struct descriptor_counts *counts;

    return admit(operation, call, fd, flags, &counts);
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
    if (likely(context->immortal && !operation->revocable))
        return;     /* its only end, the shutdown, looks again and again */
    full_barrier(); /* pairs with the ones in end_node and gyre_operation_revoke */
    if (unlikely(context_error(context) || operation_revoked(self)))
        gyre_coro_interrupt(self);
}

static int map_result(struct operation *operation, int result)
{
    struct gyre_coro *self = operation->self;
    int error;

    if (likely(!broken_off(result)))
        return result;
    error = operation->flags & OPERATION_SHIELDED ? 0 : coro_error(self);
    /* Not by our context: by a cancel meant for another number of the same file. */
    return error ? error : OPERATION_AGAIN;
}

int gyre_operation_wait(struct operation *operation)
{
    struct gyre_coro *self = operation->self;
    struct coro_operation *mine = &self->operation;

    mine->target.complete = complete;
    mine->generation++;
    mine->cancelled = mine->sent = mine->reset = mine->copied = false;
    mine->resets = (operation->flags & OPERATION_RESETS) != 0;
    /* Relaxed: others compare it with themselves, and only this worker sets it to itself. */
    atomic_store_explicit(&mine->flight, operation->worker, memory_order_relaxed);
    /* Once in the life of the block: a message that comes late may be being read. */
    if (unlikely(self->cancel_message.handle != handle_cancel))
        self->cancel_message.handle = handle_cancel;
    operation->sqe->user_data = ring_user_data(&mine->target, mine->generation);
    ring_tsan_submitted(&mine->target);
    handover_park(operation->worker, PARK_OPERATION, commit_operation, operation);
    atomic_store_explicit(&self->wait, WAIT_NONE, memory_order_relaxed);
    return map_result(operation, mine->result);
}

bool gyre_operation_was_reset(const struct operation *operation)
{
    return operation->self->operation.reset;
}

bool gyre_operation_copied(const struct operation *operation)
{
    return operation->self->operation.copied;
}

int gyre_operation_repeat(struct operation *operation, const char *call, int fd, unsigned flags,
                          prepare_fn prepare, const void *argument)
{
    int result;

    do {
        result = gyre_operation_begin(operation, call, fd == AT_FDCWD ? -1 : fd, flags);
        if (unlikely(result))
            return result;
        prepare(operation->sqe, argument);
        result = gyre_operation_wait(operation);
    } while (unlikely(result == OPERATION_AGAIN));
    return result;
}

int gyre_operation_run(const char *call, int fd, unsigned flags, prepare_fn prepare,
                       const void *argument)
{
    struct operation operation = {0};

    return gyre_operation_repeat(&operation, call, fd, flags, prepare, argument);
}

struct awaited {
    int fd;
    unsigned events;
};

static void prepare_poll(struct io_uring_sqe *sqe, const void *argument)
{
    const struct awaited *awaited = argument;

    io_uring_prep_poll_add(sqe, awaited->fd, awaited->events);
}

int gyre_operation_poll(struct operation *operation, const char *call, int fd, unsigned events)
{
    const struct awaited awaited = {fd, events};

    return gyre_operation_repeat(operation, call, fd, 0, prepare_poll, &awaited);
}

void gyre_operation_bind(struct operation *operation, int fd)
{
    struct descriptor *descriptor = fd >= 0 ? gyre_descriptor_get(fd) : NULL;

    if (!descriptor)
        return;
    operation->bound = true;
    /* Acquire: pairs with the last store of gyre_close. */
    operation->closings =
        descriptor_closings(atomic_load_explicit(&descriptor->users, memory_order_acquire));
}

bool gyre_operation_lost(const struct operation *operation, int fd)
{
    struct descriptor *descriptor = operation->bound ? gyre_descriptor_get(fd) : NULL;

    /* Acquire: pairs with the last store of gyre_close. */
    return descriptor &&
           operation->closings !=
               descriptor_closings(atomic_load_explicit(&descriptor->users, memory_order_acquire));
}
