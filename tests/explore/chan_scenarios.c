/* Channels and select. */
#include "explore.h"

GYRE_CHAN_TYPE(ints, int);

enum { VALUES = 3 };

/* What all of a scenario share: one scenario runs at a time. */
static struct {
    ints channels[2];
    gyre_waitgroup senders;
    int sent[2], received[2]; /* by channel */
    int last[2][4];           /* by channel and sender: the last value that was received */
    struct gyre_context *context;
    bool fifo;
} s;

struct party {
    int channel, id;
};

static void open_channels(void)
{
    memset(&s, 0, sizeof s);
    for (int i = 0; i < 2; i++)
        HOLDS(ints_make(&s.channels[i], explore_below(3)) == 0);
}

static void release_channels(void)
{
    for (int i = 0; i < 2; i++) {
        HOLDS(s.sent[i] == s.received[i] + (int)ints_len(s.channels[i].receiver));
        ints_release(s.channels[i]);
    }
}

static void count_received(int channel, int value)
{
    s.received[channel]++;
    /* Only where one coroutine receives does the order of receiving say anything. */
    HOLDS(!s.fifo || value % 100 > s.last[channel][value / 100]);
    s.last[channel][value / 100] = value % 100;
}

static int send_some(void *arg)
{
    struct party *me = arg;
    int error = 0;

    for (int i = 1; i <= VALUES && !error; i++) {
        error = ints_send(s.channels[me->channel].sender, me->id * 100 + i);
        if (!error)
            s.sent[me->channel]++;
    }
    return error;
}

static int send_and_close(void *arg)
{
    struct party *me = arg;

    HOLDS(send_some(arg) == 0);
    gyre_waitgroup_done(&s.senders);
    if (me->id == 0) {
        HOLDS(gyre_waitgroup_wait(&s.senders) == 0);
        ints_close_error(s.channels[me->channel].sender, -EPIPE);
    }
    return 0;
}

static int receive_all(void *arg)
{
    struct party *me = arg;
    int value, result;

    while ((result = ints_recv(s.channels[me->channel].receiver, &value)) > 0)
        count_received(me->channel, value);
    HOLDS(result == -EPIPE || gyre_context_error());
    return 0;
}

static void rendezvous(void)
{
    struct party parties[] = {{0, 0}, {0, 1}, {0, 2}};
    struct crew crew = {.count = 0};
    unsigned receivers = 1 + explore_below(3);

    open_channels();
    s.fifo = receivers == 1;
    gyre_waitgroup_add(&s.senders, 3);
    for (int i = 0; i < 3; i++)
        crew_spawn(&crew, send_and_close, &parties[i]);
    for (unsigned i = 0; i < receivers; i++)
        crew_spawn(&crew, receive_all, &parties[0]);
    crew_join(&crew);
    HOLDS(s.received[0] == 3 * VALUES);
    release_channels();
}

static int cancel(void *unused)
{
    (void)unused;
    for (unsigned i = explore_below(4); i; i--)
        gyre_yield();
    gyre_context_cancel(s.context);
    return 0;
}

/* Some are cut short: what a sender believes to have sent is received, or inside. */
static void cancelled(void)
{
    struct party parties[] = {{0, 0}, {0, 1}, {1, 2}};
    struct crew crew = {.count = 0};

    open_channels();
    {
        GYRE_CANCELLABLE();
        s.context = gyre_context_current();
        for (int i = 0; i < 3; i++)
            crew_spawn(&crew, send_some, &parties[i]);
        crew_spawn(&crew, receive_all, &parties[0]);
        crew_spawn(&crew, receive_all, &parties[2]);
        crew_spawn(&crew, receive_all, &parties[2]);
        crew_spawn(&crew, cancel, NULL);
        {
            GYRE_SHIELD();
            crew_join(&crew);
        }
        gyre_context_release(s.context);
    }
    release_channels();
}

static int select_some(void *arg)
{
    struct party *me = arg;
    int value = me->id * 100, in[2], result = 0;

    for (int i = 0; i < VALUES && result >= 0; i++) {
        struct gyre_case cases[] = {
            ints_case_recv(s.channels[0].receiver, &in[0]),
            ints_case_send(s.channels[1].sender, &value),
            ints_case_recv(s.channels[1].receiver, &in[1]),
            ints_case_send(s.channels[0].sender, &value),
        };

        value++;
        result = gyre_select(cases);
        if (result == 1 || result == 3)
            s.sent[result == 1]++;
        else if (result >= 0)
            s.received[result / 2]++;
    }
    return result;
}

/* Selects meet selects, in both directions on both channels, until they are cancelled. */
static void selects(void)
{
    struct party parties[] = {{0, 0}, {0, 1}, {1, 2}, {1, 3}};
    struct crew crew = {.count = 0};

    open_channels();
    {
        GYRE_CANCELLABLE();
        s.context = gyre_context_current();
        for (int i = 0; i < 4; i++)
            crew_spawn(&crew, select_some, &parties[i]);
        crew_spawn(&crew, send_some, &parties[0]);
        crew_spawn(&crew, receive_all, &parties[0]);
        crew_spawn(&crew, cancel, NULL);
        {
            GYRE_SHIELD();
            crew_join(&crew);
        }
        gyre_context_release(s.context);
    }
    release_channels();
}

static int select_until_closed(void *unused)
{
    bool open[2] = {true, true};
    int value;

    (void)unused;
    while (open[0] || open[1]) {
        ints_receiver none = {{NULL}};
        struct gyre_case cases[] = {
            ints_case_recv(open[0] ? s.channels[0].receiver : none, &value),
            ints_case_recv(open[1] ? s.channels[1].receiver : none, &value),
        };
        int chosen = gyre_select(cases);

        HOLDS(chosen >= 0 && open[chosen]);
        if (cases[chosen].result > 0)
            count_received(chosen, value);
        else
            open[chosen] = false;
    }
    return 0;
}

static int close_after(void *arg)
{
    struct party *me = arg;

    send_some(arg);
    ints_close(s.channels[me->channel].sender);
    return 0;
}

static void closes(void)
{
    struct party parties[] = {{0, 0}, {1, 1}};
    struct crew crew = {.count = 0};

    open_channels();
    for (int i = 0; i < 2; i++)
        crew_spawn(&crew, close_after, &parties[i]);
    crew_spawn(&crew, select_until_closed, NULL);
    crew_spawn(&crew, select_until_closed, NULL);
    crew_join(&crew);
    HOLDS(s.received[0] == VALUES && s.received[1] == VALUES);
    release_channels();
}

static int try_some(void *arg)
{
    struct party *me = arg;
    int value;

    for (int i = 1; i <= VALUES; i++) {
        if (ints_try_send(s.channels[me->channel].sender, me->id * 100 + i) == 0)
            s.sent[me->channel]++;
        if (ints_try_recv(s.channels[me->channel].receiver, &value) > 0)
            s.received[me->channel]++;
    }
    return 0;
}

static int select_or_default(void *arg)
{
    int value;

    (void)arg;
    for (int i = 0; i < VALUES; i++) {
        struct gyre_case cases[] = {
            ints_case_recv(s.channels[0].receiver, &value),
            ints_case_recv(s.channels[1].receiver, &value),
            gyre_case_default(),
        };
        int chosen = gyre_select(cases);

        if (chosen < 2)
            s.received[chosen]++;
    }
    return 0;
}

static void tries(void)
{
    struct party parties[] = {{0, 0}, {1, 1}, {0, 2}};
    struct crew crew = {.count = 0};

    open_channels();
    for (int i = 0; i < 3; i++)
        crew_spawn(&crew, try_some, &parties[i]);
    crew_spawn(&crew, select_or_default, NULL);
    crew_spawn(&crew, select_or_default, NULL);
    crew_join(&crew);
    release_channels();
}

const struct scenario chan_scenarios[] = {
    {"rendezvous", rendezvous}, {"cancelled", cancelled}, {"selects", selects},
    {"closes", closes},         {"tries", tries},         {NULL, NULL},
};
