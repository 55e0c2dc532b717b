/* A coroutine that selects, for the tests of select. */
#ifndef GYRE_TESTS_SYNC_SELECTING_H
#define GYRE_TESTS_SYNC_SELECTING_H

#include "../sched/inside.h"
#include "queues.h"

struct selector {
    struct gyre_case *cases;
    size_t count;
    int result;
    atomic_int done;
    gyre_handle handle;
};

static inline int run_select(void *arg)
{
    struct selector *selector = arg;

    selector->result = gyre_select_n(selector->cases, selector->count);
    atomic_store(&selector->done, 1);
    return 0;
}

static inline void start(struct selector *selector, struct gyre_case *cases, size_t count)
{
    *selector = (struct selector){.cases = cases, .count = count, .result = -1};
    EXPECT(!gyre_spawn(&selector->handle, run_select, selector));
}

static inline int end(struct selector *selector)
{
    EXPECT(!gyre_join(selector->handle, NULL));
    return selector->result;
}

static inline gyre_channel full_of(int number, size_t capacity)
{
    gyre_channel c = channel_of(sizeof number, capacity);

    while (capacity--)
        EXPECT_EQ(gyre_chan_send(c.sender, &number), 0);
    return c;
}

#endif
