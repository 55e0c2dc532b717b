/*
 * Who is runnable runs within the bound that worker.c states, whatever the others do. Counted in
 * picks of the worker, never in time: a crowd of every kind keeps one worker busy, and each member
 * notes how many picks went by between its turns.
 */
#include "inside.h"

#include "baton.h"

#include <stdlib.h>

enum { TURNS = 60 };

static atomic_int over, waiting; /* waiting: members that have not had their turns */

static uint64_t picks(void)
{
    return atomic_load_explicit(&worker_current()->progress, memory_order_relaxed);
}

/* What one member knows of its own turns. */
struct turns {
    const char *kind;
    int count;
    uint64_t last;  /* picks when it became runnable */
    size_t present; /* coroutines at that moment, all of them runnable */
    struct turns *partner;
    struct baton *mine, *other;
};

static void note_runnable(struct turns *turns)
{
    turns->last = picks();
    turns->present = gyre_coro_count();
}

static bool turn(struct turns *turns)
{
    uint64_t waited = picks() - turns->last;

    if (turns->count && gyre_worker_count() == 1) {
        uint64_t bound = POLL_PICKS * OLDEST_POLLS * (turns->present + 1);

        if (waited > bound)
            fprintf(stderr, "a %s waited %llu picks among %zu\n", turns->kind,
                    (unsigned long long)waited, turns->present);
        EXPECT(waited <= bound);
    }
    if (++turns->count == TURNS)
        atomic_fetch_sub(&waiting, 1);
    return !atomic_load(&over);
}

/* Notes when it became runnable, which is when it gave up its turn. */
static int yielder(void *arg)
{
    struct turns *turns = arg;

    while (turn(turns)) {
        note_runnable(turns);
        gyre_yield();
    }
    return 0;
}

/* Two of them ready each other through the just-woken slot. */
static int ping_pong(void *arg)
{
    struct turns *turns = arg;

    while (turn(turns)) {
        note_runnable(turns->partner);
        baton_give(turns->other);
        baton_take(turns->mine);
    }
    baton_give(turns->other);
    return 0;
}

/* The deque is never empty, and grows: who runs next is the newest. */
static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int spawner(void *arg)
{
    struct turns *turns = arg;

    if (!turn(turns))
        return 0;
    note_runnable(turns);
    gyre_go(nothing, NULL);
    gyre_go(spawner, arg);
    return 0;
}

/* Spawned before all others, so at the far end of the deque: its first turn is what counts. */
static int oldest(void *arg)
{
    turn(arg);
    return 0;
}

static int sleeper(void *arg)
{
    struct turns *turns = arg;

    while (turn(turns)) {
        gyre_sleep_until(gyre_now() - 1);
        note_runnable(turns); /* that a sleep ends counts, not when */
    }
    return 0;
}

struct crowd {
    unsigned yielders, pairs, spawners, sleepers, pinned, old;
};

static void start(gyre_fn fn, struct turns *turns, const char *kind, unsigned flags)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;

    turns->kind = kind;
    if (fn == oldest) {
        turns->count = 1;
        note_runnable(turns);
        atomic_fetch_sub(&waiting, 1);
    }
    options.flags = flags;
    EXPECT_EQ(gyre_go_options(fn, turns, &options), 0);
    atomic_fetch_add(&waiting, 1);
}

static int run_crowd(void *arg)
{
    const struct crowd *crowd = arg;
    static struct turns turns[64];
    static struct baton batons[64];
    struct turns *next = turns;
    uint64_t first;

    memset(turns, 0, sizeof turns);
    over = waiting = 0;
    for (unsigned i = 0; i < crowd->old; i++)
        start(oldest, next++, "oldest", 0);
    for (unsigned i = 0; i < crowd->yielders; i++)
        start(yielder, next++, "yielder", 0);
    for (unsigned i = 0; i < crowd->pinned; i++)
        start(yielder, next++, "pinned", GYRE_SPAWN_PINNED);
    for (unsigned i = 0; i < crowd->sleepers; i++)
        start(sleeper, next++, "sleeper", 0);
    for (unsigned i = 0; i < crowd->spawners; i++)
        start(spawner, next++, "spawner", 0);
    for (unsigned i = 0; i < crowd->pairs; i++) {
        struct turns *one = next++, *two = next++;

        one->partner = two;
        two->partner = one;
        baton_init(&batons[2 * i]);
        baton_init(&batons[2 * i + 1]);
        one->mine = two->other = &batons[2 * i];
        one->other = two->mine = &batons[2 * i + 1];
        start(ping_pong, one, "ping", 0);
        start(ping_pong, two, "pong", 0);
    }
    first = picks();
    /* If somebody starves, this ends all the same. */
    while (atomic_load(&waiting) && picks() - first < 2000000)
        gyre_yield();
    EXPECT_EQ(waiting, 0);
    for (struct turns *t = turns; t < next; t++)
        if (t->count < TURNS && strcmp(t->kind, "oldest"))
            fprintf(stderr, "  a %s had %d turns\n", t->kind, t->count);
    atomic_store(&over, 1);
    return 0;
}

Test(fairness, everyone_runs_within_the_bound, .timeout = 50)
{
    static const struct crowd crowds[] = {
        {2, 0, 0, 0, 0, 0}, {5, 1, 0, 0, 0, 0}, {3, 1, 1, 0, 0, 0}, {3, 1, 1, 0, 2, 0},
        {1, 1, 1, 1, 1, 1}, {0, 1, 0, 2, 0, 0}, {4, 2, 2, 3, 3, 4}, {0, 1, 3, 2, 1, 8},
        {9, 3, 0, 0, 0, 9}, {1, 0, 2, 3, 2, 0}, {2, 4, 1, 1, 0, 3}, {0, 0, 1, 1, 4, 2},
    };

    for (size_t i = 0; i < sizeof crowds / sizeof *crowds; i++) {
        cr_assert_eq(run_with_workers(1, run_crowd, (void *)(uintptr_t)&crowds[i]), 0);
        cr_assert_eq(failed_expectations, 0, "crowd %zu", i);
    }
}

/* --- other workers -----------------------------------------------------------------------------
 */

/* With more workers the bound is each worker's own, and work moves: only that everyone goes on. */
static int go_on(void *arg)
{
    static const struct crowd crowd = {4, 2, 2, 3, 3, 4};

    (void)arg;
    run_crowd((void *)(uintptr_t)&crowd);
    atomic_store(&failed_expectations, waiting != 0);
    return 0;
}

Test(fairness, everyone_goes_on_with_more_workers, .timeout = 50)
{
    cr_assert_eq(run_with_workers(2, go_on, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
    cr_assert_eq(run_with_workers(5, go_on, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}
