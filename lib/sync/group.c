/*
 * Groups: members under one context, which the first error ends; a wait for all of them.
 *
 * `active` counts the places taken: members, from before their start until they have really ended
 * (coro_end), and those about to start one. While it is not zero the group's context stays, and
 * who has a place may touch the group. Who gives the last one back may not: from the moment he lets
 * go of the guard, the one that waits may return, and the storage go. So he takes the waiter off
 * under the guard, and readies it without another look at the group (model:
 * tests/models/group.pml).
 *
 * With a limit, a place given back goes straight to the first of those that wait for one, and
 * `active` stays: no newcomer overtakes. The first error, or a cancel, sends them all away without
 * a place; from then on they don't look at the group any more.
 *
 * The error is stored before the context ends: no member that was only cancelled comes first.
 */
#include "base/panic.h"
#include "sched/context_node.h"
#include "sched/spawn.h"
#include "sync/queue.h"

#include <gyre/group.h>

#include <errno.h>

/* --- the members' side --------------------------------------------------------------------- */

/* The first error is the group's, and ends its context; later ones do nothing. */
static void fail(struct gyre_group *group, int error)
{
    struct spinlock *guard = sync_guard(&group->guard);
    struct gyre_context *context = NULL;
    struct sync_taken starters = {0};

    spin_lock(guard);
    if (!group->error) {
        group->error = error;
        context = group->context ? gyre_context_hold(group->context) : NULL;
        gyre_sync_take_all(&group->starters, &starters);
    }
    spin_unlock(guard);
    if (context)
        gyre_context_end_cause(context, -ECANCELED, error);
    gyre_context_release(context);
    gyre_sync_ready(&starters);
}

/* Passes a place on, or gives it back: the group may be gone after this. */
static void give_place(struct gyre_group *group)
{
    struct spinlock *guard = sync_guard(&group->guard);
    struct gyre_sync_waiter *starter;
    struct sync_taken taken = {0};

    spin_lock(guard);
    starter = group->starters.first;
    if (starter) {
        starter->granted = true;
        gyre_sync_take(&group->starters, starter, &taken);
    } else if (--group->active == 0 && group->waiters.first) {
        gyre_sync_take(&group->waiters, group->waiters.first, &taken);
    }
    spin_unlock(guard);
    gyre_sync_ready(&taken);
}

/* Called when nothing is left of the member. */
static void member_ended(void *group, int result)
{
    if (unlikely(result < 0))
        fail(group, result);
    give_place(group);
}

static bool is_member(const struct gyre_coro *coro, const struct gyre_group *group)
{
    return coro->flags & CORO_TELLS && coro->at_end.call == member_ended &&
           coro->at_end.argument == group;
}

/* --- starting ------------------------------------------------------------------------------- */

/* Under the guard: makes the context the first time. */
static int need_context(struct gyre_group *group, struct gyre_coro *self)
{
    if (unlikely(!group->context))
        group->context = gyre_context_create(worker_current(), coro_context(self), NULL);
    return likely(group->context) ? 0 : -ENOMEM;
}

/* Under the guard: 0, or why nobody may start. */
static int refusal(struct gyre_group *group, struct gyre_coro *self)
{
    int error = coro_error(self);

    if (unlikely(error))
        return error;
    if (unlikely(group->error))
        return -ECANCELED;
    error = need_context(group, self);
    return unlikely(error) ? error : context_error(group->context);
}

/* 1: the caller has a place. 0: sent away, the group has failed, and may be gone. Else why not. */
static int take_place(struct gyre_group *group, struct gyre_coro *self, bool try_)
{
    struct spinlock *guard = sync_guard(&group->guard);
    struct gyre_sync_waiter starter;
    int error;

    spin_lock(guard);
    error = refusal(group, self);
    if (likely(!error) && group->limit && group->active >= group->limit) {
        if (!try_) {
            gyre_sync_waiter_init(&starter, true);
            gyre_sync_append(&group->starters, &starter);
            error = gyre_sync_wait(&starter, &group->starters, guard, PARK_GROUP);
            if (error >= 0)
                return starter.granted;
        } else {
            error = -EAGAIN;
        }
    }
    if (likely(!error))
        group->active++;
    spin_unlock(guard);
    return error ? error : 1;
}

static int go(struct gyre_group *group, const char *site, gyre_fn fn, void *arg,
              const struct gyre_spawn_options *options, bool try_)
{
    int error = take_place(group, coro_required("gyre_group_go"), try_);

    if (unlikely(!error))
        return -ECANCELED;
    if (likely(error > 0)) {
        /* It may have ended while the caller waited. */
        error = context_error(group->context);
        if (likely(!error))
            error = gyre_coro_start(site, fn, arg, options, group->context,
                                    (struct coro_end){member_ended, group});
        if (likely(!error))
            return 0;
        fail(group, error);
        give_place(group);
        return error;
    }
    if (!(try_ && error == -EAGAIN))
        fail(group, error);
    return error;
}

int gyre_group_go_at(const char *site, gyre_group *group, gyre_fn fn, void *arg, int try_)
{
    return go(group, site, fn, arg, NULL, try_);
}

int gyre_group_go_copy_at(const char *site, gyre_group *group, gyre_fn fn, const void *arg,
                          size_t size, int try_)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;

    options.copy = arg ? arg : "";
    options.copy_size = size;
    /* Without fn it is refused, as gyre_go_copy refuses it, and that is the group's error too. */
    return go(group, site, arg || !size ? fn : NULL, NULL, &options, try_);
}

int gyre_group_context(gyre_group *group, struct gyre_context **context)
{
    struct gyre_coro *self = coro_required("gyre_group_context");
    struct spinlock *guard = sync_guard(&group->guard);
    int error;

    spin_lock(guard);
    error = need_context(group, self);
    *context = error ? NULL : gyre_context_hold(group->context);
    spin_unlock(guard);
    return error;
}

/* --- waiting -------------------------------------------------------------------------------- */

/* Whoever still runs in it was no member. */
static void end_context(struct gyre_context *context)
{
    /* Acquire: pairs with the release of the last other holder. */
    if (context && atomic_load_explicit(&context->references, memory_order_acquire) != 1)
        gyre_context_end(context, -ECANCELED);
    gyre_context_release(context);
}

int gyre_group_wait(gyre_group *group)
{
    struct gyre_coro *self = coro_required("gyre_group_wait");
    struct spinlock *guard = sync_guard(&group->guard);
    struct gyre_sync_waiter waiter;
    struct gyre_context *context;
    int error;

    if (unlikely(is_member(self, group)))
        gyre_panic("a member waits for its own group");
    spin_lock(guard);
    if (unlikely(!sync_queue_empty(&group->waiters)))
        gyre_panic("two coroutines wait for one group");
    while (group->active) {
        gyre_sync_waiter_init(&waiter, false);
        gyre_sync_append(&group->waiters, &waiter);
        gyre_sync_wait(&waiter, &group->waiters, guard, PARK_GROUP);
        spin_lock(guard);
    }
    error = group->error;
    context = group->context;
    group->error = 0;
    group->context = NULL;
    spin_unlock(guard);
    end_context(context);
    return error;
}

void gyre_group_cancel(gyre_group *group)
{
    coro_required("gyre_group_cancel");
    fail(group, -ECANCELED);
}

void gyre_group_leave(gyre_group *group)
{
    /* Without a context there is no member, as after a wait. */
    if (!group->context)
        return;
    if (!group->waits)
        gyre_group_cancel(group);
    gyre_group_wait(group);
}
