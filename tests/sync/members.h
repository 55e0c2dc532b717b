/* What the members of groups do in tests, and what they leave behind to be looked at. */
#ifndef GYRE_TESTS_SYNC_MEMBERS_H
#define GYRE_TESTS_SYNC_MEMBERS_H

#include "../sched/inside.h"

#include <gyre/group.h>

static atomic_int ran, cancelled, gate, inside, most_inside;

static inline void reset(void)
{
    atomic_store(&ran, 0);
    atomic_store(&cancelled, 0);
    atomic_store(&gate, 0);
    atomic_store(&inside, 0);
    atomic_store(&most_inside, 0);
}

static inline int run(void *arg)
{
    (void)arg;
    gyre_yield();
    atomic_fetch_add(&ran, 1);
    return 0;
}

static inline int return_it(void *arg)
{
    atomic_fetch_add(&ran, 1);
    return (int)(intptr_t)arg;
}

static inline int sleep_for_ever(void *arg)
{
    int error = gyre_sleep(INT64_MAX);

    (void)arg;
    atomic_fetch_add(&ran, 1);
    atomic_fetch_add(&cancelled, error == -ECANCELED);
    return error;
}

static inline int sleep_a_little(void *arg)
{
    int error = gyre_sleep(2 * GYRE_MILLISECOND);

    (void)arg;
    atomic_fetch_add(&ran, 1);
    atomic_fetch_add(&cancelled, error != 0);
    return error;
}

static inline int await_gate(void *arg)
{
    GYRE_SHIELD();

    atomic_fetch_add(&ran, 1);
    await_flag(&gate, (int)(intptr_t)arg);
    return 0;
}

static inline int be_counted(void *arg)
{
    int now = atomic_fetch_add(&inside, 1) + 1, most = atomic_load(&most_inside);

    while (now > most && !atomic_compare_exchange_weak(&most_inside, &most, now))
        ;
    for (int i = 0; i < 3; i++)
        gyre_yield();
    atomic_fetch_sub(&inside, 1);
    atomic_fetch_add(&ran, 1);
    return arg ? -EIO : 0;
}

#endif
