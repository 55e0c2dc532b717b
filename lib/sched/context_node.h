/* What scope.c needs of the tree besides context.h. */
#ifndef GYRE_LIB_SCHED_CONTEXT_NODE_H
#define GYRE_LIB_SCHED_CONTEXT_NODE_H

#include "sched/context.h"

/* A node under parent, held once for the caller; born ended when the parent has, whose end may
 * reach it, and owner, from then on. NULL: no memory. */
struct gyre_context *gyre_context_create(struct worker *worker, struct gyre_context *parent,
                                         struct gyre_coro *owner);

/* Takes it out of its parent's list; harmless when the parent's end did already. */
void gyre_context_unlink(struct gyre_context *context);

#endif
