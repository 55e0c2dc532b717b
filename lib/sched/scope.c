/*
 * Scopes: the ambient context of a coroutine, narrowed for a block.
 *
 * A scope's node is referenced by the scope, by its timer while that is started, by coroutines
 * and nodes inside, and by handles. Leaving with none of the others left costs two locks that
 * nobody else wants.
 */
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

static struct gyre_scope enter(struct gyre_coro *self, struct gyre_context *parent)
{
    struct gyre_scope scope = {gyre_context_create(worker_current(), parent, self), ambient(self)};

    if (unlikely(!scope.context))
        scope.context = &gyre_runtime_instance->contexts.no_memory;
    set_ambient(self, scope.context);
    return scope;
}

static void expire(struct timer *timer)
{
    struct gyre_context *context = container_of(timer, struct gyre_context, timer);

    gyre_context_end(context, -ETIMEDOUT);
    gyre_context_release(context);
}

static struct gyre_scope enter_deadline(struct gyre_coro *self, int64_t when, int64_t now)
{
    struct gyre_scope scope = enter(self, ambient(self));
    struct gyre_context *context = scope.context;

    if (context->immortal || when >= context->deadline)
        return scope; /* the parent's end comes first, and reaches this one */
    context->deadline = when;
    if (when <= now) {
        gyre_context_end(context, -ETIMEDOUT);
        return scope;
    }
    gyre_context_hold(context);
    context->timed = true;
    context->timer.fire = expire;
    gyre_wheel_start(&worker_current()->timers, &context->timer, when);
    return scope;
}

struct gyre_scope gyre_scope_timeout(int64_t duration)
{
    struct gyre_coro *self = coro_required("GYRE_TIMEOUT");
    int64_t now = clock_now(), when;

    if (duration < 0)
        duration = 0;
    if (__builtin_add_overflow(now, duration, &when))
        when = INT64_MAX;
    return enter_deadline(self, when, now);
}

struct gyre_scope gyre_scope_deadline(int64_t when)
{
    return enter_deadline(coro_required("GYRE_DEADLINE"), when, clock_now());
}

struct gyre_scope gyre_scope_cancellable(void)
{
    struct gyre_coro *self = coro_required("GYRE_CANCELLABLE");

    return enter(self, ambient(self));
}

struct gyre_scope gyre_scope_shield(void)
{
    struct gyre_coro *self = coro_required("GYRE_SHIELD");
    struct gyre_scope scope = {&gyre_runtime_instance->contexts.shield, ambient(self)};

    set_ambient(self, scope.context);
    return scope;
}

struct gyre_scope gyre_scope_enter(struct gyre_context *context)
{
    struct gyre_coro *self = coro_required("GYRE_WITH_CONTEXT");
    struct gyre_scope scope;

    if (!context)
        gyre_panic("GYRE_WITH_CONTEXT of a NULL context");
    scope = enter(self, context);
    if (likely(!scope.context->immortal))
        scope.context->passed = true;
    return scope;
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
    if (context->timed && gyre_wheel_stop(&context->timer))
        atomic_fetch_sub_explicit(&context->references, 1, memory_order_relaxed);
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

struct gyre_context *gyre_context_current(void)
{
    struct gyre_context *context = ambient(coro_required("gyre_context_current"));

    return gyre_context_hold(!context->immortal && context->passed ? context->parent : context);
}

void gyre_context_cancel(struct gyre_context *context)
{
    if (!context)
        gyre_panic("gyre_context_cancel of a NULL context");
    gyre_context_end(context, -ECANCELED);
}

int gyre_context_error_of(struct gyre_context *context)
{
    if (!context)
        gyre_panic("gyre_context_error_of a NULL context");
    return context_error(context);
}
