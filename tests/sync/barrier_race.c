/*
 * A barrier lets through as many as it has parties, each time, whoever gives up meanwhile: players
 * in contexts that end at any moment.
 */
#include "storm.h"

enum { COROS = 9, PARTIES = 3 };

struct field {
    gyre_barrier barrier;
    atomic_long rounds, passed;
};

static int meet(gyre_barrier *barrier, int64_t time)
{
    GYRE_TIMEOUT(time);
    return gyre_barrier_wait(barrier);
}

static int play(void *arg)
{
    struct field *field = arg;
    struct random random = stress_random();

    while (stress_goes_on()) {
        int result = meet(&field->barrier, random_below(&random, 30000));

        CHECK(result == 0 || result == 1 || result == -ETIMEDOUT, "%d", result);
        if (result >= 0)
            atomic_fetch_add_explicit(&field->passed, 1, memory_order_relaxed);
        if (result > 0)
            atomic_fetch_add_explicit(&field->rounds, 1, memory_order_relaxed);
        if (!random_below(&random, 8))
            gyre_yield();
    }
    return 0;
}

static void no_thread(void *unused)
{
    (void)unused;
}

static int storm(void *arg)
{
    struct field field = {.barrier = GYRE_BARRIER_INIT(PARTIES)};
    struct storm storm = {play, COROS, no_thread, &field, GYRE_WAITGROUP_INIT};

    (void)arg;
    storm_run(&storm);
    CHECK(field.passed == PARTIES * field.rounds, "%ld passed in %ld rounds", field.passed,
          field.rounds);
    CHECK(field.barrier.arrived == 0, "%u arrived", field.barrier.arrived);
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run("storm", storm);
    return 0;
}
