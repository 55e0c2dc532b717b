/*
 * cost - what preemption costs a program that has no use for it: cost WORK [SECONDS]. The driver
 * runs it as it is and with GYRE_QUANTUM=off.
 *
 * compute     a coroutine a worker that computes and calls nothing: a thousand steps
 * chan        two coroutines of one worker and two unbuffered channels: a round trip
 * checkpoint  gyre_checkpoint while nobody wants the worker, the loop round it included
 *
 * Nanoseconds of the process's CPU time, signals and all: a busy machine disturbs that less than it
 * does the clock on the wall. The least of several stretches, each as long as some ticks. Prints
 * one JSON object.
 */
#include <gyre.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

GYRE_CHAN_TYPE(longs, long);

enum { STEPS = 1024 };

static int64_t cpu_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int compute_some(void *arg)
{
    long n = *(long *)arg;
    uint64_t x = 88172645463325252u;

    for (; n > 0; n--) {
        for (int i = 0; i < STEPS; i++) { /* xorshift: each step waits for the one before */
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
        }
        __asm__ volatile("" : "+r"(x)); /* the result is wanted */
    }
    return 0;
}

/* n of them, shared out. */
static int compute(long n)
{
    unsigned workers = gyre_worker_count();
    long share = n / workers + 1;
    int error = 0;

    GYRE_GROUP(group);
    for (unsigned i = 0; i < workers && !error; i++)
        error = gyre_group_go(&group, compute_some, &share);
    return gyre_group_wait(&group);
}

static int answer(void *arg)
{
    longs *both = arg;
    long value;

    while (longs_recv(both[0].receiver, &value) == 1)
        longs_send(both[1].sender, value);
    return 0;
}

static int round_trips(long n)
{
    longs both[2];
    gyre_handle handle;
    long value = 0;
    int error = longs_make(&both[0], 0);

    if (!error)
        error = longs_make(&both[1], 0);
    if (!error)
        error = gyre_spawn(&handle, answer, both);
    if (error)
        return error;
    for (long i = 0; i < n && !error; i++) {
        longs_send(both[0].sender, i);
        if (longs_recv(both[1].receiver, &value) != 1 || value != i)
            error = -EPROTO;
    }
    longs_close(both[0].sender);
    gyre_join(handle, NULL);
    longs_release(both[0]);
    longs_release(both[1]);
    return error;
}

static int checkpoints(long n)
{
    for (long i = 0; i < n; i++) {
        gyre_checkpoint();
        __asm__ volatile("" : "+r"(i)); /* one loop a checkpoint, not unrolled */
    }
    return 0;
}

static const struct work {
    const char *name;
    unsigned workers; /* 0: one per CPU */
    int (*run)(long n);
} works[] = {
    {"compute", 0, compute},
    {"chan", 1, round_trips},
    {"checkpoint", 1, checkpoints},
};

static double seconds = 0.2;

static int time_it(const struct work *work, long n, double *took)
{
    int64_t start = cpu_now();
    int error = work->run(n);

    *took = (double)(cpu_now() - start);
    return error;
}

static int measure(void *arg)
{
    const double stretch = 40e6;
    const struct work *work = arg;
    double took = 0, least = 0, left = seconds * 1e9;
    long n = 1;
    int error = 0;

    while (!error && took < stretch) {
        n = took < stretch / 100 ? n * 10 : 1 + (long)(1.2 * stretch / took * (double)n);
        error = time_it(work, n, &took);
    }
    for (; !error && left > 0; left -= took) {
        error = time_it(work, n, &took);
        if (least == 0 || took < least)
            least = took;
    }
    if (!error)
        printf("{\"value\": %.4f}\n", least / (double)n);
    return error;
}

int main(int argc, char **argv)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    if (argc > 2)
        seconds = atof(argv[2]);
    for (size_t i = 0; argc > 1 && i < sizeof works / sizeof works[0]; i++) {
        int error;

        if (strcmp(argv[1], works[i].name) != 0)
            continue;
        options.workers = works[i].workers;
        error = gyre_run_options(measure, (void *)(uintptr_t)&works[i], &options);
        if (error)
            fprintf(stderr, "cost: %s: %s\n", argv[1], strerror(-error));
        return error != 0;
    }
    fprintf(stderr, "usage: cost compute | chan | checkpoint [SECONDS]\n");
    return 2;
}
