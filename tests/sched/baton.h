/*
 * A counting semaphore, the smallest object that coroutines wait for through park.h: give() from a
 * coroutine or a foreign thread wakes who waits in take().
 */
#ifndef GYRE_TESTS_SCHED_BATON_H
#define GYRE_TESTS_SCHED_BATON_H

#include "sched/park.h"

struct baton {
    struct spinlock lock;
    unsigned count;
    struct list waiters;
};

struct baton_waiter {
    struct list link;
    struct gyre_coro *coro;
};

static inline void baton_init(struct baton *baton)
{
    *baton = (struct baton){0};
    list_init(&baton->waiters);
}

static inline void baton_give(struct baton *baton)
{
    struct list *item;

    spin_lock(&baton->lock);
    while ((item = list_pop(&baton->waiters))) {
        struct gyre_coro *coro = container_of(item, struct baton_waiter, link)->coro;

        if (wait_claim(coro, WAIT_WOKEN)) {
            spin_unlock(&baton->lock);
            gyre_ready(coro);
            return;
        }
    }
    baton->count++;
    spin_unlock(&baton->lock);
}

static inline void commit_take(struct worker *worker, struct gyre_coro *self, void *argument)
{
    struct baton *baton = argument;
    struct gyre_context *context = coro_context(self);

    (void)worker;
    wait_publish(self);
    spin_unlock(&baton->lock);
    wait_check(self, context);
}

/* 0, or why the context ended. */
static inline int baton_take(struct baton *baton)
{
    struct gyre_coro *self = coro_current();
    int error = coro_error(self);

    while (!error) {
        struct baton_waiter waiter = {.coro = self};

        spin_lock(&baton->lock);
        if (baton->count) {
            baton->count--;
            spin_unlock(&baton->lock);
            return 0;
        }
        list_append(&baton->waiters, &waiter.link);
        gyre_park(worker_current(), PARK_JOIN, commit_take, baton);
        if (wait_finish(self))
            return 0;
        spin_lock(&baton->lock);
        list_remove(&waiter.link);
        spin_unlock(&baton->lock);
        error = coro_error(self);
    }
    return error;
}

#endif
