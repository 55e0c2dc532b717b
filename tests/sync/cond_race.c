/*
 * A condition loses no signal: each ticket that is put is signalled once, to takers who wait, give
 * up at any moment, or are threads. A signal that were used up by one who gave up would leave a
 * taker asleep beside a ticket, and the watchdog would say so.
 */
#include "../sched/stress.h"

enum { TAKERS = 10, THREADS = 2 };

struct field {
    gyre_mutex mutex;
    gyre_cond cond, room;
    gyre_waitgroup group;
    int tickets, waiting;
    int64_t put, taken, gave_up;
    bool over;
};

/* Under the mutex. */
static void await_ticket(struct field *field, struct random *random, bool parks)
{
    while (!field->tickets && !field->over) {
        int error = 0;

        field->waiting++;
        if (parks && random_below(random, 2)) {
            GYRE_TIMEOUT(random_below(random, 30000));
            error = gyre_cond_wait(&field->cond, &field->mutex);
        } else {
            error = gyre_cond_wait(&field->cond, &field->mutex);
        }
        field->waiting--;
        CHECK(!error || error == -ETIMEDOUT, "%d", error);
        field->gave_up += !!error;
    }
}

static void take(struct field *field, struct random *random, bool parks)
{
    bool over = false;

    while (!over) {
        gyre_mutex_lock(&field->mutex);
        await_ticket(field, random, parks);
        if (field->tickets) {
            field->tickets--;
            field->taken++;
            gyre_cond_signal(&field->room);
        }
        over = field->over && !field->tickets;
        gyre_mutex_unlock(&field->mutex);
        stress_pause(random);
    }
}

static int take_coro(void *arg)
{
    struct random random = stress_random();

    take(arg, &random, true);
    return 0;
}

static void *take_thread(void *arg)
{
    struct field *field = arg;
    struct random random = stress_random();

    take(field, &random, false);
    gyre_waitgroup_done(&field->group);
    return NULL;
}

static int storm(void *arg)
{
    struct random random = stress_random();
    struct field field = {.tickets = 0};
    pthread_t threads[THREADS];

    (void)arg;
    gyre_waitgroup_add(&field.group, THREADS);
    for (int i = 0; i < THREADS; i++)
        threads[i] = race_thread(take_thread, &field);
    for (int i = 0; i < TAKERS; i++)
        CHECK(!gyre_waitgroup_go(&field.group, take_coro, &field), "no memory");
    while (stress_goes_on()) {
        gyre_mutex_lock(&field.mutex);
        /* Empty at times, so that all depends on the signals. */
        while (field.tickets >= 3)
            CHECK(!gyre_cond_wait(&field.room, &field.mutex), "interrupted");
        field.tickets++;
        field.put++;
        if (random_below(&random, 2)) {
            gyre_cond_signal(&field.cond);
            gyre_mutex_unlock(&field.mutex);
        } else {
            gyre_mutex_unlock(&field.mutex);
            gyre_cond_signal(&field.cond);
        }
        stress_pause(&random);
    }
    gyre_mutex_lock(&field.mutex);
    field.over = true;
    gyre_cond_broadcast(&field.cond);
    gyre_mutex_unlock(&field.mutex);
    CHECK(!gyre_waitgroup_wait(&field.group), "interrupted");
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(field.put == field.taken && !field.cond.count, "%ld put, %ld taken", (long)field.put,
          (long)field.taken);
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run("storm", storm);
    return 0;
}
