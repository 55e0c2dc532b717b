/*
 * Handles: contexts that are passed by hand. Their nodes are those of scopes, without an owner.
 */
#include "base/checks.h"
#include "base/clock.h"
#include "base/panic.h"
#include "sched/context_node.h"
#include "sched/worker.h"

#include <errno.h>

static inline void check(const struct gyre_context *context, const char *call)
{
    if (unlikely(!context))
        gyre_panic("%s of a NULL context", call);
}

/* --- made ------------------------------------------------------------------------------------ */

static inline struct worker *worker_for(const struct gyre_context *parent, const char *call)
{
    coro_required(call);
    check(parent, call);
    return worker_current();
}

static inline int give(struct gyre_context **to, struct gyre_context *context, void *made_by)
{
    *to = context;
    if (unlikely(!context))
        return -ENOMEM;
    if (unlikely(gyre_checks))
        atomic_store_explicit(&context->made_by, made_by, memory_order_relaxed);
    return 0;
}

int gyre_context_with_cancel(struct gyre_context *parent, struct gyre_context **context)
{
    struct worker *worker = worker_for(parent, "gyre_context_with_cancel");

    return give(context, gyre_context_create(worker, parent, NULL), __builtin_return_address(0));
}

int gyre_context_with_timeout(struct gyre_context *parent, int64_t duration,
                              struct gyre_context **context)
{
    struct worker *worker = worker_for(parent, "gyre_context_with_timeout");
    int64_t now = clock_now(), when = clock_after(now, duration);

    return give(context, gyre_context_create_until(worker, parent, NULL, when, now),
                __builtin_return_address(0));
}

int gyre_context_with_deadline(struct gyre_context *parent, int64_t when,
                               struct gyre_context **context)
{
    struct worker *worker = worker_for(parent, "gyre_context_with_deadline");

    return give(context, gyre_context_create_until(worker, parent, NULL, when, clock_now()),
                __builtin_return_address(0));
}

int gyre_context_with_value(struct gyre_context *parent, const struct gyre_context_key *key,
                            void *value, struct gyre_context **context)
{
    struct worker *worker = worker_for(parent, "gyre_context_with_value");

    if (!key)
        gyre_panic("gyre_context_with_value with a NULL key");
    return give(context, gyre_context_create_valued(worker, parent, NULL, key, value),
                __builtin_return_address(0));
}

int gyre_context_without_cancel(struct gyre_context *parent, struct gyre_context **context)
{
    struct worker *worker = worker_for(parent, "gyre_context_without_cancel");

    return give(context, gyre_context_create_shield(worker, parent), __builtin_return_address(0));
}

struct gyre_context *gyre_context_background(void)
{
    coro_required("gyre_context_background");
    return &gyre_runtime_instance->contexts.root;
}

struct gyre_context *gyre_context_todo(void)
{
    coro_required("gyre_context_todo");
    return &gyre_runtime_instance->contexts.root;
}

/* --- ended ----------------------------------------------------------------------------------- */

/* Of the root, by a thread that is no worker: the runtime may end before this is done with it. */
static void end(struct gyre_context *context, int cause)
{
    struct gyre_runtime *foreign = foreign_enter();

    gyre_context_end_cause(context, -ECANCELED, cause);
    foreign_leave(foreign);
}

void gyre_context_cancel(struct gyre_context *context)
{
    check(context, "gyre_context_cancel");
    end(context, -ECANCELED);
}

void gyre_context_cancel_cause(struct gyre_context *context, int cause)
{
    check(context, "gyre_context_cancel_cause");
    end(context, cause < 0 ? cause : -ECANCELED);
}

/* --- asked ----------------------------------------------------------------------------------- */

int gyre_context_error_of(struct gyre_context *context)
{
    check(context, "gyre_context_error_of");
    return context_error(context);
}

int gyre_context_cause_of(struct gyre_context *context)
{
    check(context, "gyre_context_cause_of");
    return context_cause(context);
}

int64_t gyre_context_deadline_of(struct gyre_context *context)
{
    check(context, "gyre_context_deadline_of");
    return context->deadline;
}

void *gyre_context_value_of(struct gyre_context *context, const struct gyre_context_key *key)
{
    check(context, "gyre_context_value_of");
    return gyre_context_find_value(context, key);
}

void *gyre_context_find_value(const struct gyre_context *context,
                              const struct gyre_context_key *key)
{
    for (context = context->valued; context; context = context->parent->valued)
        if (context->key == key)
            return context->value;
    return NULL;
}
