/*
 * The condition: a queue, and how long it is, so that a signal that nobody waits for is one load.
 *
 * A waiter queues before it unlocks the mutex, so a signal by who locks that next finds it; and
 * sleeps after that, unless it was taken off meanwhile. The guard is not held over the unlock,
 * which may have somebody to wake.
 */
#include "sync/queue.h"

static void change_count(gyre_cond *cond, uint32_t by)
{
    _Atomic(uint32_t) *count = sync_word(&cond->count);

    /* Relaxed: under the guard; who signals without it was ordered by the mutex, or has no order.
     */
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

static bool anyone(gyre_cond *cond)
{
    return atomic_load_explicit(sync_word(&cond->count), memory_order_relaxed);
}

/* Queued already: sleeps until it is taken off. */
static int await_signal(gyre_cond *cond, struct gyre_sync_waiter *waiter, struct spinlock *guard)
{
    int error;

    spin_lock(guard);
    if (!waiter->queued) {
        spin_unlock(guard);
        return 0;
    }
    error = gyre_sync_wait(waiter, &cond->queue, guard, PARK_COND);
    if (error >= 0)
        return 0;
    change_count(cond, (uint32_t)-1);
    spin_unlock(guard);
    return error;
}

int gyre_cond_wait(gyre_cond *cond, gyre_mutex *mutex)
{
    struct spinlock *guard = sync_guard(&cond->guard);
    struct gyre_sync_waiter waiter;
    int error;

    gyre_sync_waiter_init(&waiter, true);
    error = sync_error(&waiter);
    if (error)
        return error;
    spin_lock(guard);
    gyre_sync_append(&cond->queue, &waiter);
    change_count(cond, 1);
    spin_unlock(guard);
    gyre_mutex_unlock(mutex);
    error = await_signal(cond, &waiter, guard);
    gyre_mutex_lock(mutex);
    return error;
}

void gyre_cond_signal(gyre_cond *cond)
{
    struct spinlock *guard = sync_guard(&cond->guard);
    struct sync_taken taken = {NULL, NULL};

    if (!anyone(cond))
        return;
    spin_lock(guard);
    if (!sync_queue_empty(&cond->queue)) {
        change_count(cond, (uint32_t)-1);
        gyre_sync_take(&cond->queue, cond->queue.first, &taken);
    }
    spin_unlock(guard);
    gyre_sync_ready(&taken);
}

void gyre_cond_broadcast(gyre_cond *cond)
{
    struct spinlock *guard = sync_guard(&cond->guard);
    struct sync_taken taken = {NULL, NULL};

    if (!anyone(cond))
        return;
    spin_lock(guard);
    atomic_store_explicit(sync_word(&cond->count), 0, memory_order_relaxed);
    gyre_sync_take_all(&cond->queue, &taken);
    spin_unlock(guard);
    gyre_sync_ready(&taken);
}
