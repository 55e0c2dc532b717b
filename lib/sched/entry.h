/* Where every coroutine begins. */
#ifndef GYRE_LIB_SCHED_ENTRY_H
#define GYRE_LIB_SCHED_ENTRY_H

struct gyre_coro;

/* Runs the coroutine's function; never returns. */
void gyre_coro_entry(void *coro);

/* The end of the calling coroutine (spawn.c). */
_Noreturn void gyre_coro_finish(struct gyre_coro *self);

#endif
