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
#include <gyre/chan.h>

GYRE_BEGIN_DECLS

/* A counted node of the tree. */
struct gyre_context;

/* Names a value by its address: `static const struct gyre_context_key user_key = {free};`. Must
 * outlive the contexts that have such a value. */
struct gyre_context_key {
    void (*drop)(void *value); /* disposes of the value, on any thread, must not park; or NULL */
};

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

/* Until the end of the block gyre_context_value(key) gives value, also to what is spawned inside.
 * When nobody holds the context any more, key->drop(value) is called; if the scope could not be
 * made, at once. A NULL value hides an outer one; a NULL key panics. Go: context.WithValue. */
#define GYRE_CONTEXT_VALUE(key, value) GYRE_SCOPE_(gyre_scope_value(key, value))

/* Until the end of the block nothing outside cancels or times out: for clean-up that must be
 * done. A timeout may be set inside. Go: context.WithoutCancel.
 * What is spawned inside is shielded for its whole life, from the shutdown too, which then awaits
 * it; ending the shield itself through a handle does nothing. Values are seen through it (without
 * memory for that, which only a context with values needs, the shield holds and hides them). */
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
GYRE_API struct gyre_scope gyre_scope_value(const struct gyre_context_key *key, void *value);
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
 * What ended the ambient context, in its canceller's words: the cause given to
 * gyre_context_cancel_cause, on this context or a parent; else the same as gyre_context_error. 0
 * while it has not ended. Never parks. Only from a coroutine. Go: context.Cause.
 */
GYRE_API int gyre_context_cause(void);

/* The innermost value of key, or NULL. It lives as long as the context. Never parks. Only from a
 * coroutine. Go: ctx.Value. */
GYRE_API void *gyre_context_value(const struct gyre_context_key *key);

/*
 * --- handles: contexts passed by hand -----------------------------------------------------------
 *
 * A handle is counted. Who got one from a function that says so must give it back with
 * gyre_context_release before gyre_run returns; with checks on (gyre/test.h) those forgotten are
 * reported. Where a handle is asked for, NULL panics. GYRE_WITH_CONTEXT makes one ambient.
 */

/* The ambient context, held for the caller. Never parks, never fails. Only from a coroutine. */
GYRE_API struct gyre_context *gyre_context_current(void);

/* The one above all others, without values: it ends when the runtime shuts down, and is not to be
 * cancelled (that would end every coroutine outside a shield). Nothing to release (which is
 * harmless). todo says that the right one is not known yet. Never park, never fail. Only from a
 * coroutine. Go: context.Background, and its namesake. */
GYRE_API struct gyre_context *gyre_context_background(void);
GYRE_API struct gyre_context *gyre_context_todo(void);

/* One more holder, or one less (NULL is fine; a release of what nobody holds panics, unless its
 * memory is in use again). Never park, never fail. From any thread that holds it. */
GYRE_API struct gyre_context *gyre_context_hold(struct gyre_context *context);
GYRE_API void gyre_context_release(struct gyre_context *context);

/*
 * Make a child of parent, held for the caller in *context: one that can be cancelled; that ends
 * with -ETIMEDOUT after duration ns or at the moment when; that has a value (drop is called when
 * the child is freed; a NULL key panics); that parent's end does not reach, with its values, and
 * that can't be cancelled itself. It keeps its parent as long as it lives. Cancel it when its work
 * is over, whichever way that went, and release it: a timer runs until the context ends. Return 0
 * or -ENOMEM (*context is NULL, the value still the caller's). Never park. Only from a coroutine.
 * Go: context.WithCancel, WithTimeout, WithDeadline, WithValue, WithoutCancel.
 */
GYRE_API int gyre_context_with_cancel(struct gyre_context *parent, struct gyre_context **context);
GYRE_API int gyre_context_with_timeout(struct gyre_context *parent, int64_t duration,
                                       struct gyre_context **context);
GYRE_API int gyre_context_with_deadline(struct gyre_context *parent, int64_t when,
                                        struct gyre_context **context);
GYRE_API int gyre_context_with_value(struct gyre_context *parent,
                                     const struct gyre_context_key *key, void *value,
                                     struct gyre_context **context);
GYRE_API int gyre_context_without_cancel(struct gyre_context *parent,
                                         struct gyre_context **context);

/*
 * Ends the context with -ECANCELED, and all made from it; whoever is parked inside is woken with
 * that error. Those below end after it, before this returns, unless another thread ends them at the
 * same time. Ending it twice is harmless: the first reason stays. A shield's inside is
 * not reached, and a handle taken in the shield itself ends nothing. From any thread that holds the
 * handle. Never parks, never fails. Go: the cancel function.
 */
GYRE_API void gyre_context_cancel(struct gyre_context *context);

/* The same with a cause (< 0, else -ECANCELED is taken), which gyre_context_cause tells, inside
 * and below. Go: the cancel function of WithCancelCause. */
GYRE_API void gyre_context_cancel_cause(struct gyre_context *context, int cause);

/* As gyre_context_error, _cause, _deadline, _value, of the given context; from any thread that
 * holds it. */
GYRE_API int gyre_context_error_of(struct gyre_context *context);
GYRE_API int gyre_context_cause_of(struct gyre_context *context);
GYRE_API int64_t gyre_context_deadline_of(struct gyre_context *context);
GYRE_API void *gyre_context_value_of(struct gyre_context *context,
                                     const struct gyre_context_key *key);

/*
 * A channel without elements that is closed when the context ends, for gyre_select (or simply
 * gyre_case_done) and gyre_chan_recv; the same one each time, nil for a shield, which never ends.
 * The handle is the context's: hold it to keep it longer than that. Once nobody holds the context
 * it is closed in any case. Returns 0 or -ENOMEM. Never parks. From any thread that holds the
 * context. Go: ctx.Done().
 */
GYRE_API int gyre_context_done(struct gyre_context *context, gyre_receiver *done);

/*
 * Runs fn(arg) as a coroutine of its own when the context ends; at once, if it has. fn runs
 * shielded, with the context's values. The coroutine exists, and counts as one, from now on, so
 * nothing can fail then; it holds the context. *after, unless after is NULL, must be given to
 * gyre_context_after_stop, once; without it the function is called when the context is ended by
 * whatever way, the runtime's shutdown at the latest (that of a shield only then).
 * Returns 0, -EINVAL (fn is NULL), -ENOMEM, -ECANCELED (the runtime shuts down): *after is NULL
 * then. Never parks. Only from a coroutine. Go: context.AfterFunc.
 */
#define gyre_context_after(context, fn, arg, after)                                                \
    gyre_context_after_at(GYRE_SITE(#fn), context, fn, arg, after)
struct gyre_context_after;
GYRE_API int gyre_context_after_at(const char *site, struct gyre_context *context, gyre_fn fn,
                                   void *arg, struct gyre_context_after **after);

/* Gives the handle up. 1: fn will not be called, and its coroutine is gone; 0: it has been or is
 * being called (this does not wait for it), or after is NULL. Never parks. Only from a coroutine.
 * Go: the stop function of AfterFunc. */
GYRE_API int gyre_context_after_stop(struct gyre_context_after *after);

GYRE_END_DECLS

#endif
