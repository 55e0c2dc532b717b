/* Which of its ready cases a select chooses, and how often. */
#include "selecting.h"

#include <math.h>

/* --- distribution ------------------------------------------------------------------------------
 */

enum { DRAWS = 20000, READY_MAX = 10 };

/* Of the sum of the squared deviations: exceeded once in a million draws of a fair choice; the
 * seed is fixed, so this one never does. */
static double chi_bound(int freedom)
{
    return freedom + 7 * sqrt(2.0 * freedom) + 15;
}

static double chi_square(const int *counts, int count, double expected)
{
    double sum = 0;

    for (int i = 0; i < count; i++)
        sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    return sum;
}

/* Ready cases of all kinds, unready ones between them: each is chosen as often, whatever was chosen
 * before. */
static void draw(int ready)
{
    gyre_channel full = full_of(1, 2), room = channel_of(4, 2), closed = channel_of(4, 0);
    gyre_channel idle = channel_of(4, 0);
    struct gyre_case cases[3 * READY_MAX];
    int counts[READY_MAX] = {0}, pairs[READY_MAX * READY_MAX] = {0}, before = 0;
    int n = 1;

    gyre_chan_close(closed.sender);
    for (int i = 0; i < 3 * ready; i++)
        cases[i] = i % 2 ? gyre_case_recv(idle.receiver, &n) : gyre_case_send(idle.sender, &n);
    for (int i = 0; i < ready; i++)
        cases[3 * i + i % 3] = i % 3 == 0   ? gyre_case_recv(full.receiver, &n)
                               : i % 3 == 1 ? gyre_case_send(room.sender, &n)
                                            : gyre_case_recv(closed.receiver, &n);
    for (int i = 0; i < DRAWS; i++) {
        int chosen = gyre_select_n(cases, 3 * (size_t)ready) / 3;

        EXPECT(chosen >= 0 && chosen < ready);
        counts[chosen]++;
        pairs[before * ready + chosen]++;
        before = chosen;
        if (chosen % 3 == 0)
            EXPECT_EQ(gyre_chan_send(full.sender, &n), 0);
        else if (chosen % 3 == 1)
            EXPECT_EQ(gyre_chan_recv(room.receiver, &n), 1);
    }
    EXPECT(chi_square(counts, ready, (double)DRAWS / ready) < chi_bound(ready - 1));
    EXPECT(chi_square(pairs, ready * ready, (double)DRAWS / ready / ready) <
           chi_bound(ready * ready - 1));
    gyre_chan_release(full);
    gyre_chan_release(room);
    gyre_chan_release(closed);
    gyre_chan_release(idle);
}

static int draws(void *arg)
{
    (void)arg;
    draw(2);
    draw(3);
    draw(10);
    return 0;
}

Test(select, each_ready_case_has_the_same_chance)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 1;
    options.seed = 20;
    cr_assert_eq(gyre_run_options(draws, NULL, &options), 0);
    cr_assert_eq(failed_expectations, 0);
}

/* One channel in several cases, others between them: its partner comes while the select waits. */
static int draw_among_same(void *arg)
{
    enum { SAME = 3, TURNS = 3000 };
    gyre_channel c = channel_of(4, 0), idle = channel_of(4, 0);
    int counts[SAME] = {0}, n = 1;
    struct gyre_case cases[] = {
        gyre_case_recv(c.receiver, NULL),    gyre_case_recv(c.receiver, NULL),
        gyre_case_recv(idle.receiver, NULL), gyre_case_send(idle.sender, &n),
        gyre_case_after(GYRE_HOUR),          gyre_case_recv(idle.receiver, NULL),
        gyre_case_recv(c.receiver, NULL),
    };

    (void)arg;
    for (int i = 0; i < TURNS; i++) {
        struct selector selector;
        int chosen;

        start(&selector, cases, sizeof cases / sizeof *cases);
        await_receivers(c, SAME);
        EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
        chosen = end(&selector);
        EXPECT(chosen == 0 || chosen == 1 || chosen == 6);
        counts[chosen == 6 ? 2 : chosen & 1]++;
    }
    EXPECT(chi_square(counts, SAME, (double)TURNS / SAME) < chi_bound(SAME - 1));
    gyre_chan_release(c);
    gyre_chan_release(idle);
    return 0;
}

Test(select, each_case_of_the_same_channel_has_the_same_chance)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 1;
    options.seed = 21;
    cr_assert_eq(gyre_run_options(draw_among_same, NULL, &options), 0);
    cr_assert_eq(failed_expectations, 0);
}

static int note_choices(void *arg)
{
    unsigned char *choices = arg;
    gyre_channel c = full_of(1, 1);
    struct gyre_case cases[] = {gyre_case_after(0), gyre_case_after(0), gyre_case_after(0)};

    for (int i = 0; i < 200; i++)
        choices[i] = (unsigned char)gyre_select(cases);
    gyre_chan_release(c);
    return 0;
}

Test(select, the_seed_decides_the_choices)
{
    static unsigned char choices[3][200];

    for (int i = 0; i < 3; i++) {
        struct gyre_options options = GYRE_OPTIONS_INIT;

        options.workers = 1;
        options.seed = i < 2 ? 5 : 6;
        cr_assert_eq(gyre_run_options(note_choices, choices[i], &options), 0);
    }
    cr_assert_eq(memcmp(choices[0], choices[1], 200), 0);
    cr_assert_neq(memcmp(choices[0], choices[2], 200), 0);
}
