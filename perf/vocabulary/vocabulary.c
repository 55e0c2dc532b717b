/*
 * vocabulary - one operation of gyre's, through the public interface only: vocabulary WORK
 * [SECONDS]. The program in perf/go does the same loops with Go. Prints one JSON object.
 */
#include "vocabulary.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct work *const files[] = {channel_works, sync_works, time_works, scheduler_works};

static struct {
    const char *name;
    double value;
} figures[8];

static double seconds = 0.2;

void figure(const char *name, double value)
{
    size_t i = 0;

    while (figures[i].name && strcmp(figures[i].name, name) != 0)
        i++;
    figures[i].name = name;
    figures[i].value = value;
}

/* Lengthens the loop until it takes the time asked for. */
static int ns_per_operation(int (*run)(long n), double *value)
{
    double goal = seconds * 1e9;
    long n = 1;

    for (;;) {
        int64_t start = gyre_now();
        int error = run(n);
        double took = (double)(gyre_now() - start);

        if (error)
            return error;
        if (took >= goal) {
            *value = took / (double)n;
            return 0;
        }
        n = took < goal / 100 ? n * 10 : 1 + (long)(1.2 * goal / took * (double)n);
    }
}

static int measure_time(const struct work *work)
{
    double before = 0, value;
    int error = work->prepare ? ns_per_operation(work->run, &before) : 0;

    if (!error && work->prepare)
        error = work->prepare();
    if (!error)
        error = ns_per_operation(work->run, &value);
    if (error)
        return error;
    if (work->prepare)
        figure("growth", value / before);
    figure("value", value / work->unit);
    return 0;
}

static int measure(void *arg)
{
    const struct work *work = arg;
    double value = 0;
    int error;

    if (!work->bytes)
        return measure_time(work);
    error = work->bytes(&value);
    figure("value", value);
    return error;
}

static int run_work(const struct work *work)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    int error;

    options.workers = work->workers;
    error = gyre_run_options(measure, (void *)(uintptr_t)work, &options);
    if (error) {
        fprintf(stderr, "vocabulary: %s: %s\n", work->name, strerror(-error));
        return 1;
    }
    for (size_t i = 0; figures[i].name; i++)
        printf("%c\"%s\": %.4f", i ? ',' : '{', figures[i].name, figures[i].value);
    printf("}\n");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 2)
        seconds = atof(argv[2]);
    for (size_t i = 0; argc > 1 && i < sizeof files / sizeof files[0]; i++)
        for (const struct work *work = files[i]; work->name; work++)
            if (!strcmp(work->name, argv[1]))
                return run_work(work);
    fprintf(stderr, "usage: vocabulary WORK [SECONDS]; scripts/bench --list names them\n");
    return 2;
}
