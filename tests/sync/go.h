/* What the tests after Go's own share: channels of ints. */
#ifndef GYRE_TESTS_SYNC_GO_H
#define GYRE_TESTS_SYNC_GO_H

#include "../sched/inside.h"
#include "queues.h"

GYRE_CHAN_TYPE(ints, int);

static inline ints ints_of(size_t capacity)
{
    ints c;

    EXPECT_EQ(ints_make(&c, capacity), 0);
    return c;
}

static inline gyre_channel plain(ints c)
{
    return (gyre_channel){c.sender.any, c.receiver.any};
}

#define GO(fn, arg) EXPECT_EQ(gyre_go(fn, arg), 0)

#endif
