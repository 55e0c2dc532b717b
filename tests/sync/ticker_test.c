/* Tickers, on the virtual clock. */
#include "../sched/inside.h"

#include <signal.h>

static struct gyre_ticker *ticker_of(int64_t period)
{
    struct gyre_ticker *ticker = NULL;

    GYRE_EXPECT(gyre_ticker_create(&ticker, period) == 0);
    return ticker;
}

static int64_t tick(struct gyre_ticker *ticker)
{
    int64_t moment = -1;

    GYRE_EXPECT(gyre_chan_recv(gyre_ticker_channel(ticker), &moment) == 1);
    return moment;
}

static bool is_empty(struct gyre_ticker *ticker)
{
    return gyre_chan_try_recv(gyre_ticker_channel(ticker), NULL) == -EAGAIN;
}

GYRE_TEST(ticker, ticks_at_multiples_of_its_period)
{
    int64_t start = gyre_now();
    struct gyre_ticker *ticker = ticker_of(GYRE_SECOND);

    for (int i = 1; i <= 100; i++) {
        GYRE_EXPECT(tick(ticker) == start + i * GYRE_SECOND);
        if (i % 3 == 0)
            gyre_sleep(GYRE_SECOND / 2);
    }
    gyre_ticker_destroy(ticker);
}

GYRE_TEST(ticker, drops_what_nobody_received_in_time)
{
    int64_t start = gyre_now();
    struct gyre_ticker *ticker = ticker_of(GYRE_SECOND);

    gyre_sleep(10 * GYRE_SECOND + GYRE_SECOND / 2);
    GYRE_EXPECT(tick(ticker) == start + GYRE_SECOND);
    GYRE_EXPECT(is_empty(ticker));
    GYRE_EXPECT(tick(ticker) == start + 11 * GYRE_SECOND);
    gyre_ticker_destroy(ticker);
}

GYRE_TEST(ticker, stopped_gives_no_tick_nor_an_old_one)
{
    struct gyre_ticker *ticker = ticker_of(GYRE_SECOND);

    gyre_sleep(2 * GYRE_SECOND);
    gyre_ticker_stop(ticker);
    GYRE_EXPECT(is_empty(ticker));
    gyre_sleep(GYRE_HOUR);
    GYRE_EXPECT(is_empty(ticker));
    gyre_ticker_stop(ticker);
    gyre_ticker_destroy(ticker);
}

GYRE_TEST(ticker, reset_begins_anew)
{
    struct gyre_ticker *ticker = ticker_of(GYRE_SECOND);
    int64_t start;

    gyre_sleep(2 * GYRE_SECOND + 1);
    start = gyre_now();
    gyre_ticker_reset(ticker, GYRE_MINUTE);
    GYRE_EXPECT(is_empty(ticker));
    GYRE_EXPECT(tick(ticker) == start + GYRE_MINUTE);
    GYRE_EXPECT(tick(ticker) == start + 2 * GYRE_MINUTE);
    gyre_ticker_stop(ticker);
    start = gyre_now();
    gyre_ticker_reset(ticker, GYRE_SECOND);
    GYRE_EXPECT(tick(ticker) == start + GYRE_SECOND);
    gyre_ticker_destroy(ticker);
}

GYRE_TEST(ticker, of_a_period_beyond_the_clock_does_not_tick)
{
    struct gyre_ticker *ticker = ticker_of(INT64_MAX);

    gyre_sleep(1000 * GYRE_HOUR);
    GYRE_EXPECT(is_empty(ticker));
    gyre_ticker_destroy(ticker);
}

GYRE_TEST(ticker, needs_a_period)
{
    struct gyre_ticker *ticker = NULL;

    GYRE_EXPECT(gyre_ticker_create(&ticker, 0) == -EINVAL);
    GYRE_EXPECT(gyre_ticker_create(&ticker, -1) == -EINVAL);
    GYRE_EXPECT(!ticker);
    gyre_ticker_destroy(NULL);
}

GYRE_TEST(ticker, channel_shows_no_length_and_may_be_held_longer)
{
    struct gyre_ticker *ticker = ticker_of(GYRE_SECOND);
    gyre_receiver receiver = gyre_chan_hold_receiver(gyre_ticker_channel(ticker));

    gyre_sleep(2 * GYRE_SECOND);
    GYRE_EXPECT(gyre_chan_len(receiver) == 0 && gyre_chan_cap(receiver) == 0);
    gyre_ticker_destroy(ticker);
    gyre_sleep(2 * GYRE_SECOND);
    GYRE_EXPECT(gyre_chan_try_recv(receiver, NULL) == -EAGAIN);
    gyre_chan_release_receiver(receiver);
}

INSIDE(ticker, never_ticks_early_by_the_real_clock)
{
    const int64_t period = GYRE_MILLISECOND / 2;
    struct gyre_ticker *ticker;
    int64_t start = gyre_now();

    EXPECT_EQ(gyre_ticker_create(&ticker, period), 0);
    for (int i = 1; i <= 20; i++) {
        int64_t moment = 0;

        EXPECT_EQ(gyre_chan_recv(gyre_ticker_channel(ticker), &moment), 1);
        EXPECT(moment >= start + i * period && moment <= gyre_now());
    }
    gyre_ticker_destroy(ticker);
    return 0;
}

static int reset_to_nothing(void *unused)
{
    (void)unused;
    gyre_ticker_reset(ticker_of(GYRE_SECOND), 0);
    return 0;
}

Test(ticker, reset_without_a_period_panics, .signal = SIGABRT)
{
    run_with_workers(1, reset_to_nothing, NULL);
}
