/*
 * gyre_close: what is in flight on the descriptor is cancelled and awaited, on every ring that
 * used it, before the number can be reused.
 *
 * The request visits those workers one after the other, as a message to each; so it needs no
 * memory but the closer's stack, and cannot fail. Where operations are in flight it stays, linked
 * to the worker, until the last of them completes.
 *
 * While the kernel frees the number the entry says so. Another thread may get the number at once,
 * and a coroutine may still try the old one: both wait the moment until the close is over, then the
 * kernel knows whom they mean. Rejected: taking the mark off before. An operation begun in between
 * can reach the kernel before the close does; then it waits on the old file, which nobody closes
 * any more.
 */
#include "io/close.h"

#include "io/operation.h"

#include <gyre/io.h>

#include <errno.h>
#include <unistd.h>

struct close_request {
    struct mailbox_message message;
    struct close_request *next; /* in worker->closers */
    struct gyre_coro *closer;
    uint64_t rings;
    unsigned next_worker;
    int fd;
};

static void advance(struct close_request *request)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;

    while (request->next_worker < runtime->worker_count) {
        struct worker *worker = &runtime->workers[request->next_worker++];

        if (request->rings & descriptor_bit(worker)) {
            mailbox_push(&worker->mailbox, &request->message);
            full_barrier();
            gyre_worker_notify(worker);
            return;
        }
    }
    gyre_ready(request->closer);
}

static void wait_for_completions(struct worker *worker, struct close_request *request)
{
    bool pending;

    spin_lock(&worker->ring.reap_lock);
    pending = gyre_operation_pending(worker, request->fd);
    if (pending) {
        request->next = worker->closers;
        worker->closers = request;
    }
    spin_unlock(&worker->ring.reap_lock);
    if (!pending)
        advance(request);
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
    io_uring_prep_cancel_fd(sqe, request->fd, IORING_ASYNC_CANCEL_ALL);
    sqe->user_data = 0;
    wait_for_completions(worker, request);
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
        .message.handle = handle_close, .closer = self, .rings = rings, .fd = fd};

    /* The usual case: only this worker used it, and nothing is in flight. */
    if (!gyre_operation_pending(worker, fd))
        request.rings &= ~descriptor_bit(worker);
    if (request.rings || gyre_runtime_instance->worker_count > DESCRIPTOR_RINGS) {
        request.rings = rings;
        gyre_park(worker, PARK_CLOSE, commit_close, &request);
    }
}

static int close_number(int fd)
{
    struct operation operation = {0};
    int result;

    if (gyre_operation_begin(&operation, "gyre_close", -1, OPERATION_SHIELDED))
        return close(fd) < 0 && errno == EBADF ? -EBADF : 0;
    io_uring_prep_close(operation.sqe, fd);
    result = gyre_operation_wait(&operation);
    /* Interrupted or not, the kernel has taken the number out of the table. */
    return result == OPERATION_AGAIN ? 0 : result;
}

static void release(struct descriptor *descriptor)
{
    uint32_t closings = atomic_load_explicit(&descriptor->closings, memory_order_relaxed);

    atomic_store_explicit(&descriptor->kind, KIND_UNKNOWN, memory_order_relaxed);
    atomic_store_explicit(&descriptor->cold, 0, memory_order_relaxed);
    atomic_store_explicit(&descriptor->closings, closings + 1, memory_order_relaxed);
    /* Relaxed: that no operation is in flight was learnt from the workers themselves. */
    atomic_store_explicit(&descriptor->users, DESCRIPTOR_CLOSING | DESCRIPTOR_RELEASING,
                          memory_order_relaxed);
}

int gyre_close(int fd)
{
    struct gyre_coro *self = coro_required("gyre_close");
    struct descriptor *descriptor;
    uint64_t users;
    int result;

    if (fd < 0)
        return -EBADF;
    descriptor = gyre_descriptor_get(fd);
    if (!descriptor)
        return close_number(fd); /* so it was never used by an operation */
    do {
        gyre_descriptor_await_release(descriptor);
        /* Seq_cst: pairs with the look in use_descriptor. */
        users =
            atomic_fetch_or_explicit(&descriptor->users, DESCRIPTOR_CLOSING, memory_order_seq_cst);
    } while (users & DESCRIPTOR_RELEASING);
    if (users & DESCRIPTOR_CLOSING)
        return -EALREADY;
    drain(self, fd, users);
    release(descriptor);
    result = close_number(fd);
    /* Release: the next user of the number finds a clean entry. */
    atomic_store_explicit(&descriptor->users, 0, memory_order_release);
    return result;
}
