/*
 * Runs the scenarios: explore [COUNT [FIRST [SCENARIO]]], COUNT seeds each from FIRST on. To look
 * at a failure: explore 1 SEED SCENARIO.
 */
#include "explore.h"

#include "base/random.h"
#include "sched/options.h"
#include "sched/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SECONDS_AT_MOST = 300 };

static const struct scenario *const all[] = {chan_scenarios, sync_scenarios, time_scenarios};
static const struct scenario *current;
static uint64_t seed, first = 1, count = 1000;
static const char *only;
static struct random program;

static void complain(void)
{
    fprintf(stderr, "explore: scenario %s, seed %llu: explore 1 %llu %s replays it\n",
            current ? current->name : "none", (unsigned long long)seed, (unsigned long long)seed,
            current ? current->name : "");
}

_Noreturn void explore_fail(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    complain();
    _exit(1);
}

/* Out of time, a panic, a crash. */
static void died(int signal)
{
    (void)signal;
    complain();
    _exit(1);
}

unsigned explore_below(unsigned bound)
{
    return random_below(&program, bound);
}

void crew_spawn(struct crew *crew, gyre_fn fn, void *arg)
{
    HOLDS(crew->count < sizeof crew->members / sizeof *crew->members);
    HOLDS(gyre_spawn(&crew->members[crew->count], fn, arg) == 0);
    crew->count++;
}

void crew_join(struct crew *crew)
{
    for (unsigned i = 0; i < crew->count; i++) {
        int error = gyre_join(crew->members[i], NULL);

        /* Everything was cancelled because nobody could go on. */
        if (error)
            explore_fail("crew_join", 0, "no deadlock");
    }
    crew->count = 0;
}

static void run_seed(const struct scenario *scenario, uint64_t number)
{
    current = scenario;
    seed = number;
    program.state = number;
    worker_current()->random.state = number ^ 0x5851f42d4c957f2du;
    scenario->run();
    HOLDS(gyre_coro_count() == 1);
}

static void run_seeds(const struct scenario *scenario)
{
    /* So that what a first run finds empty, caches of stacks, is the same for a seed that is run
     * alone. */
    run_seed(scenario, first);
    for (uint64_t n = 0; n < count; n++)
        run_seed(scenario, first + n);
}

static int run_all(void *unused)
{
    (void)unused;
    signal(SIGSEGV, died); /* in place of the runtime's, which knows no seeds */
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (const struct scenario *scenario = all[i]; scenario->name; scenario++)
            if (!only || !strcmp(only, scenario->name))
                run_seeds(scenario);
    return current ? 0 : -ENOENT;
}

int main(int argc, char **argv)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    struct run_settings settings = {.alone = true, .virtual_clock = true, .shuffled = true};
    int error;

    if (argc > 1)
        count = strtoull(argv[1], NULL, 0);
    if (argc > 2)
        first = strtoull(argv[2], NULL, 0);
    if (argc > 3)
        only = argv[3];
    signal(SIGALRM, died);
    signal(SIGABRT, died);
    alarm(SECONDS_AT_MOST);
    options.workers = 1;
    error = gyre_run_settings(run_all, NULL, &options, &settings);
    if (error == -ENOENT)
        fprintf(stderr, "explore: no scenario is called %s\n", only);
    else if (error || settings.deadlocked)
        complain();
    return error || settings.deadlocked;
}
