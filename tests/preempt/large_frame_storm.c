/*
 * A function of the C library under a frame of 100 KiB is found: who looks only at the stack's
 * first pages takes the function that it called for the program's own. On the main coroutine's
 * large stack, and on others.
 */
#include "storm.h"

enum { FRAME = 100 << 10 };

/* The computing function's frame is above FRAME bytes that nobody wrote since. */
static __attribute__((noinline)) void work_above_frame(struct random *random)
{
    char block[FRAME];

    __asm__ volatile("" : : "r"(block) : "memory");
    storm_enter("a comparison with a large frame");
    for (int i = 0; i < 30; i++)
        storm_work(random);
    storm_leave();
    __asm__ volatile("" : : "r"(block) : "memory");
}

/* Written once, so that no address of the library is there but the caller's. */
static __attribute__((noinline)) void sweep(void)
{
    char block[FRAME + 8192];

    memset(block, 0, sizeof block);
    __asm__ volatile("" : : "r"(block) : "memory");
}

static int compare(const void *left, const void *right)
{
    struct random random = {*(const unsigned char *)left};

    work_above_frame(&random);
    return *(const unsigned char *)left - *(const unsigned char *)right;
}

static void sort(struct random *random)
{
    unsigned char numbers[4];

    for (int i = 0; i < 4; i++)
        numbers[i] = (unsigned char)random_below(random, 256);
    sweep();
    qsort(numbers, 4, 1, compare);
    for (int i = 1; i < 4; i++)
        STORM_CHECK(numbers[i - 1] <= numbers[i], "not sorted");
    for (int i = 0; i < 100; i++)
        storm_compute(random);
}

static int play(struct storm_player *player)
{
    while (!storm_over()) {
        sort(&player->random);
        player->rounds++;
    }
    return 0;
}

static void in_main(void)
{
    struct random random = {storm_run.seed};

    while (!storm_over())
        sort(&random);
}

static const char *missing(const struct gyre_preempt_counts *counts)
{
    return counts->refused[GYRE_REFUSED_CALLER] ? NULL : "no tick in a function that was called";
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"sort", play, 3}};

    storm_settings.stack_size = 512 << 10;
    storm_settings.during = in_main;
    storm_settings.missing = missing;
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
