#include "net/feed_pool.h"

#include "base/checks.h"
#include "base/clock.h"
#include "base/message.h"
#include "base/panic.h"

#include <gyre/base.h>

#include <errno.h>
#include <stdlib.h>

int64_t gyre_feed_pool_period = 2 * GYRE_SECOND;

static void send_message(struct feed_pool *pool, struct mailbox_message *message)
{
    mailbox_push(&pool->owner->mailbox, message);
    full_barrier();
    gyre_worker_notify(pool->owner);
}

/* --- growing and shrinking, under the lock ---------------------------------------------------- */

static void start_tick(struct feed_pool *pool)
{
    struct worker *worker = worker_current();

    /* A test's clock would jump to it. */
    if (pool->ticking || provided_circulating(&pool->buffers) <= gyre_provided_least || !worker ||
        clock_is_virtual())
        return;
    pool->ticking = true;
    gyre_wheel_start(&worker->timers, &pool->tick, clock_now() + gyre_feed_pool_period);
}

/* How many should circulate where at most so many are in use. */
static unsigned wanted(unsigned most)
{
    unsigned count = gyre_provided_least;

    while (count < 2 * most && count < gyre_provided_most)
        count *= 2;
    return count;
}

static bool too_many(const struct feed_pool *pool, unsigned most)
{
    return wanted(most) < provided_circulating(&pool->buffers) / 2 + 1;
}

static void fire(struct timer *timer)
{
    struct feed_pool *pool = container_of(timer, struct feed_pool, tick);
    struct provided *buffers = &pool->buffers;
    uint32_t left, taken;
    bool trim;

    spin_lock(&buffers->lock);
    pool->ticking = false;
    left = provided_left(buffers);
    taken = atomic_load_explicit(&buffers->taken, memory_order_relaxed);
    pool->most = provided_circulating(buffers) -
                 atomic_exchange_explicit(&buffers->least, left, memory_order_relaxed);
    trim = too_many(pool, pool->most) && !pool->trimming;
    if (trim)
        pool->trimming = true;
    else if (taken != pool->seen || too_many(pool, provided_circulating(buffers) - left))
        start_tick(pool); /* what has come back since the last one is too many by the next */
    pool->seen = taken;
    spin_unlock(&buffers->lock);
    if (trim)
        send_message(pool, &pool->trim);
}

/* With the lock, or alone. */
static struct mailbox_message *pop_starved(struct feed_pool *pool)
{
    struct mailbox_message *message = pool->starved;

    if (likely(!message))
        return NULL;
    pool->starved = message->next;
    if (!pool->starved)
        pool->last_starved = &pool->starved;
    return message;
}

static void handle_trim(void *argument, struct mailbox_message *trim)
{
    struct feed_pool *pool = container_of(trim, struct feed_pool, trim);
    struct worker *worker = argument;
    struct mailbox_message *message;
    unsigned keep;

    spin_lock(&pool->buffers.lock);
    keep = wanted(pool->most);
    spin_unlock(&pool->buffers.lock);
    if (!worker->handling)
        gyre_provided_trim(&pool->buffers, &worker->ring, worker, keep);
    spin_lock(&pool->buffers.lock);
    pool->trimming = false;
    start_tick(pool);
    while ((message = pop_starved(pool)))
        mailbox_push(&worker->mailbox, message);
    spin_unlock(&pool->buffers.lock);
}

/* --- taking and giving back ------------------------------------------------------------------- */

void gyre_feed_pool_take(struct feed_pool *pool, unsigned id)
{
    struct provided *buffers = &pool->buffers;
    uint32_t left = provided_take(buffers, id);

    if (likely(left >= provided_circulating(buffers) / 4))
        return;
    spin_lock(&buffers->lock);
    if (provided_left(buffers) < provided_circulating(buffers) / 4 && gyre_provided_grow(buffers))
        start_tick(pool);
    spin_unlock(&buffers->lock);
}

void gyre_feed_pool_put(struct feed_pool *pool, unsigned id, enum buffer_state from)
{
    struct provided *buffers = &pool->buffers;
    struct mailbox_message *message;

    spin_lock(&buffers->lock);
    if (unlikely(id >= PROVIDED_MOST || buffer_state(&buffers->all[id]) != from)) {
        spin_unlock(&buffers->lock);
        gyre_panic("gyre_feed_return of a piece that is not lent");
    }
    gyre_provided_put(buffers, id);
    message = buffers->settling ? NULL : pop_starved(pool);
    if (unlikely(provided_circulating(buffers) > gyre_provided_least))
        start_tick(pool);
    spin_unlock(&buffers->lock);
    if (unlikely(message))
        send_message(pool, message);
}

void gyre_feed_pool_pass_on(struct feed_pool *pool)
{
    struct mailbox_message *message = NULL;

    spin_lock(&pool->buffers.lock);
    if (provided_left(&pool->buffers))
        message = pop_starved(pool);
    spin_unlock(&pool->buffers.lock);
    if (message)
        send_message(pool, message);
}

bool gyre_feed_pool_starve(struct feed_pool *pool, struct mailbox_message *message)
{
    struct provided *buffers = &pool->buffers;
    bool starves;

    spin_lock(&buffers->lock);
    /* Where they are not registered, the owner has to try. */
    starves = buffers->settling ||
              (buffers->registered && !provided_left(buffers) && !gyre_provided_grow(buffers));
    if (starves) {
        message->next = NULL;
        *pool->last_starved = message;
        pool->last_starved = &message->next;
    }
    spin_unlock(&buffers->lock);
    return starves;
}

bool gyre_feed_pool_unstarve(struct feed_pool *pool, const struct mailbox_message *message)
{
    struct mailbox_message **at;
    bool found = false;

    spin_lock(&pool->buffers.lock);
    for (at = &pool->starved; *at; at = &(*at)->next) {
        if (*at != message)
            continue;
        *at = message->next;
        if (!*at)
            pool->last_starved = at;
        found = true;
        break;
    }
    spin_unlock(&pool->buffers.lock);
    return found;
}

/* --- made and unmade -------------------------------------------------------------------------- */

/* When the runtime ends; no thread uses a wheel any more. */
static void end(struct worker_end *end, struct worker *worker)
{
    struct feed_pool *pool = container_of(end, struct feed_pool, end);
    unsigned lent;

    gyre_wheel_stop(&pool->tick);
    lent = gyre_provided_destroy(&pool->buffers);
    if (lent && gyre_checks)
        gyre_message("leak: %u piece%s of feeds never given back", lent,
                     lent == 1 ? " was" : "s were");
    worker->feeds = NULL;
    free(pool);
}

int gyre_feed_pool_get(struct worker *worker, struct feed_pool **found)
{
    struct feed_pool *pool = worker->feeds;
    int error;

    if (pool) {
        *found = pool;
        return 0;
    }
    pool = calloc(1, sizeof *pool);
    if (!pool)
        return -ENOMEM;
    error = gyre_provided_init(&pool->buffers, &worker->ring);
    if (error) {
        free(pool);
        return error;
    }
    pool->owner = worker;
    pool->last_starved = &pool->starved;
    pool->tick.fire = fire;
    pool->trim.handle = handle_trim;
    pool->end.call = end;
    pool->end.next = worker->ends;
    worker->ends = &pool->end;
    worker->feeds = *found = pool;
    return 0;
}
