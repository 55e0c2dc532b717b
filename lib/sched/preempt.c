/* Giving way, and whose turn it is then; preempt.h says how it hangs together. */
#include "base/panic.h"
#include "coro/preempt.h"
#include "sched/handover.h"
#include "sched/park.h"

#include <gyre/coro.h>

#include <errno.h>

uint32_t gyre_checkpoint_wanted;

/* --- asking to give way ------------------------------------------------------------------------
 */

void gyre_preempt_ask(struct worker *worker)
{
    /* Relaxed, here and below: a hint, on which nothing else depends. */
    if (!atomic_exchange_explicit(&worker->preempt.pending, 1, memory_order_relaxed))
        __atomic_fetch_add(&gyre_checkpoint_wanted, 1, __ATOMIC_RELAXED);
}

void gyre_preempt_forget(struct worker *worker)
{
    if (atomic_exchange_explicit(&worker->preempt.pending, 0, memory_order_relaxed))
        __atomic_fetch_sub(&gyre_checkpoint_wanted, 1, __ATOMIC_RELAXED);
}

static void append(struct worker *worker, struct gyre_coro *coro)
{
    struct preemption *preempt = &worker->preempt;

    coro->link.fifo.next = NULL;
    worker->pressed = true;
    *preempt->last = &coro->link.fifo;
    preempt->last = &coro->link.fifo.next;
    preempt->relief = atomic_load_explicit(&preempt->ticks, memory_order_relaxed);
    preempt->fresh = !coro->sliced;
    coro->sliced = true;
    /* Relaxed: others only estimate by it. */
    atomic_store_explicit(&preempt->count,
                          atomic_load_explicit(&preempt->count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void commit_preempted(struct worker *worker, struct gyre_coro *self, void *unused)
{
    (void)unused;
    append(worker, self);
}

/* Who gave way by itself may go where there is room. */
static void commit_gave_way(struct worker *worker, struct gyre_coro *self, void *unused)
{
    uint64_t idle = atomic_load_explicit(&gyre_runtime_instance->idle, memory_order_relaxed);

    (void)unused;
    if (worker->alone || self->pinned || !idle_sleeping(idle)) {
        append(worker, self);
        return;
    }
    gyre_ready_later(worker, self);
    full_barrier();
    gyre_wake_one();
}

static void give_way(struct worker *worker, commit_fn commit)
{
    /* I/O first, and what others asked for before this one began goes out now. */
    worker->next_poll = 0;
    worker->polls_held = POLLS_HELD;
    handover_park(worker, PARK_PREEMPTED, commit, NULL);
    worker = worker_current();
    /* From here on a whole quantum. */
    worker->preempt.seen = atomic_load_explicit(&worker->progress, memory_order_relaxed);
}

int gyre_checkpoint_slow(void)
{
    struct worker *worker = worker_current();
    struct gyre_coro *self = coro_current();

    if (!self || !atomic_load_explicit(&worker->preempt.pending, memory_order_relaxed))
        return 0;
    preempt_count_one(&worker->preempt.gave_way);
    gyre_preempt_forget(worker);
    give_way(worker, commit_gave_way);
    return coro_error(self);
}

/* It returns on the same thread: errno's address may be kept over it, errno's value not. Who runs
 * next finds the control words that all here have, not those of the moment. */
void gyre_preempt_here(void)
{
    struct worker *worker = worker_current();
    int saved = errno;

    fpu_control_restore(&worker->fpu);
    give_way(worker, commit_preempted);
    /* Should it come to a checkpoint, it is to learn of its end there. */
    if (unlikely(coro_error(worker->running)))
        gyre_preempt_ask(worker);
    errno = saved;
}

/* --- whose turn --------------------------------------------------------------------------------
 */

static struct gyre_coro *take_preempted(struct worker *worker)
{
    struct preemption *preempt = &worker->preempt;
    struct fifo_link *link = preempt->first;

    preempt->first = link->next;
    if (!link->next) {
        preempt->last = &preempt->first;
        worker->pressed = false;
    }
    preempt->relief = atomic_load_explicit(&preempt->ticks, memory_order_relaxed);
    atomic_store_explicit(&preempt->count,
                          atomic_load_explicit(&preempt->count, memory_order_relaxed) - 1,
                          memory_order_relaxed);
    return container_of(link, struct gyre_coro, link.fifo);
}

static struct gyre_coro *pick_quick(struct worker *worker)
{
    struct gyre_coro *coro;

    if (worker->preempt.fresh) {
        coro = take_fifo(worker, worker->alone);
        if (coro)
            return coro;
    }
    return worker->alone ? pick_from_queues(worker, true) : pick_from_queues(worker, false);
}

struct gyre_coro *gyre_preempt_pick(struct worker *worker, bool polled)
{
    struct preemption *preempt = &worker->preempt;
    uint64_t ticks = atomic_load_explicit(&preempt->ticks, memory_order_relaxed);
    struct gyre_coro *coro;

    if (polled && !worker->alone && ticks != preempt->balanced) {
        preempt->balanced = ticks;
        gyre_idle_balance(worker);
    }
    if (ticks == preempt->relief) {
        coro = pick_quick(worker);
        if (coro)
            return coro;
    }
    return polled ? take_preempted(worker) : NULL;
}

/* --- sections ----------------------------------------------------------------------------------
 */

/*
 * What put a tick off has ended. Who holds locks or sections nearly all the time would never be met
 * without: so it happens here, as if on the way back to the caller, if that may be interrupted.
 */
static void catch_up(struct gyre_coro *self, uintptr_t frame)
{
    struct worker *worker = worker_current();
    int saved;

    if (likely(!atomic_load_explicit(&worker->preempt.pending, memory_order_relaxed)))
        return;
    saved = errno;
    if (gyre_gate_call(worker, self, frame)) {
        preempt_count_one(&worker->preempt.preempted);
        gyre_preempt_here();
    } else {
        gyre_tick_retry(worker);
    }
    errno = saved;
}

void gyre_preempt_off(void)
{
    struct gyre_coro *self = coro_current();

    if (!self)
        return;
    if (unlikely(self->sections == UINT16_MAX))
        gyre_panic("gyre_preempt_off nested too deep");
    self->sections++;
    atomic_signal_fence(memory_order_seq_cst);
}

void gyre_preempt_on(void)
{
    struct gyre_coro *self = coro_current();

    if (!self)
        return;
    if (unlikely(!self->sections))
        gyre_panic("gyre_preempt_on without gyre_preempt_off");
    atomic_signal_fence(memory_order_seq_cst);
    if (--self->sections)
        return;
    catch_up(self, (uintptr_t)__builtin_frame_address(0) + sizeof(uintptr_t));
}

/* By libgyre-preempt. A lock that one coroutine takes and another releases must not leave the
 * latter's count below zero. */
void gyre_preempt_lock_acquired(void)
{
    struct gyre_coro *self = coro_current();

    /* Who holds more than can be counted is not interrupted any more. */
    if (self && self->locks < UINT16_MAX)
        self->locks++;
}

void gyre_preempt_lock_released(void)
{
    struct gyre_coro *self = coro_current();

    if (!self || !self->locks || self->locks == UINT16_MAX)
        return;
    self->locks--;
    if (!self->locks && !self->sections)
        catch_up(self, (uintptr_t)__builtin_frame_address(0) + sizeof(uintptr_t));
}
