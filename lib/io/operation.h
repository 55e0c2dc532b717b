/*
 * One operation of one coroutine: begin, fill the submission entry, wait.
 *
 *     struct operation op = {0};
 *     do {
 *         error = gyre_operation_begin(&op, "gyre_read", fd, 0);
 *         if (error)
 *             return error;
 *         io_uring_prep_read(op.sqe, fd, buffer, size, offset);
 *         result = gyre_operation_wait(&op);
 *     } while (result == OPERATION_AGAIN);
 *
 * Guarantees
 * - Between begin and wait nothing parks, so entry and worker belong together.
 * - wait returns after the final completion only; the kernel is done with the buffers.
 * - A result of the kernel's that is not its cancellation is returned, whatever has ended
 * meanwhile.
 * - Begun again, it means the same file: once gyre_close has freed the number it fails (-EBADF),
 * though the number stands for another file by now.
 * - An operation belongs to the ring it was submitted on, and its coroutine stays parked until
 *   it completes; only the owner of the ring cancels. A canceller elsewhere sends the owner a
 * message that names the coroutine alone; the owner decides by the state it finds.
 * - The kernel's cancel names the operation by address and generation, so that it can't hit the
 * same coroutine's next one.
 *
 * Revoking. An operation may be ended by more than the context: an object that knows which
 * coroutine waits for it (a stream's deadline) stores the reason in `revoked`, and tells as an
 * ending context does (gyre_operation_revoke). The reason stays until it is taken back
 * (operation_restore), so an operation begun meanwhile fails at once with it, and one taken back in
 * time leaves at most an operation that was cancelled for nothing and is begun again. The object
 * makes sure, by a lock of its own, that the coroutine stays in the call meanwhile, and that
 * nothing is revoked when it leaves.
 *
 * A zero-copy send completes twice: first with its result, then, when the kernel has let go of the
 * buffer. It is in flight, and counted, until the second, then wait returns the first's. No cancel
 * reaches it in between, and where the peer takes nothing it may last for ever: so with
 * OPERATION_RESETS the end of the context, or gyre_close, resets the connection then, and
 * gyre_operation_was_reset tells.
 */
#ifndef GYRE_LIB_IO_OPERATION_H
#define GYRE_LIB_IO_OPERATION_H

#include "io/descriptor.h"
#include "sched/park.h"

#include <fcntl.h>

/* No errno: submit the same once more (a cancel that was meant for another, a signal). */
#define OPERATION_AGAIN (-4096)

enum {
    OPERATION_SHIELDED = 1 << 0, /* the context neither prevents nor cancels it */
    OPERATION_RESETS = 1 << 1,   /* a zero-copy send on a TCP connection: see below */
};

struct operation {
    struct gyre_coro *self;
    struct worker *worker;
    struct io_uring_sqe *sqe;
    struct descriptor *descriptor; /* NULL when fd < 0 */
    unsigned flags;
    bool revocable;    /* the caller's: may be revoked */
    bool bound;        /* begun before: closings is what it was then */
    uint32_t closings; /* of the descriptor */
};

/*
 * fd >= 0 counts as using that descriptor. May park, before it takes the entry. Panics outside a
 * coroutine, naming call. Returns 0; why the context has ended, or it was revoked; -EBADF (fd < -1,
 * or being closed); -ENOMEM.
 */
int gyre_operation_begin(struct operation *operation, const char *call, int fd, unsigned flags);
int gyre_operation_wait(struct operation *operation);

/*
 * As begin, for a plain system call that can't block: from here to the next park fd stays the same
 * file, for a closer that saw this worker among its users asks it first. Nothing is in flight.
 */
int gyre_operation_admit(struct operation *operation, const char *call, int fd, unsigned flags);

/* Of the operation that was last waited for: whether its connection was reset; whether the kernel
 * says that it copied. */
bool gyre_operation_was_reset(const struct operation *operation);
bool gyre_operation_copied(const struct operation *operation);

/*
 * All of it, for what needs no more than an entry: prepare fills it in, again for each
 * OPERATION_AGAIN. fd is AT_FDCWD or -1 where no descriptor counts as used. Returns the kernel's
 * result or what begin returns.
 */
typedef void (*prepare_fn)(struct io_uring_sqe *sqe, const void *argument);
int gyre_operation_run(const char *call, int fd, unsigned flags, prepare_fn prepare,
                       const void *argument);
/* The same for a call that takes several: operation, zeroed at first, binds them to one file. */
int gyre_operation_repeat(struct operation *operation, const char *call, int fd, unsigned flags,
                          prepare_fn prepare, const void *argument);
/* Binds it before the first, to the file that fd is now; nothing where there is none. */
void gyre_operation_bind(struct operation *operation, int fd);
/* Whether the file it is bound to has been closed by gyre_close; the number may be another's. */
bool gyre_operation_lost(const struct operation *operation, int fd);

/* Waits until fd has one of events, POLLERR or POLLHUP. What it has, or what begin returns. */
int gyre_operation_poll(struct operation *operation, const char *call, int fd, unsigned events);

/* Ends what coro does in a revocable operation, from now on, with error (< 0). Any thread. */
void gyre_operation_revoke(struct gyre_coro *coro, int error);

static inline void operation_restore(struct gyre_coro *coro)
{
    /* Relaxed: a look that comes before it cancels for nothing, and the operation begins again. */
    atomic_store_explicit(&coro->operation.revoked, 0, memory_order_relaxed);
}

static inline int operation_revoked(const struct gyre_coro *coro)
{
    /* Relaxed: only the value counts; who must see it is told by a barrier or a message. */
    return atomic_load_explicit(&coro->operation.revoked, memory_order_relaxed);
}

/* Waits while the kernel frees the number, so that a look at users tells about the next file. */
void gyre_descriptor_await_release(struct descriptor *descriptor);

/* An entry of the worker's ring, from its own thread, making room if need be; NULL: the kernel
 * takes nothing now. */
struct io_uring_sqe *gyre_operation_entry(struct worker *worker);

/* Makes sqe the cancel of an operation in flight, or cancels it in the other way. On the owner,
 * with the reap lock. */
void gyre_operation_prepare_cancel(struct coro_operation *operation, struct io_uring_sqe *sqe);

/* How many operations of worker on fd are in flight. Exact under its reap lock, or on its thread
 * with nobody else reaping. */
unsigned gyre_operation_in_flight(struct worker *worker, int fd);

static inline bool gyre_operation_pending(struct worker *worker, int fd)
{
    return gyre_operation_in_flight(worker, fd) != 0;
}

#endif
