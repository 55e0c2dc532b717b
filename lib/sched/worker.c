/*
 * The worker's loop, its choice of what runs next, and the park.
 *
 * Fairness. The just-woken slot is taken at most three times in a row; of the other picks the
 * deque (newest first), the FIFO, and the pinned ones twice take turns; every 61st pick polls ring,
 * timers, mailbox and injection queue, and every 16th of these takes the oldest of the deque. So of
 * n coroutines that are runnable here, each runs within 976 * (n + 1) picks, whoever else is made
 * runnable meanwhile. Rejected: the oldest at each poll; a tree of coroutines that start others is
 * then walked breadth first now and then, and has twenty times as many alive.
 */
#include "sched/handover.h"

#include "base/clock.h"
#include "base/panic.h"
#include "sched/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct gyre_runtime *gyre_runtime_instance;

__attribute__((tls_model("initial-exec"),
               visibility("hidden"))) _Thread_local struct worker *gyre_this_worker;

#if !defined(__x86_64__) || defined(GYRE_ASAN) || defined(GYRE_TSAN)
__attribute__((noinline)) struct worker *gyre_worker_current(void)
{
    struct worker *worker = gyre_this_worker;

    /* Keeps callers from seeing a pure function, whose result they might keep over a park. */
    __asm__ volatile("" : "+r"(worker) : : "memory");
    return worker;
}
#endif

void gyre_worker_set_current(struct worker *worker)
{
    gyre_this_worker = worker;
}

_Noreturn void gyre_coro_missing(const char *call)
{
    gyre_panic("%s called outside a coroutine", call);
}

void gyre_park(struct worker *worker, enum park_reason reason, commit_fn commit, void *argument)
{
    handover_park(worker, reason, commit, argument);
}

/* A pinned coroutine: thieves must not see it, so it goes round all that they can reach. */
static void ready_pinned(struct gyre_coro *coro)
{
    struct worker *home = coro->pinned;
    struct gyre_runtime *foreign;

    if (worker_current() == home) {
        append_private(home, coro);
        return;
    }
    foreign = foreign_enter();
    inject_push(&home->own, &coro->link.inject);
    full_barrier();
    gyre_worker_notify(home);
    foreign_leave(foreign);
}

void gyre_ready_later(struct worker *worker, struct gyre_coro *coro)
{
    if (unlikely(coro->pinned))
        ready_pinned(coro);
    else
        fifo_push(&worker->fifo, &coro->link.fifo);
}

/* The deque may have to grow, and fail; the FIFO never does. */
static void push_deque(struct worker *worker, struct gyre_coro *coro)
{
    /* In a signal handler the deque can't grow. */
    if (unlikely(worker->handling) || unlikely(deque_push(&worker->deque, coro)))
        fifo_push(&worker->fifo, &coro->link.fifo);
    if (!worker->alone) {
        full_barrier();
        gyre_wake_one();
    }
}

void gyre_ready_new(struct worker *worker, struct gyre_coro *coro)
{
    if (unlikely(coro->pinned))
        ready_pinned(coro);
    else if (unlikely(!worker))
        gyre_ready(coro);
    else
        push_deque(worker, coro);
}

static void ready_foreign(struct gyre_coro *coro)
{
    struct gyre_runtime *runtime = gyre_runtime_instance, *foreign = foreign_enter();
    uint32_t next = atomic_fetch_add_explicit(&runtime->next_foreign, 1, memory_order_relaxed);
    struct worker *target = &runtime->workers[next % runtime->worker_count];

    inject_push(&target->inject, &coro->link.inject);
    full_barrier();
    /* Asleep: wake it. Busy: any sleeper may come and take it. */
    gyre_worker_notify(target);
    gyre_wake_one();
    foreign_leave(foreign);
}

void gyre_ready(struct gyre_coro *coro)
{
    struct worker *worker = worker_current();
    struct gyre_coro *displaced;

    if (unlikely(coro->pinned)) {
        ready_pinned(coro);
        return;
    }
    if (unlikely(!worker)) {
        ready_foreign(coro);
        return;
    }
    if (!worker->alone && unlikely(pace_goes_on(&worker->pace))) {
        push_deque(worker, coro);
        return;
    }
    if (!atomic_load_explicit(&worker->slot, memory_order_relaxed)) {
        /* Release: pairs with a thief's acquiring exchange. Only the owner fills the slot. */
        atomic_store_explicit(&worker->slot, coro, memory_order_release);
        return;
    }
    /* As in take_slot; a thief may have emptied it since. */
    displaced = atomic_exchange_explicit(&worker->slot, coro, memory_order_acq_rel);
    if (displaced)
        push_deque(worker, displaced);
}

static void take_injected(struct worker *worker)
{
    struct inject_link *link;

    for (int i = 0; i < 16 && (link = inject_pop(&worker->inject)); i++)
        fifo_push(&worker->fifo, &container_of(link, struct gyre_coro, link.inject)->link.fifo);
    while ((link = inject_pop(&worker->own)))
        append_private(worker, container_of(link, struct gyre_coro, link.inject));
}

static void drain_mailbox(struct worker *worker)
{
    struct mailbox_message *message = mailbox_take_all(&worker->mailbox);

    while (message) {
        struct mailbox_message *next = message->next;

        message->handle(worker, message);
        message = next;
    }
}

/* Whether a thief finds something that this worker would not run next. */
static bool has_spare_work(struct worker *worker)
{
    size_t count = deque_count(&worker->deque) + fifo_count(&worker->fifo);

    return count > 1 || (count && (worker->private_first || worker->pressed ||
                                   atomic_load_explicit(&worker->slot, memory_order_relaxed)));
}

/*
 * An enter is a system call: while there is work at hand, submissions wait for company, but for
 * POLLS_HELD polls at most, and not while one computes who was preempted. A worker that is alone
 * and has nothing to run leaves the submitting to the enter it sleeps in.
 */
static bool should_enter(struct worker *worker)
{
    const struct ring *ring = &worker->ring;

    if (ring_wants_enter(ring))
        return true;
    if (!ring_unsubmitted(ring))
        return false;
    if (!has_quick_work(worker))
        return !worker->alone || worker->pressed;
    return ring_unsubmitted(ring) >= ring->uring.sq.ring_entries / 2 ||
           ++worker->polls_held >= POLLS_HELD;
}

/*
 * Lets in what comes from outside: messages, injected coroutines, timers, completions.
 */
static void poll_all(struct worker *worker)
{
    unsigned woken = 0;

    if (unlikely(atomic_load_explicit(&worker->preempt.pending, memory_order_relaxed)))
        gyre_preempt_forget(worker);
    if (!mailbox_empty(&worker->mailbox))
        drain_mailbox(worker);
    if (!inject_empty(&worker->inject) || !inject_empty(&worker->own))
        take_injected(worker);
    if (timers_next(&worker->timers) != INT64_MAX)
        woken = gyre_timers_expire(&worker->timers, clock_now());
    if (should_enter(worker)) {
        worker->polls_held = 0;
        gyre_ring_enter(&worker->ring, false, 0);
    }
    woken += gyre_ring_reap(&worker->ring, worker);
    if (unlikely(atomic_load_explicit(&gyre_runtime_instance->stuck, memory_order_relaxed)))
        gyre_watchdog_help(worker);
    /* What they made ready told nobody; one alone runs next, here. */
    if (woken && !worker->alone && has_spare_work(worker)) {
        full_barrier();
        gyre_wake_one();
    }
}

static struct gyre_coro *pick_polled(struct worker *worker)
{
    uint64_t progress = atomic_load_explicit(&worker->progress, memory_order_relaxed);
    struct gyre_coro *coro = NULL;

    if (unlikely(worker->shuffle.on))
        return gyre_shuffle_pick(worker);
    if (progress >= worker->next_poll) {
        worker->next_poll = progress + POLL_PICKS;
        if (++worker->polls % OLDEST_POLLS == 0)
            coro = gyre_deque_steal(&worker->deque);
        if (coro == DEQUE_RETRY)
            coro = NULL;
    }
    return coro ? coro : pick_local(worker, true);
}

void gyre_worker_loop(struct worker *worker)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;

    gyre_switch_adopt(&worker->loop);
    /* Acquire: pairs with the release by which the runtime says that all is over. */
    while (atomic_load_explicit(&runtime->phase, memory_order_acquire) != PHASE_STOPPED) {
        struct gyre_coro *next;

        poll_all(worker);
        next = pick_polled(worker);
        if (!next)
            next = gyre_idle_find(worker);
        if (!next)
            continue;
        if (worker->searching)
            gyre_idle_stop_searching(worker);
        count_pick(worker);
        worker->running = next;
        worker->commit = NULL;
        gyre_switch(&worker->loop, &next->frame);
        worker->running = NULL;
        handover_commit(worker);
    }
}

/* --- made and unmade ------------------------------------------------------------------------ */

int gyre_worker_init(struct worker *worker, struct gyre_runtime *runtime, unsigned index)
{
    int error = gyre_deque_init(&worker->deque, 8);

    if (error)
        return error;
    gyre_fifo_init(&worker->fifo);
    worker->index = index;
    worker->alone = runtime->worker_count == 1;
    worker->random.state = runtime->options.seed + index;
    if (runtime->settings) {
        worker->quiet = runtime->settings->alone;
        if (runtime->settings->shuffled)
            gyre_shuffle_start(worker);
    }
    worker->private_last = &worker->private_first;
    worker->preempt.last = &worker->preempt.first;
    worker->budget = 1;
    gyre_timers_init(&worker->timers, clock_now());
    inject_init(&worker->inject);
    inject_init(&worker->own);
    return 0;
}

void gyre_worker_destroy(struct worker *worker)
{
    gyre_timers_end(&worker->timers);
    gyre_deque_destroy(&worker->deque);
    free(worker->shuffle.coros);
    while (worker->ends) {
        struct worker_end *end = worker->ends;

        worker->ends = end->next;
        end->call(end, worker);
    }
    if (worker->cleanup)
        worker->cleanup(worker);
}
