/*
 * Joins and sleeps against the end of their context.
 *
 * Aimed at: the joiner is interrupted while its commit stores its address in the child; the child
 * ends while a joiner takes its address back; a sleeper is interrupted while its timer is started,
 * and while it fires; a joiner that gave up joins again, and still gets the result, once.
 */
#include "stress.h"

enum { GROUPS = 10 };

static _Atomic(uint64_t) interrupted, won;

static int child(void *arg)
{
    struct random random = stress_random();
    uint64_t choice = random_below(&random, 4);

    stress_pause(&random);
    if (choice == 1)
        gyre_yield();
    if (choice == 2)
        gyre_sleep(random_below(&random, 20000));
    return (int)(intptr_t)arg;
}

static int cancel(void *arg)
{
    struct random random = stress_random();

    stress_pause(&random);
    if (random_below(&random, 2))
        gyre_yield();
    gyre_context_cancel(arg);
    gyre_context_release(arg);
    return 0;
}

static int group(void *arg)
{
    struct random random = stress_random();

    (void)arg;
    for (int i = 0; stress_goes_on(); i++) {
        struct gyre_spawn_options outside = GYRE_SPAWN_INIT;
        gyre_handle handle;
        int result = -1, error;

        outside.flags = GYRE_SPAWN_OUTSIDE_CONTEXT;
        CHECK(!gyre_spawn_options(&handle, child, (void *)(intptr_t)i, &outside), "no memory");
        {
            GYRE_CANCELLABLE();
            CHECK(!gyre_go_options(cancel, gyre_context_current(), &outside), "no memory");
            if (random_below(&random, 2))
                stress_pause(&random);
            error = gyre_join(handle, &result);
            CHECK(!error || error == -ECANCELED, "%d", error);
            if (random_below(&random, 4) == 0) {
                int slept = gyre_sleep(random_below(&random, 30000));

                CHECK(!slept || slept == -ECANCELED, "%d", slept);
            }
        }
        atomic_fetch_add(error ? &interrupted : &won, 1);
        if (error && random_below(&random, 8) == 0) {
            gyre_detach(handle);
            continue;
        }
        CHECK(!error || result == -1, "a join that failed stored %d", result);
        if (error)
            CHECK(!gyre_join(handle, &result), "not again");
        CHECK(result == i, "%d is not %d", result, i);
    }
    return 0;
}

static int sleepers(void *arg)
{
    struct random random = stress_random();

    (void)arg;
    while (stress_goes_on()) {
        int64_t duration = random_below(&random, 40000), start = gyre_now();
        int error;

        GYRE_CANCELLABLE();
        CHECK(!gyre_go(cancel, gyre_context_current()), "no memory");
        error = gyre_sleep(duration);
        CHECK(error == -ECANCELED || !error, "%d", error);
        CHECK(error || gyre_now() - start >= duration, "early");
    }
    return 0;
}

static int groups(void *arg)
{
    gyre_handle handles[2 * GROUPS];

    (void)arg;
    for (int i = 0; i < 2 * GROUPS; i++)
        CHECK(!gyre_spawn(&handles[i], i % 2 ? group : sleepers, NULL), "no memory");
    for (int i = 0; i < 2 * GROUPS; i++)
        CHECK(!gyre_join(handles[i], NULL), "join");
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run("joins and sleeps", groups);
    printf("%llu joins interrupted, %llu not\n", (unsigned long long)interrupted,
           (unsigned long long)won);
    return 0;
}
