/* What the program and the environment ask for, checked and filled in. */
#ifndef GYRE_LIB_SCHED_OPTIONS_H
#define GYRE_LIB_SCHED_OPTIONS_H

#include <gyre/run.h>

enum { WORKERS_MAX = 1024 };

struct debug_topics {
    int ring;
};

/*
 * Fills *options from asked (may be NULL) and the environment; workers stays 0 where nobody gave a
 * number. Returns 0, or -EINVAL after a message that names the culprit.
 */
int gyre_options_resolve(struct gyre_options *options, const struct gyre_options *asked,
                         struct debug_topics *debug);

#endif
