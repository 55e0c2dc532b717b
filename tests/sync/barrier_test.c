/* gyre_barrier: rounds, who is last, who gives up. */
#include "../sched/inside.h"

enum { PARTIES = 7, ROUNDS = 30 };

struct shared {
    gyre_barrier barrier;
    gyre_waitgroup group;
    atomic_int arrived[ROUNDS], last;
};

static int meet(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < ROUNDS; i++) {
        int result;

        atomic_fetch_add(&shared->arrived[i], 1);
        result = gyre_barrier_wait(&shared->barrier);
        EXPECT(result == 0 || result == 1);
        atomic_fetch_add(&shared->last, result);
        EXPECT_EQ(atomic_load(&shared->arrived[i]), PARTIES);
    }
    return 0;
}

INSIDE(barrier, all_come_before_any_goes)
{
    struct shared shared = {.barrier = GYRE_BARRIER_INIT(PARTIES)};

    for (int i = 0; i < PARTIES; i++)
        EXPECT_EQ(gyre_waitgroup_go(&shared.group, meet, &shared), 0);
    EXPECT_EQ(gyre_waitgroup_wait(&shared.group), 0);
    EXPECT_EQ(atomic_load(&shared.last), ROUNDS);
    return 0;
}

INSIDE(barrier, of_one_never_waits)
{
    gyre_barrier barrier = GYRE_BARRIER_INIT(1);

    EXPECT_EQ(gyre_barrier_wait(&barrier), 1);
    EXPECT_EQ(gyre_barrier_wait(&barrier), 1);
    return 0;
}

static int meet_once(void *arg)
{
    struct shared *shared = arg;

    atomic_fetch_add(&shared->last, gyre_barrier_wait(&shared->barrier));
    return 0;
}

INSIDE(barrier, who_gave_up_does_not_count)
{
    struct shared shared = {.barrier = GYRE_BARRIER_INIT(2)};

    {
        GYRE_TIMEOUT(2 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_barrier_wait(&shared.barrier), -ETIMEDOUT);
        EXPECT_EQ(gyre_barrier_wait(&shared.barrier), -ETIMEDOUT);
    }
    EXPECT_EQ(shared.barrier.arrived, 0);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(gyre_waitgroup_go(&shared.group, meet_once, &shared), 0);
    EXPECT_EQ(gyre_waitgroup_wait(&shared.group), 0);
    EXPECT_EQ(atomic_load(&shared.last), 1);
    return 0;
}
