/* Queues of waiters: coroutines that park, threads that sleep on a futex. */
#include "sync/queue.h"

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
    waiter->queued = waiter->granted = false;
    waiter->units = 0;
    atomic_store_explicit(&waiter->word, 0, memory_order_relaxed);
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
    spin_unlock(guard);
    /* Acquire: pairs with the release in gyre_sync_ready. */
    while (!atomic_load_explicit(&waiter->word, memory_order_acquire))
        syscall(SYS_futex, &waiter->word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

int gyre_sync_wait(struct gyre_sync_waiter *waiter, struct gyre_sync_queue *queue,
                   struct spinlock *guard, enum park_reason reason)
{
    struct gyre_coro *self = waiter->coro;

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
        error = coro_error(self);
        if (error) {
            if (waiter->queued)
                gyre_sync_remove(queue, waiter);
            return error;
        }
        /* Interrupted for nothing; a waker that came meanwhile has passed it over. */
        if (!waiter->queued)
            gyre_sync_prepend(queue, waiter);
    }
}

void gyre_sync_ready(struct gyre_sync_waiter *waiter)
{
    if (waiter->coro) {
        gyre_ready(waiter->coro);
        return;
    }
    /* Release: what the waker did is seen by the thread, which may be gone after the store: waking
     * an address where nobody sleeps, or another, is harmless. */
    atomic_store_explicit(&waiter->word, 1, memory_order_release);
    syscall(SYS_futex, &waiter->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

struct gyre_sync_waiter *gyre_sync_claim_first(struct gyre_sync_queue *queue)
{
    struct gyre_sync_waiter *waiter;

    while ((waiter = queue->first)) {
        gyre_sync_remove(queue, waiter);
        if (sync_claim(waiter))
            return waiter;
    }
    return NULL;
}

struct gyre_sync_waiter *gyre_sync_claim_all(struct gyre_sync_queue *queue)
{
    struct gyre_sync_waiter *first = NULL, **end = &first, *waiter;

    while ((waiter = gyre_sync_claim_first(queue))) {
        *end = waiter;
        end = &waiter->next;
    }
    *end = NULL;
    return first;
}

void gyre_sync_ready_all(struct gyre_sync_waiter *first)
{
    while (first) {
        struct gyre_sync_waiter *next = first->next;

        gyre_sync_ready(first);
        first = next;
    }
}
