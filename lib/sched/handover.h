/*
 * Passing the processor from one coroutine to the next. Inlined where it is hottest (yield, join,
 * the end of a coroutine); gyre_park is the same for everybody else.
 */
#ifndef GYRE_LIB_SCHED_HANDOVER_H
#define GYRE_LIB_SCHED_HANDOVER_H

#include "base/explore.h"
#include "sched/pick.h"

/* Before every switch away, the last one too: the next coroutine takes the rest as it finds it. */
static inline void handover_leave(struct worker *worker, struct gyre_coro *coro)
{
    if (likely(!coro->carries))
        return;
    if (worker->exceptions)
        exceptions_save(worker->exceptions, &coro->exceptions);
    if (coro->flags & GYRE_SPAWN_SAVE_FPU) {
        fpu_control_save(&coro->fpu);
        fpu_control_restore(&worker->fpu);
    }
}

/* The park of the one that had the processor before is committed. */
static inline void handover_commit(struct worker *worker)
{
    commit_fn commit = worker->commit;

    if (!commit)
        return;
    explore_close();
    commit(worker, worker->previous, worker->commit_argument);
    explore_open();
}

/* What every coroutine does first when it gets the processor. */
static inline void handover_arrive(struct gyre_coro *self)
{
    struct worker *worker = worker_current();

    if (unlikely(self->carries)) {
        if (worker->exceptions)
            exceptions_restore(worker->exceptions, &self->exceptions);
        if (self->flags & GYRE_SPAWN_SAVE_FPU)
            fpu_control_restore(&self->fpu);
    }
    handover_commit(worker);
}

/* The next coroutine where this can be told quickly, else the loop. */
static inline struct switch_frame *handover_next(struct worker *worker)
{
    struct gyre_coro *next = NULL;

    if (likely(!count_pick(worker)))
        next = pick_local(worker, false);
    worker->running = next;
    return next ? &next->frame : &worker->loop;
}

static inline void handover_park(struct worker *worker, enum park_reason reason, commit_fn commit,
                                 void *argument)
{
    struct gyre_coro *self = worker->running;

    self->park_reason = (uint8_t)reason;
    worker->previous = self;
    worker->commit = commit;
    worker->commit_argument = argument;
    handover_leave(worker, self);
    gyre_switch(&self->frame, handover_next(worker));
    handover_arrive(self);
}

/* Whether a coroutine that was just woken may run next, past all that is queued. */
static inline bool handover_may_pass(struct worker *worker, const struct gyre_coro *coro)
{
    return worker->slot_streak < SLOT_STREAK && (!coro->pinned || coro->pinned == worker);
}

/* Leaves for ever, to `next` if not NULL: a claimed coroutine that goes before all that is queued,
 * which counts as one from the slot. commit must not touch the stack again once others may reuse
 * it. */
_Noreturn static inline void handover_final(struct worker *worker, struct gyre_coro *next,
                                            commit_fn commit, void *argument)
{
    struct gyre_coro *self = worker->running;
    struct switch_frame *to;

    worker->previous = self;
    worker->commit = commit;
    worker->commit_argument = argument;
    handover_leave(worker, self);
    if (next) {
        count_pick(worker);
        worker->slot_streak++;
        worker->running = next;
        to = &next->frame;
    } else {
        to = handover_next(worker);
    }
    gyre_switch_final(&self->frame, to);
    __builtin_unreachable();
}

#endif
