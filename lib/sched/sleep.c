/* Yielding, sleeping, and the clock. */
#include "base/clock.h"
#include "sched/handover.h"
#include "sched/sleeper.h"

#include <gyre/coro.h>

#include <errno.h>

int64_t gyre_now(void)
{
    return clock_now();
}

static void commit_yield(struct worker *worker, struct gyre_coro *self, void *unused)
{
    (void)unused;
    gyre_ready_later(worker, self);
}

RETURNS_BY_JUMP int gyre_yield(void)
{
    struct gyre_coro *self = coro_required("gyre_yield");

    handover_park(worker_current(), PARK_YIELD, commit_yield, NULL);
    return coro_error(self);
}

static void fire(struct timer *timer)
{
    struct sleeper *sleeper = container_of(timer, struct sleeper, timer);
    struct gyre_coro *coro = sleeper->coro;
    uint32_t wait = WAIT_OBJECT;

    /* Acquire and release: as wait_claim. */
    for (int spins = 0; !atomic_compare_exchange_strong_explicit(
             &coro->wait, &wait, WAIT_WOKEN, memory_order_acq_rel, memory_order_relaxed);
         spins++) {
        if (wait != WAIT_NONE) {
            /* Release: the last touch of the sleeper's stack; pairs with the acquire in retire. */
            atomic_store_explicit(&sleeper->fired, true, memory_order_release);
            return;
        }
        /* The commit, on a worker that this one helps, is about to publish the wait. */
        wait = WAIT_OBJECT;
        if (spins < 100)
            cpu_relax();
        else
            sched_yield();
    }
    if (sleeper->woken)
        sleeper->woken(sleeper);
    gyre_ready_later(worker_current(), coro);
}

void gyre_sleeper_init(struct sleeper *sleeper, struct gyre_coro *coro, int64_t when)
{
    memset(sleeper, 0, sizeof *sleeper);
    sleeper->timer.fire = fire;
    sleeper->coro = coro;
    sleeper->when = when;
}

void gyre_sleeper_retire(struct sleeper *sleeper)
{
    if (gyre_wheel_stop(&sleeper->timer))
        return;
    for (int spins = 0; !atomic_load_explicit(&sleeper->fired, memory_order_acquire); spins++) {
        if (spins < 100)
            cpu_relax();
        else
            sched_yield();
    }
    atomic_store_explicit(&sleeper->fired, false, memory_order_relaxed);
}

static void commit_sleep(struct worker *worker, struct gyre_coro *self, void *sleeper)
{
    struct gyre_context *context = coro_context(self);

    sleeper_start(worker, sleeper);
    wait_publish(self);
    wait_check(self, context);
}

int gyre_sleep_until(int64_t when)
{
    struct gyre_coro *self = coro_required("gyre_sleep");
    struct sleeper sleeper;
    int error = coro_error(self);

    gyre_sleeper_init(&sleeper, self, when);
    while (!error) {
        explore_point();
        gyre_park(worker_current(), PARK_SLEEP, commit_sleep, &sleeper);
        if (sleeper_interrupted(self))
            gyre_sleeper_retire(&sleeper);
        if (wait_finish(self))
            return 0;
        error = coro_error(self);
    }
    return error;
}

int gyre_sleep(int64_t duration)
{
    if (duration <= 0)
        return gyre_yield();
    return gyre_sleep_until(clock_after(clock_now(), duration));
}
