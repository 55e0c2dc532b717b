/*
 * A timer's callback that the wheel has taken out and that comes late: after stops, resets and the
 * last release. It is part of this program, which takes the timer out and calls it when it pleases.
 */
#include "../sched/inside.h"

#include "sync/timer.c"

/* As the wheel does, right before it calls `fire`. */
static void take_out(struct gyre_timer *timer)
{
    EXPECT(gyre_wheel_stop(&timer->timer));
}

static void call_late(struct gyre_timer *timer)
{
    timer->timer.fire(&timer->timer);
}

/* With a sanitizer no block is used again, and it says itself what is wrong. */
static void expect_free(const struct gyre_timer *timer, bool wanted)
{
    struct gyre_timer *next;

    EXPECT_EQ(gyre_timer_create(&next, GYRE_HOUR), 0);
#if !defined(GYRE_ASAN) && !defined(GYRE_TSAN)
    EXPECT_EQ(next == timer, wanted);
#else
    (void)timer, (void)wanted;
#endif
    gyre_timer_destroy(next);
}

static struct gyre_timer *make_due(void)
{
    struct gyre_timer *timer;

    EXPECT_EQ(gyre_timer_create(&timer, GYRE_HOUR), 0);
    take_out(timer);
    return timer;
}

INSIDE(timer_late, a_stopped_one_gives_nothing)
{
    struct gyre_timer *timer = make_due();
    int64_t moment;

    EXPECT_EQ(gyre_timer_stop(timer), 1);
    call_late(timer);
    EXPECT_EQ(gyre_chan_try_recv(gyre_timer_channel(timer), &moment), -EAGAIN);
    EXPECT_EQ(gyre_timer_stop(timer), 0);
    gyre_timer_destroy(timer);
    expect_free(timer, true);
    return 0;
}

INSIDE(timer_late, of_two_under_way_the_one_not_stopped_gives)
{
    struct gyre_timer *timer = make_due();
    int64_t moment;

    EXPECT_EQ(gyre_timer_reset(timer, GYRE_HOUR), 1);
    take_out(timer);
    call_late(timer);
    EXPECT_EQ(gyre_chan_try_recv(gyre_timer_channel(timer), &moment), -EAGAIN);
    call_late(timer);
    EXPECT_EQ(gyre_chan_try_recv(gyre_timer_channel(timer), &moment), 1);
    gyre_timer_destroy(timer);
    return 0;
}

INSIDE(timer_late, the_last_frees_what_nobody_holds)
{
    struct gyre_timer *timer = make_due();

    EXPECT_EQ(gyre_timer_reset(timer, GYRE_HOUR), 1);
    take_out(timer);
    gyre_timer_destroy(timer);
    expect_free(timer, false);
    call_late(timer);
    expect_free(timer, false);
    call_late(timer);
    expect_free(timer, true);
    return 0;
}

INSIDE(timer_late, a_stop_and_then_destroy_leave_the_block_to_it)
{
    struct gyre_timer *timer = make_due();

    EXPECT_EQ(gyre_timer_stop(timer), 1);
    gyre_timer_destroy(timer);
    expect_free(timer, false);
    call_late(timer);
    expect_free(timer, true);
    return 0;
}

/* It may still be about to release the lock: only under the lock can it be told to be over. */
INSIDE(timer_late, one_that_has_fired_may_still_be_under_way)
{
    struct gyre_timer *timer = make_due();

    call_late(timer);
    EXPECT_EQ(state_of(timer), TIMER_LOOSE);
    EXPECT_EQ(gyre_timer_stop(timer), 1);
    EXPECT_EQ(state_of(timer), TIMER_QUIET);
    gyre_timer_destroy(timer);
    return 0;
}

INSIDE(timer_late, the_moment_is_when_it_fires)
{
    struct gyre_timer *timer;
    int64_t moment, later;

    EXPECT_EQ(gyre_timer_create(&timer, 0), 0);
    take_out(timer);
    later = gyre_now() + GYRE_MILLISECOND;
    while (gyre_now() < later)
        ;
    call_late(timer);
    EXPECT_EQ(gyre_chan_recv(gyre_timer_channel(timer), &moment), 1);
    EXPECT(moment >= later);
    gyre_timer_destroy(timer);
    return 0;
}
