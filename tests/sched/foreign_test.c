/*
 * Threads that are no workers wake the last coroutine of a program: what gyre_run frees when it
 * returns is what such a thread's wake still uses. The wake is held up in its middle, after the
 * coroutine became runnable and its worker was told, until the program is over, and a while longer.
 */
#include "inside.h"

#include "base/clock.h"
#include "sched/worker.h"

#include <pthread.h>
#include <sched.h>

void __real_gyre_worker_notify(struct worker *worker);
void __wrap_gyre_worker_notify(struct worker *worker);
void __real_gyre_run_attend(struct gyre_runtime *runtime);
void __wrap_gyre_run_attend(struct gyre_runtime *runtime);

enum wake { UNLOCK, DONE, PINNED, SEND, GO, CANCEL, WAKES };

static struct {
    enum wake wake;
    struct gyre_runtime *runtime;
    struct gyre_context *root;
    gyre_mutex mutex;
    gyre_waitgroup waitgroup;
    gyre_channel channel;
    atomic_bool over, returned;
    atomic_int early, held_up;
} s;

static _Thread_local bool waker;

static void hold_up(void)
{
    if (!waker)
        return;
    atomic_fetch_add(&s.held_up, 1);
    for (int64_t until = 0; !until || clock_now() < until; sched_yield()) {
        if (!until && atomic_load(&s.over))
            until = clock_now() + 20 * GYRE_MILLISECOND;
        if (atomic_load(&s.returned)) {
            atomic_fetch_add(&s.early, 1);
            return;
        }
    }
}

void __wrap_gyre_worker_notify(struct worker *worker)
{
    __real_gyre_worker_notify(worker);
    hold_up();
}

/* In the end of the root context. */
void __wrap_gyre_run_attend(struct gyre_runtime *runtime)
{
    __real_gyre_run_attend(runtime);
    hold_up();
}

static int release(void *unused)
{
    (void)unused;
    gyre_mutex_unlock(&s.mutex);
    return 0;
}

static void await_waiter(const struct gyre_sync_queue *queue)
{
    while (!__atomic_load_n(&queue->first, __ATOMIC_RELAXED))
        sched_yield();
}

static void *wake(void *unused)
{
    waker = true;
    switch (s.wake) {
    case UNLOCK:
        await_waiter(&s.mutex.queue);
        gyre_mutex_unlock(&s.mutex);
        break;
    case DONE:
    case PINNED:
        await_waiter(&s.waitgroup.queue);
        gyre_waitgroup_done(&s.waitgroup);
        break;
    case SEND:
        while (gyre_chan_try_send(s.channel.sender, &(int){1}) == -EAGAIN)
            sched_yield();
        break;
    case GO:
        EXPECT_EQ(gyre_runtime_go(s.runtime, release, NULL), 0);
        break;
    default:
        gyre_context_cancel(s.root);
    }
    return unused;
}

static int await_done(void *unused)
{
    (void)unused;
    return gyre_waitgroup_wait(&s.waitgroup);
}

static int be_woken(void *thread)
{
    struct gyre_spawn_options pinned = GYRE_SPAWN_INIT;
    gyre_handle handle;
    int value;

    s.runtime = gyre_runtime_current();
    s.root = gyre_context_background();
    gyre_waitgroup_add(&s.waitgroup, 1);
    gyre_mutex_lock(&s.mutex);
    EXPECT_EQ(gyre_chan_make(&s.channel, sizeof value, 0), 0);
    EXPECT_EQ(pthread_create(thread, NULL, wake, NULL), 0);
    switch (s.wake) {
    case UNLOCK:
    case GO:
        gyre_mutex_lock(&s.mutex);
        break;
    case DONE:
        EXPECT_EQ(await_done(NULL), 0);
        break;
    case PINNED:
        pinned.flags = GYRE_SPAWN_PINNED;
        EXPECT_EQ(gyre_spawn_options(&handle, await_done, NULL, &pinned), 0);
        EXPECT_EQ(gyre_join(handle, &value), 0);
        EXPECT_EQ(value, 0);
        break;
    case SEND:
        EXPECT_EQ(gyre_chan_recv(s.channel.receiver, &value), 1);
        break;
    default:
        EXPECT_EQ(gyre_sleep(GYRE_MINUTE), -ECANCELED);
    }
    gyre_chan_release(s.channel);
    atomic_store(&s.over, true);
    return 0;
}

Test(foreign, the_runtime_stays_until_who_woke_its_last_coroutine_is_done, .timeout = 60)
{
    for (unsigned workers = 1; workers <= 2; workers++)
        for (int wakes = 0; wakes < WAKES; wakes++) {
            pthread_t thread;

            memset(&s, 0, sizeof s);
            s.wake = (enum wake)wakes;
            cr_assert_eq(run_with_workers(workers, be_woken, &thread), 0);
            atomic_store(&s.returned, true);
            pthread_join(thread, NULL);
            cr_assert_eq(s.early, 0, "wake %d", wakes);
            cr_assert(s.held_up, "wake %d", wakes);
        }
    cr_assert_eq(failed_expectations, 0);
}
