/* gyre_once: once, for all, errors too. */
#include "../sched/inside.h"

static atomic_int runs;

static int run_slowly(void *arg)
{
    atomic_fetch_add(&runs, 1);
    gyre_sleep(2 * GYRE_MILLISECOND);
    return *(int *)arg;
}

struct shared {
    gyre_once once;
    gyre_waitgroup group;
    int result;
    void *value;
};

static int call(void *arg)
{
    struct shared *shared = arg;

    EXPECT_EQ(gyre_once_do(&shared->once, run_slowly, &shared->result), shared->result);
    return 0;
}

INSIDE(once, all_wait_for_the_first_and_return_its_result)
{
    struct shared shared = {.result = -EPIPE};

    atomic_store(&runs, 0);
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(gyre_waitgroup_go(&shared.group, call, &shared), 0);
    EXPECT_EQ(gyre_waitgroup_wait(&shared.group), 0);
    EXPECT_EQ(gyre_once_do(&shared.once, run_slowly, &shared.result), -EPIPE);
    EXPECT_EQ(atomic_load(&runs), 1);
    return 0;
}

static void *make(void *arg)
{
    atomic_fetch_add(&runs, 1);
    gyre_yield();
    return arg;
}

static int call_value(void *arg)
{
    struct shared *shared = arg;

    EXPECT(gyre_once_value(&shared->once, make, shared) == shared);
    return 0;
}

INSIDE(once, a_value_is_made_once)
{
    struct shared shared = {.result = 0};

    atomic_store(&runs, 0);
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(gyre_waitgroup_go(&shared.group, call_value, &shared), 0);
    EXPECT_EQ(gyre_waitgroup_wait(&shared.group), 0);
    EXPECT_EQ(atomic_load(&runs), 1);
    return 0;
}

INSIDE(once, waiting_is_not_cancelled)
{
    struct shared shared = {.result = 5};

    EXPECT_EQ(gyre_waitgroup_go(&shared.group, call, &shared), 0);
    gyre_yield();
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_once_do(&shared.once, run_slowly, &shared.result), 5);
    }
    return gyre_waitgroup_wait(&shared.group);
}

static int nested(void *arg)
{
    gyre_once another = GYRE_ONCE_INIT;

    return gyre_once_do(&another, run_slowly, arg);
}

INSIDE(once, another_one_may_be_called_from_inside)
{
    gyre_once once = GYRE_ONCE_INIT;
    int result = 3;

    EXPECT_EQ(gyre_once_do(&once, nested, &result), 3);
    return 0;
}

static int count_run(void *arg)
{
    (void)arg;
    return atomic_fetch_add(&runs, 1) + 1;
}

Test(once, runs_without_a_runtime)
{
    static gyre_once once = GYRE_ONCE_INIT;

    cr_assert_eq(gyre_once_do(&once, count_run, NULL), 1);
    cr_assert_eq(gyre_once_do(&once, count_run, NULL), 1);
}
