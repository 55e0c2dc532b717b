/* gyre_semaphore: weights, order, cancelled waiters. */
#include "../sched/inside.h"

#include "queued.h"

#include <pthread.h>

INSIDE(semaphore, takes_and_gives_back_in_portions)
{
    gyre_semaphore semaphore = GYRE_SEMAPHORE_INIT(10);

    EXPECT_EQ(gyre_semaphore_acquire(&semaphore, 7), 0);
    EXPECT_EQ(gyre_semaphore_try_acquire(&semaphore, 4), 0);
    EXPECT_EQ(gyre_semaphore_try_acquire(&semaphore, 3), 1);
    EXPECT_EQ(gyre_semaphore_try_acquire(&semaphore, 0), 1);
    gyre_semaphore_release(&semaphore, 9);
    gyre_semaphore_release(&semaphore, 1);
    EXPECT_EQ(gyre_semaphore_acquire(&semaphore, 11), -EINVAL);
    EXPECT_EQ(gyre_semaphore_acquire(&semaphore, -1), -EINVAL);
    EXPECT_EQ(gyre_semaphore_try_acquire(&semaphore, -1), 0);
    EXPECT_EQ(gyre_semaphore_try_acquire(&semaphore, INT64_MAX), 0);
    EXPECT_EQ(gyre_semaphore_acquire(&semaphore, 10), 0);
    return 0;
}

struct shared {
    gyre_semaphore semaphore;
    gyre_waitgroup group;
    atomic_int arrived, got, done;
};

struct request {
    struct shared *shared;
    int64_t units;
};

static int ask(void *arg)
{
    struct request *request = arg;

    atomic_fetch_add(&request->shared->arrived, 1);
    EXPECT_EQ(gyre_semaphore_acquire(&request->shared->semaphore, request->units), 0);
    atomic_fetch_add(&request->shared->got, 1);
    return 0;
}

static int ask_in_time(void *arg)
{
    struct request *request = arg;

    GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
    atomic_fetch_add(&request->shared->arrived, 1);
    EXPECT_EQ(gyre_semaphore_acquire(&request->shared->semaphore, request->units), -ETIMEDOUT);
    return 0;
}

static void start(struct shared *shared, gyre_fn fn, int64_t units)
{
    struct request request = {shared, units};

    EXPECT_EQ(gyre_waitgroup_go_copy(&shared->group, fn, &request, sizeof request), 0);
}

static void await_queued(struct shared *shared, size_t count)
{
    while (queued(&shared->semaphore.guard, &shared->semaphore.queue) < count)
        gyre_yield();
}

INSIDE(semaphore, a_large_request_holds_back_smaller_ones)
{
    struct shared shared = {.semaphore = GYRE_SEMAPHORE_INIT(4)};

    EXPECT_EQ(gyre_semaphore_acquire(&shared.semaphore, 2), 0);
    start(&shared, ask, 3);
    await_queued(&shared, 1);
    start(&shared, ask, 1);
    await_queued(&shared, 2);
    EXPECT_EQ(atomic_load(&shared.got), 0);
    EXPECT_EQ(gyre_semaphore_try_acquire(&shared.semaphore, 1), 0);
    gyre_semaphore_release(&shared.semaphore, 2);
    EXPECT_EQ(gyre_waitgroup_wait(&shared.group), 0);
    EXPECT_EQ(atomic_load(&shared.got), 2);
    EXPECT_EQ(shared.semaphore.taken, 4);
    return 0;
}

INSIDE(semaphore, one_who_gives_up_lets_those_behind_in)
{
    struct shared shared = {.semaphore = GYRE_SEMAPHORE_INIT(4)};

    EXPECT_EQ(gyre_semaphore_acquire(&shared.semaphore, 2), 0);
    start(&shared, ask_in_time, 3);
    await_flag(&shared.arrived, 1);
    start(&shared, ask, 1);
    start(&shared, ask, 1);
    EXPECT_EQ(gyre_waitgroup_wait(&shared.group), 0);
    EXPECT_EQ(shared.semaphore.taken, 4);
    return 0;
}

INSIDE(semaphore, looks_at_the_context_at_entry)
{
    gyre_semaphore semaphore = GYRE_SEMAPHORE_INIT(1);
    GYRE_TIMEOUT(0);

    EXPECT_EQ(gyre_semaphore_acquire(&semaphore, 1), -ETIMEDOUT);
    EXPECT_EQ(semaphore.taken, 0);
    return 0;
}

static void *ask_on_thread(void *arg)
{
    struct shared *shared = arg;

    ask(&(struct request){shared, 2});
    atomic_store(&shared->done, 1);
    return NULL;
}

INSIDE(semaphore, a_thread_waits_for_a_coroutine)
{
    struct shared shared = {.semaphore = GYRE_SEMAPHORE_INIT(2)};
    pthread_t thread;

    EXPECT_EQ(gyre_semaphore_acquire(&shared.semaphore, 1), 0);
    pthread_create(&thread, NULL, ask_on_thread, &shared);
    await_flag(&shared.arrived, 1);
    gyre_sleep(GYRE_MILLISECOND);
    EXPECT_EQ(atomic_load(&shared.got), 0);
    gyre_semaphore_release(&shared.semaphore, 1);
    await_flag(&shared.done, 1);
    pthread_join(thread, NULL);
    return 0;
}
