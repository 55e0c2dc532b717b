/*
 * The worker's loop, its choice of what runs next, and the park.
 *
 * Fairness. The just-woken slot is taken at most three times in a row; of the other picks the
 * deque (newest first), the FIFO, and the pinned ones twice take turns; every 61st pick polls ring,
 * timers, mailbox and injection queue, and takes the oldest of the deque. So of n coroutines that
 * are runnable here, each runs within 61 * (n + 1) picks, whoever else is made runnable meanwhile.
 */
#include "sched/worker.h"

#include "base/clock.h"
#include "base/panic.h"

#include <errno.h>
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

struct gyre_coro *gyre_coro_required(const char *call)
{
    struct gyre_coro *coro = coro_current();

    if (unlikely(!coro))
        gyre_panic("%s called outside a coroutine", call);
    return coro;
}

static struct gyre_coro *take_slot(struct worker *worker)
{
    struct gyre_coro *coro = atomic_load_explicit(&worker->slot, memory_order_relaxed);

    if (!coro)
        return NULL;
    if (worker->alone) {
        atomic_store_explicit(&worker->slot, NULL, memory_order_relaxed);
        return coro;
    }
    /* Acquire and release: whoever wins the exchange, owner or thief, owns the coroutine. */
    return atomic_exchange_explicit(&worker->slot, NULL, memory_order_acq_rel);
}

static struct gyre_coro *take_fifo(struct worker *worker)
{
    struct fifo_link *link = fifo_pop(&worker->fifo, worker->alone);

    return link ? container_of(link, struct gyre_coro, link.fifo) : NULL;
}

static struct gyre_coro *take_deque(struct worker *worker)
{
    return worker->alone ? deque_take_alone(&worker->deque) : deque_take(&worker->deque);
}

static struct gyre_coro *take_private(struct worker *worker)
{
    struct fifo_link *link = worker->private_first;

    if (likely(!link))
        return NULL;
    worker->private_first = link->next;
    if (!link->next)
        worker->private_last = &worker->private_first;
    return container_of(link, struct gyre_coro, link.fifo);
}

static void append_private(struct worker *worker, struct gyre_coro *coro)
{
    coro->link.fifo.next = NULL;
    *worker->private_last = &coro->link.fifo;
    worker->private_last = &coro->link.fifo.next;
}

static struct gyre_coro *pick_local(struct worker *worker)
{
    struct gyre_coro *coro;
    unsigned turn;

    if (worker->slot_streak < SLOT_STREAK) {
        coro = take_slot(worker);
        if (coro) {
            worker->slot_streak++;
            return coro;
        }
    }
    worker->slot_streak = 0;
    /* A count of its own: that of the picks could keep step with the slot's streak for ever. */
    turn = worker->turn++;
    if (unlikely(worker->private_first) && turn & 2)
        return take_private(worker);
    if (turn & 1) {
        coro = take_fifo(worker);
        if (!coro)
            coro = take_deque(worker);
    } else {
        coro = take_deque(worker);
        if (!coro)
            coro = take_fifo(worker);
    }
    if (!coro)
        coro = take_private(worker);
    return coro ? coro : take_slot(worker);
}

static inline void count_pick(struct worker *worker)
{
    worker->picks++;
    /* Relaxed: only shows to others that this worker moves on. */
    atomic_store_explicit(&worker->progress, worker->picks, memory_order_relaxed);
}

/* Before every switch away, the last one too: the next coroutine takes the rest as it finds it. */
static inline void leave(struct worker *worker, struct gyre_coro *coro)
{
    if (worker->exceptions)
        exceptions_save(worker->exceptions, &coro->exceptions);
    if (unlikely(coro->flags & GYRE_SPAWN_SAVE_FPU)) {
        fpu_control_save(&coro->fpu);
        fpu_control_restore(&worker->fpu);
    }
}

void gyre_arrive(void)
{
    struct worker *worker = worker_current();
    struct gyre_coro *coro = worker->running;
    commit_fn commit = worker->commit;

    if (coro) {
        if (worker->exceptions)
            exceptions_restore(worker->exceptions, &coro->exceptions);
        if (unlikely(coro->flags & GYRE_SPAWN_SAVE_FPU))
            fpu_control_restore(&coro->fpu);
    }
    if (commit) {
        worker->commit = NULL;
        commit(worker, worker->previous, worker->commit_argument);
    }
}

/* The next coroutine where this can be told quickly, else the loop. */
static struct switch_frame *next_frame(struct worker *worker)
{
    struct gyre_coro *next = NULL;

    count_pick(worker);
    if (likely(worker->picks % POLL_PICKS))
        next = pick_local(worker);
    worker->running = next;
    return next ? &next->frame : &worker->loop;
}

void gyre_park(struct worker *worker, enum park_reason reason, commit_fn commit, void *argument)
{
    struct gyre_coro *self = worker->running;

    self->park_reason = (uint8_t)reason;
    worker->previous = self;
    worker->commit = commit;
    worker->commit_argument = argument;
    leave(worker, self);
    gyre_switch(&self->frame, next_frame(worker));
    gyre_arrive();
}

_Noreturn void gyre_park_final(struct worker *worker, commit_fn commit)
{
    struct gyre_coro *self = worker->running;

    worker->previous = self;
    worker->commit = commit;
    leave(worker, self);
    gyre_switch_final(&self->frame, next_frame(worker));
    __builtin_unreachable();
}

/* A pinned coroutine: thieves must not see it, so it goes round all that they can reach. */
static void ready_pinned(struct gyre_coro *coro)
{
    struct worker *home = coro->pinned;

    if (worker_current() == home) {
        append_private(home, coro);
        return;
    }
    inject_push(&home->own, &coro->link.inject);
    full_barrier();
    gyre_worker_notify(home);
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
    if (unlikely(deque_push(&worker->deque, coro)))
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
    struct gyre_runtime *runtime = gyre_runtime_instance;
    uint32_t next = atomic_fetch_add_explicit(&runtime->next_foreign, 1, memory_order_relaxed);
    struct worker *target = &runtime->workers[next % runtime->worker_count];

    inject_push(&target->inject, &coro->link.inject);
    full_barrier();
    /* Asleep: wake it. Busy: any sleeper may come and take it. */
    gyre_worker_notify(target);
    gyre_wake_one();
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

static bool has_local_work(struct worker *worker)
{
    return atomic_load_explicit(&worker->slot, memory_order_relaxed) ||
           deque_count(&worker->deque) || fifo_count(&worker->fifo) || worker->private_first;
}

/* Whether a thief finds something that this worker would not run next. */
static bool has_spare_work(struct worker *worker)
{
    size_t count = deque_count(&worker->deque) + fifo_count(&worker->fifo);

    return count > 1 || (count && (worker->private_first ||
                                   atomic_load_explicit(&worker->slot, memory_order_relaxed)));
}

/*
 * Lets in what comes from outside: messages, injected coroutines, timers, completions. A worker
 * that is alone and has nothing to run leaves the submitting to the enter it sleeps in.
 */
static void poll_all(struct worker *worker)
{
    unsigned woken = 0;

    if (!mailbox_empty(&worker->mailbox))
        drain_mailbox(worker);
    if (!inject_empty(&worker->inject) || !inject_empty(&worker->own))
        take_injected(worker);
    if (timers_next(&worker->timers) != INT64_MAX)
        woken = gyre_timers_expire(&worker->timers, clock_now());
    if (ring_wants_enter(&worker->ring) ||
        (worker->ring.unsubmitted && (!worker->alone || has_local_work(worker))))
        gyre_ring_enter(&worker->ring, false, 0);
    woken += gyre_ring_reap(&worker->ring, worker);
    /* What they made ready told nobody; one alone runs next, here. */
    if (woken && !worker->alone && has_spare_work(worker)) {
        full_barrier();
        gyre_wake_one();
    }
}

static struct gyre_coro *pick_polled(struct worker *worker)
{
    struct gyre_coro *coro = NULL;

    if (worker->picks % POLL_PICKS == 0) {
        coro = gyre_deque_steal(&worker->deque);
        if (coro == DEQUE_RETRY)
            coro = NULL;
    }
    return coro ? coro : pick_local(worker);
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
        gyre_switch(&worker->loop, &next->frame);
        worker->running = NULL;
        gyre_arrive();
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
    worker->private_last = &worker->private_first;
    gyre_timers_init(&worker->timers, clock_now());
    inject_init(&worker->inject);
    inject_init(&worker->own);
    return 0;
}

void gyre_worker_destroy(struct worker *worker)
{
    gyre_deque_destroy(&worker->deque);
    if (worker->cleanup)
        worker->cleanup(worker);
}
