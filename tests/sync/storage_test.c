/*
 * Who may free the storage of a sync object may do so while its waker is still waking: the waker is
 * held up in the middle of its wake until the storage was used for something else, and must not
 * touch it afterwards. Waker and waiter are on workers of their own.
 */
#include "../sched/inside.h"

#include "base/clock.h"
#include "sched/worker.h"

#include <sched.h>

void __real_gyre_ready(struct gyre_coro *coro);
void __wrap_gyre_ready(struct gyre_coro *coro);

enum kind { MUTEX, WRITER, READER, SEMAPHORE, WAITGROUP, GROUP, KINDS };

enum { AGAIN = 0x5a, ROUNDS = 5 };

static struct {
    enum kind kind;
    union {
        gyre_mutex mutex;
        gyre_rwmutex rwmutex;
        gyre_semaphore semaphore;
        gyre_waitgroup waitgroup;
        gyre_group group;
        unsigned char bytes[256];
    };
    const struct gyre_sync_queue *queue;
    atomic_bool waking, again;
} s;

void __wrap_gyre_ready(struct gyre_coro *coro)
{
    int64_t limit = clock_real() + GYRE_SECOND;

    __real_gyre_ready(coro);
    if (atomic_exchange(&s.waking, false))
        while (!atomic_load(&s.again) && clock_real() < limit)
            sched_yield();
}

static void await_waiter(void)
{
    while (!__atomic_load_n(&s.queue->first, __ATOMIC_RELAXED))
        gyre_yield();
}

static void check(void)
{
    EXPECT(atomic_load(&s.again));
    for (size_t i = 0; i < sizeof s.bytes; i++)
        EXPECT_EQ(s.bytes[i], AGAIN);
}

/* With the last place, on whichever worker: where that is the waiter's own, nothing is held up. */
static int fail_member(void *unused)
{
    (void)unused;
    await_waiter();
    atomic_store(&s.waking, gyre_worker_index() == 0);
    return -EIO;
}

static void hold(void)
{
    memset(s.bytes, 0, sizeof s.bytes);
    s.queue = &s.mutex.queue;
    switch (s.kind) {
    case MUTEX:
        gyre_mutex_lock(&s.mutex);
        break;
    case WRITER:
        gyre_rwmutex_lock(&s.rwmutex);
        s.queue = &s.rwmutex.readers;
        break;
    case READER:
        gyre_rwmutex_rlock(&s.rwmutex);
        s.queue = &s.rwmutex.writer;
        break;
    case SEMAPHORE:
        s.semaphore = (gyre_semaphore)GYRE_SEMAPHORE_INIT(1);
        s.queue = &s.semaphore.queue;
        EXPECT_EQ(gyre_semaphore_try_acquire(&s.semaphore, 1), 1);
        break;
    case WAITGROUP:
        gyre_waitgroup_add(&s.waitgroup, 1);
        s.queue = &s.waitgroup.queue;
        break;
    default:
        s.queue = &s.group.waiters;
        EXPECT_EQ(gyre_group_go(&s.group, fail_member, NULL), 0);
    }
}

static int wait_and_use_again(void *unused)
{
    (void)unused;
    switch (s.kind) {
    case MUTEX:
        gyre_mutex_lock(&s.mutex);
        gyre_mutex_unlock(&s.mutex);
        break;
    case WRITER:
        gyre_rwmutex_rlock(&s.rwmutex);
        gyre_rwmutex_runlock(&s.rwmutex);
        break;
    case READER:
        gyre_rwmutex_lock(&s.rwmutex);
        gyre_rwmutex_unlock(&s.rwmutex);
        break;
    case SEMAPHORE:
        EXPECT_EQ(gyre_semaphore_acquire(&s.semaphore, 1), 0);
        break;
    case WAITGROUP:
        EXPECT_EQ(gyre_waitgroup_wait(&s.waitgroup), 0);
        break;
    default:
        EXPECT_EQ(gyre_group_wait(&s.group), -EIO);
    }
    memset(s.bytes, AGAIN, sizeof s.bytes);
    atomic_store(&s.again, true);
    return 0;
}

static void wake(void)
{
    await_waiter();
    atomic_store(&s.waking, true);
    switch (s.kind) {
    case MUTEX:
        gyre_mutex_unlock(&s.mutex);
        break;
    case WRITER:
        gyre_rwmutex_unlock(&s.rwmutex);
        break;
    case READER:
        gyre_rwmutex_runlock(&s.rwmutex);
        break;
    case SEMAPHORE:
        gyre_semaphore_release(&s.semaphore, 1);
        break;
    default:
        gyre_waitgroup_done(&s.waitgroup);
    }
}

static gyre_handle start_on(unsigned worker, gyre_fn fn)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handle;

    options.flags = GYRE_SPAWN_PINNED;
    options.worker = worker + 1;
    EXPECT_EQ(gyre_spawn_options(&handle, fn, NULL, &options), 0);
    return handle;
}

/* On worker 0. */
static int use_all(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS * KINDS; i++) {
        gyre_handle waiter;

        s.kind = (enum kind)(i % KINDS);
        atomic_store(&s.again, false);
        hold();
        waiter = start_on(1, wait_and_use_again);
        if (s.kind != GROUP)
            wake();
        EXPECT_EQ(gyre_join(waiter, NULL), 0);
        check();
    }
    return 0;
}

static int run(void *unused)
{
    return gyre_join(start_on(0, use_all), unused);
}

Test(storage, may_be_used_again_while_its_waker_still_wakes, .timeout = 60)
{
    cr_assert_eq(run_with_workers(2, run, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}
