/* How many wait for a sync object: so that a test goes on when they do, not after a while. */
#ifndef GYRE_TESTS_SYNC_QUEUED_H
#define GYRE_TESTS_SYNC_QUEUED_H

#include "sync/queue.h"

static inline size_t queued(uint32_t *guard, const struct gyre_sync_queue *queue)
{
    size_t count = 0;

    spin_lock(sync_guard(guard));
    for (struct gyre_sync_waiter *waiter = queue->first; waiter; waiter = waiter->next)
        count++;
    spin_unlock(sync_guard(guard));
    return count;
}

#endif
