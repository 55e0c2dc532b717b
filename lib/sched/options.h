/* What the program and the environment ask for, checked and filled in. */
#ifndef GYRE_LIB_SCHED_OPTIONS_H
#define GYRE_LIB_SCHED_OPTIONS_H

#include <gyre/run.h>

#include <stdbool.h>

enum { WORKERS_MAX = 1024 };

struct debug_topics {
    bool ring, checks, preempt;
};

/* What a test wants of the scheduler besides, and what came of it. */
struct run_settings {
    bool checks;
    bool alone; /* one worker, whatever the options say; it keeps still for gyre_quiet_wait */
    bool virtual_clock; /* of that one worker: see quiet.c */
    bool shuffled;

    uint64_t seed;
    bool deadlocked;
    size_t leaks; /* coroutines, contexts, channels */
};

/* gyre_run_options; settings may be NULL. Its results are not touched where it could not start. */
int gyre_run_settings(gyre_fn fn, void *arg, const struct gyre_options *options,
                      struct run_settings *settings);

/*
 * gyre_run for gyre_start, whose thread this is: fn may be NULL, and it goes on until gyre_run_end.
 * started is called once nothing can go wrong any more, before the first coroutine runs.
 */
struct run_background {
    void (*started)(struct run_background *self, struct gyre_runtime *runtime);
    bool left_behind; /* set at the end: coroutines would not end, and use it all still */
};
int gyre_run_background(gyre_fn fn, void *arg, const struct gyre_options *options,
                        struct run_background *background);
/* Begins the shutdown, once. From any thread, in a visit. */
void gyre_run_end(struct gyre_runtime *runtime);

/*
 * Fills *options from asked (may be NULL) and the environment; workers stays 0 where nobody gave a
 * number. Returns 0, or -EINVAL after a message that names the culprit.
 */
int gyre_options_resolve(struct gyre_options *options, const struct gyre_options *asked,
                         struct debug_topics *debug);

#endif
