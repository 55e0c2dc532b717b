/*
 * A semaphore never gives out more than it has, loses nothing, and forgets nobody, whoever gives
 * up: requests of all sizes in contexts that end at any moment, threads beside them.
 */
#include "storm.h"

enum { COROS = 12, SIZE = 5 };

struct field {
    gyre_semaphore semaphore;
    _Atomic(int64_t) out;
};

static void use(struct field *field, struct random *random, int64_t units, bool parks)
{
    int64_t out = atomic_fetch_add_explicit(&field->out, units, memory_order_relaxed) + units;

    CHECK(out <= SIZE, "%ld out", (long)out);
    if (parks && !random_below(random, 4))
        gyre_yield();
    atomic_fetch_sub_explicit(&field->out, units, memory_order_relaxed);
    gyre_semaphore_release(&field->semaphore, units);
}

static int acquire_in_time(struct field *field, int64_t units, int64_t time)
{
    GYRE_TIMEOUT(time);
    return gyre_semaphore_acquire(&field->semaphore, units);
}

static int play(void *arg)
{
    struct field *field = arg;
    struct random random = stress_random();

    while (stress_goes_on()) {
        int64_t units = 1 + random_below(&random, SIZE);
        int error;

        if (random_below(&random, 2))
            error = acquire_in_time(field, units, random_below(&random, 30000));
        else
            error = gyre_semaphore_acquire(&field->semaphore, units);
        CHECK(!error || error == -ETIMEDOUT, "%d", error);
        if (!error)
            use(field, &random, units, true);
        if (gyre_semaphore_try_acquire(&field->semaphore, 1))
            use(field, &random, 1, false);
        if (!random_below(&random, 4))
            gyre_yield();
    }
    return 0;
}

static void play_on_thread(void *arg)
{
    struct field *field = arg;
    struct random random = stress_random();

    while (stress_goes_on()) {
        int64_t units = 1 + random_below(&random, SIZE);

        CHECK(!gyre_semaphore_acquire(&field->semaphore, units), "on a thread");
        use(field, &random, units, false);
        stress_pause(&random);
    }
}

static int storm(void *arg)
{
    struct field field = {.semaphore = GYRE_SEMAPHORE_INIT(SIZE)};
    struct storm storm = {play, COROS, play_on_thread, &field, GYRE_WAITGROUP_INIT};

    (void)arg;
    storm_run(&storm);
    CHECK(field.semaphore.taken == 0, "%ld taken", (long)field.semaphore.taken);
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run("storm", storm);
    return 0;
}
