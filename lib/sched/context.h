/*
 * The tree of contexts.
 *
 * A node ends once, with an error. Ending walks down: each node's lock is taken alone, its
 * children are moved to a list of the walk's with a reference each, so that a child may leave
 * meanwhile; linear, no recursion. A child is linked under its parent's lock, where the
 * parent's end is seen, so none slips through (model: tests/models/context_cancel.pml).
 *
 * Who is reached by an end: the scope's owner (the coroutine that made it) and the coroutines
 * that inherited the node, through gyre_coro_interrupt; then its watches (context_watch.h). Those
 * directly under the root are not linked anywhere, which makes a spawn cheap: shutdown, the only
 * end of the root, looks at every control block instead, again and again until none is left.
 *
 * A node's own timer holds it. It is started before the node is linked, so before anybody else can
 * end it, and who ends the node stops it; of a stop and a fire exactly one lets go of the timer's
 * reference (model: tests/models/context_timer.pml).
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

struct gyre_context_key;
struct context_watch;
struct gyre_coro;
struct gyre_runtime;
struct worker;

struct context_members {
    struct spinlock lock;
    struct list children;
    struct list coros;
};

/* What a layer above hangs on a node: released when the node's memory is given back, whether the
 * context has ended or not. May take spinlocks, must not park. */
struct context_attachment {
    void (*release)(struct context_attachment *attachment);
};

struct gyre_context {
    _Atomic(int) error; /* 0 until it ends; set under members.lock */
    _Atomic(int) cause; /* with it, before it */
    _Atomic(uint32_t) references;
    /* These don't change once others can see the node. */
    bool timed : 1;     /* its own timer was started */
    bool passed : 1;    /* stands for its parent in a scope of gyre_scope_enter: adds an owner */
    bool endless : 1;   /* a shield: it never ends */
    bool sheltered : 1; /* a shield, or inside one: the shutdown does not reach it */
    bool linked;        /* guarded by linked_to->lock */
    /* The root, the shield, the one for want of memory. A byte of its own that a slab's node never
     * writes: a late look (wait_check) reads it when the node may be another's. */
    bool immortal;
    struct gyre_context *parent;       /* held unless immortal */
    struct context_members *linked_to; /* the parent's; NULL where no end can come from */
    union {
        struct list sibling;       /* in linked_to->children */
        struct gyre_context *next; /* in a walk or in a free list, when not linked */
    };
    struct gyre_context *valued; /* itself or the next above that has a value; NULL: none has */
    struct gyre_coro *owner;     /* whose scope it is; guarded by members.lock */
    struct context_members members;
    struct context_watch *watches; /* guarded by members.lock */
    _Atomic(struct context_attachment *) attachment;
    _Atomic(void *) made_by; /* with checks on: who asked for a handle */
    int64_t deadline;        /* the earliest of its own and the parents' */
    union {
        struct timer timer; /* if timed */
        struct {            /* if valued == itself */
            const struct gyre_context_key *key;
            void *value;
        };
    };
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

/* Ends the context and all below with error (< 0) for the given cause (< 0); does nothing to a
 * shield, or to one that has ended. The caller holds it. Any thread. */
void gyre_context_end_cause(struct gyre_context *context, int error, int cause);

static inline void gyre_context_end(struct gyre_context *context, int error)
{
    gyre_context_end_cause(context, error, error);
}

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

static inline int context_cause(const struct gyre_context *context)
{
    /* Relaxed: stored before the error, which was acquired. */
    return context_error(context) ? atomic_load_explicit(&context->cause, memory_order_relaxed) : 0;
}

/* The value of key that context sees, or NULL. The caller holds it. Any thread. */
void *gyre_context_find_value(const struct gyre_context *context,
                              const struct gyre_context_key *key);

/*
 * Calls report, unless NULL, for each context that nobody released, with the return address of who
 * asked for a handle (NULL: unknown); returns how many. Those which only another one's child
 * holds are not counted. When the runtime's threads have ended; it spoils the nodes.
 */
size_t gyre_contexts_leaked(struct gyre_runtime *runtime, void (*report)(void *made_by));

#endif
