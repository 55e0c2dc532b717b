/* Select: what is ready, waiting, leaving nothing behind. */
#include "selecting.h"

#include <gyre/context.h>

#include <stdlib.h>

/* --- nothing is allocated ----------------------------------------------------------------------
 */

static atomic_int allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __real_realloc(old, size);
}

struct sending {
    gyre_sender sender;
    int number;
};

static int send_one(void *arg)
{
    struct sending *sending = arg;

    return gyre_chan_send(sending->sender, &sending->number);
}

/* --- without waiting ---------------------------------------------------------------------------
 */

INSIDE(select, the_default_is_taken_only_when_nothing_is_ready)
{
    gyre_channel c = channel_of(4, 1);
    int n = 7, got = 0;

    for (int at = 0; at < 2; at++) {
        struct gyre_case cases[2];

        cases[at] = gyre_case_default();
        cases[!at] = gyre_case_recv(c.receiver, &got);
        EXPECT_EQ(gyre_select(cases), at);
        EXPECT_EQ(cases[at].result, 0);
        EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
        EXPECT_EQ(gyre_select(cases), !at);
        EXPECT_EQ(cases[!at].result, 1);
        EXPECT_EQ(got, 7);
        cases[!at] = gyre_case_send(c.sender, &n);
        EXPECT_EQ(gyre_select(cases), !at);
        EXPECT_EQ(gyre_select(cases), at);
        EXPECT_EQ(gyre_chan_recv(c.receiver, NULL), 1);
    }
    gyre_chan_release(c);
    return 0;
}

INSIDE(select, a_default_alone_is_taken)
{
    struct gyre_case cases[] = {gyre_case_default()};

    EXPECT_EQ(gyre_select(cases), 0);
    return 0;
}

INSIDE(select, two_defaults_and_too_many_cases_are_refused)
{
    gyre_channel c = full_of(1, 1);
    struct gyre_case two[] = {gyre_case_default(), gyre_case_recv(c.receiver, NULL),
                              gyre_case_default()};
    struct gyre_case *many = calloc(65536, sizeof *many);

    EXPECT_EQ(gyre_select(two), -EINVAL);
    EXPECT_EQ(gyre_chan_len(c.receiver), 1);
    many[65535] = gyre_case_recv(c.receiver, NULL);
    EXPECT_EQ(gyre_select_n(many, 65536), -EINVAL);
    EXPECT_EQ(gyre_chan_len(c.receiver), 1);
    EXPECT_EQ(gyre_select_n(many + 1, 65535), 65534);
    EXPECT_EQ(gyre_chan_len(c.receiver), 0);
    free(many);
    gyre_chan_release(c);
    return 0;
}

INSIDE(select, nil_and_zeroed_cases_are_never_ready)
{
    gyre_channel nil = {{NULL}, {NULL}};
    gyre_channel c = full_of(4, 1);
    int n = 1, got = 0;
    struct gyre_case cases[] = {
        gyre_case_recv(nil.receiver, &n),
        gyre_case_send(nil.sender, &n),
        {0},
        gyre_case_default(),
    };
    struct gyre_case one_ready[] = {
        gyre_case_recv(nil.receiver, &n),
        gyre_case_send(nil.sender, &n),
        {0},
        gyre_case_recv(c.receiver, &got),
    };

    EXPECT_EQ(gyre_select(cases), 3);
    EXPECT_EQ(gyre_select(one_ready), 3);
    EXPECT_EQ(got, 4);
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_select_n(cases, 3), -ETIMEDOUT);
    }
    EXPECT_EQ(n, 1);
    gyre_chan_release(c);
    return 0;
}

INSIDE(select, without_cases_it_waits_for_the_context)
{
    int64_t begin = gyre_now();
    GYRE_TIMEOUT(2 * GYRE_MILLISECOND);

    EXPECT_EQ(gyre_select_n(NULL, 0), -ETIMEDOUT);
    EXPECT(gyre_now() - begin >= 2 * GYRE_MILLISECOND);
    return 0;
}

INSIDE(select, closed_channels_are_ready_to_receive)
{
    gyre_channel plain = full_of(3, 1), broken = channel_of(4, 0), again = channel_of(4, 0);
    int n = 9;

    gyre_chan_close(plain.sender);
    gyre_chan_close_error(broken.sender, -EIO);
    gyre_chan_close_error(again.sender, -EAGAIN);
    for (int i = 0; i < 3; i++) {
        struct gyre_case cases[] = {gyre_case_recv(plain.receiver, &n)};

        EXPECT_EQ(gyre_select(cases), 0);
        EXPECT_EQ(cases[0].result, i == 0);
        EXPECT_EQ(n, i ? 0 : 3);
    }
    n = 9;
    {
        struct gyre_case cases[] = {gyre_case_default(), gyre_case_recv(broken.receiver, &n)};

        EXPECT_EQ(gyre_select(cases), 1);
        EXPECT_EQ(cases[1].result, -EIO);
        EXPECT_EQ(n, 0);
    }
    {
        gyre_channel idle = channel_of(4, 0);
        struct gyre_case cases[] = {gyre_case_recv(idle.receiver, &n),
                                    gyre_case_recv(again.receiver, &n)};

        EXPECT_EQ(gyre_select(cases), 1);
        EXPECT_EQ(cases[1].result, -EAGAIN);
        gyre_chan_release(idle);
    }
    gyre_chan_release(plain);
    gyre_chan_release(broken);
    gyre_chan_release(again);
    return 0;
}

INSIDE(select, an_ended_context_is_seen_at_entry_and_nothing_is_done)
{
    gyre_channel c = full_of(3, 2);
    int got = 8;
    struct gyre_case cases[] = {gyre_case_recv(c.receiver, &got), gyre_case_default(),
                                gyre_case_after(0)};
    GYRE_TIMEOUT(0);

    while (!gyre_context_error())
        gyre_yield();
    EXPECT_EQ(gyre_select(cases), -ETIMEDOUT);
    EXPECT_EQ(gyre_chan_len(c.receiver), 2);
    EXPECT_EQ(got, 8);
    gyre_chan_release(c);
    return 0;
}

/* --- waiting -----------------------------------------------------------------------------------
 */

INSIDE(select, it_waits_for_the_first_that_becomes_ready)
{
    for (int ready = 0; ready < 4; ready++) {
        gyre_channel c[4];
        struct gyre_case cases[4];
        struct selector selector;
        int numbers[4] = {0, 0, 2, 3}, n = 50;

        for (int i = 0; i < 4; i++)
            c[i] = i < 2 ? channel_of(4, (size_t)i) : full_of(1, (size_t)i - 2);
        for (int i = 0; i < 4; i++)
            cases[i] = i < 2 ? gyre_case_recv(c[i].receiver, &numbers[i])
                             : gyre_case_send(c[i].sender, &numbers[i]);
        start(&selector, cases, 4);
        await_senders(c[3], 1);
        EXPECT_EQ(atomic_load(&selector.done), 0);
        if (ready < 2) {
            EXPECT_EQ(gyre_chan_send(c[ready].sender, &n), 0);
        } else {
            EXPECT_EQ(gyre_chan_recv(c[ready].receiver, &n), 1);
            EXPECT_EQ(n, ready == 2 ? 2 : 1); /* the buffer goes first */
        }
        EXPECT_EQ(end(&selector), ready);
        EXPECT_EQ(cases[ready].result, ready < 2);
        for (int i = 0; i < 4; i++) {
            EXPECT_EQ(numbers[i], i == ready && i < 2 ? 50 : i < 2 ? 0 : i);
            await_senders(c[i], 0);
            await_receivers(c[i], 0);
        }
        if (ready == 3) {
            EXPECT_EQ(gyre_chan_recv(c[3].receiver, &n), 1);
            EXPECT_EQ(n, 3);
        }
        for (int i = 0; i < 4; i++)
            gyre_chan_release(c[i]);
    }
    return 0;
}

INSIDE(select, a_close_wakes_it)
{
    for (int error = 0; error >= -EAGAIN; error -= EAGAIN) {
        gyre_channel c = channel_of(4, 0), other = channel_of(4, 0);
        int n = 5, untouched = 6;
        struct gyre_case cases[] = {gyre_case_recv(other.receiver, &untouched),
                                    gyre_case_recv(c.receiver, &n)};
        struct selector selector;

        start(&selector, cases, 2);
        await_receivers(c, 1);
        gyre_chan_close_error(c.sender, error);
        EXPECT_EQ(end(&selector), 1);
        EXPECT_EQ(cases[1].result, error);
        EXPECT_EQ(n, 0);
        EXPECT_EQ(untouched, 6);
        await_receivers(other, 0);
        gyre_chan_release(c);
        gyre_chan_release(other);
    }
    return 0;
}

INSIDE(select, two_selects_meet)
{
    gyre_channel c = channel_of(4, 0), d = channel_of(4, 0);

    for (int i = 0; i < 50; i++) {
        int out = i, in = -1, none = -1;
        struct gyre_case giving[] = {gyre_case_send(c.sender, &out),
                                     gyre_case_recv(d.receiver, &none)};
        struct gyre_case taking[] = {gyre_case_recv(d.receiver, &none),
                                     gyre_case_recv(c.receiver, &in)};
        struct selector giver, taker;

        start(i % 2 ? &giver : &taker, i % 2 ? giving : taking, 2);
        start(i % 2 ? &taker : &giver, i % 2 ? taking : giving, 2);
        EXPECT_EQ(end(&giver), 0);
        EXPECT_EQ(end(&taker), 1);
        EXPECT_EQ(in, i);
        EXPECT_EQ(none, -1);
    }
    await_receivers(d, 0);
    gyre_chan_release(c);
    gyre_chan_release(d);
    return 0;
}

INSIDE(select, it_does_not_meet_itself)
{
    gyre_channel c = channel_of(4, 0);
    int out = 1, in = 0, n = 2, got = 0;
    struct gyre_case cases[] = {gyre_case_send(c.sender, &out), gyre_case_recv(c.receiver, &in)};
    struct selector selector;

    start(&selector, cases, 2);
    await_receivers(c, 1);
    await_senders(c, 1);
    EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
    EXPECT_EQ(end(&selector), 1);
    EXPECT_EQ(in, 2);
    start(&selector, cases, 2);
    await_receivers(c, 1);
    EXPECT_EQ(gyre_chan_recv(c.receiver, &got), 1);
    EXPECT_EQ(got, 1);
    EXPECT_EQ(end(&selector), 0);
    await_senders(c, 0);
    await_receivers(c, 0);
    {
        struct gyre_case both[] = {cases[1], cases[0], gyre_case_default()};

        EXPECT_EQ(gyre_select(both), 2);
    }
    gyre_chan_release(c);
    return 0;
}

INSIDE(select, a_channel_may_be_in_several_cases)
{
    gyre_channel c = channel_of(4, 0);
    int in[5] = {0}, n;
    struct gyre_case cases[5];

    for (int i = 0; i < 5; i++)
        cases[i] = gyre_case_recv(c.receiver, &in[i]);
    for (n = 1; n < 30; n++) {
        struct selector selector;
        int chosen;

        start(&selector, cases, 5);
        await_receivers(c, 5);
        EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
        chosen = end(&selector);
        EXPECT(chosen >= 0 && chosen < 5);
        for (int i = 0; i < 5; i++)
            EXPECT_EQ(in[i] == n, i == chosen);
        await_receivers(c, 0);
        EXPECT_EQ(gyre_chan_try_send(c.sender, &n), -EAGAIN);
    }
    gyre_chan_release(c);
    return 0;
}

enum { MANY = 1000 };

INSIDE(select, up_to_a_thousand_cases)
{
    static const unsigned counts[] = {1, 2, 3, 16, 17, 100, MANY};
    static gyre_channel c[MANY];
    static struct gyre_case cases[MANY];
    static int in[MANY];

    for (unsigned i = 0; i < MANY; i++)
        c[i] = channel_of(4, 0);
    for (unsigned k = 0; k < sizeof counts / sizeof *counts; k++) {
        unsigned count = counts[k];
        unsigned chosen[] = {0, count - 1, count / 2, count / 3};

        for (unsigned i = 0; i < count; i++) /* not in the order of their addresses */
            cases[i] = gyre_case_recv(c[(i * 7919u + 11) % count].receiver, &in[i]);
        for (unsigned turn = 0; turn < 4; turn++) {
            unsigned at = (chosen[turn] * 7919u + 11) % count;
            struct selector selector;
            int n = (int)(turn + k * 10 + 1);

            start(&selector, cases, count);
            await_receivers(c[at], 1);
            EXPECT_EQ(gyre_chan_send(c[at].sender, &n), 0);
            EXPECT_EQ(end(&selector), chosen[turn]);
            EXPECT_EQ(in[chosen[turn]], n);
        }
        for (unsigned i = 0; i < count; i++)
            await_receivers(c[i], 0);
    }
    for (unsigned i = 0; i < MANY; i++)
        gyre_chan_release(c[i]);
    return 0;
}

INSIDE(select, nothing_is_allocated)
{
    static struct gyre_case cases[MANY];
    gyre_channel c = channel_of(4, 0), other = channel_of(4, 1);
    struct sending sending = {c.sender, 3};
    int got, before;

    cases[0] = gyre_case_after(GYRE_HOUR);
    cases[1] = gyre_case_recv(c.receiver, &got);
    for (int i = 2; i < MANY; i++)
        cases[i] = gyre_case_recv(other.receiver, &got);
    for (int count = 3; count <= MANY; count += MANY - 3) {
        EXPECT(!gyre_go(send_one, &sending)); /* warms up */
        EXPECT_EQ(gyre_chan_recv(c.receiver, &got), 1);
        EXPECT(!gyre_go(send_one, &sending));
        before = atomic_load(&allocations);
        EXPECT_EQ(gyre_select_n(cases, (size_t)count), 1);
        EXPECT_EQ(atomic_load(&allocations), before);
    }
    gyre_chan_release(c);
    c = channel_of(4, 0);
    EXPECT(atomic_load(&allocations) > before); /* they are counted */
    gyre_chan_release(c);
    gyre_chan_release(other);
    return 0;
}

/* One array, of every kind of case, in select after select. */
INSIDE(select, an_array_is_used_again)
{
    gyre_channel c = channel_of(4, 0), d = full_of(1, 1);
    int in = 0, out = 4;
    struct gyre_case cases[] = {
        gyre_case_recv(c.receiver, &in),
        gyre_case_send(d.sender, &out),
        gyre_case_after(0),
    };

    for (int i = 0; i < 60; i++) {
        struct selector selector;
        int n = i + 100;

        cases[2] = gyre_case_after(i % 3 == 2 ? GYRE_MILLISECOND / 2 : GYRE_HOUR);
        start(&selector, cases, 3);
        if (i % 3 < 2)
            await_receivers(c, 1);
        if (i % 3 == 0) {
            EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
        } else if (i % 3 == 1) {
            EXPECT_EQ(gyre_chan_recv(d.receiver, &n), 1);
            EXPECT_EQ(n, i == 1 ? 1 : 4);
        }
        EXPECT_EQ(end(&selector), i % 3);
        EXPECT_EQ(cases[i % 3].result, i % 3 == 0);
    }
    EXPECT_EQ(in, 157);
    gyre_chan_release(c);
    gyre_chan_release(d);
    return 0;
}

/* --- time --------------------------------------------------------------------------------------
 */

INSIDE(select, after_is_ready_when_its_time_has_passed)
{
    gyre_channel c = channel_of(4, 0);
    struct gyre_case cases[] = {gyre_case_recv(c.receiver, NULL), gyre_case_after(GYRE_HOUR),
                                gyre_case_after(2 * GYRE_MILLISECOND), gyre_case_after(INT64_MAX)};
    struct gyre_case only[] = {gyre_case_after(GYRE_MILLISECOND)};
    int64_t begin = gyre_now();

    EXPECT_EQ(gyre_select(cases), 2);
    EXPECT(gyre_now() - begin >= 2 * GYRE_MILLISECOND);
    EXPECT_EQ(cases[2].result, 0);
    await_receivers(c, 0);
    for (int i = 0; i < 5; i++) {
        begin = gyre_now();
        EXPECT_EQ(gyre_select(only), 0);
        EXPECT(gyre_now() - begin >= GYRE_MILLISECOND);
    }
    gyre_chan_release(c);
    return 0;
}

INSIDE(select, after_nothing_is_ready_at_once)
{
    gyre_channel c = full_of(1, 1);
    int counts[2] = {0};
    struct gyre_case none[] = {gyre_case_default(), gyre_case_after(0)};
    struct gyre_case negative[] = {gyre_case_after(INT64_MIN), gyre_case_after(GYRE_HOUR)};

    EXPECT_EQ(gyre_select(none), 1);
    EXPECT_EQ(gyre_select(negative), 0);
    for (int i = 0; i < 100; i++) { /* and is as good as any other that is ready */
        struct gyre_case cases[] = {gyre_case_recv(c.receiver, NULL), gyre_case_after(-1)};
        int chosen = gyre_select(cases), n = 1;

        EXPECT(chosen == 0 || chosen == 1);
        counts[chosen == 0]++;
        if (chosen == 0)
            EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
    }
    EXPECT(counts[0] > 10 && counts[1] > 10);
    gyre_chan_release(c);
    return 0;
}

/* --- contexts ----------------------------------------------------------------------------------
 */

INSIDE(select, the_end_of_the_context_ends_it_and_leaves_nothing_behind)
{
    gyre_channel c[3] = {channel_of(4, 0), channel_of(4, 0), full_of(1, 1)};
    int n = 5, out = 6;
    struct gyre_case cases[] = {
        gyre_case_recv(c[0].receiver, &n), gyre_case_send(c[1].sender, &out),
        gyre_case_send(c[2].sender, &out), gyre_case_recv(c[0].receiver, &n),
        gyre_case_after(GYRE_HOUR),
    };

    for (int i = 0; i < 20; i++) {
        struct selector selector;
        GYRE_CANCELLABLE();
        struct gyre_context *context = gyre_context_current();

        start(&selector, cases, 5 - (size_t)i % 2);
        await_senders(c[2], 1);
        gyre_context_cancel(context);
        gyre_context_release(context);
        GYRE_SHIELD();
        EXPECT_EQ(end(&selector), -ECANCELED);
        for (int k = 0; k < 3; k++) {
            await_senders(c[k], 0);
            await_receivers(c[k], 0);
        }
        EXPECT_EQ(gyre_chan_try_send(c[0].sender, &out), -EAGAIN);
        EXPECT_EQ(gyre_chan_try_recv(c[1].receiver, &n), -EAGAIN);
        EXPECT_EQ(gyre_chan_len(c[2].receiver), 1);
    }
    EXPECT_EQ(n, 5);
    for (int k = 0; k < 3; k++)
        gyre_chan_release(c[k]);
    return 0;
}

INSIDE(select, what_was_handed_over_wins_against_the_cancel)
{
    gyre_channel c = channel_of(4, 0), d = channel_of(4, 0);

    for (int sending = 0; sending < 2; sending++) {
        int out = 3, in = 0, none = 0;
        struct gyre_case cases[] = {
            gyre_case_recv(d.receiver, &none),
            sending ? gyre_case_send(c.sender, &out) : gyre_case_recv(c.receiver, &in),
            gyre_case_after(GYRE_HOUR),
        };
        struct selector selector;
        GYRE_CANCELLABLE();
        struct gyre_context *context = gyre_context_current();

        start(&selector, cases, 3);
        if (sending) {
            await_senders(c, 1);
            EXPECT_EQ(gyre_chan_try_recv(c.receiver, &in), 1);
        } else {
            await_receivers(c, 1);
            EXPECT_EQ(gyre_chan_try_send(c.sender, &out), 0);
        }
        EXPECT_EQ(gyre_chan_try_send(d.sender, &out), -EAGAIN); /* taken already */
        gyre_context_cancel(context);
        gyre_context_release(context);
        EXPECT_EQ(in, 3);
        GYRE_SHIELD();
        EXPECT_EQ(end(&selector), 1);
        EXPECT_EQ(cases[1].result, !sending);
        EXPECT_EQ(none, 0);
    }
    gyre_chan_release(c);
    gyre_chan_release(d);
    return 0;
}

static int shielded_select(void *arg)
{
    GYRE_SHIELD();
    return run_select(arg);
}

/* The cancel wakes it for nothing: it takes its places again, its time goes on. */
INSIDE(select, a_shielded_one_goes_on)
{
    gyre_channel c = channel_of(4, 0), d = channel_of(4, 0);

    for (int way = 0; way < 3; way++) {
        int in = 0, out = 3;
        int64_t begin = gyre_now(), time = way == 2 ? 3 * GYRE_MILLISECOND : GYRE_HOUR;
        struct gyre_case cases[] = {gyre_case_recv(c.receiver, &in), gyre_case_send(d.sender, &out),
                                    gyre_case_after(time)};
        struct selector selector = {.cases = cases, .count = 3, .result = -1};
        {
            GYRE_CANCELLABLE();
            struct gyre_context *context = gyre_context_current();

            EXPECT(!gyre_spawn(&selector.handle, shielded_select, &selector));
            if (way < 2)
                await_senders(d, 1);
            gyre_context_cancel(context);
            gyre_context_release(context);
            for (int i = 0; i < 10 && way < 2; i++) {
                gyre_yield();
                EXPECT_EQ(atomic_load(&selector.done), 0);
            }
        }
        if (way == 0) {
            EXPECT_EQ(gyre_chan_send(c.sender, &out), 0);
        } else if (way == 1) {
            EXPECT_EQ(gyre_chan_recv(d.receiver, &out), 1);
        }
        EXPECT_EQ(end(&selector), way);
        EXPECT(way < 2 || gyre_now() - begin >= time);
        EXPECT_EQ(in, way ? 0 : 3);
        await_receivers(c, 0);
        await_senders(d, 0);
    }
    gyre_chan_release(c);
    gyre_chan_release(d);
    return 0;
}

INSIDE(select, done_is_ready_when_that_context_has_ended)
{
    gyre_channel c = channel_of(4, 0);
    struct gyre_context *cancelled, *timed, *background = gyre_context_background();

    EXPECT(!gyre_context_with_cancel(background, &cancelled));
    EXPECT(!gyre_context_with_timeout(background, GYRE_MILLISECOND, &timed));
    {
        struct gyre_case cases[] = {gyre_case_recv(c.receiver, NULL), gyre_case_done(cancelled),
                                    gyre_case_done(background), gyre_case_default()};
        struct selector selector;

        EXPECT_EQ(gyre_select(cases), 3);
        start(&selector, cases, 3);
        await_receivers(c, 1);
        EXPECT_EQ(atomic_load(&selector.done), 0);
        gyre_context_cancel(cancelled);
        EXPECT_EQ(end(&selector), 1);
        EXPECT_EQ(cases[1].result, -ECANCELED);
        EXPECT_EQ(gyre_select(cases), 1);
        EXPECT_EQ(cases[1].result, -ECANCELED);
    }
    {
        struct gyre_case cases[] = {gyre_case_recv(c.receiver, NULL), gyre_case_done(timed),
                                    gyre_case_done(timed), gyre_case_after(GYRE_HOUR)};
        int chosen = gyre_select(cases);

        EXPECT(chosen == 1 || chosen == 2);
        EXPECT_EQ(cases[chosen].result, -ETIMEDOUT);
    }
    await_receivers(c, 0);
    gyre_context_release(cancelled);
    gyre_context_release(timed);
    gyre_chan_release(c);
    return 0;
}
