/*
 * gyre/group.h - several coroutines as one piece of work: the first error cancels the others, and
 * none outlives the block. Go: golang.org/x/sync/errgroup.
 *
 *     GYRE_GROUP(group, .limit = 8);
 *     for (size_t i = 0; i < count; i++)
 *         gyre_group_go_copy(&group, fetch, &urls[i], sizeof urls[i]);
 *     int error = gyre_group_wait(&group);
 *
 * Members run under a context of the group's, a child of the one that was ambient at the
 * first gyre_group_go. It ends with the first member that returns < 0 (with -ECANCELED; cause: that
 * error), with gyre_group_cancel, with its parent, and when the wait is over: what members started
 * and left behind is cancelled then.
 *
 * A group belongs to the coroutine that waits for it; members may start others and cancel. It
 * must outlive each call, so anybody else's must have returned before the wait does.
 *
 * Go's errgroup calls each function, after an error too; here one may never be called. So nobody
 * may wait without end for what a member does last, such as the close of a channel: what receives
 * from members is a member itself, or receives in the group's context; and what several have to
 * finish before a close is a group inside a member, which closes after its gyre_group_wait:
 *
 *     static int workers(void *arg)                  static int collect(gyre_group *group, ...)
 *     {                                              {
 *         GYRE_GROUP(inner);                             struct gyre_context *context;
 *         for (int i = 0; i < 4; i++)                    int n, error = gyre_group_context(group,
 *             gyre_group_go(&inner, work, arg);                                         &context);
 *         int error = gyre_group_wait(&inner);           if (error)
 *         ints_close_error(out, error);                      return error;
 *         return error;                                  GYRE_WITH_CONTEXT(context);
 *     }                                                  gyre_context_release(context);
 *                                                        while ((error = ints_recv(in, &n)) > 0)
 *                                                            ...
 */
#ifndef GYRE_GROUP_H
#define GYRE_GROUP_H

#include <gyre/base.h>
#include <gyre/coro.h>
#include <gyre/sync.h>

GYRE_BEGIN_DECLS

struct gyre_context; /* gyre/context.h */

typedef struct gyre_group {
    unsigned limit;  /* members at a time; 0: any number. Set it in the declaration only */
    unsigned waits;  /* private: the end of the block waits without cancelling */
    unsigned active; /* private from here on */
    uint32_t guard;
    int error;
    struct gyre_context *context;
    struct gyre_sync_queue starters, waiters;
} gyre_group;

/*
 * Declares a group that holds to the end of the block. When the block is left while members
 * are alive, by whatever way, they are cancelled and awaited: that wait is not cancelled. What
 * follows the name are designated initialisers, which C++ has since C++20: GYRE_GROUP(group) or
 * GYRE_GROUP(group, .limit = 8). A call-free declaration; it can't fail. Only in a coroutine. Go:
 * errgroup.WithContext, SetLimit.
 */
#define GYRE_GROUP(/* name, */...) GYRE_GROUP_(__VA_ARGS__, .waits = 0)

/* The same, but the end of the block waits for the members to end by themselves (a member's
 * error still cancels the others). Trio's nursery. */
#define GYRE_NURSERY(/* name, */...) GYRE_GROUP_(__VA_ARGS__, .waits = 1)

#define GYRE_GROUP_(name, ...)                                                                     \
    __attribute__((cleanup(gyre_group_leave), unused)) gyre_group name = {__VA_ARGS__}

/*
 * Starts fn(arg) as a member. Parks while `limit` members run; who waits for room gets it in order.
 * Returns 0, or an error, and then fn is not called: what gyre_go returns when it can't start;
 * -ECANCELED or -ETIMEDOUT when the caller's context or the group's has ended, or ends while it
 * waits for room; -ECANCELED after an error of the group's. Each of these is the group's error, as
 * if a member had returned it, unless there was one before. A member may start others; with a limit
 * it keeps its own place meanwhile. Only from a coroutine. Go: Group.Go.
 */
#define gyre_group_go(group, fn, arg) gyre_group_go_at(GYRE_SITE(#fn), group, fn, arg, 0)

/* With a copy of size bytes from arg, as gyre_go_copy. */
#define gyre_group_go_copy(group, fn, arg, size)                                                   \
    gyre_group_go_copy_at(GYRE_SITE(#fn), group, fn, arg, size, 0)

/* Without waiting for room: -EAGAIN when `limit` members run, which is no error of the
 * group's. Go: Group.TryGo. */
#define gyre_group_try_go(group, fn, arg) gyre_group_go_at(GYRE_SITE(#fn), group, fn, arg, 1)
#define gyre_group_try_go_copy(group, fn, arg, size)                                               \
    gyre_group_go_copy_at(GYRE_SITE(#fn), group, fn, arg, size, 1)

/* What the macros call. */
GYRE_API int gyre_group_go_at(const char *site, gyre_group *group, gyre_fn fn, void *arg, int try_);
GYRE_API int gyre_group_go_copy_at(const char *site, gyre_group *group, gyre_fn fn, const void *arg,
                                   size_t size, int try_);

/*
 * The group's context, held for the caller, who releases it: to take part in what members do, as
 * receiving from them until the first error ends that too (GYRE_WITH_CONTEXT). Made if there is no
 * member yet. Returns 0, or -ENOMEM and *context is NULL. Never parks. Only from a coroutine. Go:
 * the ctx of errgroup.WithContext.
 */
GYRE_API int gyre_group_context(gyre_group *group, struct gyre_context **context);

/*
 * Waits until all members have ended, and returns the first error of all, 0 if there was none. Not
 * cancelled: the end of the caller's context reaches the members if it was ambient when the first
 * was started, so a GYRE_TIMEOUT that only surrounds the wait bounds nothing. Nothing is left of
 * them then, and the group is as new. Parks. Panics in a member of the group, and when another
 * coroutine waits for it already. Only from a coroutine. Go: Group.Wait.
 */
GYRE_API int gyre_group_wait(gyre_group *group);

/* Ends the group's context with -ECANCELED; if there was no error before, wait returns that.
 * Never parks. Only from a coroutine. Go: the cancel function of the context given. */
GYRE_API void gyre_group_cancel(gyre_group *group);

/* What the end of the block calls. */
GYRE_API void gyre_group_leave(gyre_group *group);

GYRE_END_DECLS

#endif
