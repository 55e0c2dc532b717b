/* Stacks: where things lie, what is reused, what is refused, what is given back. */
#include <criterion/criterion.h>

#include "coro/stack.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 128 << 10 };

struct control {
    struct stack_block stack;
    unsigned char content[600];
};

static struct stack_pool pool;
static struct stack_cache cache;

static void start(void)
{
    memset(&cache, 0, sizeof cache);
    cr_assert_eq(gyre_stack_pool_init(&pool, SIZE, sizeof(struct control)), 0);
}

static void stop(void)
{
    gyre_stack_cache_drain(&pool, &cache);
    gyre_stack_pool_destroy(&pool);
}

TestSuite(stack, .init = start, .fini = stop);

static struct control *take(size_t size)
{
    return (struct control *)stack_acquire(&pool, &cache, size);
}

static void give(struct control *c)
{
    stack_release(&pool, &cache, &c->stack);
}

/* Runs fn in a child process; its exit status, or minus the signal. */
static int in_child(int (*fn)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(fn());
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

Test(stack, last_released_is_first_acquired)
{
    struct control *a = take(0), *b = take(0);

    cr_assert(a && b && a != b);
    give(a);
    give(b);
    cr_assert_eq(take(0), b);
    cr_assert_eq(take(0), a);
}

Test(stack, block_stands_on_the_highest_page_above_the_frames)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    for (int i = 0; i < 600; i++) {
        struct control *c = take(0);
        uintptr_t at = (uintptr_t)c;

        cr_assert_eq(c->stack.top, (char *)c);
        cr_assert_eq(at % 64, 0);
        cr_assert_eq(((uintptr_t)c->stack.low + SIZE - STACK_GUARD) % page, 0);
        cr_assert_eq(at / page, ((uintptr_t)c->stack.low + SIZE - STACK_GUARD) / page - 1);
        cr_assert_leq(at + sizeof *c, (uintptr_t)c->stack.low + SIZE - STACK_GUARD);
        cr_assert_geq(at % page, 2048);
        memset(c->stack.top - 2048, 1, 2048);
        memset(c->content, 2, sizeof c->content);
    }
}

Test(stack, all_of_it_can_be_used)
{
    for (int i = 0; i < 100; i++) {
        struct control *c = take(0);

        memset(c->stack.low, 0xa5, (size_t)(c->stack.top - c->stack.low));
    }
}

Test(stack, fresh_block_is_zero_and_a_recycled_one_keeps_its_content)
{
    struct control *c = take(0);

    for (size_t i = 0; i < sizeof c->content; i++)
        cr_assert_eq(c->content[i], 0);
    memset(c->content, 7, sizeof c->content);
    give(c);
    cr_assert_eq(take(0), c);
    for (size_t i = 0; i < sizeof c->content; i++)
        cr_assert_eq(c->content[i], 7);
}

Test(stack, tops_have_many_colours)
{
    bool seen[4096 / 64] = {false};
    int colours = 0;

    for (int i = 0; i < 64; i++)
        seen[(uintptr_t)take(0) % 4096 / 64] = true;
    for (size_t i = 0; i < 4096 / 64; i++)
        colours += seen[i];
    cr_assert_geq(colours, 8, "%d", colours);
}

Test(stack, sizes_are_rounded_up_to_powers_of_two)
{
    static const size_t sizes[] = {1,       4096,    65536,   65537,    200000,
                                   SIZE,    1 << 20, 8 << 20, 64 << 20, (1 << 30) - 1,
                                   1 << 30, 3 << 20, 100000};

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct control *c = take(sizes[i]);
        size_t got;

        cr_assert(c);
        got = (size_t)1 << c->stack.shift;
        cr_assert_geq(got, sizes[i]);
        cr_assert_geq(got, 65536);
        cr_assert(got == 65536 || got < 2 * sizes[i]);
        cr_assert_leq((size_t)(c->stack.top - c->stack.low), got - STACK_GUARD);
        cr_assert_geq((size_t)(c->stack.top - c->stack.low), got - STACK_GUARD - 4096);
        c->stack.low[0] = 1;
        c->stack.top[-1] = 1;
        give(c);
        cr_assert_eq(take(sizes[i]), c);
    }
}

Test(stack, sizes_beyond_the_largest_are_refused)
{
    cr_assert(!stack_size_valid(STACK_SIZE_MAX + 1));
    cr_assert_null(take(STACK_SIZE_MAX + 1));
    cr_assert_null(take(SIZE_MAX));
}

Test(stack, pool_refuses_nonsense)
{
    struct stack_pool other;

    cr_assert_eq(gyre_stack_pool_init(&other, 0, 512), -EINVAL);
    cr_assert_eq(gyre_stack_pool_init(&other, STACK_SIZE_MAX + 1, 512), -EINVAL);
    cr_assert_eq(gyre_stack_pool_init(&other, SIZE, 8), -EINVAL);
    cr_assert_eq(gyre_stack_pool_init(&other, SIZE, STACK_CONTROL_MAX + 1), -EINVAL);
}

static struct control *guarded;
static ptrdiff_t guard_offset;

static int touch_guard(void)
{
    signal(SIGSEGV, SIG_DFL);
    *(volatile char *)(guarded->stack.low + guard_offset) = 1;
    return 0;
}

Test(stack, guard_faults_all_over_and_only_there)
{
    struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    for (int i = 0; i < 70; i++)
        guarded = take(0); /* the last of a batch */
    for (guard_offset = -STACK_GUARD; guard_offset < 0; guard_offset += 4096)
        cr_assert_eq(in_child(touch_guard), -SIGSEGV, "at %td", guard_offset);
    guard_offset = -1;
    cr_assert_eq(in_child(touch_guard), -SIGSEGV);
    guard_offset = 0;
    cr_assert_eq(in_child(touch_guard), 0);
}

Test(stack, owner_is_found_from_any_address_of_it)
{
    struct stack_block *block;
    int local;

    for (int i = 0; i < 600; i++) {
        struct control *c = take(i % 50 ? 0 : 1 << 20);
        char *end = c->stack.low - STACK_GUARD + ((size_t)1 << c->stack.shift);

        cr_assert(gyre_stack_owns(&pool, c, &block) && block == &c->stack);
        cr_assert(gyre_stack_owns(&pool, c->stack.low, &block) && block == &c->stack);
        cr_assert(gyre_stack_owns(&pool, c->stack.low - 1, &block) && block == &c->stack);
        cr_assert(gyre_stack_owns(&pool, c->stack.low - STACK_GUARD, &block) && block == &c->stack);
        cr_assert(gyre_stack_owns(&pool, end - 1, &block) && block == &c->stack);
    }
    cr_assert(!gyre_stack_owns(&pool, &local, &block));
    cr_assert(!gyre_stack_owns(&pool, NULL, &block));
    cr_assert(!gyre_stack_owns(&pool, (void *)UINTPTR_MAX, &block));
}

static void count_marked(struct stack_block *block, void *arg)
{
    const struct control *c = (struct control *)block;

    *(size_t *)arg += c->content[0] == 77;
}

Test(stack, each_visits_every_block_once)
{
    size_t marked = 0;

    gyre_stack_each(&pool, count_marked, &marked);
    cr_assert_eq(marked, 0);
    for (int i = 0; i < 2000; i++) {
        struct control *c = take(i % 100 ? 0 : 256 << 10);

        c->content[0] = 77;
        if (i % 2)
            give(c);
    }
    marked = 0;
    gyre_stack_each(&pool, count_marked, &marked);
    cr_assert_geq(marked, 1000);
    cr_assert_leq(marked, 2000);
}

/* Counted page by page: statm is off by a hundred pages. */
static size_t resident(void)
{
    char line[256];
    size_t found = 0;
    FILE *f = fopen("/proc/self/smaps_rollup", "r");

    cr_assert(f);
    while (fgets(line, sizeof line, f))
        sscanf(line, "Rss: %zu", &found);
    fclose(f);
    return found * 1024;
}

Test(stack, first_ones_do_not_fetch_memory_for_many)
{
    size_t before = resident(); /* stdio's own pages */

    before = resident();
    cr_assert(take(0));
    cr_assert_leq(resident() - before, 64u << 10, "%zu", resident() - before);
    for (int i = 0; i < 20; i++)
        take(0);
    cr_assert_leq(resident() - before, 256u << 10);
}

Test(stack, high_water_is_the_deepest_use)
{
    struct control *c = take(0);

    cr_assert_leq(gyre_stack_high_water(&c->stack), 4096u);
    c->stack.top[-3000] = 1;
    cr_assert(gyre_stack_high_water(&c->stack) >= 3000);
    cr_assert(gyre_stack_high_water(&c->stack) < 3016);
    c->stack.top[-50000] = 1;
    cr_assert(gyre_stack_high_water(&c->stack) >= 50000);
    cr_assert(gyre_stack_high_water(&c->stack) < 50016);
    c->stack.low[0] = 1;
    cr_assert_eq(gyre_stack_high_water(&c->stack), (size_t)(c->stack.top - c->stack.low));
}

Test(stack, high_water_of_a_large_stack)
{
    struct control *c = take(1 << 30);

    c->stack.top[-5000000] = 1;
    cr_assert(gyre_stack_high_water(&c->stack) >= 5000000);
    cr_assert(gyre_stack_high_water(&c->stack) < 5000016);
}

Test(stack, large_ones_give_their_depth_back_at_release)
{
    struct control *c = take(8 << 20);
    size_t before = resident();

    memset(c->stack.low, 1, (size_t)(c->stack.top - c->stack.low));
    cr_assert_geq(resident() - before, 7u << 20);
    give(c);
    cr_assert_leq(resident() - before, 1u << 20);
}

enum { MANY = 40000, KEEP = 100 };
static struct control *many[MANY];

static void count_kept(struct stack_block *block, void *arg)
{
    *(size_t *)arg += ((struct control *)block)->content[0] == 78;
}

Test(stack, depot_gives_memory_back_above_its_mark_and_blocks_stay_readable)
{
    size_t before = resident(), full, after, zeros = 0, kept = 0;

    for (int i = 0; i < MANY; i++) {
        many[i] = take(0);
        many[i]->content[0] = 77;
    }
    full = resident() - before;
    cr_assert_geq(full, (size_t)MANY * 4096);
    for (int i = 0; i < MANY; i++) {
        if (i % KEEP == 0)
            many[i]->content[0] = 78;
        else
            give(many[i]);
    }
    after = resident() - before;
    gyre_stack_each(&pool, count_kept, &kept);
    cr_assert_eq(kept, MANY / KEEP, "who is in use stays visible");
    cr_assert_leq(after, full / 2 + (8u << 20), "%zu of %zu", after, full);
    for (int i = 0; i < MANY; i++) {
        cr_assert(many[i]->content[0] == 77 || many[i]->content[0] == 0 || i % KEEP == 0);
        zeros += many[i]->content[0] == 0;
    }
    cr_assert_geq(zeros, MANY / 2);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            if (i % KEEP == 0)
                continue;
            many[i] = take(0);
            cr_assert(many[i] && many[i]->stack.top == (char *)many[i]);
            many[i]->stack.top[-1] = 1;
        }
        for (int i = 0; i < MANY; i++)
            if (i % KEEP != 0)
                give(many[i]);
    }
    /* What was raw again was used again, not mapped anew. */
    cr_assert_leq(resident() - before, full);
}

Test(stack, without_a_cache_the_depot_serves)
{
    struct control *a = (struct control *)stack_acquire(&pool, NULL, 0);

    cr_assert(a);
    stack_release(&pool, NULL, &a->stack);
    cr_assert_eq((struct control *)stack_acquire(&pool, NULL, 0), a);
    stack_release(&pool, NULL, &a->stack);
    cr_assert_eq(take(0), a, "the cache is filled from the depot");
}

Test(stack, drained_cache_serves_another)
{
    struct stack_cache second = {0};
    struct control *a = take(0);

    give(a);
    gyre_stack_cache_drain(&pool, &cache);
    cr_assert_eq((struct control *)stack_acquire(&pool, &second, 0), a);
    gyre_stack_cache_drain(&pool, &second);
}

#ifndef GYRE_ASAN /* which needs address space without end, and ignores mlockall */

static int under_a_limit(void)
{
    struct stack_pool small;
    struct stack_cache own = {0};
    struct rlimit limit;
    unsigned long pages;
    FILE *f = fopen("/proc/self/statm", "r");
    int got = 0;

    if (!f || fscanf(f, "%lu", &pages) != 1)
        return 1;
    fclose(f);
    limit.rlim_cur = limit.rlim_max = pages * 4096 + (20u << 20);
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return 2;
    if (gyre_stack_pool_init(&small, SIZE, sizeof(struct control)) != 0)
        return 3;
    while (got < 1000) {
        struct stack_block *block = stack_acquire(&small, &own, 0);

        if (!block)
            break;
        block->low[0] = 1;
        got++;
    }
    /* 20 MiB hold 160 stacks; halving slabs reaches nearly all of it. */
    if (got < 100 || got > 160)
        return 4;
    if (stack_acquire(&small, &own, 1 << 30))
        return 5;
    gyre_stack_pool_destroy(&small);
    if (gyre_stack_pool_init(&small, SIZE, sizeof(struct control)) != 0)
        return 6;
    own = (struct stack_cache){0};
    return stack_acquire(&small, &own, 0) ? 0 : 7;
}

Test(stack, slabs_shrink_where_address_space_is_limited)
{
    cr_assert_eq(in_child(under_a_limit), 0);
}

static int under_mlockall(void)
{
    struct stack_pool locked;
    struct stack_cache own = {0};
    struct control *c = NULL;
    struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        return 77;
    if (gyre_stack_pool_init(&locked, SIZE, sizeof(struct control)) != 0)
        return 1;
    for (int i = 0; i < 100; i++) {
        c = (struct control *)stack_acquire(&locked, &own, 0);
        if (!c)
            return 2;
        c->stack.low[0] = 1;
    }
    for (int i = 0; i < 20; i++)
        gyre_stack_cache_drain(&locked, &own);
    *(volatile char *)(c->stack.low - 1) = 1; /* dies here */
    return 3;
}

Test(stack, memory_locked_process_gets_guards_too)
{
    int result = in_child(under_mlockall);

    if (result == 77)
        cr_skip_test("mlockall is not allowed");
    cr_assert_eq(result, -SIGSEGV, "%d", result);
}
#endif
