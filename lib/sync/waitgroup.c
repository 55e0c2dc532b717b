/*
 * The wait group: a word with the count and whether somebody waits (WAITING: the queue is not
 * empty; both change under the guard).
 *
 * Whoever reads a count of zero may free the storage. So the last done, where somebody waits, takes
 * them off the queue first, while it still counts; its exchange to zero, which then finds nobody
 * waiting, is the last that it touches, and after that it readies them. Logically it has counted
 * when it took them: an add that comes between them is one after zero.
 *
 * One that was interrupted as it was taken is not readied, and might return before that exchange:
 * it looks at the count instead, like one that comes anew.
 */
#include "base/panic.h"
#include "sched/spawn.h"
#include "sync/queue.h"

#include <errno.h>

#define WAITING   ((uint64_t)1 << 32)
#define COUNT_MAX INT32_MAX

static int64_t count_of(uint64_t state)
{
    return (int64_t)(state & (WAITING - 1));
}

static void take_waiters(gyre_waitgroup *group, struct sync_taken *taken)
{
    struct spinlock *guard = sync_guard(&group->guard);

    spin_lock(guard);
    gyre_sync_take_all(&group->queue, taken);
    atomic_fetch_and_explicit(sync_long(&group->state), ~WAITING, memory_order_relaxed);
    spin_unlock(guard);
}

static _Noreturn __attribute__((cold)) void refuse(int64_t count)
{
    if (count < 0)
        gyre_panic("negative gyre_waitgroup counter");
    gyre_panic("gyre_waitgroup counter exceeds %d", COUNT_MAX);
}

/* delta < 0, and may reach zero. */
static void subtract(gyre_waitgroup *group, int64_t delta)
{
    _Atomic(uint64_t) *word = sync_long(&group->state);
    uint64_t state = atomic_load_explicit(word, memory_order_relaxed);
    struct sync_taken taken = {NULL, NULL};

    for (;;) {
        int64_t count = count_of(state) + delta;

        if (unlikely(count < 0))
            refuse(count);
        if (unlikely(!count && state & WAITING)) {
            take_waiters(group, &taken);
            explore_point();
            state = atomic_load_explicit(word, memory_order_relaxed);
            continue;
        }
        /* Release: pairs with the acquire in wait; and acquire: what the others did before they
         * were done is seen by those that this one readies. */
        if (atomic_compare_exchange_weak_explicit(word, &state, state + (uint64_t)delta,
                                                  memory_order_acq_rel, memory_order_relaxed))
            break;
    }
    if (unlikely(taken.first))
        gyre_sync_ready(&taken);
}

void gyre_waitgroup_add(gyre_waitgroup *group, int delta)
{
    int64_t count;

    if (delta < 0) {
        subtract(group, delta);
        return;
    }
    /* Relaxed: what begins here is seen by what ends. */
    count = delta + count_of(atomic_fetch_add_explicit(sync_long(&group->state), (uint64_t)delta,
                                                       memory_order_relaxed));
    if (unlikely(count > COUNT_MAX))
        refuse(count);
}

void gyre_waitgroup_done(gyre_waitgroup *group)
{
    subtract(group, -1);
}

/* Under the guard: false when the count is zero. */
static bool note_waiting(_Atomic(uint64_t) *word)
{
    uint64_t state = atomic_load_explicit(word, memory_order_acquire);

    do {
        if (!count_of(state))
            return false;
        /* Acquire where it fails: the count may be zero then. */
    } while (!atomic_compare_exchange_weak_explicit(word, &state, state | WAITING,
                                                    memory_order_acquire, memory_order_acquire));
    return true;
}

static int wait_slow(gyre_waitgroup *group)
{
    _Atomic(uint64_t) *word = sync_long(&group->state);
    struct spinlock *guard = sync_guard(&group->guard);
    struct gyre_sync_waiter waiter;
    int result;

    gyre_sync_waiter_init(&waiter, true);
    for (;;) {
        /* Acquire: pairs with the release in add. */
        if (!count_of(atomic_load_explicit(word, memory_order_acquire)))
            return 0;
        result = sync_error(&waiter);
        if (result)
            return result;
        spin_lock(guard);
        if (!note_waiting(word)) {
            spin_unlock(guard);
            return 0;
        }
        gyre_sync_append(&group->queue, &waiter);
        result = gyre_sync_wait(&waiter, &group->queue, guard, PARK_WAITGROUP);
        if (!result)
            return 0;
        if (result < 0) {
            if (sync_queue_empty(&group->queue))
                atomic_fetch_and_explicit(word, ~WAITING, memory_order_relaxed);
            spin_unlock(guard);
            return result;
        }
    }
}

int gyre_waitgroup_wait(gyre_waitgroup *group)
{
    int error = sync_entry_error();

    if (unlikely(error))
        return error;
    /* Acquire: pairs with the release in add: what was done before done is seen. */
    if (!count_of(atomic_load_explicit(sync_long(&group->state), memory_order_acquire)))
        return 0;
    return wait_slow(group);
}

/* --- coroutines that count ----------------------------------------------------------------- */

static void count_end(void *group, int result)
{
    (void)result;
    gyre_waitgroup_done(group);
}

static int start(const char *call, const char *site, gyre_waitgroup *group, gyre_fn fn, void *arg,
                 const struct gyre_spawn_options *options)
{
    struct gyre_coro *self = coro_required(call);
    int error;

    gyre_waitgroup_add(group, 1);
    error = gyre_coro_start(site, fn, arg, options, coro_context(self),
                            (struct coro_end){count_end, group});
    if (error)
        gyre_waitgroup_done(group);
    return error;
}

int gyre_waitgroup_go_at(const char *site, gyre_waitgroup *group, gyre_fn fn, void *arg)
{
    return start("gyre_waitgroup_go", site, group, fn, arg, NULL);
}

int gyre_waitgroup_go_copy_at(const char *site, gyre_waitgroup *group, gyre_fn fn, const void *arg,
                              size_t size)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;

    if (!arg && size)
        return -EINVAL;
    options.copy = arg ? arg : "";
    options.copy_size = size;
    return start("gyre_waitgroup_go_copy", site, group, fn, NULL, &options);
}
