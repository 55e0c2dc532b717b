/*
 * gyre/embed.h - gyre beside something else: in the background of a program that has a main loop of
 * its own.
 *
 * A runtime started so is the process's only one, as with gyre_run, and may be started again after
 * it was stopped. What the program's threads have set for themselves (signal mask, affinity) stays;
 * the runtime's threads begin with those of gyre_start's caller: who keeps signals for one thread
 * blocks them before gyre_start. After fork, the child may only exec.
 *
 * A runtime that was stopped is refused by all of these (-ECANCELED, or -EINVAL by gyre_stop), also
 * while another thread stops it: a gyre_call that comes late neither hangs nor touches what was
 * freed. Only that it is another one's by now is not noticed, should the program have started one
 * again meanwhile, at the same address.
 */
#ifndef GYRE_EMBED_H
#define GYRE_EMBED_H

#include <gyre/base.h>
#include <gyre/run.h>

GYRE_BEGIN_DECLS

/*
 * Starts a runtime in the background: its workers, and one thread that does what gyre_run's caller
 * does. fn(arg), which may be NULL, runs as its main coroutine; without it the runtime waits for
 * gyre_call, gyre_submit and gyre_runtime_go. It runs until gyre_stop, also if fn returns before.
 * options may be NULL. Blocks the calling thread until the workers run. Returns 0 and *runtime, or,
 * after a message, what gyre_run returns when it can't start (-EBUSY: one runs already; -EDEADLK:
 * in a coroutine). From a thread of the program. Go: a Go library in a C program (c-shared).
 */
GYRE_API int gyre_start(struct gyre_runtime **runtime, gyre_fn fn, void *arg,
                        const struct gyre_options *options);

/*
 * Cancels all coroutines and waits until they and the threads have ended, as the end of gyre_run
 * does: after the grace, stragglers abort the process, or, with keep_stragglers, are left behind
 * (-EBUSY). Calls done, on this thread, for what was submitted and not finished yet: so it is for
 * the thread that calls gyre_finish. Returns fn's result (0 without one; -ECANCELED where fn, a
 * server for instance, ran until now and returns that: no failure); -EBUSY; -EINVAL (it doesn't
 * run, or another thread stops it already); -EDEADLK (in a coroutine). Threads may be in gyre_call:
 * they get -ECANCELED if their function had not begun, else its result, when it has ended; one that
 * is left behind keeps its caller. Other calls that take the runtime, such as gyre_runtime_go, must
 * be over before. From any thread of the program, gyre_finish's done included. Go: none.
 */
GYRE_API int gyre_stop(struct gyre_runtime *runtime);

/*
 * Runs fn(arg) as a coroutine of the runtime, one of gyre_run's included, and blocks the calling
 * thread, no worker, until it has ended: its result; -ECANCELED (the runtime shuts down or was
 * stopped: fn was not called), -EINVAL (fn is NULL), -ENOMEM. fn runs under the runtime's context
 * alone. Any number of threads at once. From any thread that is no worker (in a coroutine it
 * panics: just call fn). Go: a call of an exported function from C.
 */
GYRE_API int gyre_call(struct gyre_runtime *runtime, gyre_fn fn, void *arg);

/*
 * For an event loop: starts fn(arg) and returns at once. When it has ended, done(arg, result) is
 * called by gyre_finish, on the thread that calls that: when gyre_finish_fd is readable. So a loop
 * of libuv's, epoll or GLib polls one more descriptor and stays single-threaded. Each submission
 * that was taken is finished once: where the runtime shut down before fn began, with -ECANCELED.
 * Returns 0, -ENOMEM, -ECANCELED (the runtime shuts down or was stopped), -EINVAL (fn or done is
 * NULL, or the runtime is gyre_run's). Never blocks. From any thread, and from a coroutine, which
 * so has something done on the loop's thread. libuv: uv_queue_work. Go: none.
 */
typedef void (*gyre_done_fn)(void *arg, int result);
GYRE_API int gyre_submit(struct gyre_runtime *runtime, gyre_fn fn, void *arg, gyre_done_fn done);

/*
 * Readable while something has ended and gyre_finish was not called for it: level-triggered or
 * edge-triggered polling will both do. The runtime's: only to be polled; gyre_stop closes it, so
 * take it out of the loop before. Returns it, -ECANCELED or -EINVAL as gyre_submit. Never blocks.
 * From any thread. libuv: uv_backend_fd. Go: none.
 */
GYRE_API int gyre_finish_fd(struct gyre_runtime *runtime);

/*
 * Calls done for all that have ended, in that order; returns how many, which may be 0 though the
 * descriptor was readable; -ECANCELED or -EINVAL as gyre_submit. done may submit and stop. Never
 * blocks. From any thread that is no worker, one at a time. libuv: uv_run with UV_RUN_NOWAIT. Go:
 * none.
 */
GYRE_API int gyre_finish(struct gyre_runtime *runtime);

GYRE_END_DECLS

#endif
