/*
 * Timers, tickers, after and after-func: a wheel's timer and a channel in one block.
 *
 * All is under the channel's lock, and the wheel's is taken inside it. A callback of the wheel's
 * runs outside the wheel's lock and takes the channel's, so a stop may come after it was called and
 * before it has the lock. Such a stop counts it as stale, and it does nothing once it has the lock.
 * Which one of several callbacks under way takes which stale mark does not matter: as many as were
 * not stopped fire, none before it is due, none after a stop. So a stop or a reset says "stopped"
 * exactly when what it stopped gives nothing.
 *
 * Memory. The callbacks hold no reference: the last release takes the timer off the wheel, and
 * where callbacks are under way leaves the block to the last of them. QUIET says that there is
 * none, not even one about to release the lock; seen from where that was made so, it needs no lock.
 * The wheel's end fires what is still pending, on no worker, so that what nobody holds is freed and
 * nothing refers to the wheel afterwards.
 *
 * Rejected: a generation that the callback compares (it would have to be in the wheel's timer, read
 * under its lock); a reference held by the wheel (two locked instructions a timer); one block each
 * for channel and timer; to start on the wheel only when somebody waits on the channel, as Go does
 * (every look at a channel would have to know timers); to read the clock only when the coroutine
 * parks (a timer would be late by what was computed before).
 */
#include "base/checks.h"
#include "base/clock.h"
#include "base/panic.h"
#include "sched/options.h"
#include "sched/spawn.h"
#include "sync/chan.h"

#include <gyre/time.h>

#include <errno.h>

enum { CACHED_MAX = 64 };

enum timer_state {
    TIMER_QUIET, /* not running, and no callback is under way */
    TIMER_ARMED, /* started, and neither fired nor stopped */
    TIMER_LOOSE, /* not running; a callback may be under way */
};

struct gyre_timer {
    _Alignas(16) int64_t moment; /* the channel's buffer: the channel stands right before it */
    struct timer timer;
    _Atomic(uint8_t) state; /* enum timer_state, changed under the lock */
    bool orphaned;          /* nobody holds it: the last callback frees it */
    uint32_t stale;         /* callbacks under way whose timer was stopped */
    union {
        int64_t period;
        struct {
            const char *site;
            gyre_fn fn;
            void *arg;
        };
        struct gyre_timer *next; /* in a cache */
    };
};

struct gyre_ticker {
    struct gyre_timer timer;
};

_Static_assert(offsetof(struct gyre_chan, buffer) == sizeof(struct gyre_chan),
               "a timer's channel finds its buffer in the timer");

static struct gyre_chan *chan_of(struct gyre_timer *timer)
{
    return (struct gyre_chan *)timer - 1;
}

static gyre_receiver handle_of(struct gyre_timer *timer)
{
    return (gyre_receiver){chan_of(timer)};
}

static struct gyre_timer *timer_of(struct timer *timer)
{
    return container_of(timer, struct gyre_timer, timer);
}

static struct worker *here(const char *call)
{
    coro_required(call);
    return worker_current();
}

/* --- memory ---------------------------------------------------------------------------------- */

/* Freed blocks, by worker. They stay for the next run. With a sanitizer there are none. */
static struct cache {
    _Alignas(CACHE_LINE) struct gyre_timer *first;
    unsigned count;
} caches[WORKERS_MAX];

static struct gyre_timer *take_block(struct worker *worker, bool recorded, void *made_by)
{
    struct cache *cache = &caches[worker->index];
    struct gyre_timer *timer = cache->first;
    struct gyre_chan *chan;

    if (likely(timer && !recorded)) {
        cache->first = timer->next;
        cache->count--;
        return timer;
    }
    chan = gyre_chan_allocate(sizeof *chan + sizeof *timer, recorded, made_by);
    return chan ? (struct gyre_timer *)(chan + 1) : NULL;
}

/* Its count of references stays zero: a late use may be noticed. */
static void give_block(struct gyre_timer *timer)
{
    struct worker *worker = worker_current();
    struct gyre_chan *chan = chan_of(timer);

#if !defined(GYRE_ASAN) && !defined(GYRE_TSAN)
    if (likely(worker && !chan->recorded) && caches[worker->index].count < CACHED_MAX) {
        struct cache *cache = &caches[worker->index];

        timer->next = cache->first;
        cache->first = timer;
        cache->count++;
        return;
    }
#endif
    (void)worker;
    gyre_chan_free(chan);
}

static void drop(void *chan);

static struct gyre_timer *make(struct worker *worker, const char *name,
                               void (*fire)(struct timer *timer), bool recorded, void *made_by)
{
    struct gyre_timer *timer = take_block(worker, recorded, made_by);
    struct gyre_chan *chan;

    if (unlikely(!timer))
        return NULL;
    chan = chan_of(timer);
    gyre_chan_init(chan, sizeof timer->moment, 1);
    chan->embedded = true;
    chan->recorded = recorded;
    chan->name = name;
    chan->drop = drop;
    timer->timer.link.next = NULL;
    timer->timer.fire = fire;
    timer->timer.fires_at_end = true;
    timer->stale = 0;
    timer->orphaned = false;
    return timer;
}

/* --- started and stopped --------------------------------------------------------------------- */

static uint8_t state_of(const struct gyre_timer *timer)
{
    /* Relaxed: exact under the lock; for QUIET see the top. */
    return atomic_load_explicit(&timer->state, memory_order_relaxed);
}

static void set_state(struct gyre_timer *timer, enum timer_state state)
{
    atomic_store_explicit(&timer->state, (uint8_t)state, memory_order_relaxed);
}

static int64_t deadline_in(int64_t duration)
{
    return clock_after(clock_now(), duration);
}

/* With the lock held, or before anybody knows the timer. */
static void start(struct worker *worker, struct gyre_timer *timer, int64_t when)
{
    set_state(timer, TIMER_ARMED);
    gyre_wheel_start(&worker->timers, &timer->timer, when);
}

/* With the lock held. Whether it was running. */
static bool disarm(struct gyre_timer *timer)
{
    bool armed = state_of(timer) == TIMER_ARMED;

    if (armed && !gyre_wheel_stop(&timer->timer))
        timer->stale++;
    set_state(timer, timer->stale ? TIMER_LOOSE : TIMER_QUIET);
    return armed;
}

/* The same, and what it fired and nobody received is gone. */
static bool stop(struct gyre_timer *timer)
{
    struct gyre_chan *chan = chan_of(timer);
    bool stopped = disarm(timer);

    if (chan_count(chan)) {
        atomic_store_explicit(&chan->count, 0, memory_order_relaxed);
        stopped = true;
    }
    return stopped;
}

/* The last release. */
static void drop(void *chan)
{
    struct gyre_timer *timer = (struct gyre_timer *)((struct gyre_chan *)chan + 1);
    struct spinlock *lock = &chan_of(timer)->lock;
    bool left = false;

    if (state_of(timer) != TIMER_QUIET) {
        spin_lock(lock);
        disarm(timer);
        left = timer->stale;
        timer->orphaned = left;
        spin_unlock(lock);
    }
    if (!left)
        give_block(timer);
}

/* --- fired ----------------------------------------------------------------------------------- */

/* The end of a callback that has the lock. */
static void leave(struct gyre_timer *timer)
{
    bool last = timer->orphaned && !timer->stale;

    spin_unlock(&chan_of(timer)->lock);
    if (last)
        give_block(timer);
}

/* The begin of a callback: it has the lock. False: it was stopped, or the wheel ends, and nothing
 * is left to do. */
static bool enter(struct gyre_timer *timer, const struct worker *worker)
{
    spin_lock(&chan_of(timer)->lock);
    if (likely(!timer->stale && worker))
        return true;
    if (timer->stale)
        timer->stale--;
    else
        set_state(timer, TIMER_LOOSE);
    leave(timer);
    return false;
}

/* With the lock held, which is released. The moment is that of the run that fires, so it was looked
 * up under the lock: a callback that came before may have waited for it since an earlier run. */
static void put(struct gyre_timer *timer, int64_t moment)
{
    struct gyre_chan *chan = chan_of(timer);

    if (gyre_chan_put(chan, &moment))
        spin_unlock(&chan->lock);
}

static void fire_once(struct timer *fired)
{
    struct gyre_timer *timer = timer_of(fired);

    if (!enter(timer, worker_current()))
        return;
    set_state(timer, TIMER_LOOSE);
    put(timer, clock_now());
}

static int64_t next_tick(int64_t tick, int64_t period, int64_t now)
{
    int64_t missed = now > tick ? (now - tick) / period : 0, next;

    /* The last one missed is not after now. */
    return __builtin_add_overflow(tick + missed * period, period, &next) ? INT64_MAX : next;
}

static void fire_tick(struct timer *fired)
{
    struct gyre_timer *timer = timer_of(fired);
    struct worker *worker = worker_current();
    int64_t now;

    if (!enter(timer, worker))
        return;
    now = clock_now();
    start(worker, timer, next_tick(fired->deadline, timer->period, now));
    put(timer, now);
}

/* The coroutine is made with the lock held, so that a stop tells whether it will run. */
static void fire_func(struct timer *fired)
{
    struct gyre_timer *timer = timer_of(fired);
    struct worker *worker = worker_current();
    struct gyre_coro *coro;
    int error;

    if (!enter(timer, worker))
        return;
    error = gyre_coro_create(worker, timer->site, NULL, timer->fn, timer->arg, NULL,
                             &gyre_runtime_instance->contexts.root, &coro);
    if (unlikely(error == -ENOMEM)) {
        start(worker, timer, deadline_in(GYRE_MILLISECOND));
        spin_unlock(&chan_of(timer)->lock);
        return;
    }
    set_state(timer, TIMER_LOOSE);
    leave(timer);
    if (likely(!error))
        gyre_ready_later(worker, coro);
}

/* --- timers ---------------------------------------------------------------------------------- */

int gyre_timer_create(struct gyre_timer **timer, int64_t duration)
{
    struct worker *worker = here("gyre_timer_create");
    struct gyre_timer *made =
        make(worker, "timer", fire_once, gyre_checks, __builtin_return_address(0));

    if (unlikely(!made))
        return -ENOMEM;
    start(worker, made, deadline_in(duration));
    *timer = made;
    return 0;
}

gyre_receiver gyre_timer_channel(struct gyre_timer *timer)
{
    if (timer->timer.fire == fire_func)
        return (gyre_receiver){NULL};
    return handle_of(timer);
}

int gyre_timer_stop(struct gyre_timer *timer)
{
    struct gyre_chan *chan = chan_of(timer);
    bool stopped;

    chan_check(chan);
    spin_lock(&chan->lock);
    stopped = stop(timer);
    spin_unlock(&chan->lock);
    return stopped;
}

int gyre_timer_reset(struct gyre_timer *timer, int64_t duration)
{
    struct worker *worker = here("gyre_timer_reset");
    struct gyre_chan *chan = chan_of(timer);
    int64_t when = deadline_in(duration);
    bool stopped;

    chan_check(chan);
    spin_lock(&chan->lock);
    stopped = stop(timer);
    start(worker, timer, when);
    spin_unlock(&chan->lock);
    return stopped;
}

void gyre_timer_destroy(struct gyre_timer *timer)
{
    struct gyre_chan *chan;

    if (!timer)
        return;
    chan = chan_of(timer);
    chan_check(chan);
    /* Acquire: pairs with the release of the last other holder. Only holders make new ones. */
    if (likely(state_of(timer) == TIMER_QUIET && !chan_first(&chan->receivers) &&
               atomic_load_explicit(&chan->references, memory_order_acquire) == 1)) {
        atomic_store_explicit(&chan->references, 0, memory_order_relaxed);
        give_block(timer);
        return;
    }
    gyre_timer_stop(timer);
    gyre_chan_release_receiver(handle_of(timer));
}

int gyre_after(gyre_receiver *receiver, int64_t duration)
{
    struct worker *worker = here("gyre_after");
    struct gyre_timer *made =
        make(worker, "after", fire_once, gyre_checks, __builtin_return_address(0));

    if (unlikely(!made))
        return -ENOMEM;
    start(worker, made, deadline_in(duration));
    *receiver = handle_of(made);
    return 0;
}

int gyre_after_func_at(const char *site, struct gyre_timer **timer, int64_t duration, gyre_fn fn,
                       void *arg)
{
    struct worker *worker = here("gyre_after_func");
    struct gyre_timer *made;

    if (!fn)
        return -EINVAL;
    /* One that nobody holds is nobody's to forget. */
    made = make(worker, "after_func", fire_func, gyre_checks && timer, __builtin_return_address(0));
    if (unlikely(!made))
        return -ENOMEM;
    made->site = site;
    made->fn = fn;
    made->arg = arg;
    made->orphaned = !timer;
    start(worker, made, deadline_in(duration));
    if (timer)
        *timer = made;
    return 0;
}

/* --- tickers --------------------------------------------------------------------------------- */

int gyre_ticker_create(struct gyre_ticker **ticker, int64_t period)
{
    struct worker *worker = here("gyre_ticker_create");
    struct gyre_timer *made;

    if (period <= 0)
        return -EINVAL;
    made = make(worker, "ticker", fire_tick, gyre_checks, __builtin_return_address(0));
    if (unlikely(!made))
        return -ENOMEM;
    made->period = period;
    start(worker, made, deadline_in(period));
    *ticker = container_of(made, struct gyre_ticker, timer);
    return 0;
}

gyre_receiver gyre_ticker_channel(struct gyre_ticker *ticker)
{
    return handle_of(&ticker->timer);
}

void gyre_ticker_stop(struct gyre_ticker *ticker)
{
    gyre_timer_stop(&ticker->timer);
}

void gyre_ticker_reset(struct gyre_ticker *ticker, int64_t period)
{
    struct worker *worker = here("gyre_ticker_reset");
    struct gyre_chan *chan = chan_of(&ticker->timer);
    int64_t when;

    if (period <= 0)
        gyre_panic("gyre_ticker_reset with a period of %ld ns", (long)period);
    when = deadline_in(period);
    chan_check(chan);
    spin_lock(&chan->lock);
    stop(&ticker->timer);
    ticker->timer.period = period;
    start(worker, &ticker->timer, when);
    spin_unlock(&chan->lock);
}

void gyre_ticker_destroy(struct gyre_ticker *ticker)
{
    gyre_timer_destroy(ticker ? &ticker->timer : NULL);
}
