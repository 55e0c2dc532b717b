/*
 * gyre_test: a run of the scheduler with a test's settings, and a look at what is left behind.
 *
 * What has to happen inside the run (the clock, deadlocks, the schedule, coroutines and contexts
 * that are left) the scheduler does: sched/quiet.h, sched/shuffle.h, sched/run.c. Here is what
 * surrounds it. One at a time, as runs are.
 */
#include "base/grow.h"
#include "base/message.h"
#include "base/text.h"
#include "debug/descriptors.h"
#include "sched/options.h"
#include "sched/quiet.h"

#include <gyre/test.h>

#include <errno.h>
#include <stdatomic.h>

/* What version 0.1 had. */
#define OPTIONS_LEAST (offsetof(struct gyre_test_options, seed) + sizeof(uint64_t))

static _Atomic(unsigned) failures; /* expectations of this run that did not hold */

struct body {
    gyre_fn fn;
    void *arg;
    bool begun;
    int result;
};

CALLS_PROGRAM static int run_body(void *argument)
{
    struct body *body = argument;

    atomic_store_explicit(&failures, 0, memory_order_relaxed);
    body->begun = true;
    body->result = body->fn(body->arg);
    return body->result;
}

static int take_options(struct gyre_test_options *options, const struct gyre_test_options *asked)
{
    const struct gyre_test_options defaults = GYRE_TEST_OPTIONS_INIT;

    if (!asked)
        asked = &defaults;
    if (grow_copy(options, sizeof *options, OPTIONS_LEAST, asked, asked->size)) {
        gyre_message("cannot start: options not initialised with GYRE_TEST_OPTIONS_INIT, or of a "
                     "newer version");
        return -EINVAL;
    }
    if (options->workers > 1 && !options->real_clock) {
        gyre_message("cannot start: the virtual clock needs one worker; set real_clock for more");
        return -EINVAL;
    }
    return 0;
}

/* After the messages that say what was wrong: the last one, and what gyre_test returns. */
static int fail(const struct body *body, const struct run_settings *settings)
{
    gyre_message("test failed; GYRE_SEED=%llu %s", (unsigned long long)settings->seed,
                 settings->alone ? "replays it" : "makes the same choices, as far as these decide");
    if (settings->deadlocked)
        return -EDEADLK;
    return body->result ? body->result : -ENOTRECOVERABLE;
}

int gyre_test_run(gyre_fn fn, void *arg, const struct gyre_test_options *asked)
{
    struct body body = {.fn = fn, .arg = arg};
    struct gyre_options run = GYRE_OPTIONS_INIT;
    struct gyre_test_options options;
    struct descriptor_set before;
    int error = take_options(&options, asked);

    if (error)
        return error;
    struct run_settings settings = {
        .checks = true,
        .alone = options.workers <= 1,
        .virtual_clock = !options.real_clock,
        .shuffled = options.shuffle,
    };

    run.workers = options.workers;
    run.seed = options.seed;
    gyre_descriptor_set_read(&before);
    error = gyre_run_settings(fn ? run_body : NULL, &body, &run, &settings);
    /* Cancelled by the deadlock, the program may have left things where it would not otherwise. */
    if (body.begun && !settings.deadlocked)
        settings.leaks += gyre_descriptors_report_new(&before);
    gyre_descriptor_set_free(&before);
    if (!body.begun)
        return error;
    if (!body.result && !settings.deadlocked && !settings.leaks &&
        !atomic_load_explicit(&failures, memory_order_relaxed))
        return 0;
    return fail(&body, &settings);
}

int gyre_test(gyre_fn fn, void *arg)
{
    return gyre_test_run(fn, arg, NULL);
}

int gyre_test_wait(void)
{
    return gyre_quiet_wait();
}

void gyre_test_fail(const char *file, int line, const char *condition)
{
    atomic_fetch_add_explicit(&failures, 1, memory_order_relaxed);
    gyre_message("%s:%d: does not hold: %s", file, line, condition);
}
