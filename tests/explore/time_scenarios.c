/* What ends by time: selects, contexts. */
#include "explore.h"

GYRE_CHAN_TYPE(ints, int);

static struct {
    ints channel;
    int sent, received, timed_out;
    struct gyre_context *context;
} s;

static int send_at_once(void *unused)
{
    (void)unused;
    gyre_sleep(GYRE_MILLISECOND);
    if (ints_send(s.channel.sender, 1) == 0)
        s.sent++;
    return 0;
}

static int select_or_time_out(void *unused)
{
    int value;
    struct gyre_case cases[] = {
        gyre_case_after(GYRE_MILLISECOND),
        ints_case_recv(s.channel.receiver, &value),
    };
    int chosen = gyre_select(cases);

    (void)unused;
    HOLDS(chosen >= 0 || gyre_context_error());
    s.timed_out += chosen == 0;
    s.received += chosen == 1;
    return 0;
}

/* The value and the moment come together. */
static void after(void)
{
    struct crew crew = {.count = 0};

    memset(&s, 0, sizeof s);
    HOLDS(ints_make(&s.channel, explore_below(2)) == 0);
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND + (int)explore_below(2));
        crew_spawn(&crew, send_at_once, NULL);
        crew_spawn(&crew, send_at_once, NULL);
        crew_spawn(&crew, select_or_time_out, NULL);
        crew_spawn(&crew, select_or_time_out, NULL);
        {
            GYRE_SHIELD();
            crew_join(&crew);
        }
    }
    HOLDS(s.sent == s.received + (int)ints_len(s.channel.receiver));
    ints_release(s.channel);
}

static int wait_under(void *arg)
{
    int64_t duration = *(int64_t *)arg;
    int error;

    GYRE_TIMEOUT(duration);
    error = ints_send(s.channel.sender, 1);
    HOLDS(error == -ETIMEDOUT || error == -ECANCELED);
    HOLDS(error == gyre_context_error());
    return 0;
}

static int cancel(void *unused)
{
    (void)unused;
    gyre_sleep((int64_t)explore_below(3) * GYRE_MILLISECOND);
    gyre_context_cancel(s.context);
    return 0;
}

/* A timeout, a parent's, and a cancel at the same moment. */
static void deadlines(void)
{
    static int64_t durations[] = {GYRE_MILLISECOND, 2 * GYRE_MILLISECOND, 3 * GYRE_MILLISECOND};
    struct crew crew = {.count = 0};

    memset(&s, 0, sizeof s);
    HOLDS(ints_make(&s.channel, 0) == 0);
    {
        GYRE_TIMEOUT(2 * GYRE_MILLISECOND);
        s.context = gyre_context_current();
        for (int i = 0; i < 3; i++)
            crew_spawn(&crew, wait_under, &durations[i]);
        crew_spawn(&crew, cancel, NULL);
        {
            GYRE_SHIELD();
            crew_join(&crew);
        }
        gyre_context_release(s.context);
    }
    ints_release(s.channel);
}

/* --- timers: what a stop or a reset returned holds for whoever receives ----------------------- */

static struct {
    struct gyre_timer *timer;
    int64_t armed; /* when it was started last: nothing older may come */
    int starts, fired, stopped;
    bool over;
} t;

static int receive_moments(void *unused)
{
    int64_t moment;

    (void)unused;
    while (gyre_chan_recv(gyre_timer_channel(t.timer), &moment) > 0) {
        HOLDS(moment >= t.armed);
        t.fired++;
    }
    return 0;
}

static int restart(void *unused)
{
    (void)unused;
    for (int i = 0; i < 4; i++) {
        bool stop = explore_below(2);

        gyre_sleep((int64_t)explore_below(3) * GYRE_MILLISECOND);
        if (stop) {
            t.stopped += gyre_timer_stop(t.timer);
        } else {
            /* The new start's moment is not before now, whatever was fired until now. */
            t.armed = gyre_now();
            t.stopped += gyre_timer_reset(t.timer, (int64_t)explore_below(3) * GYRE_MILLISECOND);
            t.starts++;
        }
    }
    return 0;
}

static int cancel_later(void *unused)
{
    (void)unused;
    gyre_sleep(GYRE_SECOND);
    gyre_context_cancel(s.context);
    return 0;
}

static void timers(void)
{
    struct crew crew = {.count = 0};

    memset(&t, 0, sizeof t);
    {
        GYRE_CANCELLABLE();
        s.context = gyre_context_current();
        t.armed = gyre_now();
        HOLDS(gyre_timer_create(&t.timer, (int64_t)explore_below(3) * GYRE_MILLISECOND) == 0);
        t.starts = 1;
        crew_spawn(&crew, receive_moments, NULL);
        crew_spawn(&crew, restart, NULL);
        crew_spawn(&crew, cancel_later, NULL);
        {
            GYRE_SHIELD();
            crew_join(&crew);
        }
        gyre_context_release(s.context);
    }
    /* Each start fired or was stopped; the receiver may have been cancelled before the last. */
    HOLDS(t.fired + t.stopped <= t.starts);
    t.stopped += gyre_timer_stop(t.timer);
    HOLDS(t.fired + t.stopped == t.starts);
    gyre_timer_destroy(t.timer);
}

/* --- handles: cancel, deadline and release of one context, done channel, function ----------- */

static struct {
    struct gyre_context *context;
    int called, stopped;
} h;

static int note_end(void *unused)
{
    (void)unused;
    h.called++;
    return 0;
}

static int use_done(void *unused)
{
    struct gyre_context *context = gyre_context_hold(h.context);
    struct gyre_case cases[] = {gyre_case_done(context), gyre_case_after(GYRE_SECOND)};

    (void)unused;
    HOLDS(gyre_select(cases) == 0);
    HOLDS(cases[0].result == gyre_context_error_of(context) && cases[0].result);
    gyre_context_release(context);
    return 0;
}

static int cancel_and_release(void *unused)
{
    (void)unused;
    gyre_sleep((int64_t)explore_below(3) * GYRE_MILLISECOND);
    gyre_context_cancel_cause(h.context, -EPROTO);
    gyre_context_release(h.context);
    return 0;
}

static int make_child(void *unused)
{
    struct gyre_context *context = gyre_context_hold(h.context), *child;

    (void)unused;
    HOLDS(gyre_context_with_timeout(context, GYRE_MILLISECOND, &child) == 0);
    gyre_context_release(context);
    {
        GYRE_WITH_CONTEXT(child);
        HOLDS(gyre_sleep(GYRE_SECOND) < 0);
    }
    gyre_context_cancel(child);
    gyre_context_release(child);
    return 0;
}

static int call_at_end(void *unused)
{
    struct gyre_context_after *after;

    (void)unused;
    HOLDS(gyre_context_after(h.context, note_end, NULL, &after) == 0);
    gyre_yield();
    h.stopped += gyre_context_after_stop(after);
    return 0;
}

static void handles(void)
{
    struct gyre_context *root = gyre_context_background();
    struct crew crew = {.count = 0};

    memset(&h, 0, sizeof h);
    HOLDS(gyre_context_with_timeout(root, GYRE_MILLISECOND, &h.context) == 0);
    for (int i = 0; i < 5; i++)
        gyre_context_hold(h.context); /* one for each, and the main one's */
    crew_spawn(&crew, use_done, NULL);
    crew_spawn(&crew, use_done, NULL);
    crew_spawn(&crew, make_child, NULL);
    crew_spawn(&crew, call_at_end, NULL);
    crew_spawn(&crew, cancel_and_release, NULL);
    crew_join(&crew);
    HOLDS(gyre_context_error_of(h.context) != 0);
    for (int i = 0; i < 5; i++)
        gyre_context_release(h.context);
    while (gyre_coro_count() > 1)
        gyre_yield(); /* the function's coroutine is about to end */
    HOLDS(h.called + h.stopped == 1);
}

const struct scenario time_scenarios[] = {
    {"after", after}, {"deadlines", deadlines}, {"timers", timers}, {"handles", handles},
    {NULL, NULL},
};
