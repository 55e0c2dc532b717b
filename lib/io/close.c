/*
 * gyre_close: what is in flight on the descriptor is cancelled and awaited, on every ring that
 * used it, before the number can be reused.
 *
 * The request visits those workers one after the other, as a message to each; so it needs no
 * memory but the closer's stack, and cannot fail. Where operations are in flight it submits a
 * cancel of all on the descriptor's file, and then stays, linked to the worker, until the last of
 * them completes.
 *
 * While the kernel frees the number the entry says so. Another thread may get the number at once,
 * and a coroutine may still try the old one: both wait the moment until the close is over, then the
 * kernel knows whom they mean. Rejected: taking the mark off before. An operation begun in between
 * can reach the kernel before the close does; then it waits on the old file, which nobody closes
 * any more.
 */
#include "io/close.h"

#include "io/operation.h"
#include "ring/tsan.h"

#include <gyre/io.h>

#include <errno.h>
#include <unistd.h>

struct close_request {
    struct mailbox_message message;
    struct ring_target cancel;
    struct worker *worker;      /* whose ring the cancel is on */
    struct close_request *next; /* in worker->closers */
    bool again;
    struct gyre_coro *closer;
    uint64_t rings;
    unsigned next_worker;
    int fd;
};

static void handle_close(void *argument, struct mailbox_message *message);

/* On to the next worker that used the descriptor; none left: the closer goes on. */
static void advance(struct close_request *request)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;

    while (request->next_worker < runtime->worker_count) {
        struct worker *worker = &runtime->workers[request->next_worker++];

        if (request->rings & descriptor_bit(worker)) {
            request->message.handle = handle_close;
            mailbox_push(&worker->mailbox, &request->message);
            full_barrier();
            gyre_worker_notify(worker);
            return;
        }
    }
    gyre_ready(request->closer);
}

/* With the reap lock. */
static bool link_if_pending(struct worker *worker, struct close_request *request)
{
    if (!gyre_operation_pending(worker, request->fd))
        return false;
    request->next = worker->closers;
    worker->closers = request;
    return true;
}

/*
 * The number was closed by close(2) while operations waited on its file, or what was sent is still
 * in the kernel's hands: cancelling by descriptor does not reach them. They are looked for among
 * all coroutines; that takes its time, but else this close, of the number's next user, would wait
 * for them for ever.
 */
static void cancel_stale(struct stack_block *block, void *argument)
{
    struct gyre_coro *coro = container_of(block, struct gyre_coro, stack);
    struct close_request *request = argument;
    struct worker *worker = request->worker;
    struct coro_operation *operation = &coro->operation;
    struct io_uring_sqe *sqe;

    if (atomic_load_explicit(&operation->flight, memory_order_relaxed) != worker ||
        operation->fd != request->fd)
        return;
    sqe = gyre_operation_entry(worker);
    if (!sqe) {
        request->again = true;
        return;
    }
    spin_lock(&worker->ring.reap_lock);
    /* Making room may have completed it. */
    if (atomic_load_explicit(&operation->flight, memory_order_relaxed) == worker &&
        operation->fd == request->fd) {
        gyre_operation_prepare_cancel(operation, sqe);
    } else {
        io_uring_prep_nop(sqe);
        sqe->user_data = 0;
    }
    spin_unlock(&worker->ring.reap_lock);
}

static void handle_stale(void *argument, struct mailbox_message *message)
{
    struct worker *worker = argument;
    struct close_request *request = container_of(message, struct close_request, message);
    bool linked;

    request->again = false;
    gyre_stack_each(&gyre_runtime_instance->stacks, cancel_stale, request);
    if (request->again) {
        mailbox_push(&worker->mailbox, message);
        return;
    }
    spin_lock(&worker->ring.reap_lock);
    linked = link_if_pending(worker, request);
    spin_unlock(&worker->ring.reap_lock);
    if (!linked)
        advance(request);
}

/* The cancel has been carried out; result tells of how many operations. */
static void cancel_completed(struct ring_target *target, void *reaper, int result, unsigned flags,
                             unsigned generation)
{
    struct close_request *request = container_of(target, struct close_request, cancel);
    struct worker *worker = request->worker;

    (void)reaper;
    (void)flags;
    (void)generation;
    if (gyre_operation_in_flight(worker, request->fd) > (result > 0 ? (unsigned)result : 0)) {
        request->message.handle = handle_stale;
        mailbox_push(&worker->mailbox, &request->message);
        full_barrier();
        gyre_worker_notify(worker);
    } else if (!link_if_pending(worker, request)) {
        advance(request);
    }
}

/* On the worker's own thread. */
static void handle_close(void *argument, struct mailbox_message *message)
{
    struct worker *worker = argument;
    struct close_request *request = container_of(message, struct close_request, message);
    struct io_uring_sqe *sqe;

    if (!gyre_operation_pending(worker, request->fd)) {
        advance(request);
        return;
    }
    sqe = gyre_operation_entry(worker);
    if (!sqe) {
        mailbox_push(&worker->mailbox, message);
        return;
    }
    request->worker = worker;
    io_uring_prep_cancel_fd(sqe, request->fd, IORING_ASYNC_CANCEL_ALL);
    sqe->user_data = ring_user_data(&request->cancel, 0);
}

void gyre_close_completed(struct worker *home, int fd)
{
    struct close_request **at = &home->closers, *request;

    while ((request = *at)) {
        if (request->fd == fd && !gyre_operation_pending(home, fd)) {
            *at = request->next;
            advance(request);
        } else {
            at = &request->next;
        }
    }
}

static void commit_close(struct worker *worker, struct gyre_coro *self, void *argument)
{
    (void)worker;
    (void)self;
    advance(argument);
}

static void drain(struct gyre_coro *self, int fd, uint64_t rings)
{
    struct worker *worker = worker_current();
    struct close_request request = {
        .cancel.complete = cancel_completed, .closer = self, .rings = rings, .fd = fd};

    /* The usual case: only this worker used it, and nothing is in flight. */
    if (!gyre_operation_pending(worker, fd))
        request.rings &= ~descriptor_bit(worker);
    if (request.rings || gyre_runtime_instance->worker_count > DESCRIPTOR_RINGS) {
        request.rings = rings;
        gyre_park(worker, PARK_CLOSE, commit_close, &request);
    }
}

static int close_number(int fd, unsigned sqe_flags)
{
    struct operation operation = {0};
    int result;

#ifdef GYRE_TSAN
    /* It follows descriptors, and would take the number's next user for one that races with us. */
    return close(fd) < 0 && errno == EBADF ? -EBADF : 0;
#endif
    if (gyre_operation_begin(&operation, "gyre_close", -1, OPERATION_SHIELDED))
        return close(fd) < 0 && errno == EBADF ? -EBADF : 0;
    io_uring_prep_close(operation.sqe, fd);
    operation.sqe->flags |= (uint8_t)sqe_flags;
    result = gyre_operation_wait(&operation);
    /* Interrupted or not, the kernel has taken the number out of the table. */
    return result == OPERATION_AGAIN ? 0 : result;
}

/*
 * Marks the entry as being closed, for the owner that the number has when this is called. Returns
 * 0; -EALREADY: somebody closes it; -EBADF: somebody has.
 */
static int begin_close(struct descriptor *descriptor, uint64_t *users)
{
    uint32_t closings;

    /* Acquire: pairs with the last store of gyre_close. */
    *users = atomic_load_explicit(&descriptor->users, memory_order_acquire);
    closings = descriptor_closings(*users);
    do {
        if (*users & DESCRIPTOR_RELEASING) {
            gyre_descriptor_await_release(descriptor);
            *users = atomic_load_explicit(&descriptor->users, memory_order_acquire);
        }
        if (descriptor_closings(*users) != closings)
            return -EBADF;
        if (*users & DESCRIPTOR_CLOSING && !(*users & DESCRIPTOR_RELEASING))
            return -EALREADY;
        /* Seq_cst: pairs with the look in use_descriptor. */
    } while (*users & DESCRIPTOR_RELEASING ||
             !atomic_compare_exchange_weak_explicit(&descriptor->users, users,
                                                    *users | DESCRIPTOR_CLOSING,
                                                    memory_order_seq_cst, memory_order_acquire));
    return 0;
}

/* Who forgot to close it first. */
static void tell_object(struct descriptor *descriptor)
{
    struct descriptor_object *object;

    /* Seq_cst: after begin_close's mark; pairs with who puts one in, and then looks for the mark.
     */
    if (likely(!atomic_load_explicit(&descriptor->object, memory_order_seq_cst)))
        return;
    /* Acquire: pairs with the release that put it in. */
    object = atomic_exchange_explicit(&descriptor->object, NULL, memory_order_acq_rel);
    if (object)
        object->closed(object);
}

int gyre_close(int fd)
{
    struct gyre_coro *self = coro_required("gyre_close");
    struct descriptor *descriptor;
    uint64_t users, next_owner;
    unsigned flags = 0;
    int result;

    if (fd < 0)
        return -EBADF;
    descriptor = gyre_descriptor_get(fd);
    if (!descriptor)
        return close_number(fd, 0); /* so it was never used by an operation */
    result = begin_close(descriptor, &users);
    if (result)
        return result;
    tell_object(descriptor);
    drain(self, fd, users & DESCRIPTOR_RING_BITS);
    /* What lingers would do so on this thread; a worker thread of the kernel's has the time. */
    if (atomic_load_explicit(&descriptor->lingers, memory_order_relaxed))
        flags = IOSQE_ASYNC;
    ring_tsan_sends(); /* the peer reads the end */
    atomic_store_explicit(&descriptor->kind, KIND_UNKNOWN, memory_order_relaxed);
    atomic_store_explicit(&descriptor->lingers, 0, memory_order_relaxed);
    next_owner = (uint64_t)(descriptor_closings(users) + 1) << 32;
    /* Release: who begins a call from here on means the next owner, and waits for the last store.
     */
    atomic_store_explicit(&descriptor->users,
                          next_owner | DESCRIPTOR_CLOSING | DESCRIPTOR_RELEASING,
                          memory_order_release);
    result = close_number(fd, flags);
    /* Release: the next user of the number finds a clean entry. */
    atomic_store_explicit(&descriptor->users, next_owner, memory_order_release);
    return result;
}
