/*
 * A log-linear histogram of nanoseconds: 64 steps per power of two (1.6 % wide at most), up to
 * about 4,600 seconds, no allocation, mergeable. HdrHistogram_c would be the kept library, but
 * Debian 12 does not package it; this is the part of it that a percentile needs.
 */
#ifndef GYRE_PERF_HISTOGRAM_H
#define GYRE_PERF_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_STEP_BITS = 6,
    HISTOGRAM_STEPS = 1 << HISTOGRAM_STEP_BITS,
    HISTOGRAM_POWERS = 37,
    HISTOGRAM_BUCKETS = HISTOGRAM_STEPS * HISTOGRAM_POWERS
};

struct histogram {
    uint64_t count;
    int64_t max;
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_index(uint64_t value)
{
    unsigned shift;

    if (value < HISTOGRAM_STEPS)
        return (unsigned)value;
    shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
    if (shift > HISTOGRAM_POWERS - 2)
        return HISTOGRAM_BUCKETS - 1;
    return shift * HISTOGRAM_STEPS + (unsigned)(value >> shift);
}

static inline void histogram_add(struct histogram *h, int64_t value)
{
    if (value < 0)
        value = 0;
    h->bucket[histogram_index((uint64_t)value)]++;
    h->count++;
    if (value > h->max)
        h->max = value;
}

static inline void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->bucket[i] += from->bucket[i];
    into->count += from->count;
    if (from->max > into->max)
        into->max = from->max;
}

/* The middle of the bucket that holds the given share (0 .. 1) of all values; 0 when empty. */
static inline double histogram_quantile(const struct histogram *h, double share)
{
    uint64_t rank = (uint64_t)(share * (double)h->count), seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        unsigned shift = i < 2 * HISTOGRAM_STEPS ? 0 : i / HISTOGRAM_STEPS - 1;

        seen += h->bucket[i];
        if (seen > rank || (seen == h->count && seen > 0))
            return (double)((uint64_t)(i - shift * HISTOGRAM_STEPS) << shift) +
                   0.5 * (double)((uint64_t)1 << shift);
    }
    return 0;
}

#endif
