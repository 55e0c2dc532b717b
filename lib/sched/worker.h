/*
 * Workers and the runtime they form.
 *
 * A worker is a pinned thread with its own run queues, timers and ring. It runs coroutines one
 * after the other; a parking coroutine switches straight to the next one where the local queues
 * have one, and to the worker's own stack for everything else (polling, stealing, sleep).
 *
 * Park commit. A coroutine that parks may be woken from another worker at once, so nothing that
 * lets it be found may happen before its registers are saved. Hence each park names a commit,
 * which the coroutine or loop that runs next executes first (worker_arrive): it publishes the
 * wait, releases locks, or frees the stack of one that has ended.
 *
 * worker_current() must be asked again after each park: a coroutine resumes anywhere.
 */
#ifndef GYRE_LIB_SCHED_WORKER_H
#define GYRE_LIB_SCHED_WORKER_H

#include "base/random.h"
#include "sched/context.h"
#include "sched/coro.h"
#include "sched/cpus.h"
#include "sched/deque.h"
#include "sched/pace.h"
#include "sched/preempt.h"
#include "sched/shuffle.h"

#include <gyre/coro.h>
#include <gyre/run.h>

#include <pthread.h>

enum { POLL_PICKS = 61, OLDEST_POLLS = 16, POLLS_HELD = 4, SLOT_STREAK = 3 };

typedef void (*commit_fn)(struct worker *worker, struct gyre_coro *coro, void *argument);

enum worker_state {
    WORKER_RUNNING,
    WORKER_SLEEPING,
    WORKER_CLAIMED, /* a waker has it, and corrects the idle word */
    WORKER_NOTIFIED
};

struct descriptor_counts;
struct close_request;
struct feed_pool;
struct worker;

/* Something that ends with the worker, after its thread and ring: linked by that thread. */
struct worker_end {
    struct worker_end *next;
    void (*call)(struct worker_end *end, struct worker *worker);
};

struct worker {
    /* The owner's alone. */
    struct gyre_coro *running; /* NULL: the loop itself */
    struct gyre_coro *previous;
    commit_fn commit; /* for previous; NULL: nothing to do */
    void *commit_argument;
    void **exceptions;  /* this thread's C++ exception state, or NULL */
    uint64_t next_poll; /* the progress at which to poll */
    unsigned slot_streak;
    struct pace pace;
    unsigned budget; /* budget.h */
    uint64_t budget_progress;
    unsigned polls;
    unsigned polls_held; /* polls since the last enter that left submissions waiting */
    unsigned turn;       /* picks that were not the slot's: whose turn it is */
    bool alone;          /* the only worker: nobody steals */
    bool searching;      /* counted as such in the idle word */
    bool pressed;        /* some were preempted: gyre_preempt_pick picks */
    bool handling;       /* a signal handler is at work: no memory may be allocated */
    unsigned index;
    uint64_t next_id, last_id;
    struct switch_frame loop;
    struct stack_cache stacks;
    struct context_cache contexts;
    struct random random;
    struct deque deque;
    struct fifo fifo;
    struct fifo_link *private_first, **private_last; /* pinned coroutines: never stolen */
    struct fpu_control fpu;                          /* as every other coroutine has it */
    struct ring ring;
    struct descriptor_counts **descriptors; /* operations by descriptor: lib/io */
    void (*cleanup)(struct worker *worker); /* of those, when the runtime ends; or NULL */
    struct close_request *closers;          /* under the ring's reap lock: lib/io */
    struct worker_end *ends;
    struct feed_pool *feeds; /* their buffers, or NULL: lib/net */
    struct shuffle shuffle;
    struct preemption preempt;
    bool quiet;     /* in a test, and alone: quiet.c has a say before it sleeps */
    bool helped;    /* the same, when it last looked: helper threads had something to do */
    bool broken_up; /* everything was cancelled, for nothing would ever have happened */
    pthread_t thread;
    int start_error;

    /* Others read or write these. */
    _Alignas(CACHE_LINE_PAIR) _Atomic(struct gyre_coro *) slot; /* just woken: runs next */
    _Atomic(uint64_t) progress; /* grows with every pick: shows others that it is not stuck */
    _Atomic(uint64_t) started, ended;
    struct timers timers;
    _Alignas(CACHE_LINE_PAIR) _Atomic(uint32_t) state;
    struct mailbox mailbox;
    struct inject inject; /* from foreign threads; any worker may take them */
    struct inject own;    /* pinned coroutines made ready elsewhere; the owner's only */
};

struct gyre_runtime {
    unsigned worker_count;
    bool pinned;
    struct worker *workers;
    struct gyre_coro *main; /* type-stable, like every control block: may have ended */
    struct stack_pool stacks;
    struct gyre_options options;
    struct run_settings *settings;     /* or NULL: nothing special */
    struct run_background *background; /* or NULL: it is gyre_run's */
    struct gyre_coro *quiet_waiter;    /* in gyre_quiet_wait, or NULL */
    struct context_root contexts;
    struct cpus cpus;
    _Atomic(uint32_t) reported;  /* threads that started, well or not, and left the loop: a futex */
    _Atomic(uint32_t) attention; /* grows when gyre_run's thread has something to do: a futex */
    _Atomic(uint32_t) go;        /* 1: run; 2: end: a futex */
    _Atomic(uint32_t) stuck;     /* how many workers are: the others look after them */
    _Atomic(uint32_t) watchdog;  /* enum watchdog_state */
    unsigned quiet_looks;        /* the watchdog's, in a row, that found all asleep */
    bool mode_told;              /* the watchdog's: why nothing is interrupted */
    bool handler_checked;        /* the watchdog's: whether another one passes signals on to ours */
    _Atomic(struct text_map *) text;
    _Atomic(const char *) cooperative; /* why nothing is interrupted, or NULL */

    /* Idle word: workers asleep above, workers searching below. See idle.c. */
    _Alignas(CACHE_LINE_PAIR) _Atomic(uint64_t) idle;
    _Alignas(CACHE_LINE_PAIR) _Atomic(uint32_t) phase; /* enum runtime_phase */
    _Atomic(uint64_t) next_id;
    _Atomic(uint64_t) foreign_started;
    _Atomic(uint32_t) next_foreign; /* worker for the next foreign injection */
    struct spinlock foreign_lock;
    struct stack_cache foreign_stacks;
    _Atomic(uint32_t) foreigners; /* threads that are no workers, in here: see foreign_enter */
    _Atomic(int) main_result;
};

/* Asleep: whoever wakes up from an idle machine wakes it (gyre_watchdog_wait). */
enum watchdog_state { WATCHDOG_LOOKING, WATCHDOG_ASLEEP };

enum runtime_phase { PHASE_RUNNING, PHASE_STOPPING, PHASE_STOPPED };

/* One runtime at a time in a process. NULL: none. */
extern struct gyre_runtime *gyre_runtime_instance;

/*
 * The calling thread's worker, or NULL on a foreign thread. The compiler may not keep the
 * address of a thread-local over a park, so it must not see that this is one: an asm load,
 * repeated each time.
 */
#if defined(__x86_64__) && !defined(GYRE_ASAN) && !defined(GYRE_TSAN)
static inline struct worker *worker_current(void)
{
    struct worker *worker;

    __asm__ volatile("movq gyre_this_worker@gottpoff(%%rip), %0\n\tmovq %%fs:(%0), %0"
                     : "=r"(worker)
                     :
                     : "memory");
    return worker;
}
#else
struct worker *gyre_worker_current(void);
static inline struct worker *worker_current(void)
{
    return gyre_worker_current();
}
#endif
void gyre_worker_set_current(struct worker *worker);

static inline struct gyre_coro *coro_current(void)
{
    struct worker *worker = worker_current();

    return likely(worker) ? worker->running : NULL;
}

/*
 * Round what a thread that is no worker does to the runtime after it has made a coroutine runnable:
 * that one may be what the main coroutine waited for, and gyre_run about to return. It waits for
 * those inside first. NULL: the caller is a worker, whom it waits for anyway.
 */
static inline struct gyre_runtime *foreign_enter(void)
{
    struct gyre_runtime *runtime = likely(worker_current()) ? NULL : gyre_runtime_instance;

    /* Relaxed: before what is made runnable, by which the runtime's end is ordered behind it. */
    if (unlikely(runtime))
        atomic_fetch_add_explicit(&runtime->foreigners, 1, memory_order_relaxed);
    return runtime;
}

static inline void foreign_leave(struct gyre_runtime *runtime)
{
    /* Release: the last touch of the runtime; pairs with the acquire in stop_workers. */
    if (unlikely(runtime))
        atomic_fetch_sub_explicit(&runtime->foreigners, 1, memory_order_release);
}

_Noreturn void gyre_coro_missing(const char *call) __attribute__((cold));

/* The calling coroutine; panics with a clear line about call when there is none. */
static inline struct gyre_coro *coro_required(const char *call)
{
    struct gyre_coro *self = coro_current();

    if (unlikely(!self))
        gyre_coro_missing(call);
    return self;
}

/*
 * Parks the calling coroutine: the next one runs, and commits for it. Returns when it is ready
 * and picked, perhaps on another worker.
 */
void gyre_park(struct worker *worker, enum park_reason reason, commit_fn commit, void *argument);

/* The worker's thread: runs coroutines until the runtime stops. */
void gyre_worker_loop(struct worker *worker);

int gyre_worker_init(struct worker *worker, struct gyre_runtime *runtime, unsigned index);
void gyre_worker_destroy(struct worker *worker);

/*
 * Makes a parked coroutine runnable. gyre_ready: from anywhere; on a worker it goes to the
 * just-woken slot and runs next, or, where they tend to go on after a ready (pace.h), to the deque,
 * and a sleeper is woken. gyre_ready_later: from worker's own thread, to the end of its
 * FIFO (yielded, completed I/O); wakes nobody: the caller does, once for a batch.
 */
void gyre_ready(struct gyre_coro *coro);
void gyre_ready_later(struct worker *worker, struct gyre_coro *coro);

/* A new coroutine: to the worker's deque. */
void gyre_ready_new(struct worker *worker, struct gyre_coro *coro);

/* run.c: makes the thread that waits in gyre_run look. From any thread. */
void gyre_run_attend(struct gyre_runtime *runtime);

/* Waits while *word is value, for timeout nanoseconds (negative: for ever), or less. By no worker.
 */
void gyre_run_futex_wait(_Atomic(uint32_t) *word, uint32_t value, int64_t timeout);
void gyre_run_futex_wake(_Atomic(uint32_t) *word, int count);

/* idle.c */
void gyre_wake_one(void); /* work was queued: one sleeper, unless one searches */
void gyre_worker_notify(struct worker *worker); /* something for this worker: wake it if asleep */
struct gyre_coro *gyre_idle_find(struct worker *worker); /* search; NULL: poll again */
void gyre_idle_stop_searching(struct worker *worker);

/* A busy worker takes from the deque of one that has more: those who compute can't move once they
 * were interrupted, so they should begin evenly. */
void gyre_idle_balance(struct worker *worker);

/* watchdog.c: gyre_run's thread. Returns after a while, or when attention is no longer that. */
void gyre_watchdog_wait(struct gyre_runtime *runtime, uint32_t attention, int64_t timeout);
/* What stuck workers can't do: their completions, timers and just-woken ones come to this one. */
void gyre_watchdog_help(struct worker *worker);

static inline uint32_t idle_searching(uint64_t idle)
{
    return (uint32_t)idle;
}

static inline uint32_t idle_sleeping(uint64_t idle)
{
    return (uint32_t)(idle >> 32);
}

/* Full barrier between making work visible and looking for sleepers; pairs with the one in
 * idle.c between publishing the sleep and the last look. */
static inline void full_barrier(void)
{
#ifdef GYRE_TSAN
    static _Atomic(int) model; /* TSan knows no fences: a read-modify-write that all share */

    atomic_fetch_add_explicit(&model, 0, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

#endif
