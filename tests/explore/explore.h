/*
 * The explorer: each scenario is a small program over the sync types that is run again and again,
 * each time with another seed. The library is a build of its own (lib/base/explore.h): one worker,
 * virtual time, and the seed decides who is next at every park and at every point where another
 * worker could have come in between. A seed that fails fails again.
 */
#ifndef GYRE_TESTS_EXPLORE_H
#define GYRE_TESTS_EXPLORE_H

#include <gyre.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct scenario {
    const char *name;
    void (*run)(void);
};

extern const struct scenario chan_scenarios[], sync_scenarios[], time_scenarios[];

/* Says what does not hold, in which scenario and seed, and ends the program. */
_Noreturn void explore_fail(const char *file, int line, const char *condition);

#define HOLDS(condition) ((condition) ? (void)0 : explore_fail(__FILE__, __LINE__, #condition))

/* A number below bound that is part of the seed's program. */
unsigned explore_below(unsigned bound);

/* Coroutines of a scenario, all joined at its end, outside of its context. */
struct crew {
    gyre_handle members[16];
    unsigned count;
};

void crew_spawn(struct crew *crew, gyre_fn fn, void *arg);
void crew_join(struct crew *crew);

#endif
