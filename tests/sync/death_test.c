/* What sync objects panic about: the exact lines, in a child each. */
#include "../sched/inside.h"

#include "../coro/child.h"

#include <gyre/pool.h>

static int unlock_mutex(void *arg)
{
    gyre_mutex mutex = GYRE_MUTEX_INIT;

    (void)arg;
    gyre_mutex_lock(&mutex);
    gyre_mutex_unlock(&mutex);
    gyre_mutex_unlock(&mutex);
    return 0;
}

static int unlock_rwmutex(void *arg)
{
    gyre_rwmutex mutex = GYRE_RWMUTEX_INIT;

    (void)arg;
    gyre_rwmutex_rlock(&mutex);
    gyre_rwmutex_unlock(&mutex);
    return 0;
}

static int runlock_rwmutex(void *arg)
{
    gyre_rwmutex mutex = GYRE_RWMUTEX_INIT;

    (void)arg;
    gyre_rwmutex_lock(&mutex);
    gyre_rwmutex_runlock(&mutex);
    return 0;
}

static int too_many_readers(void *arg)
{
    gyre_rwmutex mutex = GYRE_RWMUTEX_INIT;

    (void)arg;
    mutex.state = 1 << 29;
    gyre_rwmutex_rlock(&mutex);
    return 0;
}

static int done_too_often(void *arg)
{
    gyre_waitgroup group = GYRE_WAITGROUP_INIT;

    (void)arg;
    gyre_waitgroup_add(&group, 1);
    gyre_waitgroup_add(&group, -2);
    return 0;
}

static int add_too_many(void *arg)
{
    gyre_waitgroup group = GYRE_WAITGROUP_INIT;

    (void)arg;
    gyre_waitgroup_add(&group, INT32_MAX);
    gyre_waitgroup_add(&group, 1);
    return 0;
}

static int release_too_much(void *arg)
{
    gyre_semaphore semaphore = GYRE_SEMAPHORE_INIT(3);

    (void)arg;
    (void)!gyre_semaphore_acquire(&semaphore, 1);
    gyre_semaphore_release(&semaphore, 2);
    return 0;
}

static int release_less_than_nothing(void *arg)
{
    gyre_semaphore semaphore = GYRE_SEMAPHORE_INIT(3);

    (void)arg;
    gyre_semaphore_release(&semaphore, -1);
    return 0;
}

static gyre_once once;

static int call_again(void *arg)
{
    return gyre_once_do(&once, call_again, arg);
}

static void *make_again(void *arg)
{
    return gyre_once_value(&once, make_again, arg);
}

static int value_again(void *arg)
{
    gyre_once_value(&once, make_again, arg);
    return 0;
}

/* --- the parent ----------------------------------------------------------------------------- */

static struct child child;
static gyre_fn child_main;

static void run_main(void)
{
    run_with_workers(2, child_main, NULL);
}

static void run_plain(void)
{
    child_main(NULL);
}

static void died_with(const char *line, const char *coroutine)
{
    char wanted[200];

    snprintf(wanted, sizeof wanted, "gyre: panic: %s\n%s    ", line, coroutine);
    cr_assert_eq(child.status, -SIGABRT, "status %d: %s", child.status, child.output);
    cr_assert_eq(strncmp(child.output, wanted, strlen(wanted)), 0, "%s", child.output);
}

/* In a coroutine, and on a thread without a runtime. */
#define PANICS(name, fn, line)                                                                     \
    Test(sync_death, name)                                                                         \
    {                                                                                              \
        child_main = fn;                                                                           \
        child_run(&child, run_main);                                                               \
        died_with(line, "  coroutine 1 \"main\", started at gyre_run\n");                          \
        child_run(&child, run_plain);                                                              \
        died_with(line, "");                                                                       \
    }

PANICS(unlocked_mutex, unlock_mutex, "unlock of unlocked mutex")
PANICS(unlocked_rwmutex, unlock_rwmutex, "unlock of unlocked rwmutex")
PANICS(runlocked_rwmutex, runlock_rwmutex, "runlock of unlocked rwmutex")
PANICS(readers, too_many_readers, "more than 536870912 readers of a gyre_rwmutex")
PANICS(negative_waitgroup, done_too_often, "negative gyre_waitgroup counter")
PANICS(huge_waitgroup, add_too_many, "gyre_waitgroup counter exceeds 2147483647")
PANICS(semaphore, release_too_much, "semaphore released more than held")
PANICS(semaphore_negative, release_less_than_nothing, "semaphore released more than held")
PANICS(once_inside, call_again, "gyre_once_do called from inside its own function")
PANICS(once_value_inside, value_again, "gyre_once_value called from inside its own function")

static void go_outside(void)
{
    static gyre_waitgroup group;

    gyre_waitgroup_go(&group, unlock_mutex, NULL);
}

static void pool_outside(void)
{
    struct gyre_pool_options options = GYRE_POOL_OPTIONS_INIT;
    struct gyre_pool *pool;

    gyre_pool_create(&pool, &options);
}

Test(sync_death, outside_a_coroutine)
{
    child_run(&child, go_outside);
    died_with("gyre_waitgroup_go called outside a coroutine", "");
    child_run(&child, pool_outside);
    died_with("gyre_pool_create called outside a coroutine", "");
}
