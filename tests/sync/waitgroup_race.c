/*
 * A wait group on the stack of who waits: the last done is over with it when wait returns, by
 * coroutines and threads, with waiters whose contexts end just then; and the one that is
 * interrupted as it is woken. The pattern written over it tells who touches it later.
 */
#include "../sched/stress.h"

#include <string.h>

struct round {
    gyre_waitgroup *group;
    _Atomic(int) ended;
};

static int end(void *arg)
{
    struct round *round = arg;
    struct random random = stress_random();

    stress_pause(&random);
    atomic_fetch_add_explicit(&round->ended, 1, memory_order_relaxed);
    return 0;
}

static int done_by_hand(void *arg)
{
    struct round *round = arg;

    end(round);
    gyre_waitgroup_done(round->group);
    return 0;
}

static void *done_on_thread(void *arg)
{
    struct round *round = arg;
    gyre_waitgroup *group = round->group;

    end(round);
    gyre_waitgroup_done(group);
    return NULL;
}

static int wait_in_time(gyre_waitgroup *group, struct random *random)
{
    GYRE_TIMEOUT(random_below(random, 20000));
    return gyre_waitgroup_wait(group);
}

static void once_round(struct random *random, struct round *round, gyre_waitgroup *group)
{
    int count = 1 + (int)random_below(random, 6), error;
    bool threaded = !random_below(random, 16);
    pthread_t thread = 0;

    memset(group, 0, sizeof *group);
    round->group = group;
    atomic_store(&round->ended, 0);
    for (int i = 0; i < count; i++) {
        if (random_below(random, 2)) {
            CHECK(!gyre_waitgroup_go(group, end, round), "no memory");
        } else {
            gyre_waitgroup_add(group, 1);
            CHECK(!gyre_go(done_by_hand, round), "no memory");
        }
    }
    if (threaded) {
        gyre_waitgroup_add(group, 1);
        thread = race_thread(done_on_thread, round);
    }
    do {
        error = random_below(random, 4) ? wait_in_time(group, random) : gyre_waitgroup_wait(group);
        CHECK(!error || error == -ETIMEDOUT, "%d", error);
    } while (error);
    CHECK(atomic_load(&round->ended) == count + threaded, "too early");
    memset(group, 0x5a, sizeof *group);
    stress_pause(random);
    for (size_t i = 0; i < sizeof *group; i++)
        CHECK(((unsigned char *)group)[i] == 0x5a, "touched after wait returned");
    if (threaded)
        pthread_join(thread, NULL);
}

static int play(void *arg)
{
    struct random random = stress_random();
    struct round round = {.group = NULL};
    gyre_waitgroup group;

    (void)arg;
    while (stress_goes_on())
        once_round(&random, &round, &group);
    return 0;
}

static int storm(void *arg)
{
    gyre_waitgroup group = GYRE_WAITGROUP_INIT;

    (void)arg;
    for (int i = 0; i < 5; i++)
        CHECK(!gyre_waitgroup_go(&group, play, NULL), "no memory");
    CHECK(!gyre_waitgroup_wait(&group), "interrupted");
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run("storm", storm);
    return 0;
}
