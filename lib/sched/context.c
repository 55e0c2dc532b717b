/* The tree: making nodes, linking them, ending them. The API is in scope.c and context_handle.c. */
#include "sched/context.h"

#include "base/panic.h"
#include "sched/context_node.h"
#include "sched/context_watch.h"
#include "sched/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SLAB_NODES = 64, CACHE_LIMIT = 256, WALK_BATCH = 64 };

struct slab {
    struct slab *next;
    struct gyre_context nodes[SLAB_NODES];
};

static void members_init(struct context_members *members)
{
    memset(&members->lock, 0, sizeof members->lock);
    list_init(&members->children);
    list_init(&members->coros);
}

static void init_immortal(struct gyre_context *context, int error)
{
    members_init(&context->members);
    context->immortal = true;
    context->deadline = INT64_MAX;
    atomic_store_explicit(&context->cause, error, memory_order_relaxed);
    atomic_store_explicit(&context->error, error, memory_order_relaxed);
}

int gyre_context_root_init(struct context_root *root, unsigned workers)
{
    memset(root, 0, sizeof *root);
    root->shards = calloc(workers, sizeof *root->shards);
    if (!root->shards)
        return -ENOMEM;
    root->shard_count = workers;
    for (unsigned i = 0; i < workers; i++)
        members_init(&root->shards[i]);
    init_immortal(&root->root, 0);
    init_immortal(&root->shield, 0);
    root->shield.endless = root->shield.sheltered = true;
    init_immortal(&root->no_memory, -ENOMEM);
    return 0;
}

/* What was hung on it, and its value: who holds the context no more may hold these. */
static void dispose(struct gyre_context *context)
{
    /* Relaxed: this is the last holder's, who has acquired all others'. */
    struct context_attachment *attachment =
        atomic_load_explicit(&context->attachment, memory_order_relaxed);

    if (unlikely(attachment))
        attachment->release(attachment);
    if (unlikely(context->valued == context) && context->key->drop)
        context->key->drop(context->value);
}

void gyre_context_root_destroy(struct context_root *root)
{
    struct slab *slab = root->slabs;

    dispose(&root->root);
    dispose(&root->no_memory);
    while (slab) {
        struct slab *next = slab->next;

        free(slab);
        slab = next;
    }
    free(root->shards);
    memset(root, 0, sizeof *root);
}

/* --- memory -------------------------------------------------------------------------------- */

static struct gyre_context *take_shared(struct context_root *root)
{
    struct gyre_context *node;
    struct slab *slab;

    spin_lock(&root->lock);
    node = root->free;
    if (node)
        root->free = node->next;
    spin_unlock(&root->lock);
    if (node)
        return node;
    slab = calloc(1, sizeof *slab);
    if (!slab)
        return NULL;
    spin_lock(&root->lock);
    slab->next = root->slabs;
    root->slabs = slab;
    for (int i = 1; i < SLAB_NODES; i++) {
        slab->nodes[i].next = root->free;
        root->free = &slab->nodes[i];
    }
    spin_unlock(&root->lock);
    return &slab->nodes[0];
}

static struct gyre_context *allocate(struct worker *worker)
{
    struct gyre_context *node = worker->contexts.free;

    if (unlikely(!node))
        return take_shared(&gyre_runtime_instance->contexts);
    worker->contexts.free = node->next;
    worker->contexts.count--;
    return node;
}

static void give_back(struct gyre_context *node)
{
    struct context_root *root = &gyre_runtime_instance->contexts;
    struct worker *worker = worker_current();

    if (likely(worker && worker->contexts.count < CACHE_LIMIT)) {
        node->next = worker->contexts.free;
        worker->contexts.free = node;
        worker->contexts.count++;
        return;
    }
    spin_lock(&root->lock);
    node->next = root->free;
    root->free = node;
    spin_unlock(&root->lock);
}

struct gyre_context *gyre_context_hold(struct gyre_context *context)
{
    if (!context)
        gyre_panic("gyre_context_hold of a NULL context");
    /* Relaxed: the caller holds it already. */
    if (!context->immortal)
        atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

void gyre_context_release(struct gyre_context *context)
{
    while (context && !context->immortal) {
        struct gyre_context *parent = context->parent;
        /* Release what this holder did; acquire all of it before the memory is reused. */
        uint32_t references =
            atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel);

        if (references != 1) {
            if (unlikely(!references))
                gyre_panic("gyre_context_release of a context that nobody holds");
            return;
        }
        gyre_context_unlink(context);
        dispose(context);
        give_back(context);
        context = parent;
    }
}

/* --- the tree ------------------------------------------------------------------------------ */

static struct context_members *members_of(struct gyre_context *parent, struct worker *worker)
{
    struct context_root *root = &gyre_runtime_instance->contexts;

    if (!parent->immortal)
        return &parent->members;
    return parent == &root->root ? &root->shards[worker->index] : NULL;
}

static void link_to(struct gyre_context *context, struct context_members *members)
{
    int error;

    context->linked_to = members;
    context->linked = false;
    if (members)
        spin_lock(&members->lock);
    /* Under this lock the parent's end is either seen here, or finds the child in the list. */
    error = context_error(context->parent);
    if (members && !error) {
        context->linked = true;
        list_append(&members->children, &context->sibling);
    }
    if (members)
        spin_unlock(&members->lock);
    /* Its own timer may have fired already. */
    if (unlikely(error))
        gyre_context_end_cause(context, error, context_cause(context->parent));
}

/* Not linked yet. */
static inline struct gyre_context *make(struct worker *worker, struct gyre_context *parent,
                                        struct gyre_coro *owner)
{
    struct gyre_context *context = allocate(worker);

    if (unlikely(!context))
        return NULL;
    atomic_store_explicit(&context->error, 0, memory_order_relaxed);
    atomic_store_explicit(&context->references, 1, memory_order_relaxed);
    context->timed = context->passed = context->endless = false;
    context->sheltered = parent->sheltered;
    context->valued = parent->valued;
    context->owner = owner;
    context->watches = NULL;
    atomic_store_explicit(&context->attachment, NULL, memory_order_relaxed);
    atomic_store_explicit(&context->made_by, NULL, memory_order_relaxed);
    context->deadline = parent->deadline;
    members_init(&context->members);
    context->parent = gyre_context_hold(parent);
    return context;
}

struct gyre_context *gyre_context_create(struct worker *worker, struct gyre_context *parent,
                                         struct gyre_coro *owner)
{
    struct gyre_context *context = make(worker, parent, owner);

    if (likely(context))
        link_to(context, members_of(parent, worker));
    return context;
}

struct gyre_context *gyre_context_create_valued(struct worker *worker, struct gyre_context *parent,
                                                struct gyre_coro *owner,
                                                const struct gyre_context_key *key, void *value)
{
    struct gyre_context *context = make(worker, parent, owner);

    if (unlikely(!context))
        return NULL;
    context->valued = context;
    context->key = key;
    context->value = value;
    link_to(context, members_of(parent, worker));
    return context;
}

struct gyre_context *gyre_context_create_passed(struct worker *worker, struct gyre_context *given,
                                                struct gyre_coro *owner)
{
    struct gyre_context *context = make(worker, given, owner);

    if (unlikely(!context))
        return NULL;
    context->passed = true;
    link_to(context, members_of(given, worker));
    return context;
}

struct gyre_context *gyre_context_create_shield(struct worker *worker, struct gyre_context *parent)
{
    struct gyre_context *context;

    if (likely(!parent->valued))
        return &gyre_runtime_instance->contexts.shield;
    context = make(worker, parent, NULL);
    if (unlikely(!context))
        return NULL;
    context->endless = context->sheltered = true;
    context->deadline = INT64_MAX;
    context->linked_to = NULL;
    context->linked = false;
    return context;
}

static void expire(struct timer *timer)
{
    struct gyre_context *context = container_of(timer, struct gyre_context, timer);

    gyre_context_end(context, -ETIMEDOUT);
    gyre_context_release(context);
}

/* The outermost of those it is in whose time is up, which its timer has not told yet. */
static struct gyre_context *overdue(struct gyre_context *context, int64_t now)
{
    while (context->parent && context->parent->deadline <= now)
        context = context->parent;
    return context;
}

struct gyre_context *gyre_context_create_until(struct worker *worker, struct gyre_context *parent,
                                               struct gyre_coro *owner, int64_t when, int64_t now)
{
    struct gyre_context *context = make(worker, parent, owner);

    if (unlikely(!context))
        return NULL;
    /* Else the parent's end comes first, and reaches this one. */
    if (when < context->deadline) {
        context->deadline = when;
        if (likely(when > now)) {
            context->timed = true;
            context->timer.fire = expire;
            atomic_store_explicit(&context->references, 2, memory_order_relaxed);
            gyre_wheel_start(&worker->timers, &context->timer, when);
        }
    }
    link_to(context, members_of(parent, worker));
    /* Were it this one alone, who waits again and again for a part of the time would take the end
     * of the whole for that of a part, and not park, so that the timer never fires. */
    if (unlikely(context->deadline <= now))
        gyre_context_end(overdue(context, now), -ETIMEDOUT);
    return context;
}

void gyre_context_unlink(struct gyre_context *context)
{
    struct context_members *members = context->linked_to;

    if (!members)
        return;
    spin_lock(&members->lock);
    if (context->linked) {
        context->linked = false;
        list_remove(&context->sibling);
    }
    spin_unlock(&members->lock);
}

/*
 * False: its last holder has let go, and is on its way to the lock to unlink it (one that was
 * passed on stays linked until then). It must not come back to life.
 */
static bool hold_unless_dying(struct gyre_context *context)
{
    uint32_t references = atomic_load_explicit(&context->references, memory_order_relaxed);

    do {
        if (!references)
            return false;
        /* Relaxed: the lock orders it with the unlinking. */
    } while (!atomic_compare_exchange_weak_explicit(&context->references, &references,
                                                    references + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

/* Moves the children to the walk, each with a reference of the walk's. */
static void detach_children(struct context_members *members, struct gyre_context **walk)
{
    struct list *item;

    while ((item = list_pop(&members->children))) {
        struct gyre_context *child = container_of(item, struct gyre_context, sibling);

        child->linked = false;
        if (!hold_unless_dying(child))
            continue; /* nobody is left inside */
        child->next = *walk;
        *walk = child;
    }
}

/*
 * The lock is let go after each batch, so that coroutines which end meanwhile can unlink
 * themselves, from `done` as well.
 */
static void interrupt_members(struct context_members *members)
{
    struct list done, *item;
    bool more = true;

    list_init(&done);
    while (more) {
        spin_lock(&members->lock);
        for (int i = 0; i < WALK_BATCH && (item = list_pop(&members->coros)); i++) {
            list_append(&done, item);
            gyre_coro_interrupt(container_of(item, struct gyre_coro, context_link));
        }
        more = !list_empty(&members->coros);
        if (!more)
            while ((item = list_pop(&done)))
                list_append(&members->coros, item);
        spin_unlock(&members->lock);
    }
}

static void set_error(struct gyre_context *context, int error, int cause)
{
    atomic_store_explicit(&context->cause, cause, memory_order_relaxed);
    /* Pairs with the acquire in context_error. */
    atomic_store_explicit(&context->error, error, memory_order_release);
}

static void end_node(struct gyre_context *context, int error, int cause, struct gyre_context **walk)
{
    struct context_members *members = &context->members;
    bool crowded, watched;

    spin_lock(&members->lock);
    if (context_error(context)) {
        spin_unlock(&members->lock);
        return;
    }
    set_error(context, error, cause);
    /* Who comes later sees the error. */
    crowded = !list_empty(&members->coros);
    watched = context->watches;
    /* Pairs with the barrier in a park's commit: it sees the error, or its wait is seen here. */
    if (crowded || context->owner)
        full_barrier();
    detach_children(members, walk);
    if (context->owner)
        gyre_coro_interrupt(context->owner);
    spin_unlock(&members->lock);
    context_stop_timer(context);
    if (crowded)
        interrupt_members(members);
    if (unlikely(watched))
        gyre_context_call_watches(context);
}

static void end_walk(struct gyre_context *walk, int error, int cause)
{
    while (walk) {
        struct gyre_context *context = walk;

        walk = context->next;
        end_node(context, error, cause, &walk);
        gyre_context_release(context);
    }
}

/* Whenever called: those who are linked to a shard that was passed already have seen the error. */
static void end_root(struct context_root *root, int error, int cause, struct gyre_context **walk)
{
    spin_lock(&root->root.members.lock);
    if (!context_error(&root->root))
        set_error(&root->root, error, cause);
    spin_unlock(&root->root.members.lock);
    full_barrier();
    for (unsigned i = 0; i < root->shard_count; i++) {
        spin_lock(&root->shards[i].lock);
        detach_children(&root->shards[i], walk);
        spin_unlock(&root->shards[i].lock);
    }
    gyre_run_attend(gyre_runtime_instance);
    gyre_context_call_watches(&root->root);
}

void gyre_context_end_cause(struct gyre_context *context, int error, int cause)
{
    struct context_root *root = &gyre_runtime_instance->contexts;
    struct gyre_context *walk = NULL;

    if (unlikely(context == &root->root)) {
        end_root(root, error, cause, &walk);
        error = context_error(context);
        cause = context_cause(context);
    } else if (likely(!context->immortal && !context->endless)) {
        end_node(context, error, cause, &walk);
    }
    end_walk(walk, error, cause);
}

void gyre_context_inherit(struct gyre_coro *coro, struct gyre_context *context)
{
    atomic_store_explicit(&coro->context, context, memory_order_relaxed);
    coro->inherited = context;
    if (likely(context->immortal))
        return;
    gyre_context_hold(context);
    spin_lock(&context->members.lock);
    list_append(&context->members.coros, &coro->context_link);
    spin_unlock(&context->members.lock);
}

void gyre_context_disinherit(struct gyre_coro *coro)
{
    struct gyre_context *context = coro->inherited;

    if (likely(context->immortal))
        return;
    spin_lock(&context->members.lock);
    list_remove(&coro->context_link);
    spin_unlock(&context->members.lock);
    /* A value that is dropped now may start coroutines. */
    atomic_store_explicit(&coro->context, &gyre_runtime_instance->contexts.root,
                          memory_order_relaxed);
    gyre_context_release(context);
}

/* --- those forgotten ------------------------------------------------------------------------- */

static void each_live(struct context_root *root,
                      void (*call)(struct gyre_context *context, void *argument), void *argument)
{
    for (struct slab *slab = root->slabs; slab; slab = slab->next)
        for (int i = 0; i < SLAB_NODES; i++)
            if (atomic_load_explicit(&slab->nodes[i].references, memory_order_relaxed))
                call(&slab->nodes[i], argument);
}

/* The deadlines are of no use any more: they count the children. */
static void clear_count(struct gyre_context *context, void *unused)
{
    (void)unused;
    context->deadline = 0;
}

static void count_child(struct gyre_context *context, void *unused)
{
    (void)unused;
    if (!context->parent->immortal)
        context->parent->deadline++;
}

struct leaks {
    void (*report)(void *made_by);
    size_t count;
};

static void look_for_leak(struct gyre_context *context, void *argument)
{
    struct leaks *leaks = argument;

    if (atomic_load_explicit(&context->references, memory_order_relaxed) == context->deadline)
        return;
    leaks->count++;
    if (leaks->report)
        leaks->report(atomic_load_explicit(&context->made_by, memory_order_relaxed));
}

size_t gyre_contexts_leaked(struct gyre_runtime *runtime, void (*report)(void *made_by))
{
    struct leaks leaks = {report, 0};

    each_live(&runtime->contexts, clear_count, NULL);
    each_live(&runtime->contexts, count_child, NULL);
    each_live(&runtime->contexts, look_for_leak, &leaks);
    return leaks.count;
}
