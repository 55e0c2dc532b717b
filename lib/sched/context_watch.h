/*
 * Who else wants to know that a context has ended: channels, functions to be called.
 *
 * A watch is called once, by who ends the context, outside all locks, after the error can be read
 * and the context's own coroutines were woken, before the contexts below end. It is taken off its
 * list first, one at a time, so that unwatching another one in a call works.
 *
 * Lifetime. Who watches or unwatches holds the context; a watch does not. One that is still on
 * when the context's memory is given back is forgotten. From the moment at which it is taken off
 * the watch belongs to its call: the end does not touch it any more, the call may free it.
 */
#ifndef GYRE_LIB_SCHED_CONTEXT_WATCH_H
#define GYRE_LIB_SCHED_CONTEXT_WATCH_H

#include "sched/context.h"

struct context_watch {
    struct context_watch *next, **place;       /* guarded by the lock of members; NULL: off */
    void (*call)(struct context_watch *watch); /* may take spinlocks, must not park */
};

/* False: the context has ended already, watch->call is not called. With call set. Any thread. */
bool gyre_context_watch(struct gyre_context *context, struct context_watch *watch);

/* True: the watch is off and will not be called. False: it has been called, is being called, or
 * was never on. Any thread. */
bool gyre_context_unwatch(struct gyre_context *context, struct context_watch *watch);

/* For context.c: calls the watches of a context that has ended. By who ended it, holding it. */
void gyre_context_call_watches(struct gyre_context *context);

#endif
