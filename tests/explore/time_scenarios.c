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

const struct scenario time_scenarios[] = {{"after", after}, {"deadlines", deadlines}, {NULL, NULL}};
