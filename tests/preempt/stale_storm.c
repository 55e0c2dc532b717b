/*
 * Addresses of the C library that earlier calls left in a buffer which was never written do not
 * keep a hog from being interrupted for ever: after a few refusals its stack is unwound. But
 * under a function that the C library really called, unwinding finds the library.
 */
#include "storm.h"

static char sink[4096];

/* Leaves return addresses of the C library's depths where the next frames will be. */
static __attribute__((noinline)) void litter(void)
{
    snprintf(sink, sizeof sink, "%.1000f %.500Lf %a %s", 1e300, 1e-300L, 1.5, "text");
}

/* Never writes what it has on its stack; so what was there stays. */
static __attribute__((noinline)) void hog_above_litter(struct storm_player *player, int rounds)
{
    char block[8192];

    __asm__ volatile("" : : "r"(block) : "memory");
    for (int i = 0; i < rounds; i++)
        storm_compute(&player->random);
    __asm__ volatile("" : : "r"(block) : "memory");
}

static int stale(struct storm_player *player)
{
    while (!storm_over()) {
        litter();
        hog_above_litter(player, 1000);
        player->rounds++;
    }
    return 0;
}

static int compare(const void *left, const void *right)
{
    struct random random = {*(const unsigned char *)left};
    char block[8192];

    __asm__ volatile("" : : "r"(block) : "memory");
    storm_enter("a comparison");
    for (int i = 0; i < 100; i++)
        storm_work(&random);
    storm_leave();
    __asm__ volatile("" : : "r"(block) : "memory");
    return *(const unsigned char *)left - *(const unsigned char *)right;
}

static int really_called(struct storm_player *player)
{
    while (!storm_over()) {
        unsigned char numbers[3];

        for (int i = 0; i < 3; i++)
            numbers[i] = (unsigned char)random_below(&player->random, 256);
        litter();
        qsort(numbers, 3, 1, compare);
        STORM_CHECK(numbers[0] <= numbers[1] && numbers[1] <= numbers[2], "not sorted");
        hog_above_litter(player, 10);
        player->rounds++;
    }
    return 0;
}

static const char *missing(const struct gyre_preempt_counts *counts)
{
    if (!counts->refused[GYRE_REFUSED_CALLER])
        return "never refused";
    return counts->confirmed ? NULL : "never confirmed";
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"stale", stale, 3}, {"called", really_called, 2}};

    storm_settings.missing = missing;
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
