/* What scopes and handles need of the tree besides context.h. */
#ifndef GYRE_LIB_SCHED_CONTEXT_NODE_H
#define GYRE_LIB_SCHED_CONTEXT_NODE_H

#include "sched/context.h"

/*
 * A node under parent, held once for the caller; born ended when the parent has, whose end may
 * reach it, and owner, from then on. NULL: no memory. worker is the calling one.
 */
struct gyre_context *gyre_context_create(struct worker *worker, struct gyre_context *parent,
                                         struct gyre_coro *owner);

/* One that ends with -ETIMEDOUT at the moment when, unless its parent does so before; now is now.
 */
struct gyre_context *gyre_context_create_until(struct worker *worker, struct gyre_context *parent,
                                               struct gyre_coro *owner, int64_t when, int64_t now);

/* One that has a value, which is dropped when its memory is given back. */
struct gyre_context *gyre_context_create_valued(struct worker *worker, struct gyre_context *parent,
                                                struct gyre_coro *owner,
                                                const struct gyre_context_key *key, void *value);

/* One that gives owner's scope the given context, which it does not end. */
struct gyre_context *gyre_context_create_passed(struct worker *worker, struct gyre_context *given,
                                                struct gyre_coro *owner);

/* One that never ends and has parent's values: the immortal one where there are none. */
struct gyre_context *gyre_context_create_shield(struct worker *worker, struct gyre_context *parent);

/* Takes it out of its parent's list; harmless when the parent's end did already. */
void gyre_context_unlink(struct gyre_context *context);

/* Who ends or leaves it holds it: the timer's reference is never the last one here. */
static inline void context_stop_timer(struct gyre_context *context)
{
    if (context->timed && gyre_wheel_stop(&context->timer))
        atomic_fetch_sub_explicit(&context->references, 1, memory_order_relaxed);
}

#endif
