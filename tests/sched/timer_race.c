/*
 * Threads start and stop their timers while two others expire the wheel, as when a worker serves
 * one that is stuck. A stop that says true is never followed by a fire; one that says false is
 * followed (or was preceded) by exactly one; nothing fires early; nothing is left. Windows aimed
 * at: a stop at the very deadline, a stop of a timer that waits in the due list, callbacks that
 * restart their own timer, and the cascade.
 */
#include "race.h"

#include "sched/timer.h"

enum { USERS = 3, EXPIRERS = 2, TIMERS = 64 };

struct alarm {
    struct timer timer;
    atomic_uint fired; /* How often, since the start. */
    atomic_int again;  /* How often its callback is still to restart it. */

    /* The user's own. */
    int64_t deadline;
    bool started, restarts;
};

struct user {
    struct random random;
    struct alarm alarms[TIMERS];
};

static struct timers wheel;
static struct user users[USERS];
static atomic_uint users_left = USERS;

static void fire(struct timer *timer)
{
    struct alarm *alarm = container_of(timer, struct alarm, timer);

    CHECK(clock_now() >= timer->deadline, "early");
    if (atomic_load_explicit(&alarm->again, memory_order_relaxed) > 0) {
        atomic_fetch_sub_explicit(&alarm->again, 1, memory_order_relaxed);
        gyre_wheel_start(&wheel, timer, clock_now());
        return;
    }
    /* Release: with the user's acquire; the last touch. */
    atomic_fetch_add_explicit(&alarm->fired, 1, memory_order_release);
}

static void *expirer(void *unused)
{
    (void)unused;
    while (atomic_load_explicit(&users_left, memory_order_acquire)) {
        gyre_timers_expire(&wheel, clock_now());
        sched_yield();
    }
    return 0;
}

static int64_t some_delay(struct random *random)
{
    /* Mostly about as long as a timer's turn comes again; some long ones, for the cascade. */
    return (int64_t)(random_next(random) >> (40 + random_below(random, 24))) - 1000;
}

/* Ends its run, and how it ended is what stop says. */
static void end(struct alarm *alarm, struct random *random)
{
    int64_t deadline = alarm->deadline;

    /* Half the time, wait for the very deadline. */
    if (deadline - clock_now() < 100000 && random_below(random, 2))
        while (clock_now() < deadline)
            cpu_relax();
    /* A start, here by its own callback, and a stop must not meet. */
    while (alarm->restarts && !atomic_load_explicit(&alarm->fired, memory_order_acquire))
        sched_yield();
    if (gyre_wheel_stop(&alarm->timer))
        CHECK(!atomic_load(&alarm->fired), "fired and stopped");
    else /* Its callback runs right now, or has run. */
        while (!atomic_load_explicit(&alarm->fired, memory_order_acquire))
            sched_yield();
    CHECK(atomic_load(&alarm->fired) <= 1, "fired twice");
    alarm->started = false;
}

static void begin(struct alarm *alarm, struct random *random)
{
    int64_t delay = some_delay(random);

    alarm->restarts = delay < 100000 && !random_below(random, 8);
    alarm->deadline = clock_now() + delay;
    alarm->started = true;
    atomic_store(&alarm->again, alarm->restarts ? 3 : 0);
    atomic_store(&alarm->fired, 0);
    gyre_wheel_start(&wheel, &alarm->timer, alarm->deadline);
}

static void *user(void *argument)
{
    struct user *self = argument;
    struct alarm *alarm;

    while (race_goes_on()) {
        alarm = &self->alarms[random_below(&self->random, TIMERS)];
        if (alarm->started)
            end(alarm, &self->random);
        else
            begin(alarm, &self->random);
    }
    for (unsigned i = 0; i < TIMERS; i++)
        if (self->alarms[i].started)
            end(&self->alarms[i], &self->random);
    /* Release: with the expirers' acquire. */
    atomic_fetch_sub_explicit(&users_left, 1, memory_order_release);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t seed = race_begin(argc, argv);
    pthread_t threads[USERS + EXPIRERS];

    gyre_timers_init(&wheel, clock_now());
    for (unsigned i = 0; i < USERS; i++) {
        users[i].random.state = seed + i;
        for (unsigned j = 0; j < TIMERS; j++)
            users[i].alarms[j].timer.fire = fire;
        threads[i] = race_thread(user, &users[i]);
    }
    for (unsigned i = 0; i < EXPIRERS; i++)
        threads[USERS + i] = race_thread(expirer, 0);
    for (unsigned i = 0; i < USERS + EXPIRERS; i++)
        pthread_join(threads[i], 0);
    CHECK(!wheel.levels && list_empty(&wheel.due) && timers_next(&wheel) == INT64_MAX,
          "something is left");
    return 0;
}
