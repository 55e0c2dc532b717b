/*
 * The slow paths of stacks: slabs, guards, the depot, giving memory back.
 *
 * A stack is raw (not taken), taken, or taken and ready. Raw ones have no content; taken ones are
 * being prepared by one thread; ready ones have a control block, and belong to a coroutine, a cache
 * or the depot. `taken` is under the depot's lock; `ready` is atomic, since gyre_stack_each and
 * gyre_stack_owns (in signal handlers) read it without one. No system call is made under a lock.
 *
 * Fresh stacks come in batches that grow with the number in use, at most doubling memory and at
 * most 64: one system call gives all of a batch their first page, which is a third cheaper than
 * faulting it in. Failures leave things as they were: a stack whose guard can't be had is raw
 * again.
 */
#include "coro/stack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef GYRE_ASAN
#include <sanitizer/lsan_interface.h>
#endif
#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA           0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

enum {
    SLAB_STACKS = 512,
    SLAB_WORDS = SLAB_STACKS / 64,
    BATCH_MAX = STACK_MAGAZINE,
    COLOURS_MAX = 16,
    FRAMES_MIN = 2048,       /* of the first page, for the first frames */
    OWN_PROCESS = -10001,    /* PIDFD_SELF_THREAD_GROUP */
    GIVE_BACK_AT_SHIFT = 19, /* larger stacks than the default give their depth back at release */
};

#define SLAB_BYTES  ((size_t)64 << 20)
#define DEPOT_BYTES ((size_t)2 << 30) /* of address space, before memory is given back */
#define DEPOT_MAX   16384u
#define DEPOT_MIN   4u

struct stack_slab {
    struct stack_slab *next; /* all of the pool; immutable once published */
    struct stack_slab *next_open;
    char *base;
    size_t stride;
    unsigned count;
    unsigned shift;
    unsigned raw; /* zero bits in taken; on the open list while > 0 */
    uint64_t taken[SLAB_WORDS];
    _Atomic(uint64_t) ready[SLAB_WORDS];
};

struct batch {
    struct stack_slab *slab;
    unsigned word;
    uint64_t mask;
};

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) & ~(to - 1);
}

static struct stack_depot *depot_of(struct stack_pool *pool, unsigned shift)
{
    return &pool->depots[shift - STACK_SHIFT_MIN];
}

static char *base_of(const struct stack_slab *slab, unsigned index)
{
    return slab->base + index * slab->stride;
}

static struct stack_block *block_of(const struct stack_pool *pool, const struct stack_slab *slab,
                                    unsigned index)
{
    size_t colour = index % pool->colours * CACHE_LINE;

    return (struct stack_block *)(void *)(base_of(slab, index) + slab->stride - colour -
                                          pool->control_size);
}

/* Makes [base, base + guard) fault. */
static int guard_install(struct stack_pool *pool, char *base)
{
    if (!atomic_load_explicit(&pool->mprotect_guards, memory_order_relaxed)) {
        if (madvise(base, pool->guard, MADV_GUARD_INSTALL) == 0)
            return 0;
        if (errno != EINVAL)
            return -errno;
        /* An older kernel, or locked memory (mlockall), which may come at any time. */
        atomic_store_explicit(&pool->mprotect_guards, true, memory_order_relaxed);
    }
    return mprotect(base, pool->guard, PROT_NONE) == 0 ? 0 : -errno; /* ENOMEM: too many mappings */
}

int gyre_stack_pool_init(struct stack_pool *pool, size_t default_size, size_t control_size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), spare;
    char *probe;

    if (default_size == 0 || !stack_size_valid(default_size) ||
        control_size < sizeof(struct stack_block) || control_size > STACK_CONTROL_MAX)
        return -EINVAL;
    memset(pool, 0, sizeof *pool);
#ifdef RUNNING_ON_VALGRIND
    atomic_init(&pool->no_batch, RUNNING_ON_VALGRIND != 0); /* it doesn't know process_madvise */
#endif
    pool->page = page;
    pool->guard = round_up(STACK_GUARD, page);
    pool->control_size = round_up(control_size, CACHE_LINE);
    spare = (page - pool->control_size - FRAMES_MIN) / CACHE_LINE + 1;
    if (page < pool->control_size + FRAMES_MIN)
        spare = 1;
    pool->colours = spare > COLOURS_MAX ? COLOURS_MAX : (unsigned)spare;
    pool->default_shift = STACK_SHIFT_MIN;
    while (((size_t)1 << pool->default_shift) < default_size)
        pool->default_shift++;
    pool->default_size = (size_t)1 << pool->default_shift;
    for (unsigned shift = STACK_SHIFT_MIN; shift <= STACK_SHIFT_MAX; shift++) {
        size_t count = SLAB_BYTES >> shift;

        depot_of(pool, shift)->slab_count = count < 1             ? 1
                                            : count > SLAB_STACKS ? SLAB_STACKS
                                                                  : count;
    }

    probe = mmap(NULL, pool->guard, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe == MAP_FAILED)
        return -ENOMEM;
    if (guard_install(pool, probe) < 0) {
        munmap(probe, pool->guard);
        return -ENOMEM;
    }
    munmap(probe, pool->guard);
    return 0;
}

void gyre_stack_pool_destroy(struct stack_pool *pool)
{
    struct stack_slab *slab = atomic_load_explicit(&pool->slabs, memory_order_relaxed);

    while (slab) {
        struct stack_slab *next = slab->next;

#ifdef GYRE_ASAN
        for (unsigned i = 0; i < slab->count; i++) {
            struct stack_block *block = block_of(pool, slab, i);

            if (atomic_load_explicit(&slab->ready[i / 64], memory_order_relaxed) >> i % 64 & 1)
                __lsan_unregister_root_region(base_of(slab, i) + pool->guard,
                                              slab->stride - pool->guard);
            (void)block;
        }
#endif
        munmap(slab->base, slab->count * slab->stride);
        free(slab);
        slab = next;
    }
    memset(pool, 0, sizeof *pool);
}

/* Maps a slab, smaller ones where address space is limited, down to a single stack. */
static struct stack_slab *slab_create(unsigned shift, size_t count)
{
    struct stack_slab *slab = calloc(1, sizeof *slab);
    size_t stride = (size_t)1 << shift;

    if (!slab)
        return NULL;
    for (;; count /= 2) {
        if (count == 0) {
            free(slab);
            return NULL;
        }
        slab->base = mmap(NULL, count * stride, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        if (slab->base != MAP_FAILED)
            break;
    }
    /* Without huge pages in the kernel this fails, and isn't needed. */
    madvise(slab->base, count * stride, MADV_NOHUGEPAGE);
    prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, slab->base, count * stride, "gyre stacks");
    slab->stride = stride;
    slab->count = (unsigned)count;
    slab->raw = (unsigned)count;
    slab->shift = shift;
    for (unsigned i = slab->count; i < SLAB_STACKS; i++)
        slab->taken[i / 64] |= (uint64_t)1 << i % 64;
    return slab;
}

/* Publishes a slab; gyre_stack_each walks the list at any time. */
static void slab_link(struct stack_pool *pool, struct stack_slab *slab)
{
    struct stack_slab *first = atomic_load_explicit(&pool->slabs, memory_order_relaxed);

    do {
        slab->next = first;
        /* Release: the slab's fields, for the acquire in gyre_stack_each and gyre_stack_owns. */
    } while (!atomic_compare_exchange_weak_explicit(&pool->slabs, &first, slab,
                                                    memory_order_release, memory_order_relaxed));
}

/* Takes up to n raw stacks of one word from the open slabs. Under the depot's lock. */
static bool take_raw(struct stack_depot *depot, size_t n, struct batch *batch)
{
    struct stack_slab *slab = depot->open;

    if (!slab)
        return false;
    batch->slab = slab;
    batch->mask = 0;
    for (batch->word = 0; ~slab->taken[batch->word] == 0; batch->word++)
        ;
    for (; n > 0 && ~slab->taken[batch->word] != 0; n--) {
        uint64_t bit = (uint64_t)1 << __builtin_ctzll(~slab->taken[batch->word]);

        slab->taken[batch->word] |= bit;
        batch->mask |= bit;
        slab->raw--;
    }
    if (slab->raw == 0)
        depot->open = slab->next_open;
    return true;
}

/* Under the depot's lock. */
static void put_raw(struct stack_depot *depot, struct stack_slab *slab, unsigned word,
                    uint64_t mask)
{
    if (mask == 0)
        return;
    if (slab->raw == 0) {
        slab->next_open = depot->open;
        depot->open = slab;
    }
    slab->taken[word] &= ~mask;
    slab->raw += (unsigned)__builtin_popcountll(mask);
}

/* Reserves raw stacks, at most n of them. */
static bool reserve(struct stack_pool *pool, unsigned shift, size_t n, struct batch *batch)
{
    struct stack_depot *depot = depot_of(pool, shift);
    struct stack_slab *slab;
    size_t count;
    bool found;

    spin_lock(&depot->lock);
    found = take_raw(depot, n, batch);
    count = depot->slab_count;
    spin_unlock(&depot->lock);
    if (found)
        return true;

    slab = slab_create(shift, count); /* two threads may do so at once: no harm */
    if (!slab)
        return false;
    slab_link(pool, slab);
    spin_lock(&depot->lock);
    if (slab->count < depot->slab_count)
        depot->slab_count = slab->count;
    slab->next_open = depot->open;
    depot->open = slab;
    found = take_raw(depot, n, batch);
    spin_unlock(&depot->lock);
    return found;
}

/* The same advice for many ranges by one system call; false: not for all of them, or not so. */
static bool advise_many(struct stack_pool *pool, const struct iovec *ranges, size_t n, int advice)
{
    size_t total = 0;
    ssize_t done;

    if (n < 2 || atomic_load_explicit(&pool->no_batch, memory_order_relaxed))
        return false;
    for (size_t i = 0; i < n; i++)
        total += ranges[i].iov_len;
    done = process_madvise(OWN_PROCESS, ranges, n, advice, 0);
    /* Before 6.13 no process may give itself such advice; before 6.14 it can't name itself so. */
    if (done < 0 && errno != ENOMEM && errno != EAGAIN && errno != EINTR)
        atomic_store_explicit(&pool->no_batch, true, memory_order_relaxed);
    return done == (ssize_t)total;
}

/* Installs guards; returns those that are there. */
static uint64_t guard_batch(struct stack_pool *pool, const struct batch *batch)
{
    struct iovec guards[BATCH_MAX];
    uint64_t guarded = 0;
    size_t n = 0;

    for (uint64_t left = batch->mask; left; left &= left - 1)
        guards[n++] = (struct iovec){
            base_of(batch->slab, batch->word * 64 + (unsigned)__builtin_ctzll(left)), pool->guard};
    if (!atomic_load_explicit(&pool->mprotect_guards, memory_order_relaxed) &&
        advise_many(pool, guards, n, MADV_GUARD_INSTALL))
        return batch->mask;
    n = 0;
    for (uint64_t left = batch->mask; left; left &= left - 1) {
        if (guard_install(pool, guards[n++].iov_base) < 0)
            break;
        guarded |= left & -left;
    }
    return guarded;
}

/* Gives the highest page of each stack its memory. If it can't, touching will. */
static void populate_batch(struct stack_pool *pool, const struct batch *batch)
{
    struct iovec pages[BATCH_MAX];
    size_t n = 0;

    for (uint64_t left = batch->mask; left; left &= left - 1) {
        unsigned index = batch->word * 64 + (unsigned)__builtin_ctzll(left);

        pages[n++] = (struct iovec){base_of(batch->slab, index) + batch->slab->stride - pool->page,
                                    pool->page};
    }
    advise_many(pool, pages, n, MADV_POPULATE_WRITE);
}

/* Makes one stack ready, but for publishing it. The caller has installed the guard. */
static struct stack_block *block_init(struct stack_pool *pool, struct stack_slab *slab,
                                      unsigned index)
{
    struct stack_block *block = block_of(pool, slab, index);

    block->low = base_of(slab, index) + pool->guard;
    block->top = (char *)block;
    block->slab = slab;
    block->shift = (uint16_t)slab->shift;
    block->index = index;
#ifdef GYRE_ASAN
    __lsan_register_root_region(block->low, slab->stride - pool->guard);
#endif
#ifdef VALGRIND_STACK_REGISTER
    if (RUNNING_ON_VALGRIND)
        (void)VALGRIND_STACK_REGISTER(block->low, block->top);
#endif
    return block;
}

/* Makes up to n fresh stacks; returns them as a list, and how many. */
static struct stack_block *fresh(struct stack_pool *pool, unsigned shift, size_t n, unsigned *count)
{
    struct stack_depot *depot = depot_of(pool, shift);
    struct stack_block *list = NULL;
    struct batch batch;
    uint64_t guarded;

    *count = 0;
    if (!reserve(pool, shift, n, &batch))
        return NULL;
    guarded = guard_batch(pool, &batch);
    if (guarded != batch.mask) {
        spin_lock(&depot->lock);
        put_raw(depot, batch.slab, batch.word, batch.mask & ~guarded);
        spin_unlock(&depot->lock);
        batch.mask = guarded;
        if (guarded == 0)
            return NULL;
    }
    populate_batch(pool, &batch);
    for (uint64_t left = batch.mask; left; left &= left - 1) {
        struct stack_block *block =
            block_init(pool, batch.slab, batch.word * 64 + (unsigned)__builtin_ctzll(left));

        block->next = list;
        list = block;
        (*count)++;
    }
    /* Release: the block's fields, for the acquire in gyre_stack_each. */
    atomic_fetch_or_explicit(&batch.slab->ready[batch.word], batch.mask, memory_order_release);
    atomic_fetch_add_explicit(&depot->fresh, *count, memory_order_relaxed);
    return list;
}

/* Takes one stack, or a magazine if `many`, from the depot. */
static struct stack_block *depot_take(struct stack_depot *depot, bool many, unsigned *count)
{
    struct stack_block *list, *last;

    *count = 0;
    spin_lock(&depot->lock);
    if (many && depot->magazines) {
        list = depot->magazines;
        depot->magazines = list->next_magazine;
        *count = list->magazine;
    } else {
        if (!depot->loose && depot->magazines) {
            depot->loose = depot->magazines;
            depot->magazines = depot->loose->next_magazine;
        }
        list = last = depot->loose;
        if (list) {
            *count = 1;
            for (; many && *count < STACK_MAGAZINE && last->next; last = last->next)
                (*count)++;
            depot->loose = last->next;
            last->next = NULL;
        }
    }
    depot->free -= *count;
    spin_unlock(&depot->lock);
    return list;
}

static size_t fresh_batch(struct stack_depot *depot)
{
    size_t n = atomic_load_explicit(&depot->fresh, memory_order_relaxed) / 2;

    return n < 1 ? 1 : n > BATCH_MAX ? BATCH_MAX : n;
}

struct stack_block *gyre_stack_acquire_slow(struct stack_pool *pool, struct stack_cache *cache,
                                            size_t size)
{
    unsigned shift = pool->default_shift, count;
    struct stack_block *block;
    bool many;

    if (size > STACK_SIZE_MAX)
        return NULL;
    if (size != 0)
        for (shift = STACK_SHIFT_MIN; ((size_t)1 << shift) < size; shift++)
            ;
    many = cache && shift == pool->default_shift;
    if (many && !cache->hot && cache->cold) {
        cache->hot = cache->cold;
        cache->count = STACK_MAGAZINE;
        cache->cold = NULL;
    }
    if (many && cache->hot)
        return stack_acquire(pool, cache, 0);

    block = depot_take(depot_of(pool, shift), many, &count);
    if (!block)
        block = fresh(pool, shift, many ? fresh_batch(depot_of(pool, shift)) : 1, &count);
    if (block && many) {
        cache->hot = block->next;
        cache->count = count - 1;
    }
    return block;
}

static void depot_put_one(struct stack_pool *pool, struct stack_block *block)
{
    struct stack_depot *depot = depot_of(pool, block->shift);

    spin_lock(&depot->lock);
    block->next = depot->loose;
    depot->loose = block;
    depot->free++;
    spin_unlock(&depot->lock);
}

/* Makes a stack raw whose memory has been given back: its fields come from before that. */
static void make_raw(struct stack_pool *pool, struct stack_slab *slab, unsigned index)
{
    struct stack_depot *depot = depot_of(pool, slab->shift);
    uint64_t bit = (uint64_t)1 << index % 64;

#ifdef GYRE_ASAN
    __lsan_unregister_root_region(base_of(slab, index) + pool->guard, slab->stride - pool->guard);
#endif
    atomic_fetch_and_explicit(&slab->ready[index / 64], ~bit, memory_order_relaxed);
    spin_lock(&depot->lock);
    put_raw(depot, slab, index / 64, bit);
    spin_unlock(&depot->lock);
}

/* Gives the memory of a magazine back to the kernel. What it does not take (locked memory) stays
 * in the depot. */
static void give_back(struct stack_pool *pool, struct stack_block *list)
{
    struct {
        struct stack_block *block;
        struct stack_slab *slab;
        unsigned index;
    } old[STACK_MAGAZINE];
    struct iovec ranges[STACK_MAGAZINE];
    size_t n = 0;
    bool all;

    do {
        old[n].block = list;
        old[n].slab = list->slab;
        old[n].index = list->index;
        ranges[n].iov_base = list->low;
        ranges[n++].iov_len = list->slab->stride - pool->guard;
        list = list->next;
    } while (list);
    all = advise_many(pool, ranges, n, MADV_DONTNEED);
    for (size_t i = 0; i < n; i++) {
        if (all || madvise(ranges[i].iov_base, ranges[i].iov_len, MADV_DONTNEED) == 0)
            make_raw(pool, old[i].slab, old[i].index);
        else
            depot_put_one(pool, old[i].block);
    }
}

static void depot_put_magazine(struct stack_pool *pool, struct stack_block *list)
{
    struct stack_depot *depot = depot_of(pool, list->shift);
    size_t most = DEPOT_BYTES >> list->shift;
    bool full;

    most = most > DEPOT_MAX ? DEPOT_MAX : most < DEPOT_MIN ? DEPOT_MIN : most;
    spin_lock(&depot->lock);
    full = depot->free >= most;
    if (!full) {
        list->magazine = STACK_MAGAZINE;
        list->next_magazine = depot->magazines;
        depot->magazines = list;
        depot->free += STACK_MAGAZINE;
    }
    spin_unlock(&depot->lock);
    if (full)
        give_back(pool, list);
}

void gyre_stack_release_slow(struct stack_pool *pool, struct stack_cache *cache,
                             struct stack_block *block)
{
    if (!cache || block->shift != pool->default_shift) {
        if (block->shift >= GIVE_BACK_AT_SHIFT) {
            uintptr_t page = (uintptr_t)block & ~(uintptr_t)(pool->page - 1);

            madvise(block->low, page - (uintptr_t)block->low, MADV_DONTNEED);
        }
        depot_put_one(pool, block);
        return;
    }
    if (cache->cold)
        depot_put_magazine(pool, cache->cold);
    cache->cold = cache->hot;
    cache->hot = block;
    block->next = NULL;
    cache->count = 1;
}

void gyre_stack_cache_drain(struct stack_pool *pool, struct stack_cache *cache)
{
    struct stack_block *block, *next;

    if (cache->cold)
        depot_put_magazine(pool, cache->cold);
    for (block = cache->hot; block; block = next) {
        next = block->next;
        depot_put_one(pool, block);
    }
    *cache = (struct stack_cache){NULL, 0, NULL};
}

bool gyre_stack_owns(struct stack_pool *pool, const void *address, struct stack_block **block)
{
    /* Acquire: pairs with the release in slab_link. */
    struct stack_slab *slab = atomic_load_explicit(&pool->slabs, memory_order_acquire);

    for (; slab; slab = slab->next) {
        size_t offset = (uintptr_t)address - (uintptr_t)slab->base;
        unsigned index;

        if (offset >= slab->count * slab->stride)
            continue;
        index = (unsigned)(offset / slab->stride);
        /* Acquire: pairs with the release in fresh. */
        if (!(atomic_load_explicit(&slab->ready[index / 64], memory_order_acquire) >> index % 64 &
              1))
            return false;
        *block = block_of(pool, slab, index);
        return true;
    }
    return false;
}

void gyre_stack_each(struct stack_pool *pool, void (*fn)(struct stack_block *block, void *arg),
                     void *arg)
{
    /* Acquire: pairs with the release in slab_link. */
    struct stack_slab *slab = atomic_load_explicit(&pool->slabs, memory_order_acquire);

    for (; slab; slab = slab->next) {
        for (unsigned word = 0; word < SLAB_WORDS; word++) {
            /* Acquire: pairs with the release in fresh. */
            uint64_t left = atomic_load_explicit(&slab->ready[word], memory_order_acquire);

            for (; left; left &= left - 1)
                fn(block_of(pool, slab, word * 64 + (unsigned)__builtin_ctzll(left)), arg);
        }
    }
}

/* Reads others' frames, red zones included. */
__attribute__((noinline, no_sanitize("address"), no_sanitize("thread"))) static char *
skip_zeros(char *at, const char *top)
{
    while (at < top && *(const uint64_t *)(const void *)at == 0)
        at += sizeof(uint64_t);
    return at;
}

size_t gyre_stack_high_water(const struct stack_block *block)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const char *top = block->top;
    char *at = block->low;
    unsigned char resident[256];

    while (at < top) {
        size_t pages = ((size_t)(top - at) + page - 1) / page, i;

        if (pages > sizeof resident)
            pages = sizeof resident;
        if (mincore(at, pages * page, resident) != 0)
            return 0;
        for (i = 0; i < pages && !(resident[i] & 1); i++)
            ;
        at += i * page;
        if (i < pages)
            break;
    }
    at = skip_zeros(at, top);
    return at < top ? (size_t)(top - at) : 0;
}
