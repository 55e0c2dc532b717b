/* How closing a descriptor and completing operations on it meet. */
#ifndef GYRE_LIB_IO_CLOSE_H
#define GYRE_LIB_IO_CLOSE_H

#include "sched/worker.h"

/* Under the reap lock of home: an operation on fd has completed there, and closers wait. */
void gyre_close_completed(struct worker *home, int fd);

#endif
