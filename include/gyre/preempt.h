/*
 * gyre/preempt.h - what happens to a coroutine that computes without end.
 *
 * Each worker has a timer of its thread's CPU time. A coroutine that had the worker for a whole
 * quantum (10 ms; struct gyre_options, GYRE_QUANTUM) is interrupted by SIGURG: if it is in the
 * program's own code, holds no lock, and nothing on its stack forbids it, all its registers are
 * saved and the others have their turn, I/O and timers first. It goes on where it was, on the same
 * worker, so that addresses of thread-local variables which it holds stay right. Elsewhere (in the
 * C library, in some other library, with a lock) it is left alone and tried again a little later.
 * docs/preemption.md has each condition and its reason.
 *
 * What changes for a program:
 *
 * - Between any two instructions of its own code another coroutine of the same worker may run. Data
 *   shared between coroutines needs a gyre_mutex or atomics, as it does with several workers
 *   anyway. Thread-local variables that several coroutines use need gyre_preempt_off round each
 *   use that must be whole: counters, caches, buffers.
 * - System calls return EINTR no more often than under any profiler: the handler is installed with
 *   SA_RESTART, and a thread that sleeps gets no ticks.
 * - A program that locks pthread mutexes or stdio streams links libgyre-preempt (pkg-config
 *   gyre-preempt), which counts the locks that a coroutine holds. Without it a program that has
 *   such locks in its own code, or in a library outside the C library, is not interrupted at all.
 *
 * Under a sanitizer, valgrind, a static C library, and on a processor without the code for it,
 * nothing is interrupted: there gyre_checkpoint, and the calls that may park, give way.
 */
#ifndef GYRE_PREEMPT_H
#define GYRE_PREEMPT_H

#include <gyre/base.h>

GYRE_BEGIN_DECLS

/*
 * Between these two the calling coroutine is not interrupted; they nest, up to 65,535 deep. Keep
 * the section short: the worker's other coroutines, its timers and I/O wait for its end, or for
 * other workers. It may park: the count is the coroutine's, and goes with it. Where a quantum ran
 * out meanwhile, the caller is interrupted as the section ends, in gyre_preempt_on, or soon after.
 *
 * Never fail; outside a coroutine they do nothing. gyre_preempt_on panics without a
 * gyre_preempt_off before it. Go: none (runtime.LockOSThread does not stop preemption either).
 */
GYRE_API void gyre_preempt_off(void);
GYRE_API void gyre_preempt_on(void);

/*
 * A function that is not interrupted, nor what it calls: for code bound to its thread, or that must
 * not be split. `GYRE_NO_PREEMPT static int next_number(void) {...}`. Costs nothing at run time. It
 * is not inlined, and its last call is no jump. In the program and in libraries that
 * gyre_preempt_allow named; not for C++'s templates, where g++ ignores it.
 */
/* A section for each, or g++ could not put inline and other functions into one. */
#define GYRE_NO_PREEMPT_SECTION_ section("gyre_no_preempt." GYRE_STRING(__COUNTER__))
#if defined(__clang__)
#define GYRE_NO_PREEMPT __attribute__((noinline, GYRE_NO_PREEMPT_SECTION_, disable_tail_calls))
#else
#define GYRE_NO_PREEMPT                                                                            \
    __attribute__((noinline, noclone, GYRE_NO_PREEMPT_SECTION_,                                    \
                   optimize("no-optimize-sibling-calls")))
#endif

/* How many workers want the coroutine that they run to give way. gyre_checkpoint's own. */
GYRE_API extern uint32_t gyre_checkpoint_wanted;
GYRE_API int gyre_checkpoint_slow(void);

/*
 * For a long loop where preemption may not reach it: in the modes that interrupt nothing, and where
 * its time passes in calls of libraries, or of gyre's own that never park (as in `while (gyre_now()
 * < end)`), between which it is seldom caught. Gives way to the others if the caller has had its
 * quantum, else costs a load and a branch. Then parks (briefly, never for a resource), as
 * gyre_yield does.
 *
 * Who was interrupted after its context had ended learns of it at its next checkpoint.
 *
 * Returns 0; after it gave way -ECANCELED or -ETIMEDOUT when the context has ended. Outside a
 * coroutine it does nothing. Go: none; the compiler did this up to Go 1.13.
 */
static inline int gyre_checkpoint(void)
{
    return __builtin_expect(__atomic_load_n(&gyre_checkpoint_wanted, __ATOMIC_RELAXED) != 0, 0)
               ? gyre_checkpoint_slow()
               : 0;
}

/*
 * Declares that coroutines may be interrupted in the shared library that contains `address` (of
 * one of its functions), as in the program itself: for a program's own libraries. A library with
 * locks of its own, other than those libgyre-preempt counts, or with thread-local state, must not
 * be named. The library stays loaded from then on.
 *
 * Returns 0; -EINVAL: no loaded object is there, or it is the C library, the dynamic linker or
 * gyre; -ENOMEM. Never parks; from any thread, before or during gyre_run; holds for the process.
 */
GYRE_API int gyre_preempt_allow(const void *address);

/* Why a coroutine was not interrupted at a tick. */
enum gyre_refusal {
    GYRE_REFUSED_RUNTIME, /* in gyre itself */
    GYRE_REFUSED_LIBRARY, /* in the C library or another one, or in code of no known object */
    GYRE_REFUSED_SECTION, /* gyre_preempt_off, a GYRE_NO_PREEMPT function */
    GYRE_REFUSED_LOCK,    /* holds a lock that libgyre-preempt counts */
    GYRE_REFUSED_MASK,    /* the thread's signal mask is not what gyre gave it */
    GYRE_REFUSED_STACK,   /* on another stack than its own, or no room left on it */
    GYRE_REFUSED_CALLER,  /* a function on its stack is of a library, the runtime or a section */
    GYRE_REFUSED_DEEP,    /* its stack is too deep to be looked through in a signal handler */
    GYRE_REFUSED_STATE,   /* registers that can't be saved are in use (AMX tiles) */
    GYRE_REFUSED_MODE,    /* preemption is cooperative in this process: see below */
    GYRE_REFUSAL_COUNT
};

/* What became of the ticks, summed over the workers since gyre_run began. */
struct gyre_preempt_counts {
    size_t size;        /* sizeof (struct gyre_preempt_counts), set by the caller */
    const char *mode;   /* "asynchronous"; else why not: "cooperative: ..." or "off" */
    uint64_t ticks;     /* signals of the timers, retries and the watchdog */
    uint64_t preempted; /* coroutines that were interrupted */
    uint64_t confirmed; /* of these, let through by unwinding the stack, which a scan refused */
    uint64_t gave_way;  /* at checkpoints and other cooperative points */
    uint64_t rescued;   /* completions and timers of a stuck worker that others took */
    uint64_t stuck;     /* times that a worker was not heard of for 10 ms */
    uint64_t refused[GYRE_REFUSAL_COUNT];
};

/*
 * Fills *counts. Returns 0, -EINVAL (size). Never parks; only from a coroutine, or a thread that
 * knows that gyre_run runs. GYRE_DEBUG=preempt prints the same when gyre_run ends.
 */
GYRE_API int gyre_preempt_count(struct gyre_preempt_counts *counts);

/* A refusal in words, such as "in a library". NULL: no such number. */
GYRE_API const char *gyre_refusal_name(enum gyre_refusal refusal);

GYRE_END_DECLS

#endif
