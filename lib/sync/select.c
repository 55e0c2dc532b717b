/*
 * Select, as Go's: do one of the cases that are ready; else wait in the queues of all their
 * channels until one of those who come by claims this coroutine.
 *
 * First the cases are looked at without any lock: one of those that seem ready, each with the same
 * chance, is tried under its own lock. That is all that a select costs which finds one ready. Else
 * all channels are locked, in the order of their addresses, and looked at again: the answer "none
 * is ready", on which a default is taken or the wait begins, holds for one moment.
 *
 * The waiters are in the cases, on the caller's stack or wherever he keeps them. The commit of the
 * park releases the locks one by one and may be overtaken by whoever wakes the coroutine; before
 * the select returns it has taken each of these locks once more, so the commit is over by then.
 *
 * Rejected: Go's polling in a random order, which draws a number for each case and mispredicts
 * where this draws one only for the second that is ready; records of its own for more than a few
 * cases (an allocation that can fail).
 */
#include "base/clock.h"
#include "base/panic.h"
#include "sched/budget.h"
#include "sched/handover.h"
#include "sched/sleeper.h"
#include "sync/chan.h"
#include "sync/context.h"

#include <errno.h>

enum { CASES_MAX = 65535 };

struct selection {
    struct gyre_coro *self;
    struct gyre_case *cases;
    unsigned count;
    unsigned locks; /* cases with a channel, sorted by lock_order */
    int default_case;
    struct gyre_case *after; /* the shortest, or NULL */
    struct sleeper sleeper;
};

/*
 * The channel to wait at, or NULL. For a context's end that is its done channel, which has no
 * elements: what a receiver is to be given is the place for the channel itself.
 */
static struct gyre_chan *chan_of(const struct gyre_case *c)
{
    switch (c->kind) {
    case GYRE_CASE_SEND:
    case GYRE_CASE_RECV:
        return c->on;
    case GYRE_CASE_DONE:
        return c->element;
    default:
        return NULL;
    }
}

static struct gyre_case *locked_case(const struct selection *s, unsigned i)
{
    return &s->cases[s->cases[i].waiter.lock_order];
}

/* --- choosing -------------------------------------------------------------------------------- */

static inline bool can_send(const struct gyre_chan *chan)
{
    return chan_first(&chan->receivers) || chan_count(chan) < chan->capacity ||
           unlikely(chan_closed(chan));
}

static inline bool can_receive(const struct gyre_chan *chan)
{
    return chan_count(chan) || chan_first(&chan->senders) || unlikely(chan_closed(chan));
}

/* Exact with the locks held, but for waiters that can't be claimed any more, which trying removes.
 */
static inline bool seems_ready(const struct gyre_case *c)
{
    switch (c->kind) {
    case GYRE_CASE_SEND:
        return c->on && can_send(c->on);
    case GYRE_CASE_RECV:
        return c->on && can_receive(c->on);
    case GYRE_CASE_DONE:
        return context_error(c->on) != 0;
    case GYRE_CASE_AFTER:
        return c->duration <= 0;
    default:
        return false;
    }
}

/* Whether the next that is ready takes the place of those before: each has the same chance. */
static inline bool takes_over(unsigned *ready)
{
    return !(*ready)++ || random_below(&worker_current()->random, *ready) == 0;
}

/* One of those that seem ready, or -EAGAIN. */
static int choose(const struct selection *s)
{
    unsigned ready = 0;
    int chosen = -EAGAIN;

    for (unsigned i = 0; i < s->count; i++)
        if (seems_ready(&s->cases[i]) && takes_over(&ready))
            chosen = (int)i;
    return chosen;
}

/* The first look: as choose, and whether the cases make sense, else -EINVAL. */
static inline int choose_checked(struct gyre_case *cases, unsigned count)
{
    unsigned ready = 0, defaults = 0;
    int chosen = -EAGAIN;

    for (unsigned i = 0; i < count; i++) {
        struct gyre_case *c = &cases[i];

        c->result = 0;
        if (likely(c->kind == GYRE_CASE_RECV || c->kind == GYRE_CASE_SEND)) {
            if (c->on)
                chan_check(c->on);
        } else if (c->kind == GYRE_CASE_DEFAULT && unlikely(defaults++)) {
            return -EINVAL;
        } else if (c->kind == GYRE_CASE_DONE && unlikely(!c->on)) {
            gyre_panic("gyre_case_done of a NULL context");
        }
        if (seems_ready(c) && takes_over(&ready))
            chosen = (int)i;
    }
    return chosen;
}

/* With the lock of its channel held, which is released unless it returns RESULT_NONE. */
static int try_chan(struct gyre_case *c, struct gyre_chan *chan)
{
    return c->kind == GYRE_CASE_SEND ? gyre_chan_put(chan, c->element)
                                     : gyre_chan_take(chan, c->element);
}

/* True: it is done, its result stored. */
static bool try_alone(struct gyre_case *c)
{
    struct gyre_chan *chan = c->on;
    int result;

    if (c->kind != GYRE_CASE_SEND && c->kind != GYRE_CASE_RECV)
        return true; /* ready once, ready for good */
    spin_lock(&chan->lock);
    result = try_chan(c, chan);
    if (unlikely(result == RESULT_NONE)) {
        spin_unlock(&chan->lock);
        return false;
    }
    c->result = result;
    return true;
}

/* --- all locks ------------------------------------------------------------------------------- */

static bool comes_before(const struct selection *s, unsigned a, unsigned b)
{
    return (uintptr_t)chan_of(&s->cases[a]) < (uintptr_t)chan_of(&s->cases[b]);
}

/* Shell's sort: short, in place, and fast enough for a thousand. */
static void sort_locks(struct selection *s)
{
    struct gyre_case *cases = s->cases;

    for (unsigned gap = s->locks / 2; gap; gap /= 2)
        for (unsigned i = gap; i < s->locks; i++) {
            unsigned moved = cases[i].waiter.lock_order;
            unsigned j = i;

            for (; j >= gap && comes_before(s, moved, cases[j - gap].waiter.lock_order); j -= gap)
                cases[j].waiter.lock_order = cases[j - gap].waiter.lock_order;
            cases[j].waiter.lock_order = moved;
        }
}

/* Of a channel's waiters the first is served: where several are this select's, any of them. */
static void shuffle_same(struct selection *s)
{
    struct gyre_case *cases = s->cases;

    for (unsigned first = 0, i = 1; i < s->locks; i++) {
        unsigned other, moved = cases[i].waiter.lock_order;

        if (chan_of(&cases[moved]) != chan_of(locked_case(s, first))) {
            first = i;
            continue;
        }
        other = first + random_below(&worker_current()->random, i - first + 1);
        cases[i].waiter.lock_order = cases[other].waiter.lock_order;
        cases[other].waiter.lock_order = moved;
    }
}

/* Looks up what there is to wait for. */
static int prepare(struct selection *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        struct gyre_case *c = &s->cases[i];

        if (c->kind == GYRE_CASE_DEFAULT) {
            s->default_case = (int)i;
        } else if (c->kind == GYRE_CASE_AFTER) {
            if (!s->after || c->duration < s->after->duration)
                s->after = c;
        } else if (c->kind == GYRE_CASE_DONE) {
            struct gyre_chan *done;
            int error = gyre_context_done_chan(c->on, &done);

            if (error)
                return error;
            c->element = done;
        }
        if (chan_of(c))
            s->cases[s->locks++].waiter.lock_order = i;
    }
    sort_locks(s);
    shuffle_same(s);
    return 0;
}

static void lock_all(const struct selection *s)
{
    struct gyre_chan *locked = NULL;

    for (unsigned i = 0; i < s->locks; i++) {
        struct gyre_chan *chan = chan_of(locked_case(s, i));

        if (chan != locked)
            spin_lock(&chan->lock);
        locked = chan;
    }
}

/*
 * Releases all but the one that gyre_chan_put or _take did. What is next is looked up before each
 * release: after the last one the selection may be gone.
 */
static void unlock_others(const struct selection *s, const struct gyre_chan *released)
{
    unsigned i = 0, count = s->locks;
    struct gyre_chan *chan = count ? chan_of(locked_case(s, 0)) : NULL;

    while (i < count) {
        struct gyre_chan *held = chan;

        do
            i++;
        while (i < count && (chan = chan_of(locked_case(s, i))) == held);
        if (held != released)
            spin_unlock(&held->lock);
    }
}

/* With all locks held, which are released when a case is done. */
static int try_locked(struct selection *s)
{
    int chosen;

    while ((chosen = choose(s)) >= 0) {
        struct gyre_case *c = &s->cases[chosen];
        struct gyre_chan *chan = NULL;
        int result = 0;

        if (c->kind == GYRE_CASE_SEND || c->kind == GYRE_CASE_RECV) {
            chan = c->on;
            result = try_chan(c, chan);
        }
        if (result != RESULT_NONE) {
            unlock_others(s, chan);
            c->result = result;
            return chosen;
        }
    }
    return -EAGAIN;
}

/* --- waiting --------------------------------------------------------------------------------- */

static void enqueue_all(struct selection *s)
{
    for (unsigned i = 0; i < s->count; i++)
        s->cases[i].waiter.state = WAITER_IDLE;
    for (unsigned i = 0; i < s->locks; i++) {
        struct gyre_case *c = locked_case(s, i);
        struct gyre_chan *chan = chan_of(c);

        c->waiter.coro = s->self;
        chan_queue_append(c->kind == GYRE_CASE_SEND ? &chan->senders : &chan->receivers,
                          &c->waiter);
    }
}

/* Takes what is left off the queues; the index of the chosen case, or -EAGAIN. */
static int dequeue_all(struct selection *s)
{
    int chosen = -EAGAIN;

    for (unsigned i = 0; i < s->count; i++) {
        struct gyre_case *c = &s->cases[i];
        struct gyre_chan *chan = chan_of(c);

        if (chan) {
            spin_lock(&chan->lock);
            if (c->waiter.state == WAITER_QUEUED)
                chan_queue_remove(c->kind == GYRE_CASE_SEND ? &chan->senders : &chan->receivers,
                                  &c->waiter);
            spin_unlock(&chan->lock);
        }
        if (c->waiter.state == WAITER_CHOSEN)
            chosen = (int)i;
    }
    return chosen;
}

static void choose_after(struct sleeper *sleeper)
{
    struct selection *s = container_of(sleeper, struct selection, sleeper);

    s->after->result = 0;
    s->after->waiter.state = WAITER_CHOSEN;
}

static void commit_select(struct worker *worker, struct gyre_coro *self, void *argument)
{
    struct gyre_context *context = coro_context(self);
    struct selection *s = argument;
    bool locked = s->locks;

    if (s->after)
        sleeper_start(worker, &s->sleeper);
    wait_publish(self);
    if (locked) /* else nothing keeps the select here: it may be gone already */
        unlock_others(s, NULL);
    wait_check(self, context);
}

/* With all locks held, which are released. -EAGAIN: it was interrupted. */
static int wait_for_any(struct selection *s)
{
    int chosen;

    enqueue_all(s);
    gyre_park(worker_current(), PARK_SELECT, commit_select, s);
    chosen = dequeue_all(s);
    if (s->after && s->after->waiter.state != WAITER_CHOSEN)
        gyre_sleeper_retire(&s->sleeper);
    wait_finish(s->self); /* after that: sleeper_start */
    return chosen;
}

/* What the caller learns of the chosen case. */
static inline int finish(struct gyre_case *cases, int chosen)
{
    struct gyre_case *c = &cases[chosen];

    if (unlikely(c->result == RESULT_CLOSED))
        gyre_chan_panic(c->on, "send on closed");
    if (c->kind == GYRE_CASE_DONE)
        c->result = context_error(c->on);
    return chosen;
}

static void start_after(struct selection *s)
{
    gyre_sleeper_init(&s->sleeper, s->self, clock_after(clock_now(), s->after->duration));
    s->sleeper.woken = choose_after;
}

/* When the first look found nothing. */
RETURNS_BY_JUMP static int select_slowly(struct gyre_coro *self, struct gyre_case *cases,
                                         unsigned count)
{
    struct selection s;
    int chosen, error;

    s.self = self;
    s.cases = cases;
    s.count = count;
    s.locks = 0;
    s.default_case = -1;
    s.after = NULL;
    error = prepare(&s);
    if (s.after)
        start_after(&s);
    while (!error) {
        lock_all(&s);
        chosen = try_locked(&s);
        if (chosen == -EAGAIN && s.default_case >= 0) {
            unlock_others(&s, NULL);
            budget_spend();
            chosen = s.default_case;
        }
        if (chosen == -EAGAIN)
            chosen = wait_for_any(&s);
        if (chosen != -EAGAIN)
            return finish(cases, chosen);
        error = coro_error(self);
    }
    return error;
}

int gyre_select_n(struct gyre_case *cases, size_t count)
{
    struct gyre_coro *self = coro_required("gyre_select");
    int chosen, error;

    if (unlikely(count > CASES_MAX))
        return -EINVAL;
    error = coro_error(self);
    if (unlikely(error))
        return error;
    chosen = choose_checked(cases, (unsigned)count);
    if (unlikely(chosen == -EINVAL))
        return chosen;
    if (chosen >= 0 && likely(try_alone(&cases[chosen]))) {
        budget_spend();
        return finish(cases, chosen);
    }
    return select_slowly(self, cases, (unsigned)count);
}
