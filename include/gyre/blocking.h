/*
 * gyre/blocking.h - calls that io_uring can't make: a function of a library, a system call without
 * an operation of its own.
 *
 * They run on a few helper threads of the runtime, started when they are first needed, at most
 * gyre_options.helpers (4): its only threads besides the workers and gyre_run's own. Calls of
 * gyre's that say "on a helper" (gyre/file.h, gyre/directory.h, gyre/process.h) use them too. While
 * all are busy further calls wait in order, parked, for as long as it takes: the queue is bounded
 * by the number of coroutines alone, and gyre_blocking_count shows it. A function that may block
 * for ever takes its helper with it; four such and nothing else is served.
 *
 * Cancellation: a call still in the queue is taken out when the context ends, and its function is
 * never called. A function that runs can't be stopped. gyre_blocking waits for it: its arguments
 * are on the caller's stack. gyre_blocking_detached does not: it works on a copy.
 */
#ifndef GYRE_BLOCKING_H
#define GYRE_BLOCKING_H

#include <gyre/base.h>

GYRE_BEGIN_DECLS

/*
 * Runs fn(arg) on a helper thread and returns what it returned. Parks. fn may block; it runs
 * outside any coroutine, with the signal mask and affinity of gyre_run's caller, so of gyre it may
 * call what says "from any thread", and its stack is as large as any thread's. Besides fn's own
 * result: -EINVAL (fn is NULL), -EAGAIN (there is no helper, and no thread can be started);
 * -ECANCELED, -ETIMEDOUT: the context had ended before a helper was free: fn was not called. An end
 * of the context while fn runs is seen by the caller's next call that parks. Only from a coroutine.
 * Go: what a blocking system call or cgo call does with a thread.
 */
GYRE_API int gyre_blocking(gyre_fn fn, void *arg);

/*
 * The same for a function that may take longer than its caller cares for. fn gets a copy of size
 * bytes from arg; when it returns in time the copy is copied back to arg. When the context ends
 * first the call returns -ECANCELED or -ETIMEDOUT at once, arg as it was; the helper stays busy
 * until fn returns, then drop(copy, result of fn) is called there (drop may be NULL), for what fn
 * may have made. Returns otherwise what gyre_blocking does, and -ENOMEM. The end of the runtime
 * waits for such functions as for coroutines, within the grace. Parks. Only from a coroutine.
 */
GYRE_API int gyre_blocking_detached(gyre_fn fn, void *arg, size_t size,
                                    void (*drop)(void *copy, int result));

/* What the pool does at the moment, and has done since the runtime began. */
struct gyre_blocking_counts {
    size_t size;      /* sizeof (struct gyre_blocking_counts); set it before the call */
    unsigned limit;   /* helpers there may be */
    unsigned helpers; /* threads that were started */
    unsigned busy;    /* that run a function now */
    unsigned queued;  /* calls that wait for a helper */
    uint64_t calls;   /* functions that were called */
};

/* Fills *count. Returns 0, -EINVAL (its size). Never parks. From any thread while the runtime runs;
 * all zeros without one. Go: none (runtime/metrics). */
GYRE_API int gyre_blocking_count(struct gyre_blocking_counts *count);

GYRE_END_DECLS

#endif
