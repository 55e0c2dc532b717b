/* Groups with a limit: who waits for room, in which order, and what ends the wait. */
#include "members.h"

#include "sync/queue.h"

static int await_gate_copied(void *arg)
{
    return await_gate((void *)(intptr_t) * (int *)arg);
}

static int starters_of(gyre_group *group)
{
    int count = 0;

    spin_lock(sync_guard(&group->guard));
    for (struct gyre_sync_waiter *one = group->starters.first; one; one = one->next)
        count++;
    spin_unlock(sync_guard(&group->guard));
    return count;
}

static void await_starters(gyre_group *group, int count)
{
    while (starters_of(group) != count)
        gyre_yield();
}

INSIDE(group_limit, limit_bounds_those_that_run)
{
    for (unsigned limit = 1; limit <= 4; limit++) {
        GYRE_GROUP(group, .limit = limit);

        reset();
        for (int i = 0; i < 40; i++)
            EXPECT_EQ(gyre_group_go(&group, be_counted, NULL), 0);
        EXPECT_EQ(gyre_group_wait(&group), 0);
        EXPECT_EQ(ran, 40);
        EXPECT(most_inside <= (int)limit);
    }
    return 0;
}

INSIDE(group_limit, try_go_says_when_it_is_full)
{
    GYRE_GROUP(group, .limit = 2);
    const int one = 1;

    reset();
    EXPECT_EQ(gyre_group_try_go(&group, await_gate, (void *)1), 0);
    EXPECT_EQ(gyre_group_try_go_copy(&group, await_gate_copied, &one, sizeof one), 0);
    EXPECT_EQ(gyre_group_try_go(&group, run, NULL), -EAGAIN);
    EXPECT_EQ(gyre_group_try_go_copy(&group, run, NULL, 0), -EAGAIN);
    atomic_store(&gate, 1);
    EXPECT_EQ(gyre_group_go(&group, run, NULL), 0);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    EXPECT_EQ(ran, 3);
    return 0;
}

static gyre_group *shared;
static atomic_int order[8], order_length;

static int note_order(void *arg)
{
    atomic_store(&order[atomic_fetch_add(&order_length, 1)], (int)(intptr_t)arg);
    return 0;
}

static int start_in_line(void *arg)
{
    return gyre_group_go(shared, note_order, arg);
}

INSIDE(group_limit, those_that_wait_for_room_get_it_in_order)
{
    GYRE_GROUP(group, .limit = 1);
    gyre_handle starters[5];

    reset();
    shared = &group;
    atomic_store(&order_length, 0);
    EXPECT_EQ(gyre_group_go(&group, await_gate, (void *)1), 0);
    for (int i = 0; i < 5; i++) {
        EXPECT_EQ(gyre_spawn(&starters[i], start_in_line, (void *)(intptr_t)i), 0);
        await_starters(&group, i + 1);
    }
    EXPECT_EQ(gyre_group_try_go(&group, run, NULL), -EAGAIN);
    atomic_store(&gate, 1);
    for (int i = 0; i < 5; i++) {
        int result = -1;

        EXPECT_EQ(gyre_join(starters[i], &result), 0);
        EXPECT_EQ(result, 0);
    }
    EXPECT_EQ(gyre_group_wait(&group), 0);
    for (int i = 0; i < 5; i++)
        EXPECT_EQ(order[i], i);
    return 0;
}

INSIDE(group_limit, waiting_for_room_ends_with_the_callers_context)
{
    GYRE_GROUP(group, .limit = 1);

    reset();
    EXPECT_EQ(gyre_group_go(&group, sleep_for_ever, NULL), 0);
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_group_go(&group, run, NULL), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_group_wait(&group), -ETIMEDOUT);
    EXPECT_EQ(ran, 1);
    EXPECT_EQ(cancelled, 1);
    return 0;
}

INSIDE(group_limit, waiting_for_room_ends_with_an_error)
{
    GYRE_GROUP(group, .limit = 1);
    gyre_handle starters[3];

    reset();
    shared = &group;
    EXPECT_EQ(gyre_group_go(&group, await_gate, (void *)1), 0);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(gyre_spawn(&starters[i], start_in_line, NULL), 0);
    await_starters(&group, 3);
    gyre_group_cancel(&group);
    for (int i = 0; i < 3; i++) {
        int result = 0;

        EXPECT_EQ(gyre_join(starters[i], &result), 0);
        EXPECT_EQ(result, -ECANCELED);
    }
    atomic_store(&gate, 1);
    EXPECT_EQ(gyre_group_wait(&group), -ECANCELED);
    EXPECT_EQ(ran, 1);
    return 0;
}

static int start_in_a_shield(void *arg)
{
    GYRE_SHIELD();
    return gyre_group_go(shared, run, arg);
}

INSIDE(group_limit, an_end_outside_a_shield_leaves_the_place_in_line)
{
    GYRE_GROUP(group, .limit = 1);
    gyre_handle starter;
    int result = -1;

    reset();
    shared = &group;
    EXPECT_EQ(gyre_group_go(&group, await_gate, (void *)1), 0);
    {
        GYRE_CANCELLABLE();
        EXPECT_EQ(gyre_spawn(&starter, start_in_a_shield, NULL), 0);
        await_starters(&group, 1);
    }
    atomic_store(&gate, 1);
    EXPECT_EQ(gyre_join(starter, &result), 0);
    EXPECT_EQ(result, 0);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    EXPECT_EQ(ran, 2);
    return 0;
}
