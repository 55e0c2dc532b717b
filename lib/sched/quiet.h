/*
 * A test's only worker with nothing to run: the clock moves on, or nothing will ever happen again.
 *
 * Quiet means: no coroutine is runnable, no message, no submission, no
 * completion and no call of gyre_blocking under way.
 * Then, first that applies: who waits for it in gyre_quiet_wait goes on; virtual time jumps to the
 * next timer; with neither it is a deadlock. That is reported and everything is cancelled, from
 * here, so that all who can be woken have been when it is quiet again: those left then never end.
 * The same goes for what a test has left behind when its main coroutine ends.
 *
 * What threads of the program's own will do is unknown here. Where they wake coroutines by anything
 * but a descriptor, a test wants the real clock.
 *
 * Rejected: to let time pass while a submission is in flight. A reply that is about to come would
 * race with its timeout, and the outcome would depend on the machine.
 */
#ifndef GYRE_LIB_SCHED_QUIET_H
#define GYRE_LIB_SCHED_QUIET_H

#include "sched/worker.h"

/* What time it is when a test begins: the year 2000, if it were a date. */
#define QUIET_START ((int64_t)946684800 * GYRE_SECOND)

/* By the worker itself, when it found nothing: true: look again; false: sleep. */
bool gyre_quiet_idle(struct worker *worker);

/* Parks the caller until it is quiet but for timers. Panics where the runtime is no test's, or
 * another one waits. 0 or why the context has ended. */
int gyre_quiet_wait(void);

/* By the main coroutine, at its end: gives those who are about to end the time to do so. Returns
 * how many other coroutines remain. */
size_t gyre_quiet_settle(void);

#endif
