/*
 * The watchdog, which is gyre_run's own thread, and what other workers do for a stuck one.
 *
 * A worker that runs and whose progress stands still for WATCHDOG_PATIENCE is stuck: in a plain
 * read(2), in a library, in a section that is not interrupted. Its submissions and its cancel
 * messages only its own thread can see to: the watchdog sends it a signal, whose handler does
 * (tick.c); but only when there are any, for a signal may break off what the thread sleeps in.
 * What others can do they do at their polls, while any worker is stuck: reap its ring under its
 * reap lock, fire its timers under their lock, take its just-woken coroutine. They look when
 * the watchdog wakes one of them, or when they poll anyway. Its deque, FIFO and injection queue are
 * always open to thieves. What stays: coroutines pinned to it, and those interrupted on it.
 *
 * While something works the watchdog looks each 10 ms (each millisecond while it finds things that
 * a stuck worker ought to do). While all workers sleep, so does it: it says so in
 * runtime->watchdog, looks once more, and sleeps; a worker that wakes up looks there after it has
 * left its sleeping state (model: tests/models/watchdog.pml). Of the two at least one sees the
 * other.
 */
#include "base/clock.h"
#include "base/message.h"
#include "base/panic.h"
#include "sched/pick.h"

#include <stdio.h>

enum { QUIET_LOOKS = 2 };

/* Between signals that ask for the same: they break off calls that are not restarted. */
#define SIGNAL_PAUSE (50 * GYRE_MILLISECOND)

/* When a worker is silent for so long that somebody may wonder. */
#define TELL_AFTER GYRE_SECOND

/* A handler that does not answer for so long is not ours. */
#define PROBE_PATIENCE GYRE_SECOND

/* --- stuck workers -----------------------------------------------------------------------------
 */

static bool timer_due(struct worker *worker, int64_t now)
{
    return timers_next(&worker->timers) <= now;
}

/* Whether another worker would find something to do here. */
static bool has_takeable(struct worker *worker, int64_t now)
{
    return ring_completed(&worker->ring) || timer_due(worker, now) || deque_count(&worker->deque) ||
           fifo_count(&worker->fifo) || !inject_empty(&worker->inject) ||
           atomic_load_explicit(&worker->slot, memory_order_relaxed);
}

static bool has_own_duties(struct worker *worker)
{
    return ring_unsubmitted(&worker->ring) || !mailbox_empty(&worker->mailbox);
}

/* Also when the worker has gone on since: the signal itself may have brought that about. */
static void print_report(struct worker *worker)
{
    struct stuck_report *report = &worker->preempt.report;
    char name[256];

    /* Acquire: pairs with the release in the handler. */
    if (!atomic_load_explicit(&report->ready, memory_order_acquire))
        return;
    gyre_message("watchdog: coroutine %lu \"%s\", started at %s, has held worker %u for %ld ms:",
                 (unsigned long)report->id, report->name, report->started, worker->index,
                 (long)(report->silent / GYRE_MILLISECOND));
    for (unsigned i = 0; i < report->count; i++) {
        gyre_backtrace_name((char *)report->frames[i], name, sizeof name);
        gyre_message_line("    %s", name);
    }
    /* Release: pairs with the acquire in the handler. */
    atomic_store_explicit(&report->ready, false, memory_order_release);
}

static void ask_report(struct gyre_runtime *runtime, struct worker *worker, int64_t silent)
{
    struct preemption *preempt = &worker->preempt;

    if (runtime->options.watchdog <= 0 || silent < runtime->options.watchdog || preempt->reported ||
        atomic_load_explicit(&preempt->report.ready, memory_order_relaxed))
        return;
    preempt->reported = true;
    preempt->report.silent = silent;
    atomic_store_explicit(&preempt->report.progress, preempt->watched, memory_order_relaxed);
    gyre_tick_signal(worker, true);
}

static void set_stuck(struct gyre_runtime *runtime, struct worker *worker, bool stuck)
{
    struct preemption *preempt = &worker->preempt;

    if (atomic_load_explicit(&preempt->stuck, memory_order_relaxed) == stuck)
        return;
    /* Relaxed: whoever looks late or once too often does no harm; all is under locks. */
    atomic_store_explicit(&preempt->stuck, stuck, memory_order_relaxed);
    if (stuck) {
        preempt_count_one(&preempt->times_stuck);
        atomic_fetch_add_explicit(&runtime->stuck, 1, memory_order_relaxed);
    } else {
        preempt->reported = false;
        atomic_fetch_sub_explicit(&runtime->stuck, 1, memory_order_relaxed);
    }
}

/*
 * A program that takes SIGURG for itself should have done so before gyre_run, which passes on what
 * is not its own. Another handler may pass on as well: whether ours hears of a signal, tells. Else
 * theirs is spared the ticks.
 */
static void check_handler(struct gyre_runtime *runtime, struct worker *worker, int64_t now)
{
    struct preemption *preempt = &worker->preempt;
    uint64_t heard = atomic_load_explicit(&preempt->heard, memory_order_relaxed);

    if (runtime->handler_checked || runtime->options.quantum < 0 || gyre_tick_installed())
        return;
    if (!preempt->probed) {
        preempt->probed = now;
        preempt->probed_heard = heard;
        gyre_tick_signal(worker, false);
        return;
    }
    if (heard == preempt->probed_heard && now - preempt->probed < PROBE_PATIENCE)
        return; /* its thread may not have had a processor since */
    runtime->handler_checked = true;
    if (heard != preempt->probed_heard)
        return;
    for (unsigned i = 0; i < runtime->worker_count; i++)
        gyre_tick_silence(&runtime->workers[i]);
    gyre_preempt_lost(runtime);
    runtime->mode_told = true;
    gyre_message("the program has replaced the handler of SIGURG: no coroutine is interrupted any "
                 "more; install yours before gyre_run, which passes signals on to it");
}

/* Once: a program may not know that nothing is interrupted in it. */
static void tell_mode(struct gyre_runtime *runtime, struct worker *worker, int64_t silent)
{
    const char *mode = atomic_load_explicit(&runtime->cooperative, memory_order_relaxed);

#ifndef PREEMPT_SIGNALS
    return; /* who builds with a sanitizer knows */
#endif
    if (!mode || silent < TELL_AFTER || runtime->mode_told || runtime->options.quantum < 0)
        return;
    runtime->mode_told = true;
    gyre_message("worker %u has been held for %ld ms, and no coroutine is interrupted in this "
                 "program: %s",
                 worker->index, (long)(silent / GYRE_MILLISECOND), mode);
}

/* True: others have something to do for it. */
static bool relieve(struct gyre_runtime *runtime, struct worker *worker, int64_t now)
{
    bool takeable = runtime->worker_count > 1 && has_takeable(worker, now);

    set_stuck(runtime, worker, true);
    check_handler(runtime, worker, now);
    /* Also where nothing is interrupted: checkpoints are there for that. A test has a clock of its
     * own. */
    if (now - worker->preempt.since >= runtime->options.quantum && !runtime->settings)
        gyre_preempt_ask(worker);
    tell_mode(runtime, worker, now - worker->preempt.since);
    if (has_own_duties(worker) && now >= worker->preempt.next_signal) {
        worker->preempt.next_signal = now + SIGNAL_PAUSE;
        gyre_tick_signal(worker, false);
    }
    ask_report(runtime, worker, now - worker->preempt.since);
    if (takeable) {
        full_barrier();
        gyre_wake_one();
    }
    return takeable;
}

static bool sleeps(struct worker *worker)
{
    /* Seq_cst: after runtime->watchdog was written; pairs with wake_watchdog in idle.c. */
    return atomic_load_explicit(&worker->state, memory_order_seq_cst) == WORKER_SLEEPING;
}

/* Returns how long it may take to the next look; negative: nobody is awake. */
static int64_t look(struct gyre_runtime *runtime)
{
    int64_t now = clock_real(), next = -1;

    for (unsigned i = 0; i < runtime->worker_count; i++) {
        struct worker *worker = &runtime->workers[i];
        struct preemption *preempt = &worker->preempt;
        uint64_t progress = atomic_load_explicit(&worker->progress, memory_order_relaxed);
        bool asleep = sleeps(worker);

        print_report(worker);
        /* Without timers of its own the looks are what gives turns. */
        if (!asleep && !preempt->ticking && runtime->options.quantum > 0)
            preempt_count_one(&preempt->ticks);
        if (!asleep && next < 0)
            next = WATCHDOG_PATIENCE;
        if (asleep || progress != preempt->watched || !preempt->since) {
            preempt->watched = progress;
            preempt->since = now;
            set_stuck(runtime, worker, false);
        } else if (now - preempt->since >= WATCHDOG_PATIENCE && relieve(runtime, worker, now)) {
            next = GYRE_MILLISECOND;
        }
    }
    return next;
}

static bool all_sleep(struct gyre_runtime *runtime)
{
    for (unsigned i = 0; i < runtime->worker_count; i++)
        if (!sleeps(&runtime->workers[i]))
            return false;
    return true;
}

/* After a sleep: what a worker did not do meanwhile, asleep as it was, is no silence. */
static void begin_anew(struct gyre_runtime *runtime)
{
    int64_t now = clock_real();

    for (unsigned i = 0; i < runtime->worker_count; i++)
        runtime->workers[i].preempt.since = now;
}

void gyre_watchdog_wait(struct gyre_runtime *runtime, uint32_t attention, int64_t timeout)
{
    int64_t next = look(runtime);

    gyre_preempt_refresh(runtime);
    runtime->quiet_looks = next < 0 ? runtime->quiet_looks + 1 : 0;
    if (next < 0 && runtime->quiet_looks < QUIET_LOOKS)
        next = WATCHDOG_PATIENCE;
    if (timeout >= 0 && (next < 0 || timeout < next))
        next = timeout;
    if (next < 0) {
        /* Seq_cst: before the last look at the states; pairs with wake_watchdog in idle.c. */
        atomic_store_explicit(&runtime->watchdog, WATCHDOG_ASLEEP, memory_order_seq_cst);
        if (!all_sleep(runtime))
            next = 0;
    }
    if (next)
        gyre_run_futex_wait(&runtime->attention, attention, next);
    if (next < 0)
        begin_anew(runtime);
    atomic_store_explicit(&runtime->watchdog, WATCHDOG_LOOKING, memory_order_relaxed);
}

/* --- helping -----------------------------------------------------------------------------------
 */

/*
 * The victim may be stuck no more, and about to sleep: then what was reaped may be the very wake
 * that it relies on. A wake is posted after the state says so, so that is seen here.
 */
static void pass_on_wake(struct worker *victim)
{
    /* Acquire: pairs with the release in claim_sleeper; after the completion was read. */
    uint32_t state = atomic_load_explicit(&victim->state, memory_order_acquire);

    if (unlikely(state == WORKER_CLAIMED || state == WORKER_NOTIFIED))
        gyre_ring_wake(&victim->ring);
}

static unsigned help(struct worker *worker, struct worker *victim)
{
    unsigned taken = gyre_ring_reap(&victim->ring, worker);
    struct gyre_coro *coro;

    if (taken)
        pass_on_wake(victim);
    if (timers_next(&victim->timers) != INT64_MAX)
        taken += gyre_timers_expire(&victim->timers, clock_now());
    /* Acquire: pairs with the release that filled it. */
    coro = atomic_exchange_explicit(&victim->slot, NULL, memory_order_acq_rel);
    if (coro) {
        gyre_ready_later(worker, coro);
        taken++;
    }
    return taken;
}

void gyre_watchdog_help(struct worker *worker)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;

    for (unsigned i = 0; i < runtime->worker_count; i++) {
        struct worker *victim = &runtime->workers[i];
        unsigned taken;

        if (victim == worker || !atomic_load_explicit(&victim->preempt.stuck, memory_order_relaxed))
            continue;
        taken = help(worker, victim);
        if (taken)
            atomic_fetch_add_explicit(&victim->preempt.rescued, taken, memory_order_relaxed);
    }
}
