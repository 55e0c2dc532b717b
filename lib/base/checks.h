/*
 * Whether the runtime watches for mistakes that cost something to find: handles used after their
 * last release, contexts and channels that nobody released. GYRE_DEBUG=checks turns it on,
 * gyre_test for its run, and a library of buildtype=debug has it on from the start.
 */
#ifndef GYRE_LIB_BASE_CHECKS_H
#define GYRE_LIB_BASE_CHECKS_H

#include <stdbool.h>

/* Changes only while no runtime runs, so objects of a run are all watched or none. What was made
 * before may be unwatched: count down only what was counted. */
extern bool gyre_checks;

#endif
