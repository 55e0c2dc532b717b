/* gyre_waitgroup: counts, is used again, is cancelled; coroutines that count until they ended. */
#include "../sched/inside.h"

#include <pthread.h>

INSIDE(waitgroup, wait_returns_at_zero)
{
    gyre_waitgroup group = GYRE_WAITGROUP_INIT;

    EXPECT_EQ(gyre_waitgroup_wait(&group), 0);
    gyre_waitgroup_add(&group, 3);
    gyre_waitgroup_add(&group, -2);
    gyre_waitgroup_done(&group);
    EXPECT_EQ(gyre_waitgroup_wait(&group), 0);
    return 0;
}

static atomic_int ended;

static int end_later(void *arg)
{
    (void)arg;
    gyre_yield();
    atomic_fetch_add(&ended, 1);
    return 0;
}

INSIDE(waitgroup, waits_for_all_and_again)
{
    gyre_waitgroup group = GYRE_WAITGROUP_INIT;

    for (int round = 0; round < 3; round++) {
        atomic_store(&ended, 0);
        for (int i = 0; i < 50; i++)
            EXPECT_EQ(gyre_waitgroup_go(&group, end_later, NULL), 0);
        EXPECT_EQ(gyre_waitgroup_wait(&group), 0);
        EXPECT_EQ(atomic_load(&ended), 50);
        EXPECT_EQ(gyre_coro_count(), 1);
    }
    return 0;
}

static int read_copy(void *arg)
{
    atomic_fetch_add(&ended, *(int *)arg);
    return 0;
}

INSIDE(waitgroup, go_copies_and_refuses)
{
    gyre_waitgroup group = GYRE_WAITGROUP_INIT;
    int number = 7;

    atomic_store(&ended, 0);
    EXPECT_EQ(gyre_waitgroup_go_copy(&group, read_copy, &number, sizeof number), 0);
    EXPECT_EQ(gyre_waitgroup_go_copy(&group, read_copy, NULL, 1), -EINVAL);
    EXPECT_EQ(gyre_waitgroup_go(&group, NULL, NULL), -EINVAL);
    EXPECT_EQ(gyre_waitgroup_wait(&group), 0);
    EXPECT_EQ(atomic_load(&ended), 7);
    return 0;
}

INSIDE(waitgroup, wait_is_cancelled)
{
    gyre_waitgroup group = GYRE_WAITGROUP_INIT;

    gyre_waitgroup_add(&group, 1);
    {
        GYRE_TIMEOUT(2 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_waitgroup_wait(&group), -ETIMEDOUT);
        EXPECT_EQ(gyre_waitgroup_wait(&group), -ETIMEDOUT);
    }
    gyre_waitgroup_done(&group);
    EXPECT_EQ(gyre_waitgroup_wait(&group), 0);
    EXPECT_EQ(group.state, 0);
    return 0;
}

static int wait_given(void *arg)
{
    return gyre_waitgroup_wait(arg);
}

INSIDE(waitgroup, many_may_wait)
{
    gyre_waitgroup work = GYRE_WAITGROUP_INIT, waiters = GYRE_WAITGROUP_INIT;

    gyre_waitgroup_add(&work, 1);
    for (int i = 0; i < 10; i++)
        EXPECT_EQ(gyre_waitgroup_go(&waiters, wait_given, &work), 0);
    gyre_sleep(GYRE_MILLISECOND);
    gyre_waitgroup_done(&work);
    return gyre_waitgroup_wait(&waiters);
}

static void *done_on_thread(void *arg)
{
    gyre_waitgroup_done(arg);
    return NULL;
}

struct both {
    gyre_waitgroup group;
    atomic_int done;
};

static void *wait_on_thread(void *arg)
{
    struct both *both = arg;

    gyre_waitgroup_wait(&both->group);
    atomic_store(&both->done, 1);
    return NULL;
}

INSIDE(waitgroup, threads_count_and_wait)
{
    struct both both = {.group = GYRE_WAITGROUP_INIT};
    pthread_t threads[2];

    gyre_waitgroup_add(&both.group, 2);
    pthread_create(&threads[0], NULL, wait_on_thread, &both);
    gyre_sleep(GYRE_MILLISECOND);
    EXPECT_EQ(atomic_load(&both.done), 0);
    pthread_create(&threads[1], NULL, done_on_thread, &both.group);
    gyre_waitgroup_done(&both.group);
    EXPECT_EQ(gyre_waitgroup_wait(&both.group), 0);
    await_flag(&both.done, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
