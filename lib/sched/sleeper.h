/*
 * A timer on the stack of a coroutine that parks, which wakes it unless something else is faster.
 * The coroutine is woken by it exactly when wait_finish says "woken" and nobody else may claim.
 */
#ifndef GYRE_LIB_SCHED_SLEEPER_H
#define GYRE_LIB_SCHED_SLEEPER_H

#include "sched/park.h"

struct sleeper {
    struct timer timer;
    struct gyre_coro *coro;
    int64_t when;
    void (*woken)(struct sleeper *sleeper); /* called between the claim and the wake; or NULL */
    _Atomic(bool) fired;                    /* in vain: another was faster */
};

void gyre_sleeper_init(struct sleeper *sleeper, struct gyre_coro *coro, int64_t when);

/*
 * In the commit of a park, before wait_publish: the other way round, an interrupted sleeper could
 * retire its timer before it was started. Should another worker, which takes this one for stuck,
 * fire it before that, it waits there until the wait is published; so `wait` must not be WAIT_NONE
 * again (wait_finish) before the timer is retired (model: tests/models/sleeper.pml).
 */
static inline void sleeper_start(struct worker *worker, struct sleeper *sleeper)
{
    gyre_wheel_start(&worker->timers, &sleeper->timer, sleeper->when);
}

/* Whether something else woke the calling coroutine: then the timer is to be retired. */
static inline bool sleeper_interrupted(struct gyre_coro *self)
{
    return atomic_load_explicit(&self->wait, memory_order_relaxed) != WAIT_WOKEN;
}

/* When something else woke the coroutine: afterwards the timer is done with the stack. */
void gyre_sleeper_retire(struct sleeper *sleeper);

#endif
