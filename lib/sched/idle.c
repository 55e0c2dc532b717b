/*
 * Stealing, sleeping and waking (model: tests/models/sleep_wake.pml).
 *
 * One word, runtime->idle, counts workers asleep and workers searching; each worker's `state` says
 * whether it may be woken. The protocol:
 *
 * - Who makes work visible puts a full barrier behind it, then reads the word: with a sleeper
 *   and nobody searching it wakes one, moving it from sleeping to searching in the word.
 * - Who is about to sleep publishes it in state and word, puts a full barrier behind that, and
 *   looks at all queues once more. So of two that race, at least one sees the other.
 * - The last searcher to find work wakes another sleeper: those who queued work meanwhile relied on
 * it.
 *
 * A wake is a completion in the sleeper's ring, so one sent before it enters is not lost.
 * The just-woken slot takes no part: its worker runs it next. It is stolen only from a worker
 * that did not move on for a while.
 */
#include "sched/quiet.h"

#include "base/clock.h"
#include "sched/helpers.h"

enum { SEARCH_ROUNDS = 4, STEAL_MAX = 16, SLOT_PATIENCE = 64 };

#define ONE_SEARCHING ((uint64_t)1)
#define ONE_SLEEPING  ((uint64_t)1 << 32)

static _Atomic(uint64_t) *idle_word(void)
{
    return &gyre_runtime_instance->idle;
}

/*
 * Moves a sleeping worker to the searching ones; false if it isn't asleep (any more). It may wake
 * by itself meanwhile, but goes on only when the word is right: else it could leave the searching
 * ones before it was counted among them, and the word would tell of searchers or sleepers that are
 * none.
 */
static bool claim_sleeper(struct worker *worker)
{
    uint32_t expected = WORKER_SLEEPING;

    if (atomic_load_explicit(&worker->state, memory_order_relaxed) != WORKER_SLEEPING)
        return false;
    /* Who wins this exchange, a waker or the sleeper itself, also corrects the word. */
    if (!atomic_compare_exchange_strong_explicit(&worker->state, &expected, WORKER_CLAIMED,
                                                 memory_order_seq_cst, memory_order_relaxed))
        return false;
    atomic_fetch_add_explicit(idle_word(), ONE_SEARCHING - ONE_SLEEPING, memory_order_seq_cst);
    /* Release: pairs with the acquire in await_notified. */
    atomic_store_explicit(&worker->state, WORKER_NOTIFIED, memory_order_release);
    gyre_ring_wake(&worker->ring);
    return true;
}

void gyre_worker_notify(struct worker *worker)
{
    claim_sleeper(worker);
}

void gyre_wake_one(void)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;
    /* The caller put a full barrier before; pairs with the one in publish_sleep. */
    uint64_t idle = atomic_load_explicit(&runtime->idle, memory_order_relaxed);
    struct worker *self;
    unsigned start;

    if (likely(!idle_sleeping(idle) || idle_searching(idle)))
        return;
    self = worker_current();
    start = self ? self->index + 1 : 0;
    for (unsigned i = 0; i < runtime->worker_count; i++)
        if (claim_sleeper(&runtime->workers[(start + i) % runtime->worker_count]))
            return;
}

/* --- stealing ------------------------------------------------------------------------------ */

static struct gyre_coro *steal_fifo(struct worker *worker, struct worker *victim)
{
    struct fifo_link *links[STEAL_MAX];
    unsigned count = gyre_fifo_steal_batch(&victim->fifo, links, STEAL_MAX);

    for (unsigned i = 1; i < count; i++)
        fifo_push(&worker->fifo, links[i]);
    return count ? container_of(links[0], struct gyre_coro, link.fifo) : NULL;
}

static void keep(struct worker *worker, struct gyre_coro *coro)
{
    if (unlikely(deque_push(&worker->deque, coro)))
        fifo_push(&worker->fifo, &coro->link.fifo);
}

/* Up to wanted of them: returns the first, keeps the others. */
static struct gyre_coro *steal_deque(struct worker *worker, struct worker *victim, size_t wanted)
{
    struct gyre_coro *first = NULL;

    for (size_t i = 0; i < wanted; i++) {
        void *item = gyre_deque_steal(&victim->deque);

        if (!item || item == DEQUE_RETRY)
            break;
        if (!first)
            first = item;
        else
            keep(worker, item);
    }
    return first;
}

static struct gyre_coro *steal_half(struct worker *worker, struct worker *victim)
{
    size_t half = (deque_count(&victim->deque) + 1) / 2;

    return steal_deque(worker, victim, half < STEAL_MAX ? half : STEAL_MAX);
}

static struct gyre_coro *steal_injected(struct worker *victim)
{
    struct inject_link *link;

    if (inject_empty(&victim->inject))
        return NULL;
    link = inject_pop(&victim->inject);
    return link ? container_of(link, struct gyre_coro, link.inject) : NULL;
}

static struct gyre_coro *steal_slot(struct worker *victim)
{
    uint64_t progress = atomic_load_explicit(&victim->progress, memory_order_relaxed);

    if (!atomic_load_explicit(&victim->slot, memory_order_relaxed))
        return NULL;
    for (int i = 0; i < SLOT_PATIENCE; i++) {
        cpu_relax();
        if (atomic_load_explicit(&victim->progress, memory_order_relaxed) != progress)
            return NULL;
    }
    /* Acquire: pairs with the release that filled it. */
    return atomic_exchange_explicit(&victim->slot, NULL, memory_order_acq_rel);
}

static struct gyre_coro *steal_from(struct worker *worker, struct worker *victim, bool last_round)
{
    struct gyre_coro *coro = steal_half(worker, victim);

    if (!coro)
        coro = steal_fifo(worker, victim);
    if (!coro)
        coro = steal_injected(victim);
    if (!coro && last_round)
        coro = steal_slot(victim);
    return coro;
}

static size_t computing(struct worker *worker)
{
    return atomic_load_explicit(&worker->preempt.count, memory_order_relaxed);
}

static size_t load_of(struct worker *worker)
{
    return deque_count(&worker->deque) + fifo_count(&worker->fifo) + computing(worker);
}

void gyre_idle_balance(struct worker *worker)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;
    size_t own = load_of(worker);

    for (unsigned i = 1; i < runtime->worker_count; i++) {
        struct worker *victim = &runtime->workers[(worker->index + i) % runtime->worker_count];
        size_t others = load_of(victim) + 1; /* it runs one besides, this worker none */

        struct gyre_coro *coro;

        /* Where fewer compute there, the crowd is one that parks soon. */
        if (others < own + 2 || computing(victim) < computing(worker))
            continue;
        coro = steal_deque(worker, victim, (others - own) / 2);
        if (coro) {
            keep(worker, coro);
            return;
        }
    }
}

static struct gyre_coro *search(struct worker *worker)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;
    unsigned count = runtime->worker_count;

    for (int round = 1; round <= SEARCH_ROUNDS; round++) {
        unsigned start = random_below(&worker->random, count);

        for (unsigned i = 0; i < count; i++) {
            struct worker *victim = &runtime->workers[(start + i) % count];
            struct gyre_coro *coro;

            if (victim == worker)
                continue;
            coro = steal_from(worker, victim, round == SEARCH_ROUNDS);
            if (coro)
                return coro;
        }
        if (ring_completed(&worker->ring) || !mailbox_empty(&worker->mailbox))
            return NULL;
    }
    return NULL;
}

/* --- sleeping ------------------------------------------------------------------------------ */

static bool work_visible(struct worker *worker)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;

    if (ring_completed(&worker->ring) || !mailbox_empty(&worker->mailbox) ||
        !inject_empty(&worker->own) || (unlikely(worker->helped) && !helpers_pending()) ||
        atomic_load_explicit(&runtime->phase, memory_order_relaxed) == PHASE_STOPPED)
        return true;
    for (unsigned i = 0; i < runtime->worker_count; i++) {
        struct worker *victim = &runtime->workers[i];

        if (deque_count(&victim->deque) || fifo_count(&victim->fifo) ||
            !inject_empty(&victim->inject))
            return true;
    }
    return false;
}

static void publish_sleep(struct worker *worker)
{
    uint64_t change = ONE_SLEEPING - (worker->searching ? ONE_SEARCHING : 0);

    worker->searching = false;
    /* The word first: a waker that finds the state takes this worker out of the word. */
    atomic_fetch_add_explicit(idle_word(), change, memory_order_seq_cst);
    atomic_store_explicit(&worker->state, WORKER_SLEEPING, memory_order_seq_cst);
    full_barrier();
}

/* A waker has claimed this worker: waits the few instructions until it has corrected the word. */
static void await_notified(struct worker *worker)
{
    for (int spins = 0;
         atomic_load_explicit(&worker->state, memory_order_acquire) != WORKER_NOTIFIED; spins++) {
        if (spins < 100)
            cpu_relax();
        else
            sched_yield();
    }
}

/* Awake again: by itself, or notified, in which case the waker corrected the word and counts
 * this worker as searching. */
static void retract_sleep(struct worker *worker, bool search_on)
{
    uint32_t expected = WORKER_SLEEPING;

    if (atomic_compare_exchange_strong_explicit(&worker->state, &expected, WORKER_RUNNING,
                                                memory_order_seq_cst, memory_order_seq_cst)) {
        atomic_fetch_add_explicit(idle_word(), (search_on ? ONE_SEARCHING : 0) - ONE_SLEEPING,
                                  memory_order_seq_cst);
        worker->searching = search_on;
    } else {
        await_notified(worker);
        atomic_store_explicit(&worker->state, WORKER_RUNNING, memory_order_relaxed);
        worker->searching = true;
    }
}

/* The watchdog sleeps while all workers do. */
static void wake_watchdog(void)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;
    uint32_t asleep = WATCHDOG_ASLEEP;

    /* Seq_cst: after this worker's state, or its waker, changed; pairs with gyre_watchdog_wait. */
    if (unlikely(atomic_load_explicit(&runtime->watchdog, memory_order_seq_cst) == asleep) &&
        atomic_compare_exchange_strong_explicit(&runtime->watchdog, &asleep, WATCHDOG_LOOKING,
                                                memory_order_seq_cst, memory_order_relaxed))
        gyre_run_attend(runtime);
}

static void sleep_until_woken(struct worker *worker)
{
    int64_t next, timeout = -1;

    publish_sleep(worker);
    if (work_visible(worker)) {
        retract_sleep(worker, true);
        wake_watchdog();
        return;
    }
    next = timers_next(&worker->timers);
    if (next != INT64_MAX && !clock_is_virtual()) {
        timeout = next - clock_now();
        if (timeout < 0)
            timeout = 0;
    }
    gyre_ring_enter(&worker->ring, true, timeout);
    retract_sleep(worker, false);
    wake_watchdog();
}

struct gyre_coro *gyre_idle_find(struct worker *worker)
{
    if (!worker->alone && !worker->searching) {
        uint64_t idle = atomic_load_explicit(idle_word(), memory_order_relaxed);

        if (2 * idle_searching(idle) < gyre_runtime_instance->worker_count) {
            atomic_fetch_add_explicit(idle_word(), ONE_SEARCHING, memory_order_seq_cst);
            worker->searching = true;
        }
    }
    if (worker->searching && !worker->alone) {
        struct gyre_coro *coro = search(worker);

        if (coro)
            return coro;
        if (ring_completed(&worker->ring) || !mailbox_empty(&worker->mailbox))
            return NULL;
    }
    if (likely(!worker->quiet) || !gyre_quiet_idle(worker))
        sleep_until_woken(worker);
    return NULL;
}

void gyre_idle_stop_searching(struct worker *worker)
{
    uint64_t before = atomic_fetch_sub_explicit(idle_word(), ONE_SEARCHING, memory_order_seq_cst);

    worker->searching = false;
    if (idle_searching(before) == 1) {
        full_barrier();
        gyre_wake_one();
    }
}
