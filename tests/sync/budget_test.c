/* Coroutines whose calls never have to wait, next to others: all of these hang without the budget.
 */
#include "../sched/inside.h"

GYRE_CHAN_TYPE(ints, int);

static atomic_int over, started;

static void begin(gyre_fn fn, ints *channel)
{
    atomic_store(&over, 0);
    atomic_store(&started, 0);
    EXPECT_EQ(ints_make(channel, 1), 0);
    /* As many as workers, and main. */
    for (unsigned i = 0; i < gyre_worker_count(); i++)
        EXPECT_EQ(gyre_go(fn, channel), 0);
    await_flag(&started, (int)gyre_worker_count());
    /* By a timer, which is looked at between coroutines only. */
    EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0);
    atomic_store(&over, 1);
    while (gyre_coro_count() > 1)
        gyre_yield();
    ints_release(*channel);
}

static int fill_and_empty(void *arg)
{
    ints own, *unused = arg;
    int value = 0;

    (void)unused;
    EXPECT_EQ(ints_make(&own, 2), 0);
    atomic_fetch_add(&started, 1);
    while (!atomic_load(&over)) {
        ints_send(own.sender, value);
        ints_recv(own.receiver, &value);
    }
    ints_release(own);
    return 0;
}

INSIDE(budget, a_buffer_that_is_never_full_nor_empty)
{
    ints channel;

    begin(fill_and_empty, &channel);
    return 0;
}

static int poll_by_select(void *arg)
{
    ints *channel = arg;
    int value;

    atomic_fetch_add(&started, 1);
    while (!atomic_load(&over)) {
        struct gyre_case cases[] = {ints_case_recv(channel->receiver, &value), gyre_case_default()};

        EXPECT_EQ(gyre_select(cases), 1);
    }
    return 0;
}

INSIDE(budget, a_select_with_a_default_in_a_loop)
{
    ints channel;

    begin(poll_by_select, &channel);
    return 0;
}

static int select_both_ends(void *arg)
{
    ints own, *unused = arg;
    int value = 0;

    (void)unused;
    EXPECT_EQ(ints_make(&own, 1), 0);
    atomic_fetch_add(&started, 1);
    while (!atomic_load(&over)) {
        struct gyre_case cases[] = {ints_case_recv(own.receiver, &value),
                                    ints_case_send(own.sender, &value)};

        EXPECT(gyre_select(cases) >= 0);
    }
    ints_release(own);
    return 0;
}

INSIDE(budget, a_select_that_always_finds_one_ready)
{
    ints channel;

    begin(select_both_ends, &channel);
    return 0;
}
