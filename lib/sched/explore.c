/* The explorer's points: see base/explore.h. Nothing in any other build. */
#include "base/explore.h"

#ifdef GYRE_EXPLORE

#include "sched/handover.h"

enum { STOP_ONE_IN = 3 };

_Thread_local unsigned gyre_explore_closed;

static void commit_stop(struct worker *worker, struct gyre_coro *self, void *unused)
{
    (void)unused;
    gyre_ready_later(worker, self);
}

void gyre_explore_point(void)
{
    struct worker *worker = worker_current();

    /* Other threads, the worker's loop, a start and an end have nobody to let go first. */
    if (!worker || !worker->running || random_below(&worker->random, STOP_ONE_IN))
        return;
    gyre_park(worker, PARK_YIELD, commit_stop, NULL);
}

#endif
