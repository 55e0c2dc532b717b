/* Making coroutines and letting them go. */
#ifndef GYRE_LIB_SCHED_SPAWN_H
#define GYRE_LIB_SCHED_SPAWN_H

#include "sched/worker.h"

#include <gyre/coro.h>

/*
 * Makes a runnable-to-be coroutine under context; the caller readies it. worker is the calling
 * one, or NULL on a foreign thread. options may be NULL. handle NULL: detached.
 */
int gyre_coro_create(struct worker *worker, const char *site, gyre_handle *handle, gyre_fn fn,
                     void *arg, const struct gyre_spawn_options *options,
                     struct gyre_context *context, struct gyre_coro **created);

/*
 * Starts a detached coroutine under context from the calling one; at_end is called with its
 * result when it has ended. options may be NULL. Errors as gyre_go: then at_end is not called.
 */
int gyre_coro_start(const char *site, gyre_fn fn, void *arg,
                    const struct gyre_spawn_options *options, struct gyre_context *context,
                    struct coro_end at_end);

/* Undoes gyre_coro_create for one without a handle that was never made ready. */
void gyre_coro_discard(struct worker *worker, struct gyre_coro *coro);

/* Gives the memory of an ended coroutine back, now or when its cancel message has been read. */
void gyre_coro_release(struct worker *worker, struct gyre_coro *coro);

/* The mailbox's reader is done with the cancel message: returns false when that released the
 * coroutine. */
bool gyre_coro_unqueue(struct worker *worker, struct gyre_coro *coro);

/* How many coroutines there are; never too few to be zero by mistake. */
size_t gyre_coro_live(struct gyre_runtime *runtime);

/* Calls the destructors of the caller's local values. */
void gyre_local_destroy_all(struct gyre_coro *self);

#endif
