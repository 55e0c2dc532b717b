/* For race programs: many coroutines and a few threads at one object, until the slice is over. */
#ifndef GYRE_TESTS_SYNC_STORM_H
#define GYRE_TESTS_SYNC_STORM_H

#include "../sched/stress.h"

/* A player goes on while stress_goes_on(). */
struct storm {
    int (*play)(void *arg); /* in coroutines */
    int coros;
    void (*play_on_thread)(void *arg);
    void *arg;
    gyre_waitgroup group;
};

enum { STORM_THREADS = 2 };

static inline void *storm_thread(void *arg)
{
    struct storm *storm = arg;

    storm->play_on_thread(storm->arg);
    gyre_waitgroup_done(&storm->group);
    return NULL;
}

/* Returns when all have ended. */
static inline void storm_run(struct storm *storm)
{
    pthread_t threads[STORM_THREADS];

    gyre_waitgroup_add(&storm->group, STORM_THREADS);
    for (int i = 0; i < STORM_THREADS; i++)
        threads[i] = race_thread(storm_thread, storm);
    for (int i = 0; i < storm->coros; i++)
        CHECK(!gyre_waitgroup_go(&storm->group, storm->play, storm->arg), "no memory");
    CHECK(!gyre_waitgroup_wait(&storm->group), "interrupted");
    for (int i = 0; i < STORM_THREADS; i++)
        pthread_join(threads[i], NULL);
}

#endif
