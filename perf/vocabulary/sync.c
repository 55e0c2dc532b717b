/* sync.c - locks and their like, all but one without anybody else wanting them. */
#include "vocabulary.h"

#include <errno.h>
#include <stdlib.h>

enum { CONTENDERS = 8, MEMBERS = 100 };

static int mutexes(long n)
{
    gyre_mutex mutex = GYRE_MUTEX_INIT;

    for (long i = 0; i < n; i++) {
        gyre_mutex_lock(&mutex);
        gyre_mutex_unlock(&mutex);
    }
    return 0;
}

/* What the contenders fight for: all is guarded by the mutex. */
struct contest {
    gyre_mutex mutex;
    long left;
    long samples[2]; /* on which worker the holder was */
    long taken[CONTENDERS];
    int ended;
};

static int contend(void *arg)
{
    struct contest *c = arg;
    long mine = 0;

    for (;;) {
        gyre_mutex_lock(&c->mutex);
        if (c->left == 0) {
            c->taken[c->ended++] = mine;
            gyre_mutex_unlock(&c->mutex);
            return 0;
        }
        if (c->left % SAMPLE_EVERY == 0)
            c->samples[gyre_worker_index()]++;
        c->left--;
        gyre_mutex_unlock(&c->mutex);
        mine++;
    }
}

static int contended(long n)
{
    struct contest c = {.mutex = GYRE_MUTEX_INIT, .left = n};
    gyre_handle handles[CONTENDERS];
    long least = n, most = 0, few;

    for (int i = 0; i < CONTENDERS; i++) {
        int error = gyre_spawn(&handles[i], contend, &c);

        if (error)
            return error;
    }
    for (int i = 0; i < CONTENDERS; i++)
        gyre_join(handles[i], NULL);
    for (int i = 0; i < CONTENDERS; i++) {
        least = c.taken[i] < least ? c.taken[i] : least;
        most = c.taken[i] > most ? c.taken[i] : most;
    }
    figure("fairness", (double)most / (double)(least + 1));
    few = c.samples[0] < c.samples[1] ? c.samples[0] : c.samples[1];
    figure("both", 2 * (double)few / (double)(c.samples[0] + c.samples[1] + 1));
    return 0;
}

static int read_locks(long n)
{
    gyre_rwmutex mutex = GYRE_RWMUTEX_INIT;

    for (long i = 0; i < n; i++) {
        gyre_rwmutex_rlock(&mutex);
        gyre_rwmutex_runlock(&mutex);
    }
    return 0;
}

static int waitgroups(long n)
{
    gyre_waitgroup group = GYRE_WAITGROUP_INIT;

    for (long i = 0; i < n; i++) {
        gyre_waitgroup_add(&group, 1);
        gyre_waitgroup_done(&group);
    }
    return 0;
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int onces(long n)
{
    gyre_once once = GYRE_ONCE_INIT;
    int error = 0;

    for (long i = 0; i < n && !error; i++)
        error = gyre_once_do(&once, nothing, NULL);
    return error;
}

static void *make_object(void *arg)
{
    (void)arg;
    return malloc(1024);
}

static int pools(long n)
{
    struct gyre_pool_options options = GYRE_POOL_OPTIONS_INIT;
    struct gyre_pool *pool;
    int error;

    options.make = make_object;
    options.drop = free;
    error = gyre_pool_create(&pool, &options);
    if (error)
        return error;
    for (long i = 0; i < n; i++)
        gyre_pool_put(pool, gyre_pool_get(pool));
    gyre_pool_destroy(pool);
    return 0;
}

static int signals(long n)
{
    gyre_cond cond = GYRE_COND_INIT;

    for (long i = 0; i < n; i++)
        gyre_cond_signal(&cond);
    return 0;
}

static int semaphores(long n)
{
    gyre_semaphore semaphore = GYRE_SEMAPHORE_INIT(3);
    int error = 0;

    for (long i = 0; i < n && !error; i++) {
        error = gyre_semaphore_acquire(&semaphore, 1);
        if (!error)
            gyre_semaphore_release(&semaphore, 1);
    }
    return error;
}

/* Groups of a hundred members. */
static int members(long n)
{
    for (; n > 0; n -= MEMBERS) {
        GYRE_GROUP(group);
        int error;

        for (int i = 0; i < MEMBERS; i++)
            gyre_group_go(&group, nothing, NULL);
        error = gyre_group_wait(&group);
        if (error)
            return error;
    }
    return 0;
}

const struct work sync_works[] = {
    {"mutex", 1, 1, mutexes, NULL, NULL},
    {"mutex_contended", 2, 1, contended, NULL, NULL},
    {"rwmutex_read", 1, 1, read_locks, NULL, NULL},
    {"waitgroup", 1, 1, waitgroups, NULL, NULL},
    {"once", 1, 1, onces, NULL, NULL},
    {"pool", 1, 1, pools, NULL, NULL},
    {"cond_signal", 1, 1, signals, NULL, NULL},
    {"semaphore", 1, 1, semaphores, NULL, NULL},
    {"group_member", 1, 1, members, NULL, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};
