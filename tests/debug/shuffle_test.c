/* Schedules by seed: the same seed, the same order; others, others. */
#include "messages.h"

enum { EVENTS = 4096, COROUTINES = 12 };

static struct {
    char events[EVENTS];
    size_t count;
} trace;

static void note(char event)
{
    if (trace.count < EVENTS)
        trace.events[trace.count++] = event;
}

/* Spawned, yielded, slept, joined, woken: each way of becoming runnable. */
static int child_of(void *arg)
{
    char name = *(char *)arg;

    note(name);
    gyre_yield();
    note(name);
    gyre_sleep(GYRE_SECOND);
    note(name);
    return 0;
}

static int parent(void *arg)
{
    struct gyre_spawn_options pinned = GYRE_SPAWN_INIT;
    char name = *(char *)arg;
    gyre_handle handle;
    int error;

    pinned.flags = name % 2 ? GYRE_SPAWN_PINNED : 0;
    note(name);
    error = gyre_spawn_options(&handle, child_of, &name, &pinned);
    if (error)
        return error;
    for (int i = 0; i < 5; i++) {
        gyre_yield();
        note(name);
    }
    return gyre_join(handle, NULL);
}

static int run_all(void *arg)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handles[COROUTINES];

    (void)arg;
    trace.count = 0;
    for (int i = 0; i < COROUTINES; i++) {
        char name = (char)('a' + i);

        options.copy = &name;
        options.copy_size = sizeof name;
        GYRE_EXPECT(gyre_spawn_options(&handles[i], parent, NULL, &options) == 0);
    }
    for (int i = 0; i < COROUTINES; i++)
        GYRE_EXPECT(gyre_join(handles[i], NULL) == 0);
    GYRE_EXPECT(trace.count < EVENTS);
    return 0;
}

static char orders[3][EVENTS];

static void run_with_seed(uint64_t seed, int shuffle, char *order)
{
    struct gyre_test_options options = GYRE_TEST_OPTIONS_INIT;

    options.seed = seed;
    options.shuffle = shuffle;
    cr_assert_eq(gyre_test_run(run_all, NULL, &options), 0);
    cr_assert(trace.count == COROUTINES * (1 + 5 + 3));
    memcpy(order, trace.events, EVENTS);
}

Test(shuffle, the_same_seed_gives_the_same_schedule)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        run_with_seed(seed, 1, orders[0]);
        run_with_seed(seed, 1, orders[1]);
        cr_assert_eq(memcmp(orders[0], orders[1], EVENTS), 0, "seed %d", (int)seed);
    }
}

Test(shuffle, other_seeds_give_other_schedules)
{
    static char seen[100][EVENTS];

    for (uint64_t seed = 0; seed < 100; seed++) {
        run_with_seed(seed + 1, 1, seen[seed]);
        for (uint64_t i = 0; i < seed; i++)
            cr_assert(memcmp(seen[i], seen[seed], EVENTS), "seeds %d, %d", (int)i, (int)seed);
    }
}

Test(shuffle, without_it_the_seed_decides_nothing_here)
{
    run_with_seed(1, 0, orders[0]);
    run_with_seed(2, 0, orders[1]);
    run_with_seed(1, 1, orders[2]);
    cr_assert_eq(memcmp(orders[0], orders[1], EVENTS), 0);
    cr_assert(memcmp(orders[0], orders[2], EVENTS));
}

Test(shuffle, the_environments_seed_goes_first)
{
    run_with_seed(77, 1, orders[0]);
    setenv("GYRE_SEED", "77", 1);
    run_with_seed(5, 1, orders[1]);
    run_with_seed(0, 1, orders[2]);
    unsetenv("GYRE_SEED");
    cr_assert_eq(memcmp(orders[0], orders[1], EVENTS), 0);
    cr_assert_eq(memcmp(orders[0], orders[2], EVENTS), 0);
}

/* --- a failure found by chance, replayed ----------------------------------------------------- */

static int balance;

static int withdraw(void *arg)
{
    int seen = balance; /* another may run between the look and the change */

    gyre_yield();
    balance = seen - *(int *)arg;
    return 0;
}

static int lose_an_update(void *arg)
{
    int amounts[2] = {1, 2};
    gyre_handle handles[2];

    (void)arg;
    balance = 3;
    for (int i = 0; i < 2; i++)
        GYRE_EXPECT(gyre_spawn(&handles[i], withdraw, &amounts[i]) == 0);
    for (int i = 0; i < 2; i++)
        GYRE_EXPECT(gyre_join(handles[i], NULL) == 0);
    return balance ? -EIO : 0;
}

Test(shuffle, a_failure_is_found_and_its_message_says_the_seed_that_replays_it)
{
    struct gyre_test_options options = GYRE_TEST_OPTIONS_INIT;
    int good = 0, bad = 0, first = 0;
    unsigned long long seed = 0;

    options.shuffle = 1;
    for (int i = 0; i < 200; i++) {
        note_messages();
        if (gyre_test_run(lose_an_update, NULL, &options) == 0) {
            good++;
            continue;
        }
        bad++;
        first = balance;
        seed = take_verdict();
    }
    cr_assert(good > 0 && bad > 0, "%d of %d", good, good + bad);
    options.seed = seed;
    for (int i = 0; i < 20; i++) {
        note_messages();
        cr_assert_eq(gyre_test_run(lose_an_update, NULL, &options), -EIO);
        cr_assert_eq(take_verdict(), seed);
        cr_assert_eq(balance, first);
    }
}

/* --- chance is fair --------------------------------------------------------------------------- */

enum { RUNNERS = 4, ROUNDS = 3000 };

static atomic_int finished;
static int wins[RUNNERS];

static int race(void *arg)
{
    if (atomic_fetch_add(&finished, 1) == 0)
        wins[*(int *)arg]++;
    return 0;
}

static int start_races(void *arg)
{
    (void)arg;
    for (int round = 0; round < ROUNDS; round++) {
        atomic_store(&finished, 0);
        for (int i = 0; i < RUNNERS; i++)
            gyre_go_copy(race, &i, sizeof i);
        while (atomic_load(&finished) < RUNNERS)
            gyre_yield();
    }
    return 0;
}

Test(shuffle, each_that_can_run_is_as_likely_to_be_next)
{
    struct gyre_test_options options = GYRE_TEST_OPTIONS_INIT;

    options.shuffle = 1;
    options.seed = 42;
    cr_assert_eq(gyre_test_run(start_races, NULL, &options), 0);
    for (int i = 0; i < RUNNERS; i++) /* 750 +- 24 */
        cr_assert(wins[i] > 630 && wins[i] < 870, "%d won %d times", i, wins[i]);
}

static int note_name(void *arg)
{
    note(*(char *)arg);
    return 0;
}

static int join_beside_another(void *arg)
{
    static char names[] = "ab";
    gyre_handle handle;

    (void)arg;
    trace.count = 0;
    GYRE_EXPECT(gyre_spawn(&handle, note_name, &names[0]) == 0);
    GYRE_EXPECT(gyre_go(note_name, &names[1]) == 0);
    GYRE_EXPECT(gyre_join(handle, NULL) == 0);
    note('m');
    return gyre_test_wait();
}

Test(shuffle, the_end_of_a_coroutine_puts_its_joiner_before_nobody)
{
    struct gyre_test_options options = GYRE_TEST_OPTIONS_INIT;
    int joiner_first = 0, other_first = 0;

    options.shuffle = 1;
    for (options.seed = 1; options.seed <= 100; options.seed++) {
        cr_assert_eq(gyre_test_run(join_beside_another, NULL, &options), 0);
        cr_assert_eq(trace.count, 3);
        joiner_first += !memcmp(trace.events, "amb", 3);
        other_first += !memcmp(trace.events, "abm", 3);
    }
    cr_assert(joiner_first > 10 && other_first > 10, "%d, %d", joiner_first, other_first);
}

static int yield_often(void *arg)
{
    int *left = arg;

    while (*left > 0) {
        gyre_yield();
        --*left;
    }
    return 0;
}

static int run_thousands(void *arg)
{
    static int left[5000];

    (void)arg;
    for (int i = 0; i < 5000; i++) {
        left[i] = 5;
        GYRE_EXPECT(gyre_go(yield_often, &left[i]) == 0);
    }
    GYRE_EXPECT(gyre_test_wait() == 0);
    for (int i = 0; i < 5000; i++)
        GYRE_EXPECT(left[i] == 0);
    return 0;
}

Test(shuffle, nobody_is_lost_among_thousands)
{
    struct gyre_test_options options = GYRE_TEST_OPTIONS_INIT;

    options.shuffle = 1;
    cr_assert_eq(gyre_test_run(run_thousands, NULL, &options), 0);
}

static int count_up(void *arg)
{
    for (int i = 0; i < 100; i++)
        gyre_yield();
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int run_on_several(void *arg)
{
    atomic_int count = 0;

    (void)arg;
    for (int i = 0; i < 100; i++) {
        struct gyre_spawn_options options = GYRE_SPAWN_INIT;

        options.flags = i % 2 ? GYRE_SPAWN_PINNED : 0;
        options.worker = options.flags ? 1 + (unsigned)i % 3 : 0;
        GYRE_EXPECT(gyre_go_options(count_up, &count, &options) == 0);
    }
    while (atomic_load(&count) < 100)
        gyre_yield();
    return 0;
}

Test(shuffle, works_with_several_workers)
{
    struct gyre_test_options options = GYRE_TEST_OPTIONS_INIT;

    options.shuffle = 1;
    options.real_clock = 1;
    options.workers = 3;
    for (int i = 0; i < 20; i++)
        cr_assert_eq(gyre_test_run(run_on_several, NULL, &options), 0);
}
