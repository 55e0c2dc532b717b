/*
 * The barrier: all under its guard. The last to come takes all others off the queue and begins the
 * next round before the guard is free, so they can come again at once. The storage may go when all
 * calls have returned: one that was interrupted as it was taken off looks under the guard.
 */
#include "sync/queue.h"

static int await_others(gyre_barrier *barrier, struct spinlock *guard)
{
    struct gyre_sync_waiter waiter;
    int error;

    barrier->arrived++;
    gyre_sync_waiter_init(&waiter, true);
    gyre_sync_append(&barrier->queue, &waiter);
    error = gyre_sync_wait(&waiter, &barrier->queue, guard, PARK_BARRIER);
    if (error >= 0)
        return 0;
    barrier->arrived--;
    spin_unlock(guard);
    return error;
}

int gyre_barrier_wait(gyre_barrier *barrier)
{
    struct spinlock *guard = sync_guard(&barrier->guard);
    struct sync_taken taken = {NULL, NULL};
    int error = sync_entry_error();

    if (unlikely(error))
        return error;
    spin_lock(guard);
    if (barrier->arrived + 1 < barrier->parties)
        return await_others(barrier, guard);
    barrier->arrived = 0;
    gyre_sync_take_all(&barrier->queue, &taken);
    spin_unlock(guard);
    gyre_sync_ready(&taken);
    return 1;
}
