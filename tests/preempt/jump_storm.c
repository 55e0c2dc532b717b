/*
 * longjmp within a coroutine, out of depths in which it was interrupted, and out of functions that
 * the C library called; sigsetjmp with the signal mask, whose change by the program is no moment to
 * interrupt it.
 */
#include "storm.h"

#include <setjmp.h>

struct level {
    jmp_buf out;
    struct random *random;
    unsigned depth, target;
};

static __attribute__((noinline)) int descend(struct level *level)
{
    char frame[100];

    memset(frame, (int)level->depth, sizeof frame);
    __asm__ volatile("" : : "r"(frame) : "memory");
    storm_work(level->random);
    if (level->depth++ == level->target)
        longjmp(level->out, (int)level->depth);
    return level->depth < 1000 ? descend(level) + frame[0] : 0;
}

static __attribute__((noinline)) void jump(struct storm_player *player)
{
    struct level level = {.random = &player->random, .target = random_below(&player->random, 30)};
    uint64_t before = random_next(&player->random);
    volatile uint64_t kept = before;
    int got = setjmp(level.out);

    if (got == 0)
        descend(&level);
    STORM_CHECK((unsigned)got == level.target + 1 && kept == before, "%d", got);
}

static _Thread_local jmp_buf *out_of_sort; /* nobody else's on this thread while it sorts */

static int compare(const void *left, const void *right)
{
    struct random random = {*(const unsigned char *)left};

    storm_enter("a comparison that jumps");
    storm_work(&random);
    storm_leave();
    if (*(const unsigned char *)left == 77 || *(const unsigned char *)right == 77)
        longjmp(*out_of_sort, 1);
    return *(const unsigned char *)left - *(const unsigned char *)right;
}

static __attribute__((noinline)) void jump_out_of_the_library(struct storm_player *player)
{
    unsigned char numbers[] = {5, 1, 200, 77, 3, 90};
    jmp_buf out;

    gyre_preempt_off();
    out_of_sort = &out;
    if (setjmp(out) == 0) {
        qsort(numbers, sizeof numbers, 1, compare);
        storm_fail("not jumped");
    }
    gyre_preempt_on();
    storm_compute(&player->random);
}

static __attribute__((noinline)) void jump_with_mask(struct storm_player *player)
{
    sigset_t block, before, now;
    sigjmp_buf out;

    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    if (sigsetjmp(out, 1) == 0) {
        pthread_sigmask(SIG_BLOCK, &block, NULL);
        storm_enter("who blocked a signal");
        for (int i = 0; i < 20; i++)
            storm_work(&player->random);
        storm_leave();
        siglongjmp(out, 1);
    }
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    STORM_CHECK(sigismember(&now, SIGUSR1) == sigismember(&before, SIGUSR1), "the mask");
}

static int play(struct storm_player *player)
{
    while (!storm_over()) {
        jump(player);
        jump_out_of_the_library(player);
        jump_with_mask(player);
        player->rounds++;
    }
    return 0;
}

static const char *missing(const struct gyre_preempt_counts *counts)
{
    return counts->refused[GYRE_REFUSED_MASK] ? NULL : "no tick under another mask";
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"jumps", play, 6}};

    storm_settings.missing = missing;
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
