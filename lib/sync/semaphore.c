/*
 * The weighted semaphore: all under its guard, which is the cheapest there is for a sum that must
 * not be exceeded, and lets nobody else through before it is free, so the storage may be freed by
 * whoever acquires last.
 *
 * Invariant, whenever the guard is free: the first in the queue does not fit. So who gives back,
 * and who leaves the queue, lets in those behind that fit now.
 */
#include "base/panic.h"
#include "sync/queue.h"

#include <errno.h>

/* Under the guard. */
static bool fits(const gyre_semaphore *semaphore, int64_t units)
{
    return units <= semaphore->size - semaphore->taken;
}

/* Under the guard: in order, and not past one that does not fit. */
static void let_in(gyre_semaphore *semaphore, struct sync_taken *taken)
{
    struct gyre_sync_waiter *waiter;

    while ((waiter = semaphore->queue.first) && fits(semaphore, waiter->units)) {
        semaphore->taken += waiter->units;
        gyre_sync_take(&semaphore->queue, waiter, taken);
    }
}

static int acquire_slow(gyre_semaphore *semaphore, int64_t units, struct spinlock *guard)
{
    struct sync_taken taken = {NULL, NULL};
    struct gyre_sync_waiter waiter;
    int error;

    gyre_sync_waiter_init(&waiter, true);
    waiter.units = units;
    gyre_sync_append(&semaphore->queue, &waiter);
    error = gyre_sync_wait(&waiter, &semaphore->queue, guard, PARK_SEMAPHORE);
    if (error >= 0)
        return 0;
    let_in(semaphore, &taken); /* this one may have been what held them back */
    spin_unlock(guard);
    gyre_sync_ready(&taken);
    return error;
}

int gyre_semaphore_acquire(gyre_semaphore *semaphore, int64_t units)
{
    struct spinlock *guard = sync_guard(&semaphore->guard);
    int error = sync_entry_error();

    if (unlikely(error))
        return error;
    if (unlikely(units < 0 || units > semaphore->size))
        return -EINVAL;
    spin_lock(guard);
    if (unlikely(!sync_queue_empty(&semaphore->queue) || !fits(semaphore, units)))
        return acquire_slow(semaphore, units, guard);
    semaphore->taken += units;
    spin_unlock(guard);
    return 0;
}

int gyre_semaphore_try_acquire(gyre_semaphore *semaphore, int64_t units)
{
    struct spinlock *guard = sync_guard(&semaphore->guard);
    bool may;

    if (unlikely(units < 0))
        return 0;
    spin_lock(guard);
    may = sync_queue_empty(&semaphore->queue) && fits(semaphore, units);
    if (may)
        semaphore->taken += units;
    spin_unlock(guard);
    return may;
}

void gyre_semaphore_release(gyre_semaphore *semaphore, int64_t units)
{
    struct spinlock *guard = sync_guard(&semaphore->guard);
    struct sync_taken taken = {NULL, NULL};

    spin_lock(guard);
    if (unlikely(units < 0 || units > semaphore->taken))
        gyre_panic("semaphore released more than held");
    semaphore->taken -= units;
    if (unlikely(!sync_queue_empty(&semaphore->queue)))
        let_in(semaphore, &taken);
    spin_unlock(guard);
    gyre_sync_ready(&taken);
}
