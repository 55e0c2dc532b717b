/*
 * Scopes: the ambient context of a coroutine, narrowed for a block.
 *
 * A scope's node is referenced by the scope, by its timer while that is started, by coroutines
 * and nodes inside, and by handles. Leaving with none of the others left costs two locks that
 * nobody else wants.
 */
#include "base/checks.h"
#include "base/clock.h"
#include "base/panic.h"
#include "sched/context_node.h"
#include "sched/worker.h"

#include <gyre/context.h>

#include <errno.h>

static struct gyre_context *ambient(const struct gyre_coro *self)
{
    return atomic_load_explicit(&self->context, memory_order_relaxed);
}

static void set_ambient(struct gyre_coro *self, struct gyre_context *context)
{
    /* Relaxed: others read it only as a hint, or when this coroutine is parked. */
    atomic_store_explicit(&self->context, context, memory_order_relaxed);
}

static inline struct gyre_scope enter(struct gyre_coro *self, struct gyre_context *context)
{
    struct gyre_scope scope = {context, ambient(self)};

    if (unlikely(!context))
        scope.context = &gyre_runtime_instance->contexts.no_memory;
    set_ambient(self, scope.context);
    return scope;
}

struct gyre_scope gyre_scope_timeout(int64_t duration)
{
    struct gyre_coro *self = coro_required("GYRE_TIMEOUT");
    int64_t now = clock_now();

    return enter(self, gyre_context_create_until(worker_current(), ambient(self), self,
                                                 clock_after(now, duration), now));
}

struct gyre_scope gyre_scope_deadline(int64_t when)
{
    struct gyre_coro *self = coro_required("GYRE_DEADLINE");

    return enter(
        self, gyre_context_create_until(worker_current(), ambient(self), self, when, clock_now()));
}

struct gyre_scope gyre_scope_cancellable(void)
{
    struct gyre_coro *self = coro_required("GYRE_CANCELLABLE");

    return enter(self, gyre_context_create(worker_current(), ambient(self), self));
}

struct gyre_scope gyre_scope_value(const struct gyre_context_key *key, void *value)
{
    struct gyre_coro *self = coro_required("GYRE_CONTEXT_VALUE");
    struct gyre_context *context;

    if (!key)
        gyre_panic("GYRE_CONTEXT_VALUE with a NULL key");
    context = gyre_context_create_valued(worker_current(), ambient(self), self, key, value);
    if (unlikely(!context && key->drop))
        key->drop(value);
    return enter(self, context);
}

struct gyre_scope gyre_scope_shield(void)
{
    struct gyre_coro *self = coro_required("GYRE_SHIELD");
    struct gyre_context *context = gyre_context_create_shield(worker_current(), ambient(self));

    /* Better without the values than without the shield. */
    return enter(self, likely(context) ? context : &gyre_runtime_instance->contexts.shield);
}

struct gyre_scope gyre_scope_enter(struct gyre_context *context)
{
    struct gyre_coro *self = coro_required("GYRE_WITH_CONTEXT");

    if (!context)
        gyre_panic("GYRE_WITH_CONTEXT of a NULL context");
    return enter(self, gyre_context_create_passed(worker_current(), context, self));
}

void gyre_scope_leave(struct gyre_scope *scope)
{
    struct gyre_coro *self = coro_required("gyre_scope_leave");
    struct gyre_context *context = scope->context;

    if (!context)
        return;
    if (ambient(self) != context)
        gyre_panic("a scope was left that is not the innermost one");
    scope->context = NULL;
    set_ambient(self, scope->outer);
    if (context->immortal)
        return;
    context_stop_timer(context);
    /* One passed on stays linked for those who were spawned inside, so its parent's end may come.
     */
    if (!context->passed)
        gyre_context_unlink(context);
    /* Acquire: pairs with the release of the last other holder. */
    if (context->passed || atomic_load_explicit(&context->references, memory_order_acquire) != 1) {
        spin_lock(&context->members.lock);
        context->owner = NULL;
        spin_unlock(&context->members.lock);
        if (!context->passed)
            gyre_context_end(context, -ECANCELED);
    }
    gyre_context_release(context);
}

int gyre_context_error(void)
{
    return context_error(ambient(coro_required("gyre_context_error")));
}

int64_t gyre_context_deadline(void)
{
    return ambient(coro_required("gyre_context_deadline"))->deadline;
}

int gyre_context_cause(void)
{
    return context_cause(ambient(coro_required("gyre_context_cause")));
}

void *gyre_context_value(const struct gyre_context_key *key)
{
    return gyre_context_find_value(ambient(coro_required("gyre_context_value")), key);
}

struct gyre_context *gyre_context_current(void)
{
    struct gyre_context *context = ambient(coro_required("gyre_context_current"));

    if (context->passed)
        context = context->parent;
    if (unlikely(gyre_checks))
        atomic_store_explicit(&context->made_by, __builtin_return_address(0), memory_order_relaxed);
    return gyre_context_hold(context);
}
