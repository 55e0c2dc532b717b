/*
 * Points at which the explorer (tests/explore) may let another coroutine go first. They exist in
 * a build of its own (GYRE_EXPLORE), with one worker, where each choice comes from a seed;
 * elsewhere they are nothing.
 *
 * A point stands where another worker could come in between: before a lock is taken, before an
 * atomic word of a sync object is touched, between a claim and its wake. While a spinlock is
 * held, or the commit of a park runs, a point does nothing: a coroutine that stopped there would
 * leave the lock to the only thread there is. So locked sections are explored as wholes, which
 * they are.
 */
#ifndef GYRE_LIB_BASE_EXPLORE_H
#define GYRE_LIB_BASE_EXPLORE_H

#ifdef GYRE_EXPLORE

/* How many reasons there are not to stop here: locks held, a commit. A thread's own: the one
 * that waits in gyre_run takes locks too. */
extern _Thread_local unsigned gyre_explore_closed;

/* lib/sched/explore.c */
void gyre_explore_point(void);

static inline void explore_point(void)
{
    if (!gyre_explore_closed)
        gyre_explore_point();
}

static inline void explore_close(void)
{
    gyre_explore_closed++;
}

static inline void explore_open(void)
{
    gyre_explore_closed--;
}

#else

static inline void explore_point(void)
{
}

static inline void explore_close(void)
{
}

static inline void explore_open(void)
{
}

#endif

#endif
