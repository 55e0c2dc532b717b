/*
 * A reader-writer mutex: a writer is alone, nobody is forgotten, whoever gives up; coroutines,
 * contexts that end at any moment, threads.
 */
#include "storm.h"

enum { COROS = 12 };

struct field {
    gyre_rwmutex mutex;
    int64_t sum, twice; /* guarded; twice the sum whenever nobody writes */
    _Atomic(int64_t) written;
    _Atomic(int) readers;
};

static void read_field(struct field *field, struct random *random, bool parks)
{
    atomic_fetch_add_explicit(&field->readers, 1, memory_order_relaxed);
    CHECK(field->twice == 2 * field->sum, "half written");
    if (parks && !random_below(random, 8))
        gyre_yield();
    CHECK(field->twice == 2 * field->sum, "half written");
    atomic_fetch_sub_explicit(&field->readers, 1, memory_order_relaxed);
    gyre_rwmutex_runlock(&field->mutex);
}

static void write_field(struct field *field, struct random *random, bool parks)
{
    CHECK(!atomic_load_explicit(&field->readers, memory_order_relaxed), "a reader inside");
    field->sum++;
    if (parks && !random_below(random, 4))
        gyre_yield();
    field->twice += 2;
    atomic_fetch_add_explicit(&field->written, 1, memory_order_relaxed);
    gyre_rwmutex_unlock(&field->mutex);
}

static void play_cancellable(struct field *field, struct random *random, bool writes)
{
    int error;

    {
        GYRE_TIMEOUT(random_below(random, 30000));
        error = writes ? gyre_rwmutex_lock_cancellable(&field->mutex)
                       : gyre_rwmutex_rlock_cancellable(&field->mutex);
    }
    CHECK(!error || error == -ETIMEDOUT, "%d", error);
    if (error)
        return;
    if (writes)
        write_field(field, random, true);
    else
        read_field(field, random, true);
}

static void play_plain(struct field *field, struct random *random, bool writes, bool parks)
{
    if (writes) {
        gyre_rwmutex_lock(&field->mutex);
        write_field(field, random, parks);
    } else {
        gyre_rwmutex_rlock(&field->mutex);
        read_field(field, random, parks);
    }
}

static void play_try(struct field *field, struct random *random, bool writes, bool parks)
{
    if (writes && gyre_rwmutex_try_lock(&field->mutex))
        write_field(field, random, parks);
    else if (!writes && gyre_rwmutex_try_rlock(&field->mutex))
        read_field(field, random, parks);
}

static int play(void *arg)
{
    struct field *field = arg;
    struct random random = stress_random();

    while (stress_goes_on()) {
        bool writes = !random_below(&random, 4);

        if (random_below(&random, 2))
            play_cancellable(field, &random, writes);
        else if (random_below(&random, 4))
            play_plain(field, &random, writes, true);
        else
            play_try(field, &random, writes, true);
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
        bool writes = !random_below(&random, 4);

        if (random_below(&random, 4))
            play_plain(field, &random, writes, false);
        else
            play_try(field, &random, writes, false);
        stress_pause(&random);
    }
}

static int storm(void *arg)
{
    struct field field = {.sum = 0};
    struct storm storm = {play, COROS, play_on_thread, &field, GYRE_WAITGROUP_INIT};

    (void)arg;
    storm_run(&storm);
    CHECK(field.sum == atomic_load(&field.written), "lost");
    CHECK(field.mutex.state == 0, "state %x", field.mutex.state);
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run("storm", storm);
    return 0;
}
