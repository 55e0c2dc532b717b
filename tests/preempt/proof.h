/*
 * How a condition of the gate is proven: its scenario runs twice, in a child process each. With the
 * whole gate it has to end well, and the condition to be the one that refused (or the gate to
 * open); without the condition it has to go wrong in one of the ways that it names, after somebody
 * else ran in the middle of it.
 */
#ifndef GYRE_TESTS_PREEMPT_PROOF_H
#define GYRE_TESTS_PREEMPT_PROOF_H

#include <gyre/preempt.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define BIT(condition) (1u << (condition))

/* How a scenario ends. Not well: by its own check, by a signal or a panic, or not at all. */
enum outcome { FINE = 1, WRONG = 2, CRASHES = 4, HANGS = 8 };

enum { REFUSED_NOT = -1 };

struct scenario {
    const char *name;
    unsigned without;      /* BITs: the condition, and what would stand in for it */
    unsigned then;         /* enum outcome, some of them */
    int refusal;           /* by the whole gate: enum gyre_refusal or REFUSED_NOT */
    int (*victim)(void);   /* 0: all is well */
    int (*intruder)(void); /* the same; NULL: nothing but being there */
    unsigned workers;      /* 0: one */
    bool cooperative;      /* for the program without libgyre-preempt */
};

/* What both processes see. */
struct proof_shared {
    atomic_bool inside;   /* the victim is where it must not be interrupted */
    atomic_bool intruded; /* somebody else ran meanwhile */
};
extern struct proof_shared *proof_shared;

bool proof_intruded(void);

/* Runs all of them, or one by name; main's result. */
int proof(const struct scenario *scenarios, size_t count, const char *name);

/* In a coroutine of the child, after a run with the whole gate that went well. */
bool proof_was_refused(const struct scenario *scenario);

/* The child's life. By proof.c. */
_Noreturn void proof_child(const struct scenario *scenario, unsigned without);

#endif
