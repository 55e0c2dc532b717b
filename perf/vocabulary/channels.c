/* channels.c - channels and select. */
#include "vocabulary.h"

#include <errno.h>
#include <malloc.h>

GYRE_CHAN_TYPE(longs, int64_t);

enum { ROOM = 128, WORK_PER_ITEM = 64, IDLE = 100000 };

/* --- one value there and one back on two unbuffered channels --- */

struct exchange {
    longs there, back;
    struct meeting meeting;
    int workers;
};

static int echo(void *arg)
{
    struct exchange *x = arg;
    int64_t value;
    int r = 0;

    if (x->workers == 2)
        meet(&x->meeting);
    for (long i = 0; !r && longs_recv(x->there.receiver, &value) > 0; i++) {
        if (x->workers == 2)
            report_worker(&x->meeting, i);
        r = longs_send(x->back.sender, value + 1);
    }
    return r;
}

static int ask(struct exchange *x, long n)
{
    int64_t value;

    if (x->workers == 2)
        meet(&x->meeting);
    for (long i = 0; i < n; i++) {
        int r = longs_send(x->there.sender, i);

        if (r)
            return r;
        if (x->workers == 2)
            compare_worker(&x->meeting, i);
        r = longs_recv(x->back.receiver, &value);
        if (r <= 0 || value != i + 1)
            return r < 0 ? r : -EPROTO;
    }
    return 0;
}

static int round_trips(long n, int workers)
{
    struct exchange x = {.workers = workers};
    gyre_handle handle;
    int error = longs_make(&x.there, 0);

    if (!error)
        error = longs_make(&x.back, 0);
    if (!error)
        error = gyre_spawn(&handle, echo, &x);
    if (error)
        return error;
    error = ask(&x, n);
    longs_close(x.there.sender);
    gyre_join(handle, NULL);
    longs_release(x.there);
    longs_release(x.back);
    if (workers == 2)
        figure_apart(&x.meeting);
    return error;
}

static int round_trip(long n)
{
    return round_trips(n, 1);
}

static int round_trip_2(long n)
{
    return round_trips(n, 2);
}

/* --- a send and a receive by the same coroutine: nobody waits --- */

static int buffered(long n)
{
    longs channel;
    int64_t value;
    int error = longs_make(&channel, ROOM);

    for (long i = 0; i < n && !error; i++) {
        error = longs_send(channel.sender, i);
        if (!error && (longs_recv(channel.receiver, &value) != 1 || value != i))
            error = -EPROTO;
    }
    longs_release(channel);
    return error;
}

/* --- one sends, the other receives, and both compute some steps for each item --- */

struct crossing {
    longs channel;
    struct meeting meeting;
    long n, steps;
    int64_t produced, consumed;
};

static int64_t compute(int64_t value, long steps)
{
    uint64_t x = (uint64_t)value;

    for (; steps > 0; steps--)
        x = x * 6364136223846793005 + 1442695040888963407;
    return (int64_t)x;
}

static int produce(void *arg)
{
    struct crossing *c = arg;
    uint64_t sum = 0;
    int error = 0;

    meet(&c->meeting);
    for (long i = 0; i < c->n && !error; i++) {
        report_worker(&c->meeting, i);
        sum += (uint64_t)compute(i, c->steps);
        error = longs_send(c->channel.sender, i);
    }
    longs_close(c->channel.sender);
    c->produced = (int64_t)sum;
    return error;
}

static int consume(void *arg)
{
    struct crossing *c = arg;
    uint64_t sum = 0;
    int64_t value, expected = 0;

    meet(&c->meeting);
    while (longs_recv(c->channel.receiver, &value) > 0) {
        compare_worker(&c->meeting, expected);
        if (value != expected++)
            return -EPROTO;
        sum += (uint64_t)compute(value, c->steps);
    }
    c->consumed = (int64_t)sum;
    return 0;
}

/* Bound: each is pinned to a worker of its own. */
static int crossings(long n, long steps, int bound)
{
    struct crossing c = {.n = n, .steps = steps};
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle producer, consumer;
    int error = longs_make(&c.channel, ROOM), result;

    options.flags = bound ? GYRE_SPAWN_PINNED : 0;
    options.worker = bound ? 1 : 0;
    if (!error)
        error = gyre_spawn_options(&producer, produce, &c, &options);
    options.worker = bound ? 2 : 0;
    if (!error)
        error = gyre_spawn_options(&consumer, consume, &c, &options);
    if (error)
        return error;
    gyre_join(producer, &error);
    gyre_join(consumer, &result);
    longs_release(c.channel);
    figure_apart(&c.meeting);
    if (!error)
        error = result;
    return error || c.produced == c.consumed ? error : -EPROTO;
}

static int across(long n)
{
    return crossings(n, 0, 0);
}

static int across_work(long n)
{
    return crossings(n, WORK_PER_ITEM, 0);
}

static int across_bound(long n)
{
    return crossings(n, 0, 1);
}

/* --- three cases, of which one is ready: the one that fills z, then the one that empties it --- */

static int select_pairs(longs x, longs y, longs z, long n)
{
    for (long i = 0; i < n; i += 2) {
        int64_t a, b, c = i;
        struct gyre_case fill[] = {
            longs_case_recv(x.receiver, &a),
            longs_case_recv(y.receiver, &b),
            longs_case_send(z.sender, &c),
        };
        struct gyre_case empty[] = {
            longs_case_recv(x.receiver, &a),
            longs_case_recv(y.receiver, &b),
            longs_case_recv(z.receiver, &c),
        };

        if (gyre_select(fill) != 2 || gyre_select(empty) != 2 || c != i)
            return -EPROTO;
    }
    return 0;
}

static int selects(long n)
{
    longs x, y, z;
    int error = longs_make(&x, 0);

    if (!error)
        error = longs_make(&y, 0);
    if (!error)
        error = longs_make(&z, 1);
    if (error)
        return error;
    error = select_pairs(x, y, z, n);
    longs_release(x);
    longs_release(y);
    longs_release(z);
    return error;
}

/* --- memory of an idle unbuffered channel --- */

static int idle_bytes(double *bytes)
{
    static longs channels[IDLE];
    size_t before = mallinfo2().uordblks;
    int error = 0;

    for (int i = 0; i < IDLE && !error; i++)
        error = longs_make(&channels[i], 0);
    *bytes = (double)(mallinfo2().uordblks - before) / IDLE;
    for (int i = 0; i < IDLE && !error; i++)
        longs_release(channels[i]);
    return error;
}

const struct work channel_works[] = {
    {"chan_round_trip", 1, 1, round_trip, NULL, NULL},
    {"chan_round_trip_2", 2, 1, round_trip_2, NULL, NULL},
    {"chan_buffered", 1, 1, buffered, NULL, NULL},
    {"chan_across", 2, 1, across, NULL, NULL},
    {"chan_across_work", 2, 1, across_work, NULL, NULL},
    {"chan_across_bound", 2, 1, across_bound, NULL, NULL},
    {"select_3", 1, 1, selects, NULL, NULL},
    {"chan_idle", 1, 1, NULL, NULL, idle_bytes},
    {NULL, 0, 0, NULL, NULL, NULL},
};
