/*
 * What layers above have to undo when the runtime ends: once its threads have been joined, while
 * contexts and channels are still there.
 */
#ifndef GYRE_LIB_SCHED_ENDING_H
#define GYRE_LIB_SCHED_ENDING_H

struct ending {
    void (*call)(void);
    struct ending *next;
};

/* For the end of this run; once a run, with call set. Any thread of the runtime. */
void gyre_ending_add(struct ending *ending);

/* By gyre_run's thread, when no other is left. */
void gyre_endings_call(void);

#endif
