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

static int await_shielded(void *unused)
{
    GYRE_SHIELD();

    return await_work(unused);
}

/* Those who give up don't take along who goes on waiting. */
static void waitgroup_cancelled(void)
{
    const gyre_fn fns[] = {await_work, await_shielded, await_work, work, work};

    memset(&s, 0, sizeof s);
    gyre_waitgroup_add(&s.waitgroup, 2);
    run_cancelled(fns, 5);
    HOLDS(s.done == 2);
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

/* --- the next writer comes after the readers that waited -------------------------------------- */

static int read_first(void *unused)
{
    (void)unused;
    gyre_rwmutex_rlock(&s.rwmutex);
    s.ready = true;
    gyre_rwmutex_runlock(&s.rwmutex);
    return 0;
}

static int write_next(void *unused)
{
    (void)unused;
    gyre_rwmutex_lock(&s.rwmutex);
    HOLDS(s.ready);
    gyre_rwmutex_unlock(&s.rwmutex);
    return 0;
}

static void phases(void)
{
    struct crew crew = {.count = 0};

    memset(&s, 0, sizeof s);
    gyre_rwmutex_lock(&s.rwmutex);
    crew_spawn(&crew, read_first, NULL);
    crew_spawn(&crew, write_next, NULL);
    while (!s.rwmutex.readers.first)
        gyre_yield();
    gyre_rwmutex_unlock(&s.rwmutex);
    crew_join(&crew);
}

/* --- what never comes: the end of the context is the only way out ----------------------------- */

static int wait_in_vain(void *unused)
{
    struct gyre_case cases[] = {gyre_case_after(GYRE_HOUR)};
    int error = 0;

    (void)unused;
    switch (explore_below(8)) {
    case 0:
        error = gyre_mutex_lock_cancellable(&s.mutex);
        break;
    case 1:
        error = gyre_rwmutex_rlock_cancellable(&s.rwmutex);
        break;
    case 2:
        error = gyre_rwmutex_lock_cancellable(&s.rwmutex);
        break;
    case 3:
        error = gyre_semaphore_acquire(&s.semaphore, 1);
        break;
    case 4:
        error = gyre_waitgroup_wait(&s.waitgroup);
        break;
    case 5:
        error = gyre_barrier_wait(&s.barrier);
        break;
    case 6:
        error = gyre_sleep(GYRE_HOUR);
        break;
    default:
        error = gyre_select(cases);
    }
    HOLDS(error == -ECANCELED);
    return 0;
}

static int await_in_vain(void *unused)
{
    (void)unused;
    gyre_mutex_lock(&s.mutex);
    while (gyre_cond_wait(&s.cond, &s.mutex) != -ECANCELED)
        HOLDS(false);
    gyre_mutex_unlock(&s.mutex);
    return 0;
}

static void in_vain(void)
{
    const gyre_fn fns[] = {wait_in_vain, wait_in_vain, wait_in_vain};
    const gyre_fn waits[] = {await_in_vain, await_in_vain};

    memset(&s, 0, sizeof s);
    s.semaphore = (gyre_semaphore)GYRE_SEMAPHORE_INIT(1);
    s.barrier = (gyre_barrier)GYRE_BARRIER_INIT(5);
    HOLDS(gyre_semaphore_try_acquire(&s.semaphore, 1) == 1);
    gyre_mutex_lock(&s.mutex);
    gyre_rwmutex_lock(&s.rwmutex);
    gyre_waitgroup_add(&s.waitgroup, 1);
    run_cancelled(fns, 3);
    gyre_mutex_unlock(&s.mutex);
    gyre_rwmutex_unlock(&s.rwmutex);
    HOLDS(gyre_rwmutex_try_lock(&s.rwmutex) == 1);
    run_cancelled(waits, 2);
    HOLDS(gyre_mutex_try_lock(&s.mutex) == 1);
}

/* --- storage that is used again at once by who may free it ------------------------------------ */

enum { AGAIN = 0x5a, HOLDERS = 4 };

static struct {
    union {
        gyre_mutex mutex;
        gyre_rwmutex rwmutex;
        gyre_semaphore semaphore;
        gyre_waitgroup waitgroup;
        unsigned char bytes[sizeof(gyre_rwmutex)];
    };
    int holders;
    bool freed;
} f;

static void use_again(void)
{
    HOLDS(!f.freed);
    memset(f.bytes, AGAIN, sizeof f.bytes);
    f.freed = true;
}

static int leave_mutex(void *arg)
{
    bool last;

    if (!arg || gyre_mutex_lock_cancellable(&f.mutex) < 0)
        gyre_mutex_lock(&f.mutex);
    if (explore_below(2))
        gyre_yield();
    last = --f.holders == 0;
    gyre_mutex_unlock(&f.mutex);
    if (last)
        use_again();
    return 0;
}

static int leave_rwmutex(void *arg)
{
    bool last;

    if (explore_below(2)) {
        if (!arg || gyre_rwmutex_rlock_cancellable(&f.rwmutex) < 0)
            gyre_rwmutex_rlock(&f.rwmutex);
        gyre_yield();
        gyre_rwmutex_runlock(&f.rwmutex);
    }
    if (!arg || gyre_rwmutex_lock_cancellable(&f.rwmutex) < 0)
        gyre_rwmutex_lock(&f.rwmutex);
    last = --f.holders == 0;
    gyre_rwmutex_unlock(&f.rwmutex);
    if (last)
        use_again();
    return 0;
}

static int post_one(void *unused)
{
    (void)unused;
    gyre_semaphore_release(&f.semaphore, 1);
    return 0;
}

static int acquire_all(void *unused)
{
    int got = 0;

    (void)unused;
    while (got < HOLDERS)
        if (gyre_semaphore_acquire(&f.semaphore, 1) == 0) {
            got++;
        } else {
            GYRE_SHIELD();
            got += gyre_semaphore_acquire(&f.semaphore, 1) == 0;
        }
    use_again();
    return 0;
}

static int be_done(void *unused)
{
    (void)unused;
    gyre_waitgroup_done(&f.waitgroup);
    return 0;
}

static int await_done(void *unused)
{
    (void)unused;
    if (gyre_waitgroup_wait(&f.waitgroup) < 0) {
        GYRE_SHIELD();
        HOLDS(gyre_waitgroup_wait(&f.waitgroup) == 0);
    }
    use_again();
    return 0;
}

static void freed(void)
{
    gyre_fn fns[HOLDERS + 1] = {NULL};
    struct crew crew = {.count = 0};
    unsigned kind = explore_below(4);

    memset(&f, 0, sizeof f);
    f.holders = HOLDERS;
    for (int i = 0; i < HOLDERS; i++)
        fns[i] = (gyre_fn[]){leave_mutex, leave_rwmutex, post_one, be_done}[kind];
    fns[HOLDERS] = kind == 2 ? acquire_all : kind == 3 ? await_done : NULL;
    if (kind == 2) {
        f.semaphore = (gyre_semaphore)GYRE_SEMAPHORE_INIT(HOLDERS);
        HOLDS(gyre_semaphore_try_acquire(&f.semaphore, HOLDERS) == 1);
    } else if (kind == 3) {
        gyre_waitgroup_add(&f.waitgroup, HOLDERS);
    }
    {
        GYRE_CANCELLABLE();
        s.context = gyre_context_current();
        for (int i = 0; i <= HOLDERS; i++)
            if (fns[i])
                crew_spawn(&crew, fns[i], i % 2 ? NULL : &crew);
        crew_spawn(&crew, cancel, NULL);
        {
            GYRE_SHIELD();
            crew_join(&crew);
        }
        gyre_context_release(s.context);
    }
    HOLDS(f.freed);
    for (size_t i = 0; i < sizeof f.bytes; i++)
        HOLDS(f.bytes[i] == AGAIN);
}

const struct scenario sync_scenarios[] = {
    {"mutex", mutex},
    {"rwmutex", rwmutex},
    {"cond", cond},
    {"cond_cancelled", cond_cancelled},
    {"semaphore", semaphore},
    {"waitgroup", waitgroup},
    {"waitgroup_cancelled", waitgroup_cancelled},
    {"once", once},
    {"barrier", barrier},
    {"group", group},
    {"phases", phases},
    {"in_vain", in_vain},
    {"freed", freed},
    {NULL, NULL},
};
