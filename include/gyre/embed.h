/*
 * gyre/embed.h - gyre beside something else: in the background of a program that has a main loop of
 * its own.
 *
 * A runtime started so is the process's only one, as with gyre_run, and may be started again after
 * it was stopped. None of these may be called in a coroutine.
 */
#ifndef GYRE_EMBED_H
#define GYRE_EMBED_H

#include <gyre/base.h>
#include <gyre/run.h>

GYRE_BEGIN_DECLS

/*
 * Starts a runtime in the background: its workers, and one thread that does what gyre_run's caller
 * does. fn(arg), which may be NULL, runs as its main coroutine; without it the runtime waits for
 * gyre_call and gyre_runtime_go. It runs until gyre_stop, also if fn returns before. options may be
 * NULL. Returns 0 and *runtime, or what gyre_run returns when it can't start. From a thread of the
 * program. Go: a Go library in a C program (c-shared).
 */
GYRE_API int gyre_start(struct gyre_runtime **runtime, gyre_fn fn, void *arg,
                        const struct gyre_options *options);

/*
 * Cancels all coroutines and waits until they and the threads have ended, as the end of gyre_run
 * does. Returns fn's result (0 without one), -EBUSY as gyre_run. No other thread may use the
 * runtime any more, or wait in gyre_call: those that do get -ECANCELED if their function had not
 * begun.
 */
GYRE_API int gyre_stop(struct gyre_runtime *runtime);

/*
 * Runs fn(arg) as a coroutine of the runtime and blocks the calling thread, no worker, until it has
 * ended: its result; -ECANCELED (the runtime shuts down: fn was not called), -EINVAL, -ENOMEM. Any
 * number of threads at once. From any thread that is no worker (in a coroutine it panics: just call
 * fn).
 */
GYRE_API int gyre_call(struct gyre_runtime *runtime, gyre_fn fn, void *arg);

/*
 * For an event loop: starts fn(arg) and returns at once. When it has ended, done(arg, result) is
 * called by gyre_finish, on the thread that calls that: when gyre_finish_fd is readable. So a loop
 * of libuv's, epoll or GLib polls one more descriptor and stays single-threaded. Returns 0,
 * -ENOMEM, -ECANCELED, -EINVAL. From any thread that is no worker.
 */
typedef void (*gyre_done_fn)(void *arg, int result);
GYRE_API int gyre_submit(struct gyre_runtime *runtime, gyre_fn fn, void *arg, gyre_done_fn done);
/* Readable while something has ended and gyre_finish was not called for it. The runtime's. */
GYRE_API int gyre_finish_fd(struct gyre_runtime *runtime);
/* Calls done for all that have ended; returns how many. Never blocks. One thread at a time. */
GYRE_API int gyre_finish(struct gyre_runtime *runtime);

GYRE_END_DECLS

#endif
