/*
 * The tree of contexts.
 *
 * A node ends once, with an error. Ending walks down: each node's lock is taken alone, its
 * children are moved to a list of the walk's with a reference each, so that a child may leave
 * meanwhile; linear, no recursion. A child is linked under its parent's lock, where the
 * parent's end is seen, so none slips through (model: tests/models/context_cancel.pml).
 *
 * Who is reached by an end: the scope's owner (the coroutine that made it) and the coroutines
 * that inherited the node, through gyre_coro_interrupt. Those directly under the root are not
 * linked anywhere, which makes a spawn cheap: shutdown, the only end of the root, looks at
 * every control block instead, again and again until none is left.
 *
 * Memory is type-stable: nodes come from slabs that live as long as the runtime, since a late
 * look through a recycled control block may still read `error`.
 */
#ifndef GYRE_LIB_SCHED_CONTEXT_H
#define GYRE_LIB_SCHED_CONTEXT_H

#include "base/list.h"
#include "base/spinlock.h"
#include "sched/timer.h"

#include <gyre/context.h>

#include <stdatomic.h>

struct gyre_coro;
struct worker;

struct context_members {
    struct spinlock lock;
    struct list children;
    struct list coros;
};

struct gyre_context {
    _Atomic(int) error; /* 0 until it ends; set under members.lock */
    _Atomic(uint32_t) references;
    bool immortal; /* the root, the shield, the one for want of memory */
    bool timed;    /* its own timer was started */
    bool passed;   /* stands for its parent in a scope of gyre_scope_enter: adds an owner, no end */
    struct gyre_context *parent;       /* held unless immortal */
    struct context_members *linked_to; /* the parent's; NULL where no end can come from */
    bool linked;                       /* guarded by linked_to->lock */
    struct list sibling;               /* in linked_to->children, or in a walk's list */
    struct context_members members;
    struct gyre_coro *owner; /* whose scope it is; guarded by members.lock */
    int64_t deadline;        /* the earliest of its own and the parents' */
    struct timer timer;
    struct gyre_context *next; /* in a free list, or in a walk */
};

struct context_cache {
    struct gyre_context *free;
    unsigned count;
};

/* The runtime's part: the root, sharded by worker so that scopes of different workers don't
 * meet on one lock. */
struct context_root {
    struct gyre_context root, shield, no_memory;
    struct context_members *shards;
    unsigned shard_count;
    struct spinlock lock;
    struct gyre_context *free; /* given back by foreign threads, or beyond a cache's limit */
    void *slabs;
};

int gyre_context_root_init(struct context_root *root, unsigned workers);
void gyre_context_root_destroy(struct context_root *root);

/* Ends the context and all below with error (< 0). Any thread. */
void gyre_context_end(struct gyre_context *context, int error);

/* Binds a new coroutine to context: holds it, links the coroutine. */
void gyre_context_inherit(struct gyre_coro *coro, struct gyre_context *context);
/* Undoes that, when the coroutine has ended. */
void gyre_context_disinherit(struct gyre_coro *coro);

/*
 * Makes a coroutine whose context may have ended look: readies it when it waits for an object,
 * sends a cancel message when an operation is in flight. May be called for no reason: it is only a
 * hint. The coroutine must be kept from ending by the caller, or be checked alive.
 */
void gyre_coro_interrupt(struct gyre_coro *coro);

static inline int context_error(const struct gyre_context *context)
{
    /* Acquire: pairs with the store in gyre_context_end; what the canceller did is seen. */
    return atomic_load_explicit(&context->error, memory_order_acquire);
}

#endif
