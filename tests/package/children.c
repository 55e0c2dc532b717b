/*
 * A child started from a coroutine sees the CPUs that the program was given, not the one that its
 * worker is bound to, however the library was linked; 77 where io_uring is forbidden.
 */
#define _GNU_SOURCE
#include <gyre.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

static const char command[] = "test $(nproc) -eq $ORIGINAL";

static int by_popen(void)
{
    FILE *child = popen(command, "r");

    return child ? pclose(child) : -1;
}

static int start(void *arg)
{
    int by_system = system(command);

    (void)arg;
    if (by_system || by_popen()) {
        printf("a child sees other CPUs\n");
        return 1;
    }
    return 0;
}

int main(void)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    char count[16];
    cpu_set_t cpus;
    int result;

    if (sched_getaffinity(0, sizeof cpus, &cpus))
        return 1;
    snprintf(count, sizeof count, "%d", CPU_COUNT(&cpus));
    setenv("ORIGINAL", count, 1);
    if (system(command)) /* outside, before there is a runtime */
        return 1;
    options.pinning = GYRE_PINNING_ON;
    result = gyre_run_options(start, NULL, &options);
    return result == -1 || result == -38 ? 77 : result;
}
