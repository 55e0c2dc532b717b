/*
 * Canaries of preemption: loops in assembly that keep values in every register of one kind, and
 * look whether they are still there. What lies between canary_begin and canary_end may be
 * interrupted anywhere.
 */
#ifndef GYRE_TESTS_CORO_PREEMPT_CANARY_H
#define GYRE_TESTS_CORO_PREEMPT_CANARY_H

#include "coro/fpu.h"

struct canary {
    const char *name;
    int (*run)(unsigned long rounds); /* 0: all was as it should be */
    unsigned needs;                   /* bits of canary_features() */
};

extern const struct canary canaries[]; /* ends with a NULL name */
extern const char canary_begin[], canary_end[];

unsigned canary_features(void);

/* To be called first by an injected function: complains of what it finds (NULL: nothing), and
 * leaves nothing as it was in the registers that a function may change. */
const char *canary_trash(const struct fpu_control *expected);

/* For the next call that may park: an x87 stack that is empty, as it has to be there. */
void canary_tidy(void);

#endif
