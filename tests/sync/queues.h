/* What channel tests look at inside: how many wait, so that a test need not sleep to be sure. */
#ifndef GYRE_TESTS_SYNC_QUEUES_H
#define GYRE_TESTS_SYNC_QUEUES_H

#include "sync/chan.h"

#include <gyre.h>

static inline unsigned queue_length(struct gyre_chan *chan, const struct chan_queue *queue)
{
    unsigned count = 0;

    spin_lock(&chan->lock);
    for (const struct gyre_waiter *waiter = chan_first(queue); waiter; waiter = waiter->next)
        count++;
    spin_unlock(&chan->lock);
    return count;
}

/* Once a waiter is seen its coroutine has really parked: the commit of its park frees the lock. */
static inline void await_senders(gyre_channel channel, unsigned count)
{
    while (queue_length(channel.sender.chan, &channel.sender.chan->senders) != count)
        gyre_yield();
}

static inline void await_receivers(gyre_channel channel, unsigned count)
{
    while (queue_length(channel.sender.chan, &channel.sender.chan->receivers) != count)
        gyre_yield();
}

/* The caller knows that memory is there. */
static inline gyre_channel channel_of(size_t element_size, size_t capacity)
{
    gyre_channel channel;

    if (gyre_chan_make(&channel, element_size, capacity))
        abort();
    return channel;
}

#endif
