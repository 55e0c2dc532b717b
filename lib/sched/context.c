/* The tree: making nodes, linking them, ending them. The scopes of the API are in scope.c. */
#include "sched/context.h"

#include "base/panic.h"
#include "sched/context_node.h"
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
    init_immortal(&root->no_memory, -ENOMEM);
    return 0;
}

void gyre_context_root_destroy(struct context_root *root)
{
    struct slab *slab = root->slabs;

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
        if (atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1)
            return;
        gyre_context_unlink(context);
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
    /* Linked, it is the parent's end that may store an error, at any moment. */
    if (error)
        atomic_store_explicit(&context->error, error, memory_order_relaxed);
}

struct gyre_context *gyre_context_create(struct worker *worker, struct gyre_context *parent,
                                         struct gyre_coro *owner)
{
    struct gyre_context *context = allocate(worker);

    if (unlikely(!context))
        return NULL;
    atomic_store_explicit(&context->error, 0, memory_order_relaxed);
    atomic_store_explicit(&context->references, 1, memory_order_relaxed);
    context->timed = context->passed = false;
    context->owner = owner;
    context->deadline = parent->deadline;
    members_init(&context->members);
    list_init(&context->sibling);
    context->parent = gyre_context_hold(parent);
    link_to(context, members_of(parent, worker));
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

static void end_node(struct gyre_context *context, int error, struct gyre_context **walk)
{
    struct context_members *members = &context->members;

    spin_lock(&members->lock);
    if (context_error(context)) {
        spin_unlock(&members->lock);
        return;
    }
    atomic_store_explicit(&context->error, error, memory_order_release);
    /* Pairs with the barrier in a park's commit: it sees the error, or its wait is seen here. */
    full_barrier();
    detach_children(members, walk);
    if (context->owner)
        gyre_coro_interrupt(context->owner);
    spin_unlock(&members->lock);
    interrupt_members(members);
}

static void end_walk(struct gyre_context *walk, int error)
{
    while (walk) {
        struct gyre_context *context = walk;

        walk = context->next;
        end_node(context, error, &walk);
        gyre_context_release(context);
    }
}

void gyre_context_end(struct gyre_context *context, int error)
{
    struct context_root *root = &gyre_runtime_instance->contexts;
    struct gyre_context *walk = NULL;

    if (context == &root->root) {
        atomic_store_explicit(&context->error, error, memory_order_seq_cst);
        for (unsigned i = 0; i < root->shard_count; i++) {
            spin_lock(&root->shards[i].lock);
            detach_children(&root->shards[i], &walk);
            spin_unlock(&root->shards[i].lock);
        }
        gyre_run_attend(gyre_runtime_instance);
    } else if (!context->immortal) {
        end_node(context, error, &walk);
    }
    end_walk(walk, error);
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
    gyre_context_release(context);
}
