/*
 * The buffers of a worker's feeds, and what follows from their number: who waits for one, and when
 * the pool grows and shrinks.
 *
 * Invariants
 * - A feed that found no buffer has left its message to the owner here, and counts it as sent; each
 *   buffer that comes back sends one. A feed can't be freed while its message is out.
 * - The tick runs while more circulate than at first, and some were used since it last fired or
 *   more circulate than are needed now: each two seconds. A pool that is not used wakes nobody.
 * - A pool lives as long as the runtime, for the pieces that are lent.
 *
 * Locks: a feed's, then the buffers', then a wheel's.
 */
#ifndef GYRE_LIB_NET_FEED_POOL_H
#define GYRE_LIB_NET_FEED_POOL_H

#include "ring/provided.h"
#include "sched/worker.h"

struct feed_pool {
    struct provided buffers;
    struct worker *owner;
    struct worker_end end;
    struct mailbox_message *starved, **last_starved; /* under the buffers' lock, as all below */
    struct timer tick;
    struct mailbox_message trim;
    bool ticking, trimming; /* the tick is pending; the message is under way */
    unsigned most;          /* in use between the last two ticks */
    uint32_t seen;          /* buffers.taken at the last tick */
};

/* Between ticks, in nanoseconds; shorter in tests. */
extern int64_t gyre_feed_pool_period;

/* The calling thread's. 0, -EOPNOTSUPP, -ENOMEM. */
int gyre_feed_pool_get(struct worker *worker, struct feed_pool **pool);

/* A completion named the buffer; under the reap lock. */
void gyre_feed_pool_take(struct feed_pool *pool, unsigned id);

/* The buffer is free again. From any worker. */
void gyre_feed_pool_put(struct feed_pool *pool, unsigned id, enum buffer_state from);

/* The kernel found no buffer. True: message, which is the feed's, goes to the owner when one has
 * come back. False: there are some. */
bool gyre_feed_pool_starve(struct feed_pool *pool, struct mailbox_message *message);
/* True: the message was waiting, and is the caller's again. */
bool gyre_feed_pool_unstarve(struct feed_pool *pool, const struct mailbox_message *message);

/* A buffer that a message was sent for may not be needed: the next one is sent, if one is left. */
void gyre_feed_pool_pass_on(struct feed_pool *pool);

#endif
