/*
 * gyre/context.h - deadlines and cancellation.
 *
 * The context is ambient: a coroutine inherits its parent's, and each call that parks returns
 * -ECANCELED or -ETIMEDOUT once it has ended, at entry too, even when it would not have to wait.
 * A scope narrows it for the rest of a block:
 *
 *     GYRE_TIMEOUT(5 * GYRE_SECOND);
 *     int fd = gyre_tcp_dial("192.0.2.1:80");
 *     ...
 *
 * The declaration can't fail: where memory for it is missing, every call inside returns -ENOMEM.
 * Leaving the block by any way (break, return, goto) stops the timer and cancels whatever was
 * spawned inside and still runs, as Go's deferred cancel does. Scopes must be left in the
 * reverse order of their entering, which blocks do by themselves; longjmp over one is an error.
 *
 * To cancel workers and then wait for them, join inside a GYRE_SHIELD: in the scope that was
 * cancelled gyre_join, too, returns at once.
 *
 * When an operation and the end of its context race, the operation may win: then its result is
 * returned, and the next call returns the error.
 */
#ifndef GYRE_CONTEXT_H
#define GYRE_CONTEXT_H

#include <gyre/base.h>

GYRE_BEGIN_DECLS

/* A counted node of the tree. */
struct gyre_context;

/* A scope's memory of what to go back to; see the macros. */
struct gyre_scope {
    struct gyre_context *context; /* NULL: nothing to leave */
    struct gyre_context *outer;
};

#define GYRE_SCOPE_JOIN_(a, b)   a##b
#define GYRE_SCOPE_NAME_(number) GYRE_SCOPE_JOIN_(gyre_scope_, number)
#define GYRE_SCOPE_(call)                                                                          \
    __attribute__((cleanup(gyre_scope_leave), unused)) struct gyre_scope GYRE_SCOPE_NAME_(         \
        __COUNTER__) = (call)

/* Until the end of the block: ends with -ETIMEDOUT after duration ns, or at the moment when
 * (gyre_now()'s clock). A parent's earlier deadline still counts. Go: context.WithTimeout,
 * WithDeadline. */
#define GYRE_TIMEOUT(duration) GYRE_SCOPE_(gyre_scope_timeout(duration))
#define GYRE_DEADLINE(when)    GYRE_SCOPE_(gyre_scope_deadline(when))

/* Until the end of the block: can be cancelled through gyre_context_current or from the
 * coroutines inside. Go: context.WithCancel. */
#define GYRE_CANCELLABLE() GYRE_SCOPE_(gyre_scope_cancellable())

/* Until the end of the block nothing outside cancels or times out: for clean-up that must be
 * done. A timeout may be set inside. Go: context.WithoutCancel.
 * What is spawned inside is shielded for its whole life, from the shutdown too, which then awaits
 * it; ending the shield itself through a handle does nothing. */
#define GYRE_SHIELD() GYRE_SCOPE_(gyre_scope_shield())

/* Until the end of the block the given context is the ambient one (it is held, not cancelled at
 * the end). Go: passing ctx on. */
#define GYRE_WITH_CONTEXT(context) GYRE_SCOPE_(gyre_scope_enter(context))

/*
 * What the macros call, for who manages scopes by hand: each must be matched by gyre_scope_leave
 * in the same coroutine. None parks or fails. Only from a coroutine.
 */
GYRE_API struct gyre_scope gyre_scope_timeout(int64_t duration);
GYRE_API struct gyre_scope gyre_scope_deadline(int64_t when);
GYRE_API struct gyre_scope gyre_scope_cancellable(void);
GYRE_API struct gyre_scope gyre_scope_shield(void);
GYRE_API struct gyre_scope gyre_scope_enter(struct gyre_context *context);
GYRE_API void gyre_scope_leave(struct gyre_scope *scope);

/*
 * Whether, and by what, the ambient context has ended: 0, -ECANCELED, -ETIMEDOUT (its own deadline
 * or a parent's), -ENOMEM (the scope could not be made). Tells a context's timeout from TCP's.
 * Never parks. Only from a coroutine. Go: ctx.Err().
 */
GYRE_API int gyre_context_error(void);

/* When the ambient context ends by time: gyre_now()'s clock, INT64_MAX for never. Never parks.
 * Only from a coroutine. Go: ctx.Deadline(). */
GYRE_API int64_t gyre_context_deadline(void);

/*
 * The ambient context as a handle that can be given to others: held for the caller, who must
 * give it back with gyre_context_release before gyre_run returns. Never parks, never fails. Only
 * from a coroutine.
 */
GYRE_API struct gyre_context *gyre_context_current(void);
GYRE_API struct gyre_context *gyre_context_hold(struct gyre_context *context);
GYRE_API void gyre_context_release(struct gyre_context *context); /* NULL is fine */

/*
 * Ends the context with -ECANCELED, and all made from it; whoever is parked inside is woken with
 * that error. Ending it twice is harmless: the first reason stays. A shield's inside is
 * not reached, and a handle taken in the shield itself ends nothing. From any thread that holds the
 * handle. Never parks, never fails; NULL panics. Go: the cancel function.
 */
GYRE_API void gyre_context_cancel(struct gyre_context *context);

/* As gyre_context_error, of the given context; from any thread that holds it. */
GYRE_API int gyre_context_error_of(struct gyre_context *context);

GYRE_END_DECLS

#endif
