/* gyre_rwmutex: many or one, phases, the cancellable forms. */
#include "../sched/inside.h"

#include "queued.h"

#include <pthread.h>

struct shared {
    gyre_rwmutex mutex;
    gyre_waitgroup group;
    atomic_int arrived, readers, writers, done;
    int order[8];
    int count;
    gyre_mutex order_mutex;
};

static void note(struct shared *shared, int who)
{
    gyre_mutex_lock(&shared->order_mutex);
    shared->order[shared->count++] = who;
    gyre_mutex_unlock(&shared->order_mutex);
}

INSIDE(rwmutex, tries_succeed_and_fail)
{
    gyre_rwmutex mutex = GYRE_RWMUTEX_INIT;

    EXPECT_EQ(gyre_rwmutex_try_rlock(&mutex), 1);
    EXPECT_EQ(gyre_rwmutex_try_rlock(&mutex), 1);
    EXPECT_EQ(gyre_rwmutex_try_lock(&mutex), 0);
    gyre_rwmutex_runlock(&mutex);
    EXPECT_EQ(gyre_rwmutex_try_lock(&mutex), 0);
    gyre_rwmutex_runlock(&mutex);
    EXPECT_EQ(gyre_rwmutex_try_lock(&mutex), 1);
    EXPECT_EQ(gyre_rwmutex_try_lock(&mutex), 0);
    EXPECT_EQ(gyre_rwmutex_try_rlock(&mutex), 0);
    gyre_rwmutex_unlock(&mutex);
    return 0;
}

static int read_in_order(void *arg)
{
    struct shared *shared = arg;

    atomic_fetch_add(&shared->arrived, 1);
    gyre_rwmutex_rlock(&shared->mutex);
    note(shared, 'r');
    gyre_rwmutex_runlock(&shared->mutex);
    return 0;
}

static int write_in_order(void *arg)
{
    struct shared *shared = arg;

    atomic_fetch_add(&shared->arrived, 1);
    gyre_rwmutex_lock(&shared->mutex);
    note(shared, 'w');
    gyre_yield();
    gyre_rwmutex_unlock(&shared->mutex);
    return 0;
}

static size_t waiting(struct shared *shared)
{
    return queued(&shared->mutex.guard, &shared->mutex.readers) +
           queued(&shared->mutex.guard, &shared->mutex.writer) +
           queued(&shared->mutex.turn.guard, &shared->mutex.turn.queue);
}

/* Until it has queued. */
static void start(struct shared *shared, gyre_fn fn)
{
    size_t before = waiting(shared);

    EXPECT_EQ(gyre_waitgroup_go(&shared->group, fn, shared), 0);
    while (waiting(shared) <= before)
        gyre_yield();
}

INSIDE(rwmutex, a_waiting_writer_holds_back_new_readers)
{
    struct shared shared = {.count = 0};

    gyre_rwmutex_rlock(&shared.mutex);
    start(&shared, write_in_order);
    EXPECT_EQ(gyre_rwmutex_try_rlock(&shared.mutex), 0);
    start(&shared, read_in_order);
    EXPECT_EQ(shared.count, 0);
    gyre_rwmutex_runlock(&shared.mutex);
    EXPECT_EQ(gyre_waitgroup_wait(&shared.group), 0);
    EXPECT_EQ(shared.order[0], 'w');
    EXPECT_EQ(shared.order[1], 'r');
    return 0;
}

INSIDE(rwmutex, all_waiting_readers_come_before_the_next_writer)
{
    struct shared shared = {.count = 0};

    gyre_rwmutex_lock(&shared.mutex);
    start(&shared, write_in_order);
    start(&shared, read_in_order);
    start(&shared, read_in_order);
    start(&shared, write_in_order);
    start(&shared, read_in_order);
    gyre_rwmutex_unlock(&shared.mutex);
    EXPECT_EQ(gyre_waitgroup_wait(&shared.group), 0);
    EXPECT_EQ(memcmp(shared.order, ((int[]){'r', 'r', 'r', 'w', 'w'}), 5 * sizeof(int)), 0);
    return 0;
}

static int read_together(void *arg)
{
    struct shared *shared = arg;

    gyre_rwmutex_rlock(&shared->mutex);
    atomic_fetch_add(&shared->readers, 1);
    await_flag(&shared->readers, 3);
    gyre_rwmutex_runlock(&shared->mutex);
    return 0;
}

INSIDE(rwmutex, readers_are_inside_together)
{
    struct shared shared = {.count = 0};

    for (int i = 0; i < 3; i++)
        EXPECT_EQ(gyre_waitgroup_go(&shared.group, read_together, &shared), 0);
    return gyre_waitgroup_wait(&shared.group);
}

static int write_in_time(void *arg)
{
    struct shared *shared = arg;

    GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
    atomic_fetch_add(&shared->arrived, 1);
    EXPECT_EQ(gyre_rwmutex_lock_cancellable(&shared->mutex), -ETIMEDOUT);
    return 0;
}

INSIDE(rwmutex, a_writer_who_gives_up_lets_the_readers_behind_in)
{
    struct shared shared = {.count = 0};

    gyre_rwmutex_rlock(&shared.mutex);
    EXPECT_EQ(gyre_waitgroup_go(&shared.group, write_in_time, &shared), 0);
    await_flag(&shared.arrived, 1);
    EXPECT_EQ(gyre_waitgroup_go(&shared.group, read_in_order, &shared), 0);
    EXPECT_EQ(gyre_waitgroup_wait(&shared.group), 0);
    EXPECT_EQ(shared.order[0], 'r');
    EXPECT_EQ(gyre_rwmutex_try_rlock(&shared.mutex), 1);
    gyre_rwmutex_runlock(&shared.mutex);
    gyre_rwmutex_runlock(&shared.mutex);
    EXPECT_EQ(gyre_rwmutex_try_lock(&shared.mutex), 1);
    return 0;
}

INSIDE(rwmutex, cancellable_forms_look_at_entry)
{
    gyre_rwmutex mutex = GYRE_RWMUTEX_INIT;

    gyre_rwmutex_lock(&mutex);
    {
        GYRE_TIMEOUT(2 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_rwmutex_rlock_cancellable(&mutex), -ETIMEDOUT);
        EXPECT_EQ(gyre_rwmutex_lock_cancellable(&mutex), -ETIMEDOUT);
        gyre_rwmutex_unlock(&mutex);
        EXPECT_EQ(gyre_rwmutex_rlock_cancellable(&mutex), -ETIMEDOUT);
        EXPECT_EQ(gyre_rwmutex_lock_cancellable(&mutex), -ETIMEDOUT);
        gyre_rwmutex_lock(&mutex);
    }
    gyre_rwmutex_unlock(&mutex);
    EXPECT_EQ(gyre_rwmutex_rlock_cancellable(&mutex), 0);
    gyre_rwmutex_runlock(&mutex);
    EXPECT_EQ(gyre_rwmutex_lock_cancellable(&mutex), 0);
    return 0;
}

static void *lock_on_thread(void *arg)
{
    struct shared *shared = arg;

    atomic_fetch_add(&shared->arrived, 1);
    gyre_rwmutex_lock(&shared->mutex);
    note(shared, 't');
    gyre_rwmutex_unlock(&shared->mutex);
    gyre_rwmutex_rlock(&shared->mutex);
    gyre_rwmutex_runlock(&shared->mutex);
    atomic_store(&shared->done, 1);
    return NULL;
}

INSIDE(rwmutex, a_thread_waits_for_a_coroutine)
{
    struct shared shared = {.count = 0};
    pthread_t thread;

    gyre_rwmutex_rlock(&shared.mutex);
    pthread_create(&thread, NULL, lock_on_thread, &shared);
    await_flag(&shared.arrived, 1);
    gyre_sleep(GYRE_MILLISECOND);
    EXPECT_EQ(shared.count, 0);
    gyre_rwmutex_runlock(&shared.mutex);
    await_flag(&shared.done, 1);
    pthread_join(thread, NULL);
    EXPECT_EQ(shared.order[0], 't');
    return 0;
}

static int leave_early(gyre_rwmutex *mutex, bool write)
{
    if (write) {
        GYRE_RWMUTEX_GUARD(mutex);

        EXPECT_EQ(gyre_rwmutex_try_rlock(mutex), 0);
        return 1;
    }
    GYRE_RWMUTEX_RGUARD(mutex);
    EXPECT_EQ(gyre_rwmutex_try_lock(mutex), 0);
    return 2;
}

INSIDE(rwmutex, a_guard_holds_to_the_end_of_its_block)
{
    gyre_rwmutex mutex = GYRE_RWMUTEX_INIT;

    EXPECT_EQ(leave_early(&mutex, true), 1);
    EXPECT_EQ(leave_early(&mutex, false), 2);
    EXPECT_EQ(gyre_rwmutex_try_lock(&mutex), 1);
    gyre_rwmutex_unlock(&mutex);
    return 0;
}
