/*
 * Other stacks than the coroutine's, inside it: contexts of makecontext, which live on memory of
 * the program's or on a part of the coroutine's own stack. Nobody is interrupted on them, for what
 * they stand on tells nothing of who called whom; and what they compute is right.
 */
#include "storm.h"

#include <ucontext.h>

enum { STACK = 64 << 10, SWITCHES = 20 };

static __attribute__((noinline)) uint64_t advanced(uint64_t x)
{
    for (int k = 0; k < 50000; k++)
        x = x * 0x9e3779b97f4a7c15u + 1;
    return x;
}

struct pair {
    ucontext_t inside, outside;
    struct storm_player *player;
    uint64_t value;
};

static void body(unsigned high, unsigned low)
{
    struct pair *pair = (struct pair *)((uintptr_t)high << 32 | low);

    for (int i = 0; i < SWITCHES; i++) {
        storm_enter("a context on a stack of its own");
        pair->value = advanced(pair->value);
        storm_leave();
        swapcontext(&pair->inside, &pair->outside);
    }
}

static void switch_to_and_fro(struct storm_player *player, char *stack)
{
    struct pair pair = {.player = player, .value = player->rounds};
    uintptr_t address = (uintptr_t)&pair;
    getcontext(&pair.inside);
    pair.inside.uc_stack.ss_sp = stack;
    pair.inside.uc_stack.ss_size = STACK;
    pair.inside.uc_link = &pair.outside;
    makecontext(&pair.inside, (void (*)(void))body, 2, (unsigned)(address >> 32),
                (unsigned)address);
    for (int i = 0; i < SWITCHES; i++) {
        uint64_t wanted = advanced(pair.value);

        swapcontext(&pair.outside, &pair.inside);
        STORM_CHECK(pair.value == wanted, "%#llx", (unsigned long long)pair.value);
        storm_compute(&player->random);
    }
}

static int on_memory(struct storm_player *player)
{
    char *stack = malloc(STACK);

    STORM_CHECK(stack, "no memory");
    for (; !storm_over(); player->rounds++)
        switch_to_and_fro(player, stack);
    free(stack);
    return 0;
}

static int on_own_stack(struct storm_player *player)
{
    char stack[STACK];

    for (; !storm_over(); player->rounds++)
        switch_to_and_fro(player, stack);
    return 0;
}

static const char *missing(const struct gyre_preempt_counts *counts)
{
    return counts->refused[GYRE_REFUSED_STACK] ? NULL : "no tick on another stack";
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"on memory", on_memory, 4},
                                              {"on its own stack", on_own_stack, 4}};

    storm_settings.missing = missing;
    storm_settings.stack_size = 512 << 10;
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
