/*
 * vocabulary.h - what the files of works share. A work is a loop that perf/go does with Go, word
 * for word; vocabulary.c measures it.
 */
#ifndef VOCABULARY_H
#define VOCABULARY_H

#include <gyre.h>

#include <stdatomic.h>
#include <stddef.h>

struct work {
    const char *name;
    unsigned workers;            /* 0: one per CPU */
    double unit;                 /* ns, or 1e6 for ms */
    int (*run)(long n);          /* n operations: 0 or -errno; may leave figures */
    int (*prepare)(void);        /* if set, run is measured before it and after it */
    int (*bytes)(double *bytes); /* in place of run */
};

extern const struct work channel_works[], sync_works[], time_works[], scheduler_works[];

/* Leaves a figure beside the time; a later one of the same name takes its place. */
void figure(const char *name, double value);

/*
 * Two coroutines that meet run at the same moment, hence on two workers. Where they go from there
 * is the scheduler's choice: apart is the share of samples in which they were on different ones.
 */
struct meeting {
    atomic_int arrived;
    atomic_uint other;
    long seen, differ;
};

enum { SAMPLE_EVERY = 64 };

static inline void meet(struct meeting *meeting)
{
    /* relaxed: nothing is behind the count */
    atomic_fetch_add_explicit(&meeting->arrived, 1, memory_order_relaxed);
    while (atomic_load_explicit(&meeting->arrived, memory_order_relaxed) < 2)
        ;
}

static inline void report_worker(struct meeting *meeting, long i)
{
    if (i % SAMPLE_EVERY == 0) /* relaxed: a sample */
        atomic_store_explicit(&meeting->other, gyre_worker_index(), memory_order_relaxed);
}

static inline void compare_worker(struct meeting *meeting, long i)
{
    if (i % SAMPLE_EVERY != 0)
        return;
    meeting->seen++; /* relaxed: a sample */
    meeting->differ +=
        gyre_worker_index() != atomic_load_explicit(&meeting->other, memory_order_relaxed);
}

static inline void figure_apart(const struct meeting *meeting)
{
    figure("apart", (double)meeting->differ / (double)meeting->seen);
}

#endif
