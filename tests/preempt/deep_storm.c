/*
 * Deep in the stack: a coroutine that goes down to the last bytes of its stack, in frames of all
 * sizes, with ticks at every depth, never faults: there is no room to interrupt it, and nobody
 * needs any. One that goes further overflows as it does without ticks.
 */
#include "storm.h"

#include "sched/worker.h"

#include "../coro/child.h"

#include <alloca.h>

enum {
    LAST = 320,           /* for the frames of the last functions called */
    DEEP_STACK = 1 << 20, /* more than is looked through in a signal handler */
};

static __attribute__((noinline)) char *stack_low(void)
{
    return coro_current()->stack.low;
}

/* In as little stack as can be, for a few quanta. */
static __attribute__((noinline)) uint64_t spin(uint64_t x, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++)
        x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9u + i;
    return x;
}

#if defined(__SANITIZE_ADDRESS__)
#define FRAMES_ARE_LARGER 16
#else
#define FRAMES_ARE_LARGER 1
#endif

static __attribute__((noinline)) uint64_t descend(char *low, size_t frame, uint64_t x)
{
    char *here = __builtin_frame_address(0), *block;
    size_t left = (size_t)(here - low);

    if (left < frame + LAST * FRAMES_ARE_LARGER)
        return spin(x, 100000);
    block = alloca(frame);
    memset(block, (int)(x & 0x7f), frame);
    __asm__ volatile("" : : "r"(block) : "memory");
    x = descend(low, frame, spin(x, 20)) + (uint64_t)block[frame - 1];
    for (size_t i = 0; i < frame; i++)
        STORM_CHECK(block[i] == block[0], "the frame changed");
    return x;
}

/* At all depths by turns; the bottom is reached by frames of the last size. */
static int to_the_end(struct storm_player *player)
{
    char *low = stack_low();

    while (!storm_over()) {
        size_t frame = (size_t)16 << random_below(&player->random, 9);
        uint64_t x = random_next(&player->random);

        STORM_CHECK(descend(low, frame, x) == descend(low, frame, x), "two results");
        player->rounds++;
    }
    return 0;
}

/* Large frames, far above their functions: what is under them is found all the same. */
static int large_frames(struct storm_player *player)
{
    while (!storm_over()) {
        size_t size = 1 + random_below(&player->random, 50000);
        uint64_t *words = alloca(40000);
        char *block = alloca(size);

        for (int i = 0; i < 5000; i++)
            words[i] = (uintptr_t)&words[i];
        memset(block, 1, size);
        for (int i = 0; i < 20; i++)
            storm_compute(&player->random);
        for (int i = 0; i < 5000; i++)
            STORM_CHECK(words[i] == (uintptr_t)&words[i], "a word changed");
        STORM_CHECK(!memchr(block, 0, size), "a byte changed");
        player->rounds++;
        break; /* alloca gives back at return */
    }
    return 0;
}

static int frames_again(struct storm_player *player)
{
    while (!storm_over())
        large_frames(player);
    return 0;
}

static int deep_one(void *arg)
{
    struct storm_player *player = arg;
    char *low = stack_low();

    while (!storm_over()) {
        descend(low, 4096, random_next(&player->random));
        player->rounds++;
    }
    return 0;
}

/* Deeper than a handler looks. */
static int too_deep(struct storm_player *player)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handle;

    options.stack_size = DEEP_STACK;
    STORM_CHECK(!gyre_spawn_options(&handle, deep_one, player, &options), "no memory");
    STORM_CHECK(!gyre_join(handle, NULL), "not joined");
    return 0;
}

static const char *missing(const struct gyre_preempt_counts *counts)
{
    if (!counts->refused[GYRE_REFUSED_STACK])
        return "no tick without room";
    return counts->refused[GYRE_REFUSED_DEEP] ? NULL : "no tick in a deep stack";
}

/* --- overflow --------------------------------------------------------------------------------
 */

static __attribute__((noinline)) uint64_t overflow(uint64_t x)
{
    char block[64];

    memset(block, (int)(x & 0x7f), sizeof block);
    __asm__ volatile("" : : "r"(block) : "memory");
    if (x == UINT64_MAX) /* a compiler sees that it has no other end */
        return 0;
    return overflow(spin(x, 2000)) + (uint64_t)block[0];
}

static int overflowing(void *arg)
{
    return (int)overflow((uintptr_t)arg);
}

static int overflow_beside_hogs(void *arg)
{
    gyre_handle handle;

    (void)arg;
    storm_run.end = gyre_now() + 20 * GYRE_SECOND;
    for (int i = 0; i < 3; i++)
        STORM_CHECK(!gyre_go(storm_hog, NULL), "no memory");
    STORM_CHECK(!gyre_spawn(&handle, overflowing, NULL), "no memory");
    STORM_CHECK(!gyre_join(handle, NULL), "not joined");
    return 0;
}

static void overflow_in_child(void)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 1;
    options.quantum = 200 * GYRE_MICROSECOND;
    storm_run.asynchronous = true; /* the hogs don't yield */
    gyre_run_options(overflow_beside_hogs, NULL, &options);
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {
        {"to the end", to_the_end, 4}, {"frames", frames_again, 3}, {"too deep", too_deep, 1}};
    struct child child;

    child_run(&child, overflow_in_child);
    STORM_CHECK(child.status == -SIGABRT && child_said(&child, "stack overflow"), "%d: %s",
                child.status, child.output);
    STORM_CHECK(child_said(&child, "overflowing"), "%s", child.output);
    storm_settings.missing = missing;
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
