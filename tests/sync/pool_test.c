/* gyre_pool: what is kept, stolen, dropped, and when. */
#include "../sched/inside.h"

#include <gyre/pool.h>

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* Time goes on when the tests say so. */
int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
static atomic_int seconds_ahead;

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    int error = __real_clock_gettime(clock, time);

    time->tv_sec += atomic_load(&seconds_ahead);
    return error;
}

static atomic_int made, dropped;

static void *make(void *arg)
{
    (void)arg;
    atomic_fetch_add(&made, 1);
    return malloc(1);
}

static void drop(void *object)
{
    atomic_fetch_add(&dropped, 1);
    free(object);
}

static struct gyre_pool *new_pool(unsigned limit)
{
    struct gyre_pool_options options = GYRE_POOL_OPTIONS_INIT;
    struct gyre_pool *pool = NULL;

    options.make = make;
    options.drop = drop;
    options.limit = limit;
    atomic_store(&made, 0);
    atomic_store(&dropped, 0);
    EXPECT_EQ(gyre_pool_create(&pool, &options), 0);
    return pool;
}

INSIDE(pool, keeps_what_is_put)
{
    struct gyre_pool *pool = new_pool(0);
    void *first = gyre_pool_get(pool), *second = gyre_pool_get(pool);

    gyre_pool_put(pool, NULL);
    gyre_pool_put(pool, first);
    gyre_pool_put(pool, second);
    EXPECT(gyre_pool_get(pool) == second);
    EXPECT(gyre_pool_get(pool) == first);
    EXPECT_EQ(atomic_load(&made), 2);
    gyre_pool_put(pool, first);
    gyre_pool_put(pool, second);
    gyre_pool_destroy(pool);
    EXPECT_EQ(atomic_load(&dropped), 2);
    gyre_pool_destroy(NULL);
    return 0;
}

INSIDE(pool, options_are_checked)
{
    struct gyre_pool_options options = GYRE_POOL_OPTIONS_INIT;
    struct gyre_pool *pool = NULL;

    options.size = 1;
    EXPECT_EQ(gyre_pool_create(&pool, &options), -EINVAL);
    EXPECT(!pool);
    options.size = sizeof options;
    EXPECT_EQ(gyre_pool_create(&pool, &options), 0);
    EXPECT(!gyre_pool_get(pool));
    gyre_pool_put(pool, pool);
    EXPECT(gyre_pool_get(pool) == pool);
    gyre_pool_destroy(pool);
    EXPECT_EQ(gyre_pool_create(&pool, NULL), 0);
    EXPECT(!gyre_pool_get(pool));
    gyre_pool_destroy(pool);
    return 0;
}

INSIDE(pool, a_full_cache_drops)
{
    struct gyre_pool *pool = new_pool(5);
    void *objects[8];

    for (int i = 0; i < 8; i++)
        objects[i] = gyre_pool_get(pool);
    for (int i = 0; i < 8; i++)
        gyre_pool_put(pool, objects[i]);
    EXPECT_EQ(atomic_load(&dropped), 3);
    EXPECT_EQ(gyre_pool_trim(pool), 5);
    EXPECT_EQ(gyre_pool_trim(pool), 0);
    EXPECT_EQ(atomic_load(&dropped), 8);
    gyre_pool_destroy(pool);
    return 0;
}

struct task {
    struct gyre_pool *pool;
    void *object;
};

static int put_given(void *arg)
{
    struct task *task = arg;

    gyre_pool_put(task->pool, task->object);
    return 0;
}

static int take_all(void *arg)
{
    struct task *task = arg;

    for (int i = 0; i < 6; i++) {
        void *object = gyre_pool_get(task->pool);

        EXPECT_EQ(atomic_load(&made), 6);
        free(object);
    }
    return 0;
}

static int run_on(unsigned worker, gyre_fn fn, void *arg)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handle;

    options.flags = GYRE_SPAWN_PINNED;
    options.worker = worker + 1;
    EXPECT_EQ(gyre_spawn_options(&handle, fn, arg, &options), 0);
    return gyre_join(handle, NULL);
}

/* Holes that thieves leave are found, passed over and filled again. */
INSIDE(pool, what_others_put_is_found)
{
    struct gyre_pool *pool = new_pool(6);
    void *objects[6];

    for (int round = 0; round < 3; round++) {
        atomic_store(&made, 0);
        for (unsigned i = 0; i < 6; i++)
            objects[i] = gyre_pool_get(pool);
        for (unsigned i = 0; i < 6; i++) {
            struct task task = {pool, objects[i]};

            EXPECT_EQ(run_on(i % gyre_worker_count(), put_given, &task), 0);
        }
        EXPECT_EQ(run_on(gyre_worker_count() - 1, take_all, &(struct task){pool, NULL}), 0);
    }
    EXPECT_EQ(atomic_load(&dropped), 0);
    gyre_pool_destroy(pool);
    return 0;
}

static int old_ones(void *arg)
{
    struct gyre_pool *pool = arg;
    void *objects[4];

    for (int i = 0; i < 4; i++)
        objects[i] = gyre_pool_get(pool);
    gyre_pool_put(pool, objects[0]);
    gyre_pool_put(pool, objects[1]);
    atomic_fetch_add(&seconds_ahead, 2);
    gyre_yield(); /* so that the pool looks at the clock */
    gyre_pool_put(pool, objects[2]);
    EXPECT_EQ(atomic_load(&dropped), 2);
    gyre_yield();
    gyre_pool_put(pool, objects[3]);
    EXPECT_EQ(atomic_load(&dropped), 2);
    atomic_fetch_add(&seconds_ahead, 2);
    for (int i = 0; i < 32; i++) /* or at the 32nd call */
        gyre_pool_put(pool, gyre_pool_get(pool));
    EXPECT_EQ(atomic_load(&dropped), 3); /* the one at the top is in use */
    EXPECT_EQ(gyre_pool_trim(pool), 1);
    return 0;
}

INSIDE(pool, what_nobody_takes_is_dropped)
{
    struct gyre_pool *pool = new_pool(0);

    run_on(0, old_ones, pool);
    gyre_pool_destroy(pool);
    return 0;
}

static void *put_on_thread(void *arg)
{
    struct task *task = arg;

    for (int i = 0; i < 4; i++)
        gyre_pool_put(task->pool, malloc(1));
    atomic_fetch_add(&seconds_ahead, 2);
    gyre_pool_put(task->pool, task->object);
    task->pool = NULL;
    return NULL;
}

INSIDE(pool, a_thread_may_put)
{
    struct gyre_pool *pool = new_pool(3);
    struct task task = {pool, make(NULL)};
    pthread_t thread;

    pthread_create(&thread, NULL, put_on_thread, &task);
    pthread_join(thread, NULL);
    EXPECT_EQ(atomic_load(&dropped), 4); /* one too many, and three that were old */
    EXPECT(gyre_pool_get(pool) == task.object);
    free(task.object);
    gyre_pool_destroy(pool);
    return 0;
}
