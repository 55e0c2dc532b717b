/*
 * Groups under storms: errors, cancels, limits and nesting at random.
 *
 * Aimed at: the last member's end against the wait, and the storage, which is on the stack and is
 * scribbled over right after; an error against starters that wait for a place, and those against
 * the end of their own context; members that start others while the group fails; the parent's end
 * against all of it. Wanted: every fn that was started is called once and has ended when wait
 * returns, and an error of wait is one that somebody made.
 */
#include "../sched/stress.h"

#include <string.h>

enum { STORMS = 4, MEMBERS = 12 };

static _Atomic(uint64_t) rounds, failed, cut;

/* One group and its members; on the stack of who waits. */
struct storm {
    gyre_group group;
    _Atomic(uint32_t) started, begun, ended;
    _Atomic(uint32_t) inside, over;
    int depth;
    bool fails;
};

static int member(void *arg);

static void start(struct storm *storm, struct random *random)
{
    bool try_ = random_below(random, 4) == 0;
    int error;

    error = try_ ? gyre_group_try_go(&storm->group, member, storm)
                 : gyre_group_go(&storm->group, member, storm);
    CHECK(!error || error == -ECANCELED || (try_ && error == -EAGAIN), "%d", error);
    if (!error)
        atomic_fetch_add(&storm->started, 1);
}

static int play(int depth);

static int behave(struct storm *storm, struct random *random)
{
    switch (random_below(random, 8)) {
    case 0:
        return gyre_yield();
    case 1:
        return gyre_sleep(random_below(random, 30000));
    case 2:
        return storm->fails ? -EIO : 0;
    case 3:
        if (storm->fails)
            gyre_group_cancel(&storm->group);
        return 0;
    case 4:
        /* With a limit it would hold its own place and could wait for ever. */
        if (!storm->group.limit)
            start(storm, random);
        return 0;
    case 5:
        return storm->depth < 2 ? play(storm->depth + 1) : 0;
    case 6:
        stress_pause(random);
        return 0;
    default:
        return 1;
    }
}

static int member(void *arg)
{
    struct storm *storm = arg;
    struct random random = stress_random();
    uint32_t inside = atomic_fetch_add(&storm->inside, 1) + 1;
    int result;

    if (storm->group.limit && inside > storm->group.limit)
        atomic_fetch_add(&storm->over, 1);
    atomic_fetch_add(&storm->begun, 1);
    result = behave(storm, &random);
    atomic_fetch_sub(&storm->inside, 1);
    atomic_fetch_add(&storm->ended, 1);
    return result;
}

/* A deadline or a cancel may come at any time; a whole group lives and goes in here. */
static int play(int depth)
{
    struct random random = stress_random();
    struct storm storm;
    unsigned members = (unsigned)random_below(&random, MEMBERS >> depth) + 1;
    int error;

    memset(&storm, 0, sizeof storm);
    storm.depth = depth;
    storm.fails = random_below(&random, 2);
    if (random_below(&random, 2))
        storm.group.limit = (unsigned)random_below(&random, 3) + 1;
    for (int reuse = (int)random_below(&random, 3); reuse >= 0; reuse--) {
        for (unsigned i = 0; i < members; i++)
            start(&storm, &random);
        if (random_below(&random, 8) == 0)
            gyre_group_cancel(&storm.group);
        error = gyre_group_wait(&storm.group);
        CHECK(storm.started == storm.begun && storm.begun == storm.ended, "%u %u %u", storm.started,
              storm.begun, storm.ended);
        CHECK(!storm.over, "more than %u at a time", storm.group.limit);
        CHECK(!error || error == -ECANCELED || error == -EIO, "%d", error);
        CHECK(!storm.group.active && !storm.group.context && !storm.group.error, "not as new");
        if (error)
            atomic_fetch_add(&failed, 1);
    }
    atomic_fetch_add(&rounds, 1);
    memset(&storm, 0xff, sizeof storm);
    return depth ? error : 0;
}

static int cancel(void *arg)
{
    struct random random = stress_random();

    stress_pause(&random);
    if (random_below(&random, 2))
        gyre_sleep(random_below(&random, 60000));
    gyre_context_cancel(arg);
    gyre_context_release(arg);
    atomic_fetch_add(&cut, 1);
    return 0;
}

static int storms(void *arg)
{
    struct random random = stress_random();

    (void)arg;
    while (stress_goes_on()) {
        struct gyre_spawn_options outside = GYRE_SPAWN_INIT;

        outside.flags = GYRE_SPAWN_OUTSIDE_CONTEXT;
        GYRE_CANCELLABLE();
        if (random_below(&random, 3) == 0)
            CHECK(!gyre_go_options(cancel, gyre_context_current(), &outside), "no memory");
        play(0);
    }
    return 0;
}

/* A nursery in which nothing is cancelled: exactly one is left when its block is. */
static int alone(void *arg)
{
    struct random random = stress_random();

    (void)arg;
    while (stress_goes_on()) {
        struct storm storm;

        memset(&storm, 0, sizeof storm);
        storm.depth = 1;
        storm.fails = random_below(&random, 2);
        for (unsigned i = 0; i < MEMBERS; i++)
            start(&storm, &random);
        gyre_group_wait(&storm.group);
        CHECK(gyre_coro_count() == 1, "%zu are left", gyre_coro_count());
        memset(&storm, 0xff, sizeof storm);
    }
    return 0;
}

static int many(void *arg)
{
    gyre_handle handles[STORMS];

    (void)arg;
    for (int i = 0; i < STORMS; i++)
        CHECK(!gyre_spawn(&handles[i], storms, NULL), "no memory");
    for (int i = 0; i < STORMS; i++)
        CHECK(!gyre_join(handles[i], NULL), "join");
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_slice /= 2;
    stress_run("storms", many);
    stress_run("alone", alone);
    printf("%llu groups, %llu waits with an error, %llu ends from outside\n",
           (unsigned long long)rounds, (unsigned long long)failed, (unsigned long long)cut);
    return 0;
}
