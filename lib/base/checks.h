/*
 * Whether the runtime watches for mistakes that cost something to find: handles used after their
 * last release, contexts and channels that nobody released. GYRE_DEBUG=checks turns it on,
 * gyre_test for its run, and a library of buildtype=debug has it on from the start.
 */
#ifndef GYRE_LIB_BASE_CHECKS_H
#define GYRE_LIB_BASE_CHECKS_H

#include <stdbool.h>
#include <stddef.h>

/* Changes only while no runtime runs, so objects of a run are all watched or none. What was made
 * before may be unwatched: count down only what was counted. */
extern bool gyre_checks;

/* Of this run, to tell what was made in it. */
extern unsigned gyre_checks_run;

/* Prints the channels of this run that nobody released, and returns how many. Channels are above
 * who asks: set with the first that is watched, NULL until then. */
extern size_t (*gyre_checks_channels)(void);

#endif
