/* Who holds a channel, and what becomes of what is left inside. */
#include "../sched/inside.h"
#include "queues.h"

#include "base/checks.h"

static atomic_int dropped;

static void drop_number(void *element)
{
    atomic_fetch_add(&dropped, *(int *)element);
}

static gyre_channel dropping(size_t capacity)
{
    struct gyre_chan_options options = GYRE_CHAN_OPTIONS_INIT;
    gyre_channel c;

    options.drop = drop_number;
    EXPECT(!gyre_chan_make_options(&c, sizeof(int), capacity, &options));
    atomic_store(&dropped, 0);
    return c;
}

INSIDE(chan_count, the_last_release_drops_what_is_left_in_order_around_the_end)
{
    gyre_channel c = dropping(4);
    int n;

    for (n = 1; n < 4; n++)
        EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
    EXPECT_EQ(gyre_chan_recv(c.receiver, &n), 1);
    EXPECT_EQ(gyre_chan_recv(c.receiver, NULL), 1); /* dropped by the receiver: no drop */
    for (n = 10; n <= 1000; n *= 10)
        EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
    gyre_chan_release_sender(c.sender);
    EXPECT_EQ(dropped, 0);
    EXPECT_EQ(gyre_chan_len(c.receiver), 4); /* alive while the receiver holds it */
    gyre_chan_release_receiver(c.receiver);
    EXPECT_EQ(dropped, 1113);
    return 0;
}

INSIDE(chan_count, holders_keep_the_channel)
{
    gyre_channel c = dropping(1), more;
    int n = 1;

    EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
    more = gyre_chan_hold(c);
    EXPECT_EQ(more.sender.chan, c.sender.chan);
    EXPECT_EQ(gyre_chan_hold_sender(c.sender).chan, c.sender.chan);
    EXPECT_EQ(gyre_chan_hold_receiver(c.receiver).chan, c.receiver.chan);
    gyre_chan_release(c);
    gyre_chan_release(more);
    gyre_chan_release_receiver(c.receiver);
    EXPECT_EQ(dropped, 0);
    gyre_chan_close(c.sender);
    EXPECT_EQ(dropped, 0); /* neither does a close */
    gyre_chan_release_sender(c.sender);
    EXPECT_EQ(dropped, 1);
    return 0;
}

INSIDE(chan_count, a_failed_send_leaves_the_element_with_its_sender)
{
    gyre_channel c = dropping(1);
    int one = 1, two = 2;

    EXPECT_EQ(gyre_chan_send(c.sender, &one), 0);
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_chan_send(c.sender, &two), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_chan_try_send(c.sender, &two), -EAGAIN);
    EXPECT_EQ(gyre_chan_len(c.receiver), 1);
    gyre_chan_release(c);
    EXPECT_EQ(dropped, 1);
    return 0;
}

static size_t live_before;
static const void *reported;

static void note_live(const struct gyre_chan *chan, void *made_by)
{
    EXPECT(made_by);
    reported = chan;
}

Test(chan_count, with_checks_on_channels_alive_are_known)
{
    bool before = gyre_checks;
    gyre_channel c;

    gyre_checks = true;
    live_before = gyre_chan_live(NULL);
    c = channel_of(8, 3);
    cr_assert_eq(gyre_chan_live(note_live), live_before + 1);
    cr_assert_eq(reported, c.sender.chan);
    gyre_chan_release_sender(c.sender);
    gyre_checks = false; /* what was recorded stays so */
    gyre_chan_release_receiver(c.receiver);
    cr_assert_eq(gyre_chan_live(NULL), live_before);
    c = channel_of(8, 3);
    gyre_checks = true;
    cr_assert_eq(gyre_chan_live(NULL), live_before);
    gyre_chan_release(c);
    for (int i = 0; i < 5000; i++) /* through the quarantine */
        gyre_chan_release(channel_of(24, 2));
    cr_assert_eq(gyre_chan_live(NULL), live_before);
    gyre_checks = before;
}
