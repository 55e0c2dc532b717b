/*
 * Preemption: who computes for a whole quantum gives the others their turn.
 *
 * A tick is a signal that a worker's thread gets for each quantum of CPU time that it used. A
 * coroutine that was picked before the last tick, or interrupted by it, has used up its own: the
 * gate (gate.c) says whether it may be interrupted where it is. If so the handler makes it call
 * gyre_preempt_here, which parks it at the end of `first`. If not, the worker is `pending`: whoever
 * comes to a checkpoint gives way; the ring's entries and the mailbox are served by the handler;
 * and a second timer tries again soon.
 *
 * Invariants
 * - A preempted coroutine holds nothing of the runtime's, and may hold addresses of its thread's
 *   locals: only its worker runs it, until it parks by itself.
 * - The handler and the code that it interrupts are one thread: what only they use is plain memory,
 * but the handler touches nothing of the worker's while the runtime is on the interrupted stack,
 * save `preempt` and `budget`, each by a single store.
 *
 * Turns. Who was preempted runs when nothing else is runnable, or when a tick came since one of
 * them was picked last. So they have half of the worker at least, and I/O never waits longer than
 * one of them computes, however many they are. One that is interrupted in its first slice had
 * hidden among new ones: then what I/O made ready goes before other new ones, which may be alike.
 *
 * Rejected: preempted ones in the FIFO (each request of a server then waits for all of them); turns
 * by picks (a pick is 10 ms for one, 5 us for the other).
 */
#ifndef GYRE_LIB_SCHED_PREEMPT_H
#define GYRE_LIB_SCHED_PREEMPT_H

#include "base/text.h"
#include "sched/fifo.h"

#include <gyre/preempt.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <ucontext.h>
#include <unwind.h>

/* Sanitizers have signals of their own ways, and the explorer its own schedule. */
#if !defined(GYRE_ASAN) && !defined(GYRE_TSAN) && !defined(GYRE_EXPLORE)
#define PREEMPT_SIGNALS 1
#endif

struct gyre_coro;
struct gyre_runtime;
struct worker;

/* How long a worker may be silent before the watchdog takes it for stuck. */
#define WATCHDOG_PATIENCE (10 * (int64_t)1000000)

enum { REPORT_FRAMES = 48, GATE_OPEN = -1, ONCE_WORDS = 2 };

/* What the watchdog asks a stuck worker for, and its handler fills in while it is not ready. A
 * copy: what the signal broke off may be all that kept the coroutine alive. */
struct stuck_report {
    _Atomic(uint64_t) progress; /* that is asked about */
    int64_t silent;             /* how long it had stood still; the watchdog's */
    uint64_t id;
    const char *started;
    char name[64];
    void *interrupted;
    unsigned count;
    void *frames[REPORT_FRAMES];
    _Atomic(bool) ready;
};

struct preemption {
    /* The owner's, its handler included. */
    struct fifo_link *first, **last; /* who was preempted, oldest first */
    uint64_t balanced;               /* the tick at which other workers' loads were looked at */
    uint64_t relief;                 /* the tick at which one of them was picked or put there */
    uint64_t seen;                   /* the progress at the last tick, or when one went on */
    uint64_t refused_progress;       /* that of the refusals in a row of one coroutine */
    unsigned refusals;
    bool retried;           /* the tick of this quantum was refused, and tried again */
    bool fresh;             /* the last that was preempted was in its first slice */
    bool ticking, retrying; /* there are these timers */
    bool soon;              /* a section has ended, and the retry timer was set for that */
    timer_t tick_timer, retry_timer;
    void **once[ONCE_WORDS]; /* this thread's __once_callable and __once_call, or NULL */
    uint64_t mask;           /* the thread's signal mask as the runtime set it */

    /* Others read or write these. */
    _Atomic(uint32_t) count;   /* of those in `first` */
    _Atomic(uint32_t) pending; /* who runs here should give way */
    _Atomic(uint32_t) stuck;   /* the watchdog has not heard of it: others take its completions */
    _Atomic(uint64_t) ticks, heard; /* signals of the timer; of any kind */
    _Atomic(uint64_t) preempted, confirmed, gave_way, rescued, times_stuck;
    _Atomic(uint64_t) refused[GYRE_REFUSAL_COUNT];
    _Atomic(struct text_map *) reading, reading_call; /* maps that handler and gate_call look at */

    /* The watchdog's. */
    uint64_t watched; /* the progress at its last look */
    int64_t since;    /* when that was new */
    int64_t next_signal;
    bool reported;
    int64_t probed; /* when a signal was sent, to see whether our handler gets it; 0: never... */
    uint64_t probed_heard; /* ...when it had heard so many */
    struct stuck_report report;
};

static inline void preempt_count_one(_Atomic(uint64_t) *count)
{
    /* One writer: no read-modify-write. */
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* preempt_mode.c. Process-wide, round the threads' lives. The first decides the mode; it fails only
 * for want of memory or a signal handler. */
int gyre_preempt_start(struct gyre_runtime *runtime);
void gyre_preempt_stop(struct gyre_runtime *runtime);

/* The handler was replaced: nothing is interrupted any more. */
void gyre_preempt_lost(struct gyre_runtime *runtime);

/* tick.c. The handler; on a worker's thread its mask and timers, at its start and end: a timer that
 * can't be had is told once, and done without. */
int gyre_tick_install(void);
void gyre_tick_remove(void);

/* Whether our handler is still the process's. */
bool gyre_tick_installed(void);
void gyre_tick_start(struct worker *worker);
void gyre_tick_stop(struct worker *worker);

/* From any thread: the worker's timers don't go off any more. */
void gyre_tick_silence(struct worker *worker);

/* A tick soon: a section has ended that put one off. By the worker's thread. */
void gyre_tick_retry(struct worker *worker);

/* The watchdog's signals: to serve the ring and mailbox, and to tell what the thread is doing. */
void gyre_tick_signal(struct worker *worker, bool report);

/* Asks the runtime to look whether the loaded objects changed; by the watchdog, often. */
void gyre_preempt_refresh(struct gyre_runtime *runtime);

/* What runs on an interrupted coroutine's stack. */
void gyre_preempt_here(void);

/* Picks where some were preempted. polled: I/O was just looked at, so one of them may have its
 * turn; else NULL when it is that. */
struct gyre_coro *gyre_preempt_pick(struct worker *worker, bool polled);

/* Marks the worker pending, from any thread; the mark goes with the next poll. */
void gyre_preempt_ask(struct worker *worker);
void gyre_preempt_forget(struct worker *worker);

/* The hooks of libgyre-preempt (base/interposed.h). */
void gyre_preempt_lock_acquired(void);
void gyre_preempt_lock_released(void);

/* preempt_count.c. GYRE_DEBUG=preempt. */
void gyre_preempt_describe(struct gyre_runtime *runtime);

/* gate.c. _Unwind_Backtrace in the handler, from there through what was interrupted; it may end
 * anywhere. */
void gyre_gate_walk(_Unwind_Trace_Fn step, void *argument);

/* Whether that is possible at all now. */
bool gyre_gate_may_walk(const struct gyre_coro *coro, const ucontext_t *context);

/* GATE_OPEN, or the enum gyre_refusal; in the handler, on the worker's thread. */
int gyre_gate(struct worker *worker, struct gyre_coro *coro, const ucontext_t *context);

/* The same where the runtime was called and is about to return: frame is what its caller's return
 * address is stored at, or below. */
bool gyre_gate_call(struct worker *worker, struct gyre_coro *coro, uintptr_t frame);

/* Whether neither the interrupted instruction nor its callers are the runtime's. */
bool gyre_gate_outside_runtime(struct worker *worker, struct gyre_coro *coro,
                               const ucontext_t *context);

#endif
