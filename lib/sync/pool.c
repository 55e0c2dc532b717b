/*
 * The pool: a stack of objects a worker, in a ring of slots, and one more for threads that are no
 * workers, whose owner is who holds its lock.
 *
 * Only a cache's owner puts into it, and only he moves its indices; whoever wants an object, the
 * owner, a thief or a trim, takes it out of its slot by an exchange with NULL. So each is taken
 * once, a slot outside bottom..top is empty, and the owner fills it by a plain store: a put has no
 * locked instruction, a get one. The owner finds holes where others took, and passes over them.
 * Thieves read the indices only to know where to look; they take from the top as well, where the
 * owner would meet a hole at once. (Rejected: a lock a cache, two locked instructions more; flags
 * that the owner sets without a barrier and thieves see by membarrier, which costs a thief
 * microseconds.)
 *
 * Ageing. Each object is stamped with the time that it was put, and since the cache is a stack, the
 * oldest are at its bottom. The owner looks at the clock when its worker has switched since the
 * last look, and else at every 32nd call.
 */
#include "base/clock.h"
#include "base/grow.h"
#include "base/text.h"
#include "sync/queue.h"

#include <gyre/pool.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT = 64, LIMIT_MAX = 1 << 20, LOOK_EVERY = 32, AGE = 1000 };

struct pool_slot {
    _Atomic(void *) object;
    uint32_t stamp; /* the owner's: milliseconds, modulo 2^32 */
};

struct pool_cache {
    _Alignas(CACHE_LINE_PAIR) _Atomic(uint32_t) top;
    _Atomic(uint32_t) bottom;
    uint32_t now; /* at the last look */
    uint32_t calls;
    uint64_t progress;    /* the worker's, at the last look */
    struct spinlock lock; /* the last cache only */
    struct pool_slot *slots;
};

struct gyre_pool {
    struct gyre_pool_options options;
    unsigned workers; /* and one cache more */
    uint32_t limit, mask;
    struct pool_cache caches[];
};

/* --- one cache, by its owner --------------------------------------------------------------- */

static struct pool_slot *slot_at(struct gyre_pool *pool, struct pool_cache *cache, uint32_t index)
{
    return &cache->slots[index & pool->mask];
}

static inline bool is_empty(struct pool_slot *slot)
{
    return !atomic_load_explicit(&slot->object, memory_order_relaxed);
}

/* By anyone. Acquire: pairs with the release in fill. */
static inline void *take_out(struct pool_slot *slot)
{
    return is_empty(slot) ? NULL
                          : atomic_exchange_explicit(&slot->object, NULL, memory_order_acquire);
}

static inline uint32_t index_of(_Atomic(uint32_t) *index)
{
    return atomic_load_explicit(index, memory_order_relaxed);
}

/* Relaxed: to others the indices are hints. */
static inline void move(_Atomic(uint32_t) *index, uint32_t to)
{
    atomic_store_explicit(index, to, memory_order_relaxed);
}

static void *pop(struct gyre_pool *pool, struct pool_cache *cache)
{
    uint32_t top = index_of(&cache->top), bottom = index_of(&cache->bottom);
    void *object = NULL;

    while (!object && top != bottom)
        object = take_out(slot_at(pool, cache, --top));
    move(&cache->top, top);
    return object;
}

/* False: there is no room. */
static bool push(struct gyre_pool *pool, struct pool_cache *cache, void *object)
{
    uint32_t top = index_of(&cache->top), bottom = index_of(&cache->bottom);
    struct pool_slot *slot;

    while (top != bottom && is_empty(slot_at(pool, cache, top - 1)))
        top--;
    if (unlikely(top - bottom == pool->limit)) {
        while (top != bottom && is_empty(slot_at(pool, cache, bottom)))
            bottom++;
        move(&cache->bottom, bottom);
        if (top - bottom == pool->limit)
            return false;
    }
    slot = slot_at(pool, cache, top);
    slot->stamp = cache->now;
    /* Release: pairs with take_out: what is in the object is seen. */
    atomic_store_explicit(&slot->object, object, memory_order_release);
    move(&cache->top, top + 1);
    return true;
}

/* One that nobody took for long, or NULL. */
static void *pop_old(struct gyre_pool *pool, struct pool_cache *cache)
{
    uint32_t top = index_of(&cache->top), bottom = index_of(&cache->bottom);
    void *object = NULL;

    while (!object && bottom != top) {
        struct pool_slot *slot = slot_at(pool, cache, bottom);

        if (!is_empty(slot)) {
            if ((int32_t)(cache->now - slot->stamp) < AGE)
                break;
            object = take_out(slot);
        }
        bottom++;
    }
    move(&cache->bottom, bottom);
    return object;
}

CALLS_PROGRAM static void drop(struct gyre_pool *pool, void *object)
{
    if (pool->options.drop)
        pool->options.drop(object);
}

static uint32_t coarse_now(void)
{
    int64_t time = atomic_load_explicit(&gyre_clock_virtual, memory_order_relaxed);
    struct timespec t;

    if (unlikely(time))
        return (uint32_t)(time / GYRE_MILLISECOND);
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint32_t)(t.tv_sec * 1000 + t.tv_nsec / GYRE_MILLISECOND);
}

/* Between two objects the cache is as after any call. */
CALLS_PROGRAM static void drop_old(struct gyre_pool *pool, struct pool_cache *cache)
{
    void *old;

    while ((old = pop_old(pool, cache)))
        drop(pool, old);
}

/* The worker's own cache, or NULL; looks after what is old in it. */
static inline struct pool_cache *own_cache(struct gyre_pool *pool, struct worker *worker)
{
    struct pool_cache *cache;
    uint64_t progress;

    if (unlikely(worker->index >= pool->workers))
        return NULL;
    cache = &pool->caches[worker->index];
    progress = atomic_load_explicit(&worker->progress, memory_order_relaxed);
    if (likely(cache->progress == progress && ++cache->calls < LOOK_EVERY))
        return cache;
    cache->progress = progress;
    cache->calls = 0;
    cache->now = coarse_now();
    drop_old(pool, cache);
    return cache;
}

/* --- the others' --------------------------------------------------------------------------- */

static void *steal_from(struct gyre_pool *pool, struct pool_cache *cache)
{
    uint32_t top = index_of(&cache->top), count = top - index_of(&cache->bottom);
    void *object = NULL;

    /* The two were not read at once. */
    for (; !object && count && count <= pool->limit; count--)
        object = take_out(slot_at(pool, cache, --top));
    return object;
}

static void *steal(struct gyre_pool *pool, unsigned self)
{
    void *object = NULL;

    for (unsigned i = 1; !object && i <= pool->workers + 1; i++)
        object = steal_from(pool, &pool->caches[(self + i) % (pool->workers + 1)]);
    return object;
}

/* Dropping is left to without the lock: it may be slow, and put another. */
CALLS_PROGRAM static void put_foreign(struct gyre_pool *pool, void *object)
{
    struct pool_cache *cache = &pool->caches[pool->workers];
    bool kept;
    void *old;

    do {
        spin_lock(&cache->lock);
        cache->now = coarse_now();
        old = pop_old(pool, cache);
        kept = !old && push(pool, cache, object);
        spin_unlock(&cache->lock);
        if (old)
            drop(pool, old);
    } while (old);
    if (!kept)
        drop(pool, object);
}

/* --- public -------------------------------------------------------------------------------- */

static struct gyre_pool *allocate(unsigned caches, uint32_t slots)
{
    size_t head = sizeof(struct gyre_pool) + caches * sizeof(struct pool_cache);
    /* The caches' slots don't share lines either. */
    size_t each = (slots * sizeof(struct pool_slot) + CACHE_LINE_PAIR - 1) / CACHE_LINE_PAIR *
                  CACHE_LINE_PAIR;
    struct gyre_pool *pool = aligned_alloc(CACHE_LINE_PAIR, head + caches * each);

    if (!pool)
        return NULL;
    memset(pool, 0, head + caches * each);
    for (unsigned i = 0; i < caches; i++) {
        pool->caches[i].slots = (struct pool_slot *)(void *)((char *)pool + head + i * each);
        pool->caches[i].now = coarse_now();
    }
    return pool;
}

int gyre_pool_create(struct gyre_pool **pool, const struct gyre_pool_options *options)
{
    const struct gyre_pool_options defaults = GYRE_POOL_OPTIONS_INIT;
    struct gyre_pool_options known;
    struct gyre_pool *made;
    unsigned workers;
    uint32_t slots = 1;

    (void)coro_required("gyre_pool_create");
    if (!options)
        options = &defaults;
    if (grow_copy(&known, sizeof known, sizeof known, options, options->size) ||
        known.limit > LIMIT_MAX)
        return -EINVAL;
    if (!known.limit)
        known.limit = LIMIT;
    while (slots < known.limit)
        slots *= 2;
    workers = gyre_runtime_instance->worker_count;
    made = allocate(workers + 1, slots);
    if (!made)
        return -ENOMEM;
    made->options = known;
    made->workers = workers;
    made->limit = known.limit;
    made->mask = slots - 1;
    *pool = made;
    return 0;
}

CALLS_PROGRAM void gyre_pool_destroy(struct gyre_pool *pool)
{
    if (!pool)
        return;
    gyre_pool_trim(pool);
    free(pool);
}

CALLS_PROGRAM void *gyre_pool_get(struct gyre_pool *pool)
{
    struct worker *worker = worker_current();
    struct pool_cache *cache;
    void *object = NULL;

    if (unlikely(!worker || !worker->running))
        gyre_coro_missing("gyre_pool_get");
    cache = own_cache(pool, worker);
    if (likely(cache))
        object = pop(pool, cache);
    if (unlikely(!object))
        object = steal(pool, cache ? worker->index : pool->workers);
    if (unlikely(!object) && pool->options.make)
        object = pool->options.make(pool->options.arg);
    return object;
}

CALLS_PROGRAM void gyre_pool_put(struct gyre_pool *pool, void *object)
{
    struct worker *worker = worker_current();
    struct pool_cache *cache;

    if (unlikely(!object))
        return;
    cache = likely(worker) ? own_cache(pool, worker) : NULL;
    if (unlikely(!cache))
        put_foreign(pool, object);
    else if (unlikely(!push(pool, cache, object)))
        drop(pool, object);
}

CALLS_PROGRAM size_t gyre_pool_trim(struct gyre_pool *pool)
{
    size_t count = 0;

    /* All slots, whatever the indices say, which may be old news to this thread. */
    for (unsigned i = 0; i <= pool->workers; i++)
        for (uint32_t k = 0; k <= pool->mask; k++) {
            void *object = take_out(slot_at(pool, &pool->caches[i], k));

            if (!object)
                continue;
            drop(pool, object);
            count++;
        }
    return count;
}
