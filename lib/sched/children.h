/* What a process or thread started from a worker must not inherit. */
#ifndef GYRE_LIB_SCHED_CHILDREN_H
#define GYRE_LIB_SCHED_CHILDREN_H

#include "sched/cpus.h"

#include <signal.h>

/* Remembered from gyre_run's caller: what children get. NULL: nothing to give back. */
void gyre_children_set_original(const struct cpus *cpus, const sigset_t *mask);

/* By a thread that a worker has started: takes them. */
void gyre_children_take_original(void);

#endif
