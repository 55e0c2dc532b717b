/*
 * Stacks. Each is a stretch of a large MAP_NORESERVE mapping (a slab):
 *
 *     guard            the stack, growing down         control block   colour
 *     [ 32 KiB ][ .................................. ][ struct ...    ][ 0-1 KiB ]
 *     base      low                               top = block
 *
 * The control block (whose first member is struct stack_block) shares the highest page with the
 * first frames, so a parked coroutine costs one page, and its share of a page table. The colour
 * shifts it by cache lines: otherwise all tops would meet in the same few sets of the cache.
 *
 * Type-stable memory: until gyre_stack_pool_destroy a block's address holds a control block or
 * zeros and can be read from any thread, whatever happened to the coroutine. Giving memory back
 * (MADV_DONTNEED) zeroes; nothing is unmapped before the end.
 *
 * A worker's cache holds two magazines of up to STACK_MAGAZINE free stacks; full ones go to and
 * come from the depot whole, so that a worker that releases and acquires in turn never passes
 * the lock, wherever it stands. Only the default size is cached.
 *
 * Rejected: a mapping per stack (vm.max_map_count ends it at 32,000), mprotect guards (the same,
 * and 1.6 us instead of 0.4), one page of guard (frames of 16 KiB step over it), freeing a stack's
 * depth at release (a system call for each; a recycled stack keeps its pages).
 */
#ifndef GYRE_LIB_CORO_STACK_H
#define GYRE_LIB_CORO_STACK_H

#include "base/macros.h"
#include "base/spinlock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STACK_GUARD = 32 << 10,
    STACK_SHIFT_MIN = 16, /* 64 KiB of address space: 32 KiB to use */
    STACK_SHIFT_MAX = 30,
    STACK_MAGAZINE = 64,
    STACK_CONTROL_MAX = 1536,
};

#define STACK_SIZE_MAX ((size_t)1 << STACK_SHIFT_MAX)

struct stack_slab;

/* First member of a control block. low and top may be used by who acquired it; the rest is
 * stack.c's. Others (gyre_stack_each) may find all of it zero. */
struct stack_block {
    char *low; /* the lowest usable address, just above the guard */
    char *top; /* frames start below; 16-aligned */
    struct stack_block *next;
    struct stack_block *next_magazine;
    struct stack_slab *slab;
    uint16_t magazine; /* how many hang together from here */
    uint16_t shift;    /* log2 of the size */
    uint32_t index;    /* in its slab */
};

/* Free stacks of one size that no worker has. */
struct stack_depot {
    struct spinlock lock;
    struct stack_block *magazines; /* full ones */
    struct stack_block *loose;
    size_t free;             /* blocks on both lists */
    atomic_size_t fresh;     /* ever made ready */
    struct stack_slab *open; /* slabs with raw stacks left */
    size_t slab_count;       /* stacks of the next slab: halves when address space runs out */
};

struct stack_pool {
    unsigned default_shift;
    size_t default_size;
    size_t page;
    size_t guard;
    size_t control_size;
    unsigned colours;
    atomic_bool mprotect_guards; /* no guard regions here */
    atomic_bool no_batch;        /* process_madvise can't do it */
    _Atomic(struct stack_slab *) slabs;
    struct stack_depot depots[STACK_SHIFT_MAX - STACK_SHIFT_MIN + 1];
};

/* Of one worker, only used by it; zeroed to begin with. */
struct stack_cache {
    struct stack_block *hot;
    unsigned count;           /* in hot */
    struct stack_block *cold; /* NULL or a full magazine */
};

/*
 * default_size is what size 0 means; control_size (up to STACK_CONTROL_MAX) is kept free at
 * each block. Returns 0, -EINVAL, -ENOMEM.
 */
int gyre_stack_pool_init(struct stack_pool *pool, size_t default_size, size_t control_size);

/* Unmaps every stack. The caches just forget what they have. */
void gyre_stack_pool_destroy(struct stack_pool *pool);

struct stack_block *gyre_stack_acquire_slow(struct stack_pool *pool, struct stack_cache *cache,
                                            size_t size);
void gyre_stack_release_slow(struct stack_pool *pool, struct stack_cache *cache,
                             struct stack_block *block);

/* Whether stack_acquire can know the size at all. */
static inline bool stack_size_valid(size_t size)
{
    return size <= STACK_SIZE_MAX;
}

/*
 * A stack of at least size bytes of address space, guard included; 0 is the default. NULL: no
 * memory, or the size is beyond STACK_SIZE_MAX. What follows struct stack_block in a fresh block
 * is zero, in a recycled one what was left there. cache may be NULL.
 */
static inline struct stack_block *stack_acquire(struct stack_pool *pool, struct stack_cache *cache,
                                                size_t size)
{
    struct stack_block *block;

    if (likely(size == 0 && cache && (block = cache->hot))) {
        cache->hot = block->next;
        cache->count--;
        return block;
    }
    return gyre_stack_acquire_slow(pool, cache, size);
}

/* Not the stack one runs on. */
static inline void stack_release(struct stack_pool *pool, struct stack_cache *cache,
                                 struct stack_block *block)
{
    if (likely(cache && cache->count < STACK_MAGAZINE && block->shift == pool->default_shift)) {
        block->next = cache->hot;
        cache->hot = block;
        cache->count++;
        return;
    }
    gyre_stack_release_slow(pool, cache, block);
}

/* Hands all that a worker has to the depot. */
void gyre_stack_cache_drain(struct stack_pool *pool, struct stack_cache *cache);

/*
 * Finds the stack that an address lies in, its guard and control block included. Async-signal-safe;
 * from any thread. *block is set on success. A stack that was never handed out is none.
 */
bool gyre_stack_owns(struct stack_pool *pool, const void *address, struct stack_block **block);

/*
 * Calls fn for each block that was ever ready to be handed out and has not been given back to the
 * kernel; from any thread, also while others acquire and release. fn may find any state: in use,
 * free, or zeros, even in struct stack_block.
 */
void gyre_stack_each(struct stack_pool *pool, void (*fn)(struct stack_block *block, void *arg),
                     void *arg);

/*
 * The most bytes of the stack that were ever in use at once, as far as its lowest touched page
 * (mincore) and the lowest word in it that isn't zero tell. A recycled stack remembers its
 * former users until its memory was given back. Of any stack; best of one that doesn't run.
 */
size_t gyre_stack_high_water(const struct stack_block *block);

#endif
