/*
 * A mutex loses no wake-up and lets in one at a time, whoever gives up: coroutines that lock, that
 * lock cancellably in contexts that end at any moment, threads beside them; and an object counted
 * under its own mutex is freed by the last, right after its unlock, without anyone looking at it
 * later (the sanitizers, and the pattern written over it, tell). Those objects begin biased, so
 * that each first wait ends a bias.
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
    CHECK(!(field.mutex.state & GYRE_MUTEX_BUSY_) && !field.mutex.queue.first, "state %x",
          field.mutex.state);
    return 0;
}

/* --- biased -------------------------------------------------------------------------------- */

/* The state of a mutex after many unlocks that woke nobody: where there is a bias, each object
 * begins with it. */
static uint32_t biased;

static void find_bias(void)
{
    gyre_mutex mutex = GYRE_MUTEX_INIT;

    for (int i = 0; i < 1 << 14; i++) {
        gyre_mutex_lock(&mutex);
        gyre_mutex_unlock(&mutex);
    }
    biased = mutex.state;
    CHECK(!(biased & GYRE_MUTEX_BUSY_), "state %x", biased);
}

/* Whoever is inside biases the mutex again, so that unlocks by a plain store meet those who end it.
 */
static void visit_biased(struct field *field, struct random *random)
{
    uint32_t locked = 1;

    CHECK(field->inside++ == 0, "two inside");
    field->sum++;
    for (unsigned i = random_below(random, 8); i; i--)
        cpu_relax();
    CHECK(--field->inside == 0, "two inside");
    __atomic_compare_exchange_n(&field->mutex.state, &locked, locked | biased, false,
                                __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    gyre_mutex_unlock(&field->mutex);
}

static void visit_again_and_again(struct field *field)
{
    struct random random = stress_random();
    int64_t visits = 0;

    while (stress_goes_on()) {
        for (int i = 0; i < 100; i++) {
            gyre_mutex_lock(&field->mutex);
            visit_biased(field, &random);
            visits++;
        }
    }
    atomic_fetch_add(&field->wanted, visits);
}

static int play_biased(void *arg)
{
    visit_again_and_again(arg);
    return 0;
}

static void play_biased_on_thread(void *arg)
{
    visit_again_and_again(arg);
}

static int biased_storm(void *arg)
{
    struct field field = {.sum = 0};
    struct storm storm = {play_biased, 2, play_biased_on_thread, &field, GYRE_WAITGROUP_INIT};

    (void)arg;
    find_bias();
    storm_run(&storm);
    CHECK(field.sum == atomic_load(&field.wanted), "lost");
    CHECK(!(field.mutex.state & GYRE_MUTEX_BUSY_), "state %x", field.mutex.state);
    return 0;
}

/* --- freed by the last --------------------------------------------------------------------- */

enum { HOLDERS = 5 };

struct counted {
    gyre_mutex mutex;
    int references, inside;
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

    for (unsigned i = random_below(&random, 20); i; i--) {
        gyre_mutex_lock(&counted->mutex);
        CHECK(counted->inside++ == 0, "two inside");
        CHECK(--counted->inside == 0, "two inside");
        gyre_mutex_unlock(&counted->mutex);
    }
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
        CHECK(!(counted->mutex.state & GYRE_MUTEX_BUSY_), "state %x", counted->mutex.state);
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

        counted->mutex.state = biased;
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
    stress_run("biased", biased_storm);
    stress_run("freed by the last", last_frees);
    return 0;
}
