/*
 * A pool hands out each object to one at a time, and loses none: get, put, trim by coroutines on
 * all workers, and by threads.
 */
#include "storm.h"

#include <gyre/pool.h>

enum { COROS = 10, HELD = 4 };

struct object {
    _Atomic(int) owners;
    int64_t uses; /* the owner's */
};

static _Atomic(int64_t) made, dropped;

static void *make(void *arg)
{
    (void)arg;
    atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
    return calloc(1, sizeof(struct object));
}

static void drop(void *arg)
{
    struct object *object = arg;

    CHECK(!atomic_fetch_add(&object->owners, 1), "dropped in use");
    atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
    free(object);
}

struct field {
    struct gyre_pool *pool;
};

static int play(void *arg)
{
    struct field *field = arg;
    struct random random = stress_random();

    while (stress_goes_on()) {
        struct object *held[HELD];
        unsigned count = 1 + random_below(&random, HELD);

        for (unsigned i = 0; i < count; i++) {
            held[i] = gyre_pool_get(field->pool);
            CHECK(!atomic_fetch_add_explicit(&held[i]->owners, 1, memory_order_relaxed), "twice");
            held[i]->uses++;
        }
        if (random_below(&random, 2))
            gyre_yield();
        for (unsigned i = 0; i < count; i++) {
            atomic_fetch_sub_explicit(&held[i]->owners, 1, memory_order_relaxed);
            gyre_pool_put(field->pool, held[i]);
        }
        if (!random_below(&random, 64))
            gyre_pool_trim(field->pool);
    }
    return 0;
}

static void play_on_thread(void *arg)
{
    struct field *field = arg;
    struct random random = stress_random();

    while (stress_goes_on()) {
        if (random_below(&random, 4))
            gyre_pool_put(field->pool, make(NULL));
        else
            gyre_pool_trim(field->pool);
        stress_pause(&random);
    }
}

static int storm(void *arg)
{
    struct gyre_pool_options options = GYRE_POOL_OPTIONS_INIT;
    struct field field = {.pool = NULL};
    struct storm storm = {play, COROS, play_on_thread, &field, GYRE_WAITGROUP_INIT};

    (void)arg;
    options.make = make;
    options.drop = drop;
    options.limit = 6;
    CHECK(!gyre_pool_create(&field.pool, &options), "no memory");
    storm_run(&storm);
    gyre_pool_destroy(field.pool);
    CHECK(atomic_load(&made) == atomic_load(&dropped), "lost");
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run("storm", storm);
    return 0;
}
