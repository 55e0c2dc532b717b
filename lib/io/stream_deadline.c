/*
 * A stream's deadlines: one for each half, which any coroutine may move at any time.
 *
 * The protocol. All is under the half's lock. A coroutine is the half's `waiter` from before it
 * begins an operation until the operation has completed. Whoever finds the deadline passed (its
 * timer, or who moves it) revokes what the waiter does (operation.h): an operation in flight is
 * cancelled by its ring's owner, one about to begin fails, and one that has completed meanwhile
 * keeps its result, for the reason is looked at only before an operation and after one that was
 * cancelled. Moved later in time, the revocation is taken back, and an operation that was cancelled
 * for it begins again. The waiter leaves under the lock, with nothing revoked; so nobody can reach
 * a coroutine that has gone on to other things, or its next operation by a reason for the last.
 * A canceller's message that is still under way then finds nothing to cancel.
 *
 * Whether the deadline has passed is no state: it is asked of the clock, so that a timer that comes
 * late, or fires for a deadline that was moved, can't be wrong. The timer only makes somebody look.
 *
 * The timer. It runs only while a deadline is set, and is let run when the deadline is moved later:
 * it looks, and starts again for what is left. So a program that moves the deadline before each
 * read pays for a clock and a lock, and for a timer once in a while. A callback that could not be
 * stopped is counted as `loose`; it takes the lock some time, and then counts itself off. Which of
 * several under way counts itself off does not matter. close waits for them.
 *
 * Close makes the waiter return by the same way, with -EBADF, before it touches the descriptor:
 * thus a stream that does not own its descriptor ends in the same way. It waits for the mark of the
 * call, `busy`, by yielding: the coroutine is runnable, or will be by a completion that is on its
 * way.
 *
 * The race between revoking, taking back, beginning, completing and leaving is modelled in
 * tests/models/revoke.pml; that of timer, mover and close is under the lock alone.
 *
 * Rejected: a context for each call, made where there is a deadline (400 ns for each, and one is
 * needed without a deadline as well, for it may be set while the call waits; re-timing a node that
 * others may have inherited); a timeout linked to the operation (it can't be moved, and takes a
 * second entry each time).
 */
#include "io/stream.h"

#include "base/clock.h"
#include "base/panic.h"

#include <gyre/coro.h>

#include <errno.h>

static bool passed(const struct stream_deadline *deadline, int64_t now)
{
    return deadline->when && deadline->when <= now;
}

/* 0, or what an operation that begins now returns. */
static int look(const struct stream_deadline *deadline)
{
    if (unlikely(deadline->closing))
        return -EBADF;
    return unlikely(deadline->when) && passed(deadline, clock_now()) ? -ETIMEDOUT : 0;
}

/* --- the timer, under the lock -----------------------------------------------------------------
 */

static void disarm(struct stream_deadline *deadline)
{
    if (deadline->armed && !gyre_wheel_stop(&deadline->timer))
        deadline->loose++;
    deadline->armed = false;
}

static void arm(struct stream_deadline *deadline)
{
    if (deadline->armed && deadline->timer.deadline <= deadline->when)
        return; /* it looks then, and starts again */
    disarm(deadline);
    deadline->armed = true;
    gyre_wheel_start(&worker_current()->timers, &deadline->timer, deadline->when);
}

static void fire(struct timer *timer)
{
    struct stream_deadline *deadline = container_of(timer, struct stream_deadline, timer);

    spin_lock(&deadline->lock);
    if (deadline->loose)
        deadline->loose--;
    else
        deadline->armed = false;
    if (passed(deadline, clock_now())) {
        if (deadline->waiter && !deadline->closing)
            gyre_operation_revoke(deadline->waiter, -ETIMEDOUT);
    } else if (deadline->when && worker_current()) { /* none: the runtime ends */
        arm(deadline);
    }
    spin_unlock(&deadline->lock);
}

/* --- waiting -----------------------------------------------------------------------------------
 */

ssize_t gyre_stream_transfer(struct stream_deadline *deadline, const char *call, int fd,
                             const struct transfer *transfer)
{
    struct gyre_coro *self = coro_required(call);
    ssize_t result;

    spin_lock(&deadline->lock);
    result = look(deadline);
    if (likely(!result))
        deadline->waiter = self;
    spin_unlock(&deadline->lock);
    if (unlikely(result)) {
        /* The context's end comes first, as it does when both end an operation. */
        int error = coro_error(self);

        return error ? error : result;
    }
    result = gyre_transfer(call, &deadline->operation, fd, transfer);
    spin_lock(&deadline->lock);
    deadline->waiter = NULL;
    operation_restore(self);
    spin_unlock(&deadline->lock);
    return result;
}

static void move(struct stream_deadline *deadline, int64_t when)
{
    spin_lock(&deadline->lock);
    deadline->when = when;
    if (!when || passed(deadline, clock_now()))
        disarm(deadline);
    else
        arm(deadline);
    if (deadline->waiter && !deadline->closing) {
        int error = look(deadline);

        if (error)
            gyre_operation_revoke(deadline->waiter, error);
        else
            operation_restore(deadline->waiter);
    }
    spin_unlock(&deadline->lock);
}

void gyre_stream_set_read_deadline(struct gyre_stream *stream, int64_t when)
{
    coro_required("gyre_stream_set_read_deadline");
    move(&stream->read, when);
}

void gyre_stream_set_write_deadline(struct gyre_stream *stream, int64_t when)
{
    coro_required("gyre_stream_set_write_deadline");
    move(&stream->write, when);
}

void gyre_stream_set_deadline(struct gyre_stream *stream, int64_t when)
{
    coro_required("gyre_stream_set_deadline");
    move(&stream->read, when);
    move(&stream->write, when);
}

/* --- opening and closing -----------------------------------------------------------------------
 */

void gyre_stream_misused(const char *call)
{
    gyre_panic("%s: another coroutine is in such a call of the same stream", call);
}

void gyre_stream_deadline_init(struct stream_deadline *deadline)
{
    deadline->timer.fire = fire;
    deadline->timer.fires_at_end = true;
    deadline->operation.revocable = true;
}

void gyre_stream_deadline_close(struct stream_deadline *deadline)
{
    spin_lock(&deadline->lock);
    deadline->closing = true;
    if (deadline->waiter)
        gyre_operation_revoke(deadline->waiter, -EBADF);
    spin_unlock(&deadline->lock);
    /* Acquire: pairs with stream_leave. */
    while (atomic_load_explicit(&deadline->busy, memory_order_acquire))
        gyre_yield();
    spin_lock(&deadline->lock);
    deadline->closing = false;
    spin_unlock(&deadline->lock);
}

void gyre_stream_deadline_end(struct stream_deadline *deadline)
{
    spin_lock(&deadline->lock);
    deadline->when = 0;
    disarm(deadline);
    for (int spins = 0; deadline->loose; spins++) {
        spin_unlock(&deadline->lock);
        if (spins < 100)
            cpu_relax();
        else
            sched_yield();
        spin_lock(&deadline->lock);
    }
    spin_unlock(&deadline->lock);
}
