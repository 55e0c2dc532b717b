/* All of it on the one worker's thread; only an interruption may come from elsewhere. */
#include "sched/quiet.h"

#include "base/clock.h"
#include "base/message.h"
#include "base/panic.h"
#include "sched/helpers.h"
#include "sched/options.h"
#include "sched/park.h"
#include "sched/pick.h"
#include "sched/report.h"
#include "sched/spawn.h"

#include <stdlib.h>

/* Of real time: for what is in the kernel, or on another worker, whose thread may have lost its CPU
 * for a while. Outside of tests it is only about a message. */
#define SETTLE_TIME       (50 * GYRE_MILLISECOND)
#define SETTLE_TIME_TESTS GYRE_SECOND
#define SETTLE_ROUNDS     1000

struct helpers gyre_helpers;

/* --- nothing to run ------------------------------------------------------------------------- */

static void interrupt(struct stack_block *block, void *unused)
{
    struct gyre_coro *coro = container_of(block, struct gyre_coro, stack);

    (void)unused;
    if (coro_alive(coro))
        gyre_coro_interrupt(coro);
}

static void report_deadlock(struct gyre_runtime *runtime)
{
    size_t count = gyre_report_count(runtime, REPORT_ALIVE, NULL);

    gyre_message("deadlock: %zu coroutine%s, none can ever run", count, count == 1 ? "" : "s");
    gyre_report_lines(runtime, REPORT_ALIVE, NULL);
}

static _Noreturn void give_up(struct gyre_runtime *runtime)
{
    size_t count = gyre_report_count(runtime, REPORT_ALIVE, NULL);

    gyre_message("test: %zu coroutine%s cannot be cancelled and will never end:", count,
                 count == 1 ? "" : "s");
    gyre_report_lines(runtime, REPORT_ALIVE, NULL);
    abort();
}

/* Nothing will wake anybody any more. */
static void break_up(struct worker *worker)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;

    if (worker->broken_up)
        give_up(runtime);
    worker->broken_up = true;
    /* Acquire: pairs with the store of set_phase. */
    if (atomic_load_explicit(&runtime->phase, memory_order_acquire) == PHASE_RUNNING) {
        report_deadlock(runtime);
        runtime->settings->deadlocked = true;
    }
    gyre_context_end(&runtime->contexts.root, -ECANCELED);
    gyre_stack_each(&runtime->stacks, interrupt, NULL);
}

static bool something_came(struct worker *worker)
{
    return ring_completed(&worker->ring) || !mailbox_empty(&worker->mailbox) ||
           !inject_empty(&worker->inject) || !inject_empty(&worker->own);
}

static bool wake_waiter(struct gyre_runtime *runtime)
{
    struct gyre_coro *waiter = runtime->quiet_waiter;

    runtime->quiet_waiter = NULL;
    if (!waiter)
        return false;
    if (wait_claim(waiter, WAIT_WOKEN))
        gyre_ready(waiter);
    return true; /* interrupted, it is in a queue already */
}

bool gyre_quiet_idle(struct worker *worker)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;
    int64_t next = timers_next(&worker->timers);

    /* First: what the last call that ended has made ready is seen below. */
    worker->helped = helpers_pending() != 0;
    if (something_came(worker))
        return true;
    /* None living: before the main coroutine, or after the last. */
    if (worker->helped || ring_in_flight(&worker->ring) || !gyre_coro_live(runtime))
        return false;
    /* What is in the background only, and may have something to tell at once. */
    if (ring_unsubmitted(&worker->ring)) {
        gyre_ring_enter(&worker->ring, false, 0);
        return true;
    }
    if (wake_waiter(runtime))
        return true;
    if (!clock_is_virtual())
        return false;
    if (next == INT64_MAX)
        break_up(worker);
    else if (next > clock_now()) /* else a timer's function has just started a late one */
        clock_set_virtual(next);
    return true;
}

/* --- waiting for it ------------------------------------------------------------------------- */

static void commit_wait(struct worker *worker, struct gyre_coro *self, void *unused)
{
    struct gyre_context *context = coro_context(self);

    (void)worker;
    (void)unused;
    gyre_runtime_instance->quiet_waiter = self; /* for this thread alone */
    wait_publish(self);
    wait_check(self, context);
}

int gyre_quiet_wait(void)
{
    struct gyre_coro *self = coro_required("gyre_test_wait");
    struct gyre_runtime *runtime = gyre_runtime_instance;
    struct gyre_coro *waiter;
    int error = coro_error(self);

    if (!runtime->settings || !runtime->settings->alone)
        gyre_panic("gyre_test_wait outside a gyre_test with one worker");
    waiter = runtime->quiet_waiter;
    if (waiter && atomic_load_explicit(&waiter->wait, memory_order_relaxed) == WAIT_OBJECT)
        gyre_panic("gyre_test_wait while coroutine %lu \"%s\" is in it", (unsigned long)waiter->id,
                   coro_name(waiter));
    while (!error) {
        gyre_park(worker_current(), PARK_TEST, commit_wait, NULL);
        if (wait_finish(self))
            break;
        if (runtime->quiet_waiter == self)
            runtime->quiet_waiter = NULL;
        error = coro_error(self);
    }
    return error;
}

/* --- the end of the main coroutine ---------------------------------------------------------- */

size_t gyre_quiet_settle(void)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;
    int64_t limit = clock_real() + (runtime->settings ? SETTLE_TIME_TESTS : SETTLE_TIME);
    unsigned rounds = 0;
    size_t live;

    while ((live = gyre_coro_live(runtime)) > 1) {
        struct worker *worker = worker_current();
        bool helped = helpers_pending() != 0; /* first, as in gyre_quiet_idle */

        if (worker->alone && !helped && !has_local_work(worker) && !something_came(worker) &&
            !ring_in_flight(&worker->ring))
            break;
        if (rounds++ >= SETTLE_ROUNDS && clock_real() >= limit)
            break;
        gyre_yield();
    }
    return live - 1;
}
