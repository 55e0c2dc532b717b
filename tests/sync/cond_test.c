/* gyre_cond: order, no signal lost or used up, locked again in every case. */
#include "../sched/inside.h"

#include <pthread.h>

struct shared {
    gyre_mutex mutex;
    gyre_cond cond;
    gyre_waitgroup group;
    int waiting, tickets, order[8], count;
    atomic_int done;
};

struct member {
    struct shared *shared;
    int number;
};

static int wait_in_order(void *arg)
{
    struct member *member = arg;
    struct shared *shared = member->shared;

    gyre_mutex_lock(&shared->mutex);
    shared->waiting++;
    EXPECT_EQ(gyre_cond_wait(&shared->cond, &shared->mutex), 0);
    EXPECT_EQ(gyre_mutex_try_lock(&shared->mutex), 0);
    shared->order[shared->count++] = member->number;
    gyre_mutex_unlock(&shared->mutex);
    return 0;
}

static void await_waiting(struct shared *shared, int count)
{
    for (;;) {
        bool enough;

        gyre_mutex_lock(&shared->mutex);
        enough = shared->waiting >= count;
        gyre_mutex_unlock(&shared->mutex);
        if (enough)
            return;
        gyre_yield();
    }
}

static void await_count(struct shared *shared, int count)
{
    for (;;) {
        bool enough;

        gyre_mutex_lock(&shared->mutex);
        enough = shared->count >= count;
        gyre_mutex_unlock(&shared->mutex);
        if (enough)
            return;
        gyre_yield();
    }
}

static void start(struct shared *shared, int number)
{
    struct member member = {shared, number};

    EXPECT_EQ(gyre_waitgroup_go_copy(&shared->group, wait_in_order, &member, sizeof member), 0);
    await_waiting(shared, number + 1);
}

INSIDE(cond, signals_wake_in_order)
{
    struct shared shared = {.count = 0};

    gyre_cond_signal(&shared.cond);
    for (int i = 0; i < 5; i++)
        start(&shared, i);
    for (int i = 0; i < 5; i++) {
        EXPECT_EQ(shared.count, i);
        gyre_cond_signal(&shared.cond);
        await_count(&shared, i + 1);
        EXPECT_EQ(shared.order[i], i);
    }
    return gyre_waitgroup_wait(&shared.group);
}

INSIDE(cond, broadcast_wakes_all)
{
    struct shared shared = {.count = 0};

    gyre_cond_broadcast(&shared.cond);
    for (int i = 0; i < 5; i++)
        start(&shared, i);
    gyre_cond_broadcast(&shared.cond);
    EXPECT_EQ(gyre_waitgroup_wait(&shared.group), 0);
    EXPECT_EQ(shared.count, 5);
    EXPECT_EQ(shared.cond.count, 0);
    return 0;
}

static int wait_in_time(void *arg)
{
    struct shared *shared = arg;

    GYRE_TIMEOUT(3 * GYRE_MILLISECOND);
    gyre_mutex_lock(&shared->mutex);
    shared->waiting++;
    EXPECT_EQ(gyre_cond_wait(&shared->cond, &shared->mutex), -ETIMEDOUT);
    EXPECT_EQ(gyre_mutex_try_lock(&shared->mutex), 0);
    shared->waiting++;
    EXPECT_EQ(gyre_cond_wait(&shared->cond, &shared->mutex), -ETIMEDOUT);
    EXPECT_EQ(gyre_mutex_try_lock(&shared->mutex), 0);
    gyre_mutex_unlock(&shared->mutex);
    return 0;
}

INSIDE(cond, one_who_gave_up_uses_no_signal)
{
    struct shared shared = {.waiting = 0};

    EXPECT_EQ(gyre_waitgroup_go(&shared.group, wait_in_time, &shared), 0);
    await_waiting(&shared, 1);
    start(&shared, 1);
    await_waiting(&shared, 3);
    EXPECT_EQ(shared.cond.count, 1);
    gyre_cond_signal(&shared.cond);
    EXPECT_EQ(gyre_waitgroup_wait(&shared.group), 0);
    EXPECT_EQ(shared.count, 1);
    return 0;
}

static void *wait_on_thread(void *arg)
{
    struct shared *shared = arg;

    wait_in_order(&(struct member){shared, 0});
    atomic_store(&shared->done, 1);
    return NULL;
}

INSIDE(cond, a_thread_waits_for_a_coroutine)
{
    struct shared shared = {.count = 0};
    pthread_t thread;

    pthread_create(&thread, NULL, wait_on_thread, &shared);
    await_waiting(&shared, 1);
    EXPECT_EQ(atomic_load(&shared.done), 0);
    gyre_cond_signal(&shared.cond);
    await_flag(&shared.done, 1);
    pthread_join(thread, NULL);
    return 0;
}
