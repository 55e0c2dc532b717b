/*
 * A coroutine that finds all it asks for never parks: two ends of one buffer, a select with a
 * default in a loop. After BUDGET such calls without a pick on its worker it yields, so that the
 * others, the ring and the timers have their turn. A tick ends the budget at once (preempt.h).
 * Calls that are said never to park don't count.
 */
#ifndef GYRE_LIB_SCHED_BUDGET_H
#define GYRE_LIB_SCHED_BUDGET_H

#include "sched/worker.h"

enum { BUDGET = 1024 };

/* By a call that may park, at its end, when it did not. */
static inline void budget_spend(void)
{
    struct worker *worker = worker_current();
    uint64_t progress;

    if (likely(--worker->budget))
        return;
    worker->budget = BUDGET;
    progress = atomic_load_explicit(&worker->progress, memory_order_relaxed);
    if (progress == worker->budget_progress ||
        atomic_load_explicit(&worker->preempt.pending, memory_order_relaxed))
        gyre_yield();
    /* After the yield this may be another worker, whose count is as good. */
    worker = worker_current();
    worker->budget_progress = atomic_load_explicit(&worker->progress, memory_order_relaxed);
}

#endif
