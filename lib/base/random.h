/*
 * One generator per worker (splitmix64): every choice the scheduler makes at random comes from
 * it, so that a schedule can be replayed from its seed.
 */
#ifndef GYRE_LIB_BASE_RANDOM_H
#define GYRE_LIB_BASE_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A number below bound (> 0). The bias of the multiplication is below 2^-32. */
static inline uint32_t random_below(struct random *r, uint32_t bound)
{
    return (uint32_t)(((random_next(r) >> 32) * bound) >> 32);
}

#endif
