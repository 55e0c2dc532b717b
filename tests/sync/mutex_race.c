/*
 * A mutex loses no wake-up and lets in one at a time, whoever gives up: coroutines that lock, that
 * lock cancellably in contexts that end at any moment, threads beside them; and an object counted
 * under its own mutex is freed by the last, right after its unlock, without anyone looking at it
 * later (the sanitizers, and the pattern written over it, tell).
 */
#include "storm.h"

#include <string.h>

enum { COROS = 12 };

struct field {
    gyre_mutex mutex;
    int64_t inside, sum;
    _Atomic(int64_t) wanted;
};

static void visit(struct field *field, struct random *random, bool parks)
{
    CHECK(field->inside++ == 0, "two inside");
    field->sum++;
    if (parks && !random_below(random, 8))
        gyre_yield();
    else if (!random_below(random, 4))
        stress_pause(random);
    CHECK(--field->inside == 0, "two inside");
    atomic_fetch_add_explicit(&field->wanted, 1, memory_order_relaxed);
    gyre_mutex_unlock(&field->mutex);
}

static bool get(struct field *field, struct random *random)
{
    if (random_below(random, 2)) {
        GYRE_TIMEOUT(random_below(random, 30000));
        int error = gyre_mutex_lock_cancellable(&field->mutex);

        CHECK(!error || error == -ETIMEDOUT, "%d", error);
        return !error;
    }
    if (!random_below(random, 4))
        return gyre_mutex_try_lock(&field->mutex);
    gyre_mutex_lock(&field->mutex);
    return true;
}

static int play(void *arg)
{
    struct field *field = arg;
    struct random random = stress_random();

    while (stress_goes_on()) {
        if (get(field, &random))
            visit(field, &random, true);
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
        if (random_below(&random, 4)) {
            gyre_mutex_lock(&field->mutex);
            visit(field, &random, false);
        } else if (gyre_mutex_try_lock(&field->mutex)) {
            visit(field, &random, false);
        }
        stress_pause(&random);
    }
}

static int storm(void *arg)
{
    struct field field = {.sum = 0};
    struct storm storm = {play, COROS, play_on_thread, &field, GYRE_WAITGROUP_INIT};

    (void)arg;
    storm_run(&storm);
    CHECK(field.sum == atomic_load(&field.wanted), "lost");
    CHECK(field.mutex.state == 0 && !field.mutex.queue.first, "state %x", field.mutex.state);
    return 0;
}

/* --- freed by the last --------------------------------------------------------------------- */

enum { HOLDERS = 5 };

struct counted {
    gyre_mutex mutex;
    int references;
};

struct holder {
    struct counted *counted;
    gyre_waitgroup *group;
};

static int let_go(void *arg)
{
    struct holder *holder = arg;
    struct counted *counted = holder->counted;
    struct random random = stress_random();
    bool last;

    if (!gyre_coro_id() || random_below(&random, 3)) {
        gyre_mutex_lock(&counted->mutex);
    } else {
        GYRE_TIMEOUT(random_below(&random, 5000));
        if (gyre_mutex_lock_cancellable(&counted->mutex))
            gyre_mutex_lock(&counted->mutex);
    }
    if (!random_below(&random, 4))
        stress_pause(&random);
    last = --counted->references == 0;
    gyre_mutex_unlock(&counted->mutex);
    if (last) {
        CHECK(counted->mutex.state == 0, "state %x", counted->mutex.state);
        memset(counted, 0x5a, sizeof *counted);
        for (unsigned i = random_below(&random, 100); i; i--)
            cpu_relax();
        for (size_t i = 0; i < sizeof *counted; i++)
            CHECK(((unsigned char *)counted)[i] == 0x5a, "touched after the last unlock");
        free(counted);
    }
    return 0;
}

static void *let_go_on_thread(void *arg)
{
    struct holder *holder = arg;
    gyre_waitgroup *group = holder->group;

    let_go(holder);
    gyre_waitgroup_done(group);
    return NULL;
}

static int last_frees(void *arg)
{
    (void)arg;
    while (stress_goes_on()) {
        struct counted *counted = calloc(1, sizeof *counted);
        gyre_waitgroup group = GYRE_WAITGROUP_INIT;
        struct holder holder = {counted, &group};
        pthread_t thread;

        counted->references = HOLDERS + 1;
        for (int i = 0; i < HOLDERS; i++)
            CHECK(!gyre_waitgroup_go_copy(&group, let_go, &holder, sizeof holder), "no memory");
        gyre_waitgroup_add(&group, 1);
        thread = race_thread(let_go_on_thread, &holder);
        CHECK(!gyre_waitgroup_wait(&group), "interrupted");
        pthread_join(thread, NULL);
    }
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run("storm", storm);
    stress_run("freed by the last", last_frees);
    return 0;
}
