/*
 * micro - one measure of the scheduler, through the public interface only: micro WORK.
 *
 * wake_other_worker  ns from starting a coroutine on a worker that sleeps to its first
 *                    instruction there, median
 * parked_1m          bytes each (resident and page tables) and seconds in all until a million
 *                    coroutines are parked; each joins the one before it, for nothing else that
 * parks a coroutine needs less memory of its own
 *
 * Prints one JSON object.
 */
#include <gyre.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAKES = 1001, PARKED = 1000000 };

static int stamp(void *arg)
{
    *(int64_t *)arg = gyre_now();
    return 0;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int measure_wake(void *arg)
{
    static int64_t latency[WAKES];

    (void)arg;
    for (int i = 0; i < WAKES; i++) {
        struct gyre_spawn_options options = GYRE_SPAWN_INIT;
        gyre_handle handle;
        int64_t begin, arrived, start = gyre_now();
        int error;

        while (gyre_now() - start < 300 * GYRE_MICROSECOND) /* the other worker falls asleep */
            ;
        options.flags = GYRE_SPAWN_PINNED;
        options.worker = 1 + !gyre_worker_index(); /* the other one of two, counted from 1 */
        begin = gyre_now();
        error = gyre_spawn_options(&handle, stamp, &arrived, &options);
        if (!error)
            error = gyre_join(handle, NULL);
        if (error)
            return error;
        latency[i] = arrived - begin;
    }
    qsort(latency, WAKES, sizeof latency[0], compare);
    printf("{\"value\": %lld}\n", (long long)latency[WAKES / 2]);
    return 0;
}

/* Resident memory and page tables of this process, in bytes. */
static double memory_used(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    long resident = 0, tables = 0;
    char line[256];

    if (!file)
        return 0;
    while (fgets(line, sizeof line, file)) {
        sscanf(line, "VmRSS: %ld", &resident);
        sscanf(line, "VmPTE: %ld", &tables);
    }
    fclose(file);
    return 1024.0 * (double)(resident + tables);
}

static gyre_handle parked[PARKED];
static atomic_bool let_go;
static atomic_long about_to_park;

static int park(void *arg)
{
    gyre_handle *before = arg;

    /* relaxed: only a count; the reader looks again until it is complete */
    atomic_fetch_add_explicit(&about_to_park, 1, memory_order_relaxed);
    if (before)
        return gyre_join(*before, NULL);
    while (!atomic_load_explicit(&let_go, memory_order_relaxed)) /* a flag, nothing behind it */
        gyre_sleep(10 * GYRE_MILLISECOND);
    return 0;
}

static int measure_parked(void *arg)
{
    double before, bytes;
    int64_t start, end;
    int error = 0;

    (void)arg;
    memset(parked, 1, sizeof parked); /* the handles are ours: resident before we begin */
    before = memory_used();
    start = gyre_now();
    for (int i = 0; i < PARKED && !error; i++)
        error = gyre_spawn(&parked[i], park, i ? &parked[i - 1] : NULL);
    while (!error && atomic_load_explicit(&about_to_park, memory_order_relaxed) < PARKED)
        gyre_yield();
    end = gyre_now();
    bytes = memory_used() - before;
    atomic_store_explicit(&let_go, true, memory_order_relaxed);
    if (error)
        return error;
    error = gyre_join(parked[PARKED - 1], NULL);
    printf("{\"bytes\": %.1f, \"seconds\": %.3f}\n", bytes / PARKED, (double)(end - start) / 1e9);
    return error;
}

static const struct {
    const char *name;
    gyre_fn fn;
    unsigned workers; /* 0: the default */
} works[] = {
    {"wake_other_worker", measure_wake, 2},
    {"parked_1m", measure_parked, 0},
};

int main(int argc, char **argv)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    int error;

    for (size_t i = 0; argc == 2 && i < sizeof works / sizeof works[0]; i++) {
        if (strcmp(argv[1], works[i].name) != 0)
            continue;
        options.workers = works[i].workers;
        error = gyre_run_options(works[i].fn, NULL, &options);
        if (error)
            fprintf(stderr, "micro: %s: %s\n", works[i].name, strerror(-error));
        return error != 0;
    }
    fprintf(stderr, "usage: micro wake_other_worker | parked_1m\n");
    return 2;
}
