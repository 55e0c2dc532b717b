/* Registered buffers, as reads and writes need them. */
#ifndef GYRE_LIB_FS_BUFFERS_H
#define GYRE_LIB_FS_BUFFERS_H

#include "sched/worker.h"

struct gyre_buffers;

/* In which slot of the worker's ring buffer index is registered, on first use too; -1: it is plain
 * memory. On the worker's own thread. */
int gyre_buffers_slot(struct gyre_buffers *buffers, unsigned index, struct worker *worker);

#endif
