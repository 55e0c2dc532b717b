/* Queues of waiters: coroutines that park, threads that sleep on a futex. */
#include "sync/queue.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

void gyre_sync_append(struct gyre_sync_queue *queue, struct gyre_sync_waiter *waiter)
{
    waiter->next = NULL;
    waiter->previous = queue->last;
    if (queue->last)
        queue->last->next = waiter;
    else
        queue->first = waiter;
    queue->last = waiter;
    waiter->queued = true;
}

void gyre_sync_prepend(struct gyre_sync_queue *queue, struct gyre_sync_waiter *waiter)
{
    waiter->previous = NULL;
    waiter->next = queue->first;
    if (queue->first)
        queue->first->previous = waiter;
    else
        queue->last = waiter;
    queue->first = waiter;
    waiter->queued = true;
}

void gyre_sync_remove(struct gyre_sync_queue *queue, struct gyre_sync_waiter *waiter)
{
    if (waiter->previous)
        waiter->previous->next = waiter->next;
    else
        queue->first = waiter->next;
    if (waiter->next)
        waiter->next->previous = waiter->previous;
    else
        queue->last = waiter->previous;
    waiter->queued = false;
}

void gyre_sync_waiter_init(struct gyre_sync_waiter *waiter, bool interruptible)
{
    waiter->coro = coro_current();
    waiter->interruptible = interruptible && waiter->coro;
    waiter->queued = waiter->asleep = waiter->granted = false;
    waiter->units = 0;
}

void gyre_sync_take(struct gyre_sync_queue *queue, struct gyre_sync_waiter *waiter,
                    struct sync_taken *taken)
{
    gyre_sync_remove(queue, waiter);
    if (!waiter->asleep || (waiter->interruptible && !wait_claim(waiter->coro, WAIT_WOKEN)))
        return;
    waiter->next = NULL;
    if (taken->last)
        taken->last->next = waiter;
    else
        taken->first = waiter;
    taken->last = waiter;
}

void gyre_sync_take_all(struct gyre_sync_queue *queue, struct sync_taken *taken)
{
    while (queue->first)
        gyre_sync_take(queue, queue->first, taken);
}

static void commit_wait(struct worker *worker, struct gyre_coro *self, void *guard)
{
    (void)worker;
    (void)self;
    spin_unlock(guard);
}

static void commit_wait_interruptible(struct worker *worker, struct gyre_coro *self, void *guard)
{
    struct gyre_context *context = coro_context(self);

    (void)worker;
    wait_publish(self);
    spin_unlock(guard);
    wait_check(self, context);
}

static void sleep_thread(struct gyre_sync_waiter *waiter, struct spinlock *guard)
{
    atomic_store_explicit(&waiter->word, 0, memory_order_relaxed);
    spin_unlock(guard);
    /* Acquire: pairs with the release in wake_thread. */
    while (!atomic_load_explicit(&waiter->word, memory_order_acquire))
        syscall(SYS_futex, &waiter->word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static void wake_thread(struct gyre_sync_waiter *waiter)
{
    /* Release: what the waker did is seen by the thread, which may be gone after the store: waking
     * an address where nobody sleeps, or another does, is harmless. */
    atomic_store_explicit(&waiter->word, 1, memory_order_release);
    syscall(SYS_futex, &waiter->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

int gyre_sync_wait(struct gyre_sync_waiter *waiter, struct gyre_sync_queue *queue,
                   struct spinlock *guard, enum park_reason reason)
{
    struct gyre_coro *self = waiter->coro;

    waiter->asleep = true;
    if (!self) {
        sleep_thread(waiter, guard);
        return 0;
    }
    if (!waiter->interruptible) {
        gyre_park(worker_current(), reason, commit_wait, guard);
        return 0;
    }
    for (;;) {
        int error;

        gyre_park(worker_current(), reason, commit_wait_interruptible, guard);
        if (wait_finish(self))
            return 0;
        spin_lock(guard);
        if (!waiter->queued) {
            spin_unlock(guard);
            return 1;
        }
        error = coro_error(self);
        if (error) {
            gyre_sync_remove(queue, waiter);
            return error;
        }
    }
}

void gyre_sync_ready(struct sync_taken *taken)
{
    struct gyre_sync_waiter *waiter = taken->first;

    while (waiter) {
        struct gyre_sync_waiter *next = waiter->next;

        explore_point();
        if (waiter->coro)
            gyre_ready(waiter->coro);
        else
            wake_thread(waiter);
        waiter = next;
    }
}
