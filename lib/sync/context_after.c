/*
 * Functions that run when a context ends.
 *
 * The coroutine is made at once and not begun: it needs no wait of its own, only somebody to make
 * it ready. `state` says who: of the end of the context, the shutdown and gyre_context_after_stop
 * the first decides. An end that comes while the watches are put on leaves it to who puts them on.
 *
 * It is under a shield with the context's values, so the shutdown would wait for it. That always
 * begins it: where the context is inside a shield, by a watch on the root.
 *
 * `references`: the coroutine, each watch, the handle. The context is held until both watches are
 * off, which the coroutine sees to before it calls the function, or who stops it.
 */
#include "base/panic.h"
#include "base/text.h"
#include "sched/context_node.h"
#include "sched/context_watch.h"
#include "sched/spawn.h"

#include <errno.h>
#include <stdlib.h>

enum after_state { ARMING, ARMED, FIRED, STOPPED };

struct gyre_context_after {
    _Atomic(uint32_t) state;
    _Atomic(uint32_t) references;
    struct gyre_coro *coro;
    struct gyre_context *context;
    gyre_fn fn;
    void *arg;
    struct context_watch on_end, on_shutdown;
};

static void drop(struct gyre_context_after *after, unsigned references)
{
    /* Release what this one did, acquire what the others did, before it is freed. */
    if (atomic_fetch_sub_explicit(&after->references, references, memory_order_acq_rel) ==
        references)
        free(after);
}

/* --- fired ----------------------------------------------------------------------------------- */

/* Acquire and release: what the canceller did is seen by the function. */
static bool move(struct gyre_context_after *after, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong_explicit(&after->state, &from, to, memory_order_acq_rel,
                                                   memory_order_acquire);
}

static void fire(struct gyre_context_after *after)
{
    if (!move(after, ARMING, FIRED) && move(after, ARMED, FIRED))
        gyre_ready(after->coro);
    drop(after, 1);
}

static void context_ends(struct context_watch *watch)
{
    fire(container_of(watch, struct gyre_context_after, on_end));
}

static void runtime_ends(struct context_watch *watch)
{
    fire(container_of(watch, struct gyre_context_after, on_shutdown));
}

/* Returns how many references are left to the caller: a watch that is being called keeps its. */
static unsigned disarm(struct gyre_context_after *after)
{
    struct gyre_context *context = after->context;
    unsigned references = 0;

    if (!context->endless)
        references += gyre_context_unwatch(context, &after->on_end);
    if (context->sheltered)
        references +=
            gyre_context_unwatch(&gyre_runtime_instance->contexts.root, &after->on_shutdown);
    gyre_context_release(context);
    return references;
}

CALLS_PROGRAM static int run(void *argument)
{
    struct gyre_context_after *after = argument;
    gyre_fn fn = after->fn;
    void *arg = after->arg;

    drop(after, 1 + disarm(after));
    return fn(arg);
}

/* --- made ------------------------------------------------------------------------------------ */

static void watch(struct gyre_context_after *after, struct gyre_context *context,
                  struct context_watch *with)
{
    atomic_fetch_add_explicit(&after->references, 1, memory_order_relaxed);
    if (!gyre_context_watch(context, with))
        with->call(with);
}

static int make_coro(struct gyre_context_after *after, const char *site)
{
    struct worker *worker = worker_current();
    struct gyre_context *shield = gyre_context_create_shield(worker, after->context);
    int error;

    if (!shield)
        return -ENOMEM;
    error = gyre_coro_create(worker, site, NULL, run, after, NULL, shield, &after->coro);
    gyre_context_release(shield);
    if (!error)
        after->coro->park_reason = PARK_CONTEXT;
    return error;
}

static void arm(struct gyre_context_after *after)
{
    struct gyre_context *context = after->context;

    after->on_end.call = context_ends;
    after->on_shutdown.call = runtime_ends;
    after->on_end.place = after->on_shutdown.place = NULL;
    if (!context->endless)
        watch(after, context, &after->on_end);
    if (context->sheltered)
        watch(after, &gyre_runtime_instance->contexts.root, &after->on_shutdown);
    if (!move(after, ARMING, ARMED))
        gyre_ready_new(worker_current(), after->coro);
}

int gyre_context_after_at(const char *site, struct gyre_context *context, gyre_fn fn, void *arg,
                          struct gyre_context_after **handle)
{
    struct gyre_context_after *after;
    int error;

    coro_required("gyre_context_after");
    if (!context)
        gyre_panic("gyre_context_after of a NULL context");
    if (handle)
        *handle = NULL;
    if (!fn)
        return -EINVAL;
    after = malloc(sizeof *after);
    if (!after)
        return -ENOMEM;
    atomic_store_explicit(&after->state, ARMING, memory_order_relaxed);
    atomic_store_explicit(&after->references, handle ? 2 : 1, memory_order_relaxed);
    after->context = context;
    after->fn = fn;
    after->arg = arg;
    error = make_coro(after, site);
    if (error) {
        free(after);
        return error;
    }
    gyre_context_hold(context);
    if (handle)
        *handle = after;
    arm(after);
    return 0;
}

/* --- stopped --------------------------------------------------------------------------------- */

int gyre_context_after_stop(struct gyre_context_after *after)
{
    unsigned references = 1;
    bool stopped;

    coro_required("gyre_context_after_stop");
    if (!after)
        return 0;
    stopped = move(after, ARMED, STOPPED);
    if (stopped) {
        gyre_coro_discard(worker_current(), after->coro);
        references += 1 + disarm(after);
    }
    drop(after, references);
    return stopped;
}
