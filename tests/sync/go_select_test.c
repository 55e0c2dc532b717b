/* What Go's own tests of select ask for, as go_chan_test.c. */
#include "go.h"

#include <math.h>
#include <stdlib.h>

/* --- TestNonblockRecvRace, TestNonblockSelectRace and 2 ------------------------------------------
 */

struct race {
    ints c1, c2;
    gyre_handle handle;
};

static int recv_or_fail(void *arg)
{
    struct race *race = arg;

    EXPECT(ints_try_recv(race->c1.receiver, NULL) >= 0);
    return 0;
}

INSIDE(go_chan, a_receive_that_does_not_wait_sees_an_element_or_the_close)
{
    for (int i = 0; i < 1000; i++) {
        struct race race = {.c1 = ints_of(1)};

        EXPECT_EQ(ints_send(race.c1.sender, 1), 0);
        EXPECT(!gyre_spawn(&race.handle, recv_or_fail, &race));
        ints_close(race.c1.sender);
        EXPECT(ints_recv(race.c1.receiver, NULL) >= 0);
        EXPECT_EQ(gyre_join(race.handle, NULL), 0);
        ints_release(race.c1);
    }
    return 0;
}

static int select_or_fail(void *arg)
{
    struct race *race = arg;
    struct gyre_case cases[] = {ints_case_recv(race->c1.receiver, NULL),
                                ints_case_recv(race->c2.receiver, NULL), gyre_case_default()};
    int chosen = gyre_select(cases);

    EXPECT(chosen == 0 || chosen == 1);
    return 0;
}

/* One of the two is ready at every moment, so the default never is: a select looks at one moment.
 */
INSIDE(go_chan, a_select_that_does_not_wait_looks_at_one_moment)
{
    for (int i = 0; i < 3000; i++) {
        struct race race = {.c1 = ints_of(1), .c2 = ints_of(i % 2)};

        EXPECT_EQ(ints_send(race.c1.sender, 1), 0);
        EXPECT(!gyre_spawn(&race.handle, select_or_fail, &race));
        if (i % 2)
            EXPECT_EQ(ints_send(race.c2.sender, 1), 0);
        else
            ints_close(race.c2.sender);
        ints_try_recv(race.c1.receiver, NULL);
        EXPECT_EQ(gyre_join(race.handle, NULL), 0);
        ints_release(race.c1);
        ints_release(race.c2);
    }
    return 0;
}

/* --- TestSelfSelect ------------------------------------------------------------------------------
 */

struct self_select {
    ints c;
    int p;
    bool buffered;
};

static int self_select(void *arg)
{
    const struct self_select *s = arg;

    for (int i = 0; i < 1000; i++) {
        int v = -1, receiving = s->p == 0 || i % 2 == 0;
        struct gyre_case cases[2];

        cases[!receiving] = ints_case_send(s->c.sender, &s->p);
        cases[receiving] = ints_case_recv(s->c.receiver, &v);
        if (gyre_select(cases) == receiving)
            EXPECT(s->buffered || v == !s->p);
    }
    return 0;
}

INSIDE(go_chan, a_select_that_sends_and_receives_never_meets_itself)
{
    for (int buffered = 0; buffered < 2; buffered++) {
        ints c = ints_of(buffered ? 10 : 0);
        struct self_select s[2] = {{c, 0, buffered}, {c, 1, buffered}};
        gyre_handle handles[2];

        for (int p = 0; p < 2; p++)
            EXPECT(!gyre_spawn(&handles[p], self_select, &s[p]));
        for (int p = 0; p < 2; p++)
            EXPECT_EQ(gyre_join(handles[p], NULL), 0);
        ints_release(c);
    }
    return 0;
}

/* --- TestSelectStress
 * ----------------------------------------------------------------------------- */

enum { STRESS = 1500 };

static ints four[4];

static int send_many(void *arg)
{
    for (int i = 0; i < STRESS; i++)
        EXPECT_EQ(ints_send(four[(intptr_t)arg].sender, 0), 0);
    return 0;
}

static int recv_many(void *arg)
{
    for (int i = 0; i < STRESS; i++)
        EXPECT_EQ(ints_recv(four[(intptr_t)arg].receiver, NULL), 1);
    return 0;
}

/* Each channel STRESS times, in any order; one that is through becomes nil. */
static void select_many(bool sends)
{
    int zero = 0, count[4] = {0};
    ints left[4];

    memcpy(left, four, sizeof left);
    for (int i = 0; i < 4 * STRESS; i++) {
        struct gyre_case cases[4];
        int chosen;

        for (int k = 0; k < 4; k++)
            cases[k] = sends ? ints_case_send(left[3 - k].sender, &zero)
                             : ints_case_recv(left[3 - k].receiver, NULL);
        chosen = 3 - gyre_select(cases);
        EXPECT(chosen >= 0 && chosen < 4);
        if (++count[chosen] == STRESS)
            left[chosen] = (ints){0};
    }
}

static int select_sends(void *arg)
{
    (void)arg;
    select_many(true);
    return 0;
}

static int select_recvs(void *arg)
{
    (void)arg;
    select_many(false);
    return 0;
}

INSIDE(go_chan, sends_receives_and_selects_get_along)
{
    gyre_handle handles[10];
    intptr_t k;

    for (k = 0; k < 4; k++)
        four[k] = ints_of(k < 2 ? 0 : (size_t)k);
    for (k = 0; k < 4; k++) {
        EXPECT(!gyre_spawn(&handles[2 * k], send_many, (void *)k));
        EXPECT(!gyre_spawn(&handles[2 * k + 1], recv_many, (void *)k));
    }
    EXPECT(!gyre_spawn(&handles[8], select_sends, NULL));
    EXPECT(!gyre_spawn(&handles[9], select_recvs, NULL));
    for (k = 0; k < 10; k++)
        EXPECT_EQ(gyre_join(handles[k], NULL), 0);
    for (k = 0; k < 4; k++)
        ints_release(four[k]);
    return 0;
}

/* --- TestSelectFairness
 * --------------------------------------------------------------------------- */

enum { TRIALS = 4000 };

static struct fairness {
    ints c1, c2, c3, c4, out, done;
} fair;

static int fair_select(void *arg)
{
    (void)arg;
    for (;;) {
        int b = 0;
        struct gyre_case in[] = {
            ints_case_recv(fair.c3.receiver, &b), ints_case_recv(fair.c4.receiver, &b),
            ints_case_recv(fair.c1.receiver, &b), ints_case_recv(fair.c2.receiver, &b)};
        struct gyre_case out[] = {ints_case_send(fair.out.sender, &b),
                                  ints_case_recv(fair.done.receiver, NULL)};

        EXPECT(gyre_select(in) >= 2);
        if (gyre_select(out) != 0)
            return 0;
    }
}

INSIDE(go_chan, two_that_are_always_ready_get_half_each)
{
    int counts[3] = {0}, b;
    gyre_handle handle;

    fair = (struct fairness){ints_of(TRIALS + 1), ints_of(TRIALS + 1), ints_of(0),
                             ints_of(0),          ints_of(0),          ints_of(0)};
    for (int i = 0; i <= TRIALS; i++) {
        EXPECT_EQ(ints_send(fair.c1.sender, 1), 0);
        EXPECT_EQ(ints_send(fair.c2.sender, 2), 0);
    }
    EXPECT(!gyre_spawn(&handle, fair_select, NULL));
    for (int i = 0; i < TRIALS; i++) {
        EXPECT_EQ(ints_recv(fair.out.receiver, &b), 1);
        EXPECT(b == 1 || b == 2);
        counts[b]++;
    }
    EXPECT(fabs(counts[1] - TRIALS * 0.5) < 10 * sqrt(TRIALS * 0.25));
    ints_close(fair.done.sender);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    ints_release(fair.c1);
    ints_release(fair.c2);
    ints_release(fair.c3);
    ints_release(fair.c4);
    ints_release(fair.out);
    ints_release(fair.done);
    return 0;
}

/* --- TestChanSendInterface: here an element that is not a word
 * ------------------------------------ */

struct any {
    const void *type;
    void *value;
};

GYRE_CHAN_TYPE(anys, struct any);

INSIDE(go_chan, sends_that_can_not_all_be_done_take_the_default)
{
    struct any m = {"mt", &m}, other = {"mt", NULL};
    anys c;

    EXPECT_EQ(anys_make(&c, 1), 0);
    EXPECT_EQ(anys_send(c.sender, m), 0);
    {
        struct gyre_case one[] = {anys_case_send(c.sender, &m), gyre_case_default()};
        struct gyre_case two[] = {anys_case_send(c.sender, &m), anys_case_send(c.sender, &other),
                                  gyre_case_default()};

        EXPECT_EQ(gyre_select(one), 1);
        EXPECT_EQ(gyre_select(two), 2);
        EXPECT_EQ(anys_recv(c.receiver, &other), 1);
        EXPECT(other.value == &m);
        EXPECT(gyre_select(two) < 2);
    }
    anys_release(c);
    return 0;
}

/* --- TestPseudoRandomSend
 * ------------------------------------------------------------------------- */

static struct random_send {
    ints c;
    int counts[2];
} random_send;

static int count_sent(void *arg)
{
    int v;

    (void)arg;
    for (int i = 0; i < 100; i++) {
        gyre_yield();
        EXPECT_EQ(ints_recv(random_send.c.receiver, &v), 1);
        random_send.counts[v]++;
    }
    return 0;
}

INSIDE(go_chan, two_sends_on_one_channel_are_both_chosen)
{
    static const int one = 1, zero = 0;

    for (size_t capacity = 0; capacity <= 100; capacity += 100) {
        gyre_handle handle;

        random_send = (struct random_send){.c = ints_of(capacity)};
        EXPECT(!gyre_spawn(&handle, count_sent, NULL));
        for (int i = 0; i < 100; i++) {
            struct gyre_case cases[] = {ints_case_send(random_send.c.sender, &one),
                                        ints_case_send(random_send.c.sender, &zero)};

            EXPECT(gyre_select(cases) >= 0);
        }
        EXPECT_EQ(gyre_join(handle, NULL), 0);
        EXPECT(random_send.counts[0] > 10 && random_send.counts[1] > 10);
        ints_release(random_send.c);
    }
    return 0;
}

/* --- TestSelectDuplicateChannel
 * ------------------------------------------------------------------- */

static struct duplicate {
    ints c, d, e, f;
} twice;

static int select_twice_the_same(void *arg)
{
    struct gyre_case cases[] = {ints_case_recv(twice.c.receiver, NULL),
                                ints_case_recv(twice.c.receiver, NULL),
                                ints_case_recv(twice.d.receiver, NULL)};

    (void)arg;
    EXPECT_EQ(gyre_select(cases), 2);
    return ints_send(twice.e.sender, 9);
}

static int recv_behind(void *arg)
{
    int v;

    (void)arg;
    EXPECT_EQ(ints_recv(twice.c.receiver, &v), 1);
    return ints_send(twice.f.sender, v);
}

INSIDE(go_chan, one_channel_twice_leaves_its_queue_whole)
{
    int v;

    twice = (struct duplicate){ints_of(0), ints_of(0), ints_of(0), ints_of(0)};
    GO(select_twice_the_same, NULL);
    await_receivers(plain(twice.c), 2);
    GO(recv_behind, NULL);
    await_receivers(plain(twice.c), 3);
    EXPECT_EQ(ints_send(twice.d.sender, 7), 0);
    EXPECT_EQ(ints_recv(twice.e.receiver, &v), 1);
    EXPECT_EQ(v, 9);
    EXPECT_EQ(ints_send(twice.c.sender, 8), 0);
    EXPECT_EQ(ints_recv(twice.f.receiver, &v), 1);
    EXPECT_EQ(v, 8);
    ints_release(twice.c);
    ints_release(twice.d);
    ints_release(twice.e);
    ints_release(twice.f);
    return 0;
}

/* --- doubleselect
 * --------------------------------------------------------------------------------- */

enum { DOUBLE = 3000 };

static struct doubles {
    ints c[4], mux;
    gyre_handle muxers[4];
} both;

static int select_a_number(void *arg)
{
    (void)arg;
    for (int i = 0; i < DOUBLE; i++) {
        struct gyre_case cases[4];

        for (int k = 0; k < 4; k++)
            cases[k] = ints_case_send(both.c[k].sender, &i);
        EXPECT(gyre_select(cases) >= 0);
    }
    for (int k = 0; k < 4; k++)
        ints_close(both.c[k].sender);
    return 0;
}

static int pass_on(void *arg)
{
    int v;

    while (ints_recv(both.c[(intptr_t)arg].receiver, &v) > 0)
        EXPECT_EQ(ints_send(both.mux.sender, v), 0);
    return 0;
}

static int close_after_all(void *arg)
{
    (void)arg;
    for (int k = 0; k < 4; k++)
        EXPECT_EQ(gyre_join(both.muxers[k], NULL), 0);
    ints_close(both.mux.sender);
    return 0;
}

INSIDE(go_chan, never_do_two_cases_run)
{
    static unsigned char seen[DOUBLE];
    int v, count = 0;

    memset(seen, 0, sizeof seen);
    both.mux = ints_of(0);
    for (intptr_t k = 0; k < 4; k++) {
        both.c[k] = ints_of(0);
        EXPECT(!gyre_spawn(&both.muxers[k], pass_on, (void *)k));
    }
    GO(select_a_number, NULL);
    GO(close_after_all, NULL);
    while (ints_recv(both.mux.receiver, &v) > 0) {
        EXPECT_EQ(seen[v]++, 0);
        count++;
    }
    EXPECT_EQ(count, DOUBLE);
    for (int k = 0; k < 4; k++)
        ints_release(both.c[k]);
    ints_release(both.mux);
    return 0;
}

/* --- select
 * --------------------------------------------------------------------------------------- */

static unsigned counter, shift;

static unsigned get_value(void)
{
    counter++;
    return 1u << shift;
}

GYRE_CHAN_TYPE(uints, unsigned);

static int send_both(uints a, uints b)
{
    int sent = 0;

    for (;;) {
        unsigned first = get_value(), second = get_value();
        struct gyre_case cases[] = {uints_case_send(a.sender, &first),
                                    uints_case_send(b.sender, &second), gyre_case_default()};
        int chosen = gyre_select(cases);

        if (chosen == 2)
            return sent;
        sent++;
        *(chosen ? &b : &a) = (uints){0};
        shift++;
    }
}

INSIDE(go_chan, a_channel_set_to_nil_is_done_with)
{
    unsigned av, bv;
    uints a, b;

    counter = shift = 0;
    EXPECT(!uints_make(&a, 1));
    EXPECT(!uints_make(&b, 1));
    EXPECT_EQ(send_both(a, b), 2);
    EXPECT_EQ(uints_recv(a.receiver, &av), 1);
    EXPECT_EQ(uints_recv(b.receiver, &bv), 1);
    EXPECT_EQ(av | bv, 3);
    EXPECT_EQ(send_both(a, (uints){0}), 1);
    EXPECT_EQ(counter, 10);
    uints_release(a);
    uints_release(b);
    return 0;
}

/* --- select3: the matrix of what blocks
 * -----------------------------------------------------------
 */

static ints nil, shut;

static int block(void *arg)
{
    static const int seven = 7;
    ints fresh = ints_of(0), roomy = ints_of(1);
    struct gyre_case nil_send = ints_case_send(nil.sender, &seven),
                     nil_recv = ints_case_recv(nil.receiver, NULL), none = gyre_case_default();
    int v = 9, result = -1;

    switch ((intptr_t)arg) {
    case 0:
        result = ints_send(nil.sender, 7);
        break;
    case 1:
        result = ints_recv(nil.receiver, &v);
        break;
    case 2:
        result = ints_recv(fresh.receiver, &v);
        break;
    case 3:
        result = gyre_select_n(NULL, 0);
        break;
    case 4:
        result = gyre_select_n(&nil_recv, 1);
        break;
    case 5:
        result = gyre_select_n(&nil_send, 1);
        break;
    case 6:
        result = gyre_select(((struct gyre_case[]){nil_recv, nil_send}));
        break;
    case 7:
        result = gyre_select(((struct gyre_case[]){ints_case_recv(fresh.receiver, &v)}));
        break;
    case 8: /* it sees itself */
        result = gyre_select(((struct gyre_case[]){ints_case_send(fresh.sender, &seven),
                                                   ints_case_recv(fresh.receiver, &v)}));
        break;
    case 9:
        result = ints_send(fresh.sender, 7);
        break;
    case 10:
        result = ints_send(roomy.sender, 7);
        break;
    case 11:
        for (int i = 0; i < 10; i++)
            result = ints_recv(shut.receiver, &v);
        EXPECT_EQ(v, 0);
        break;
    case 12:
        result = gyre_select_n(&none, 1);
        break;
    case 13:
        result = gyre_select(((struct gyre_case[]){nil_recv, none})) == 1 ? 0 : -1;
        break;
    case 14:
        result = gyre_select(((struct gyre_case[]){nil_send, none})) == 1 ? 0 : -1;
        break;
    case 15:
        result = gyre_select(((struct gyre_case[]){ints_case_send(roomy.sender, &seven), none}));
        break;
    case 16:
        EXPECT_EQ(ints_send(roomy.sender, 7), 0);
        result = gyre_select(((struct gyre_case[]){ints_case_recv(roomy.receiver, &v), none}));
        EXPECT_EQ(v, 7);
        break;
    case 17:
        result = gyre_select(((struct gyre_case[]){ints_case_recv(shut.receiver, &v)}));
        EXPECT_EQ(v, 0);
        break;
    }
    ints_release(fresh);
    ints_release(roomy);
    return result;
}

INSIDE(go_chan, what_blocks_and_what_does_not)
{
    enum { BLOCKING = 10, ALL = 18 };

    nil = (ints){0};
    shut = ints_of(0);
    ints_close(shut.sender);
    for (intptr_t i = 0; i < ALL; i++) {
        int result;
        gyre_handle handle;
        GYRE_CANCELLABLE();

        EXPECT(!gyre_spawn(&handle, block, (void *)i));
        if (i < BLOCKING) {
            struct gyre_context *context = gyre_context_current();

            for (int k = 0; k < 20; k++)
                gyre_yield();
            gyre_context_cancel(context);
            gyre_context_release(context);
        }
        GYRE_SHIELD();
        EXPECT_EQ(gyre_join(handle, &result), 0);
        if (result != (i < BLOCKING ? -ECANCELED : 0))
            fprintf(stderr, "number %d\n", (int)i);
        EXPECT_EQ(result, i < BLOCKING ? -ECANCELED : 0);
    }
    ints_release(shut);
    return 0;
}

/* --- select4: only the chosen case's place is written
 * --------------------------------------------- */

INSIDE(go_chan, only_the_chosen_case_writes_its_element)
{
    struct {
        int before, a, after;
    } x = {1, 2, 3};
    ints c = ints_of(1), c1 = ints_of(0);
    struct gyre_case cases[] = {ints_case_recv(c1.receiver, (int *)16),
                                ints_case_recv(c.receiver, &x.a)};

    EXPECT_EQ(ints_send(c.sender, 42), 0);
    EXPECT_EQ(gyre_select(cases), 1);
    EXPECT(x.before == 1 && x.a == 42 && x.after == 3);
    ints_release(c);
    ints_release(c1);
    return 0;
}

/* --- select5: every mix of cases beside the one that is ready
 * ------------------------------------- */

INSIDE(go_chan, one_that_is_ready_is_chosen_among_all_mixes)
{
    ints c = ints_of(1), idle = ints_of(0);
    int n = 1;

    for (unsigned mix = 0; mix < 1 << 7; mix++)
        for (unsigned place = 0; place < 7; place++) {
            struct gyre_case cases[7];
            unsigned count = 0, ready = 0;
            bool sends = mix & 1;
            int x = 0;

            for (unsigned i = 1; i < 7; i++) {
                if (i == place)
                    ready = count, count++;
                if (!(mix >> i & 1))
                    continue;
                cases[count++] = i == 1   ? gyre_case_default()
                                 : i == 2 ? ints_case_send(idle.sender, &n)
                                 : i == 3 ? ints_case_recv(idle.receiver, &x)
                                 : i == 4 ? ints_case_send((ints_sender){{NULL}}, &n)
                                 : i == 5 ? ints_case_recv((ints_receiver){{NULL}}, &x)
                                          : gyre_case_after(GYRE_HOUR);
            }
            if (place == 0)
                ready = count++;
            cases[ready] = sends ? ints_case_send(c.sender, &n) : ints_case_recv(c.receiver, &x);
            if (!sends)
                EXPECT_EQ(ints_send(c.sender, n), 0);
            EXPECT_EQ(gyre_select_n(cases, count), ready);
            if (sends)
                EXPECT_EQ(ints_recv(c.receiver, &x), 1);
            EXPECT_EQ(x, n);
            n++;
        }
    ints_release(c);
    ints_release(idle);
    return 0;
}

/* --- select6: one that is passed over in the middle of a queue
 * ------------------------------------ */

static ints six[2];

static int recv_first(void *arg)
{
    (void)arg;
    return ints_recv(six[0].receiver, NULL);
}

static int select_two(void *arg)
{
    struct gyre_case cases[] = {ints_case_recv(six[0].receiver, NULL),
                                ints_case_recv(six[1].receiver, NULL)};

    (void)arg;
    EXPECT_EQ(gyre_select(cases), 1);
    return 0;
}

INSIDE(go_chan, a_select_leaves_the_middle_of_a_queue)
{
    gyre_handle handles[3];

    six[0] = ints_of(0);
    six[1] = ints_of(0);
    EXPECT(!gyre_spawn(&handles[0], recv_first, NULL));
    await_receivers(plain(six[0]), 1);
    EXPECT(!gyre_spawn(&handles[1], select_two, NULL));
    await_receivers(plain(six[0]), 2);
    EXPECT(!gyre_spawn(&handles[2], recv_first, NULL));
    await_receivers(plain(six[0]), 3);
    EXPECT_EQ(ints_send(six[1].sender, 0), 0);
    EXPECT_EQ(gyre_join(handles[1], NULL), 0);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(ints_send(six[0].sender, i), 0);
    EXPECT_EQ(gyre_join(handles[0], NULL), 0);
    EXPECT_EQ(gyre_join(handles[2], NULL), 0);
    ints_release(six[0]);
    ints_release(six[1]);
    return 0;
}

/* --- select7: every way to receive against every way to send
 * -------------------------------------- */

static int get_by(ints_receiver c, int way, int *v)
{
    ints dead = ints_of(0);
    struct gyre_case two[] = {ints_case_recv(dead.receiver, v), ints_case_recv(c, v)};
    struct gyre_case one[] = {ints_case_recv(c, v)}, with_default[] = {one[0], gyre_case_default()};
    int got;

    switch (way) {
    case 0:
        got = ints_recv(c, v);
        break;
    case 1:
        got = gyre_select(one) == 0;
        break;
    case 2:
        got = gyre_select(two) == 1;
        break;
    case 3:
        while (gyre_select(with_default) == 1)
            gyre_yield();
        got = with_default[0].result;
        break;
    default:
        while ((got = ints_try_recv(c, v)) == -EAGAIN)
            gyre_yield();
    }
    ints_release(dead);
    return got;
}

struct by_way {
    ints c;
    int way;
};

static int send_by(void *arg)
{
    const struct by_way *by = arg;
    ints dead = ints_of(0);
    int n = 10 + by->way;
    struct gyre_case one[] = {ints_case_send(by->c.sender, &n)},
                     two[] = {one[0], ints_case_send(dead.sender, &n)},
                     with_default[] = {gyre_case_default(), one[0]};

    switch (by->way) {
    case 0:
        EXPECT_EQ(ints_send(by->c.sender, n), 0);
        break;
    case 1:
        EXPECT_EQ(gyre_select(one), 0);
        break;
    case 2:
        EXPECT_EQ(gyre_select(two), 0);
        break;
    case 3:
        while (gyre_select(with_default) == 0)
            gyre_yield();
        break;
    default:
        while (ints_try_send(by->c.sender, n))
            gyre_yield();
    }
    ints_release(dead);
    return 0;
}

INSIDE(go_chan, every_way_to_receive_meets_every_way_to_send)
{
    for (int receive = 0; receive < 5; receive++)
        for (int send = 0; send < 5; send++)
            for (size_t capacity = receive > 2 && send > 2; capacity < 3; capacity++) {
                struct by_way by = {ints_of(capacity), send};
                gyre_handle handle;
                int v = 0;

                EXPECT(!gyre_spawn(&handle, send_by, &by));
                EXPECT_EQ(get_by(by.c.receiver, receive, &v), 1);
                EXPECT_EQ(v, 10 + send);
                EXPECT_EQ(gyre_join(handle, NULL), 0);
                ints_release(by.c);
            }
    return 0;
}
