/*
 * Threads that are no workers, on a visit in a runtime that may end at any time.
 *
 * A visitor holds a pointer to a runtime that may have ended, and be freed. So it asks here first,
 * in memory that stays: between a begin that succeeded and its end the runtime stays as well, and
 * whatever coroutine it makes is counted before the shutdown counts. Visits are short: nobody
 * waits for a coroutine, or calls the program, during one, for the shutdown waits for them.
 */
#ifndef GYRE_LIB_SCHED_VISIT_H
#define GYRE_LIB_SCHED_VISIT_H

#include "base/macros.h"

#include <stdbool.h>

struct gyre_runtime;

/* False: this one does not run, or is shutting down; then there is no end to call. */
bool gyre_visit_begin(const struct gyre_runtime *runtime);
void gyre_visit_end(void);

/* By gyre_run's thread. The second waits for those inside. */
void gyre_visits_open(struct gyre_runtime *runtime);
void gyre_visits_close(void);

#endif
