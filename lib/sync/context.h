/* What select needs of contexts: the channel that is closed when one ends. */
#ifndef GYRE_LIB_SYNC_CONTEXT_H
#define GYRE_LIB_SYNC_CONTEXT_H

#include "sched/context.h"

struct gyre_chan;

/* The context's done channel, made at the first call; it lives as long as the context. *chan is
 * NULL where the context never ends. 0 or -ENOMEM. The caller holds the context. Any thread. */
int gyre_context_done_chan(struct gyre_context *context, struct gyre_chan **chan);

#endif
