/* Mutexes, conditions, semaphores, wait groups, once, barriers, groups. */
#include "explore.h"

enum { ROUNDS = 3 };

static struct {
    gyre_mutex mutex;
    gyre_rwmutex rwmutex;
    gyre_cond cond;
    gyre_semaphore semaphore;
    gyre_waitgroup waitgroup;
    gyre_once once;
    gyre_barrier barrier;
    struct gyre_context *context;
    int inside, readers, items, taken, done, runs;
    bool ready;
} s;

static int cancel(void *unused)
{
    (void)unused;
    for (unsigned i = explore_below(5); i; i--)
        gyre_yield();
    gyre_context_cancel(s.context);
    return 0;
}

/* Runs all of them under a context that one of them ends. */
static void run_cancelled(const gyre_fn *fns, unsigned count)
{
    struct crew crew = {.count = 0};

    GYRE_CANCELLABLE();
    s.context = gyre_context_current();
    for (unsigned i = 0; i < count; i++)
        crew_spawn(&crew, fns[i], NULL);
    crew_spawn(&crew, cancel, NULL);
    {
        GYRE_SHIELD();
        crew_join(&crew);
    }
    gyre_context_release(s.context);
}

static void be_inside(void)
{
    HOLDS(s.inside == 0 && s.readers == 0);
    s.inside = 1;
    if (explore_below(2))
        gyre_yield();
    s.inside = 0;
    s.done++;
}

static int lock_some(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        gyre_mutex_lock(&s.mutex);
        be_inside();
        if (explore_below(8) == 0)
            gyre_sleep(2 * GYRE_MILLISECOND); /* and others starve */
        gyre_mutex_unlock(&s.mutex);
    }
    return 0;
}

static int lock_cancellable(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        if (gyre_mutex_lock_cancellable(&s.mutex) < 0)
            return 0;
        be_inside();
        gyre_mutex_unlock(&s.mutex);
    }
    return 0;
}

static int lock_tried(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++)
        if (gyre_mutex_try_lock(&s.mutex)) {
            be_inside();
            gyre_mutex_unlock(&s.mutex);
        }
    return 0;
}

static void mutex(void)
{
    const gyre_fn fns[] = {lock_some, lock_some, lock_cancellable, lock_cancellable, lock_tried};

    memset(&s, 0, sizeof s);
    run_cancelled(fns, 5);
    HOLDS(s.done >= 2 * ROUNDS);
    HOLDS(gyre_mutex_try_lock(&s.mutex) == 1);
}

static int read_some(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        gyre_rwmutex_rlock(&s.rwmutex);
        HOLDS(s.inside == 0);
        s.readers++;
        if (explore_below(2))
            gyre_yield();
        s.readers--;
        gyre_rwmutex_runlock(&s.rwmutex);
    }
    return 0;
}

static int read_cancellable(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS && gyre_rwmutex_rlock_cancellable(&s.rwmutex) == 0; i++) {
        HOLDS(s.inside == 0);
        s.readers++;
        gyre_yield();
        s.readers--;
        gyre_rwmutex_runlock(&s.rwmutex);
    }
    return 0;
}

static int write_some(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        gyre_rwmutex_lock(&s.rwmutex);
        be_inside();
        gyre_rwmutex_unlock(&s.rwmutex);
    }
    return 0;
}

static int write_cancellable(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS && gyre_rwmutex_lock_cancellable(&s.rwmutex) == 0; i++) {
        be_inside();
        gyre_rwmutex_unlock(&s.rwmutex);
    }
    return 0;
}

static void rwmutex(void)
{
    const gyre_fn fns[] = {read_some, write_some, read_some, write_cancellable, read_cancellable};

    memset(&s, 0, sizeof s);
    run_cancelled(fns, 5);
    HOLDS(gyre_rwmutex_try_lock(&s.rwmutex) == 1);
}

static int put_items(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        gyre_mutex_lock(&s.mutex);
        s.items++;
        if (explore_below(2))
            gyre_cond_signal(&s.cond);
        else
            gyre_cond_broadcast(&s.cond);
        gyre_mutex_unlock(&s.mutex);
    }
    return 0;
}

static int take_items(void *unused)
{
    int error = 0;

    (void)unused;
    gyre_mutex_lock(&s.mutex);
    for (int i = 0; i < ROUNDS && !error; i++) {
        while (!s.items && !error)
            error = gyre_cond_wait(&s.cond, &s.mutex);
        HOLDS(s.inside == 0);
        if (s.items) {
            s.items--;
            s.taken++;
        }
    }
    gyre_mutex_unlock(&s.mutex);
    return 0;
}

static void cond(void)
{
    struct crew crew = {.count = 0};

    memset(&s, 0, sizeof s);
    crew_spawn(&crew, take_items, NULL);
    crew_spawn(&crew, take_items, NULL);
    crew_spawn(&crew, put_items, NULL);
    crew_spawn(&crew, put_items, NULL);
    crew_join(&crew);
    HOLDS(s.taken == 2 * ROUNDS && s.items == 0);
}

/* A signal that meets a cancel goes to another who waits: here one that is not cancelled. */
static int take_shielded(void *unused)
{
    GYRE_SHIELD();

    return take_items(unused);
}

static void cond_cancelled(void)
{
    const gyre_fn fns[] = {take_items, take_shielded, put_items, put_items};

    memset(&s, 0, sizeof s);
    run_cancelled(fns, 4);
    HOLDS(s.taken + s.items == 2 * ROUNDS);
}

static int acquire_some(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        int units = 1 + (int)explore_below(3);

        if (gyre_semaphore_acquire(&s.semaphore, units) < 0)
            return 0;
        s.taken += units;
        HOLDS(s.taken <= 3);
        if (explore_below(2))
            gyre_yield();
        s.taken -= units;
        gyre_semaphore_release(&s.semaphore, units);
    }
    return 0;
}

static int acquire_shielded(void *unused)
{
    GYRE_SHIELD();

    return acquire_some(unused);
}

static void semaphore(void)
{
    const gyre_fn fns[] = {acquire_some, acquire_shielded, acquire_some, acquire_shielded};

    memset(&s, 0, sizeof s);
    s.semaphore = (gyre_semaphore)GYRE_SEMAPHORE_INIT(3);
    run_cancelled(fns, 4);
    HOLDS(gyre_semaphore_try_acquire(&s.semaphore, 3) == 1);
}

static int work(void *unused)
{
    (void)unused;
    if (explore_below(2))
        gyre_yield();
    s.done++;
    gyre_waitgroup_done(&s.waitgroup);
    return 0;
}

static int await_work(void *unused)
{
    int error = gyre_waitgroup_wait(&s.waitgroup);

    (void)unused;
    HOLDS(error || s.done >= 2);
    return 0;
}

static void waitgroup(void)
{
    memset(&s, 0, sizeof s);
    for (int round = 1; round <= ROUNDS; round++) {
        struct crew crew = {.count = 0};

        s.done = 0;
        gyre_waitgroup_add(&s.waitgroup, 2);
        crew_spawn(&crew, await_work, NULL);
        crew_spawn(&crew, work, NULL);
        crew_spawn(&crew, work, NULL);
        HOLDS(gyre_waitgroup_wait(&s.waitgroup) == 0);
        HOLDS(s.done == 2);
        crew_join(&crew);
    }
}

static int run_once(void *unused)
{
    (void)unused;
    s.runs++;
    gyre_yield();
    s.ready = true;
    return -EBADMSG;
}

static int ask_once(void *unused)
{
    (void)unused;
    HOLDS(gyre_once_do(&s.once, run_once, NULL) == -EBADMSG);
    HOLDS(s.ready && s.runs == 1);
    return 0;
}

static void once(void)
{
    struct crew crew = {.count = 0};

    memset(&s, 0, sizeof s);
    for (int i = 0; i < 4; i++)
        crew_spawn(&crew, ask_once, NULL);
    crew_join(&crew);
}

static int meet(void *unused)
{
    (void)unused;
    for (int i = 1; i <= ROUNDS; i++) {
        int result;

        s.done++;
        result = gyre_barrier_wait(&s.barrier);
        HOLDS(result == 0 || result == 1);
        HOLDS(s.done >= 3 * i);
        s.runs += result;
    }
    return 0;
}

static void barrier(void)
{
    struct crew crew = {.count = 0};

    memset(&s, 0, sizeof s);
    s.barrier = (gyre_barrier)GYRE_BARRIER_INIT(3);
    for (int i = 0; i < 3; i++)
        crew_spawn(&crew, meet, NULL);
    crew_join(&crew);
    HOLDS(s.runs == ROUNDS);
}

static int member(void *arg)
{
    int id = *(int *)arg;

    s.inside++;
    HOLDS(s.inside <= 2);
    if (explore_below(2))
        gyre_yield();
    s.inside--;
    s.done++;
    if (id == 2 && explore_below(2))
        return -EPROTO;
    if (id == 3) {
        int error = gyre_sleep(GYRE_SECOND);

        HOLDS(error == 0 || error == -ECANCELED);
    }
    return 0;
}

static int start_members(void *unused)
{
    (void)unused;
    GYRE_GROUP(group, .limit = 2);

    for (int i = 0; i < 5; i++) {
        int error = gyre_group_go_copy(&group, member, &i, sizeof i);

        HOLDS(error == 0 || error == -ECANCELED);
    }
    if (explore_below(2)) {
        int error = gyre_group_wait(&group);

        HOLDS(error == 0 || error == -EPROTO || error == -ECANCELED);
        HOLDS(s.inside == 0);
    }
    return 0;
}

static void group(void)
{
    const gyre_fn fns[] = {start_members};

    memset(&s, 0, sizeof s);
    run_cancelled(fns, 1);
    HOLDS(s.inside == 0);
}

const struct scenario sync_scenarios[] = {
    {"mutex", mutex},         {"rwmutex", rwmutex},
    {"cond", cond},           {"cond_cancelled", cond_cancelled},
    {"semaphore", semaphore}, {"waitgroup", waitgroup},
    {"once", once},           {"barrier", barrier},
    {"group", group},         {NULL, NULL},
};
