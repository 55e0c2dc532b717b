/* gyre_mutex: exclusion, order, the cancellable form, foreign threads. */
#include "../sched/inside.h"

#include "queued.h"

#include <pthread.h>

INSIDE(mutex, try_lock_fails_while_locked)
{
    gyre_mutex mutex = GYRE_MUTEX_INIT;

    EXPECT_EQ(gyre_mutex_try_lock(&mutex), 1);
    EXPECT_EQ(gyre_mutex_try_lock(&mutex), 0);
    gyre_mutex_unlock(&mutex);
    EXPECT_EQ(gyre_mutex_try_lock(&mutex), 1);
    gyre_mutex_unlock(&mutex);
    return 0;
}

static int leave_early(gyre_mutex *mutex)
{
    GYRE_MUTEX_GUARD(mutex);
    return !gyre_mutex_try_lock(mutex);
}

INSIDE(mutex, guard_unlocks_at_the_end_of_the_block)
{
    gyre_mutex mutex = GYRE_MUTEX_INIT;

    EXPECT_EQ(leave_early(&mutex), 1);
    EXPECT_EQ(gyre_mutex_try_lock(&mutex), 1);
    return 0;
}

struct shared {
    gyre_mutex mutex;
    gyre_waitgroup group;
    int inside, sum;
    atomic_int arrived, order;
};

static int add_many(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < 200; i++) {
        gyre_mutex_lock(&shared->mutex);
        EXPECT_EQ(shared->inside++, 0);
        if (i % 7 == 0)
            gyre_yield();
        shared->sum++;
        shared->inside--;
        gyre_mutex_unlock(&shared->mutex);
        if (i % 5 == 0)
            gyre_yield();
    }
    return 0;
}

INSIDE(mutex, one_at_a_time)
{
    struct shared shared = {.sum = 0};

    for (int i = 0; i < 20; i++)
        EXPECT_EQ(gyre_waitgroup_go(&shared.group, add_many, &shared), 0);
    EXPECT_EQ(gyre_waitgroup_wait(&shared.group), 0);
    EXPECT_EQ(shared.sum, 20 * 200);
    EXPECT_EQ(shared.mutex.state & GYRE_MUTEX_BUSY_, 0);
    return 0;
}

static int unlock_given(void *arg)
{
    gyre_mutex_unlock(arg);
    return 0;
}

INSIDE(mutex, another_may_unlock)
{
    gyre_mutex mutex = GYRE_MUTEX_INIT;

    gyre_mutex_lock(&mutex);
    EXPECT_EQ(gyre_go(unlock_given, &mutex), 0);
    gyre_mutex_lock(&mutex);
    gyre_mutex_unlock(&mutex);
    return 0;
}

static int lock_once(void *arg)
{
    struct shared *shared = arg;

    atomic_fetch_add(&shared->arrived, 1);
    gyre_mutex_lock(&shared->mutex);
    atomic_store(&shared->order, 1);
    gyre_mutex_unlock(&shared->mutex);
    return 0;
}

/* The waiter may sit behind this very coroutine, which never parks but for the mutex. */
INSIDE(mutex, one_who_locks_again_and_again_lets_others_pass)
{
    struct shared shared = {.sum = 0};
    int64_t end = gyre_now() + 20 * GYRE_SECOND;

    gyre_mutex_lock(&shared.mutex);
    EXPECT_EQ(gyre_waitgroup_go(&shared.group, lock_once, &shared), 0);
    while (!queued(&shared.mutex.guard, &shared.mutex.queue))
        gyre_yield();
    gyre_mutex_unlock(&shared.mutex);
    while (!atomic_load(&shared.order) && gyre_now() < end) {
        gyre_mutex_lock(&shared.mutex);
        gyre_mutex_unlock(&shared.mutex);
    }
    EXPECT(atomic_load(&shared.order));
    return gyre_waitgroup_wait(&shared.group);
}

enum { PLAYERS = 8, TURNS = 40 };

struct fair {
    gyre_mutex mutex;
    gyre_waitgroup group;
    int turns[PLAYERS], least_at_end;
    bool over;
};

struct player {
    struct fair *fair;
    int number;
};

/* Holds it for longer than anyone's patience, so all of them starve: it goes round in order. */
static int play(void *arg)
{
    struct player *player = arg;
    struct fair *fair = player->fair;
    bool over = false;

    while (!over) {
        int64_t until;

        gyre_mutex_lock(&fair->mutex);
        until = gyre_now() + 300 * GYRE_MICROSECOND;
        gyre_yield();
        while (gyre_now() < until)
            ;
        if (!fair->over && ++fair->turns[player->number] == TURNS) {
            fair->over = true;
            fair->least_at_end = TURNS;
            for (int i = 0; i < PLAYERS; i++)
                if (fair->turns[i] < fair->least_at_end)
                    fair->least_at_end = fair->turns[i];
        }
        over = fair->over;
        gyre_mutex_unlock(&fair->mutex);
    }
    return 0;
}

INSIDE(mutex, who_starves_gets_his_turns)
{
    struct fair fair = {.over = false};

    for (int i = 0; i < PLAYERS; i++) {
        struct player player = {&fair, i};

        EXPECT_EQ(gyre_waitgroup_go_copy(&fair.group, play, &player, sizeof player), 0);
    }
    EXPECT_EQ(gyre_waitgroup_wait(&fair.group), 0);
    EXPECT(fair.least_at_end >= TURNS / 2);
    return 0;
}

/* --- cancelled ------------------------------------------------------------------------------ */

INSIDE(mutex, cancellable_gives_up_at_the_deadline)
{
    gyre_mutex mutex = GYRE_MUTEX_INIT;

    gyre_mutex_lock(&mutex);
    {
        GYRE_TIMEOUT(2 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_mutex_lock_cancellable(&mutex), -ETIMEDOUT);
        EXPECT_EQ(gyre_mutex_lock_cancellable(&mutex), -ETIMEDOUT);
        gyre_mutex_unlock(&mutex);
        EXPECT_EQ(gyre_mutex_lock_cancellable(&mutex), -ETIMEDOUT);
        EXPECT_EQ(mutex.state & GYRE_MUTEX_BUSY_, 0);
        gyre_mutex_lock(&mutex);
    }
    gyre_mutex_unlock(&mutex);
    EXPECT_EQ(gyre_mutex_lock_cancellable(&mutex), 0);
    return 0;
}

static int lock_in_time(void *arg)
{
    struct shared *shared = arg;

    GYRE_TIMEOUT(3 * GYRE_MILLISECOND);
    atomic_fetch_add(&shared->arrived, 1);
    EXPECT_EQ(gyre_mutex_lock_cancellable(&shared->mutex), -ETIMEDOUT);
    atomic_fetch_add(&shared->arrived, 1);
    return 0;
}

INSIDE(mutex, those_behind_one_who_gave_up_still_get_it)
{
    struct shared shared = {.sum = 0};

    gyre_mutex_lock(&shared.mutex);
    EXPECT_EQ(gyre_waitgroup_go(&shared.group, lock_in_time, &shared), 0);
    await_flag(&shared.arrived, 1);
    EXPECT_EQ(gyre_waitgroup_go(&shared.group, lock_once, &shared), 0);
    await_flag(&shared.arrived, 3);
    gyre_mutex_unlock(&shared.mutex);
    EXPECT_EQ(gyre_waitgroup_wait(&shared.group), 0);
    EXPECT_EQ(atomic_load(&shared.order), 1);
    EXPECT_EQ(shared.mutex.state & GYRE_MUTEX_BUSY_, 0);
    return 0;
}

/* --- foreign threads ------------------------------------------------------------------------ */

/* --- one worker: what runs next is known ----------------------------------------------------- */

static struct {
    gyre_mutex mutex;
    gyre_waitgroup group;
    int order[2], count, again[2];
} line;

static void compute(int64_t duration)
{
    for (int64_t end = gyre_now() + duration; gyre_now() < end;)
        ;
}

static void await_queued(size_t count)
{
    while (queued(&line.mutex.guard, &line.mutex.queue) != count)
        gyre_yield();
}

static int lock_in_line(void *arg)
{
    int number = *(int *)arg;

    gyre_mutex_lock(&line.mutex);
    line.order[line.count++] = number;
    gyre_mutex_unlock(&line.mutex);
    line.again[number] = gyre_mutex_try_lock(&line.mutex);
    if (line.again[number])
        gyre_mutex_unlock(&line.mutex);
    return 0;
}

static int overtake_in_line(void *unused)
{
    (void)unused;
    memset(&line, 0, sizeof line);
    gyre_mutex_lock(&line.mutex);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(gyre_waitgroup_go_copy(&line.group, lock_in_line, &i, sizeof i), 0);
        await_queued((size_t)i + 1);
    }
    gyre_mutex_unlock(&line.mutex);
    gyre_mutex_lock(&line.mutex);
    compute(2 * GYRE_MILLISECOND); /* the first, who is on its way, starves */
    await_queued(2);
    gyre_mutex_unlock(&line.mutex);
    return gyre_waitgroup_wait(&line.group);
}

Test(mutex, who_was_overtaken_is_first_again_and_has_a_turn)
{
    cr_assert_eq(run_with_workers(1, overtake_in_line, NULL), 0);
    cr_assert_eq(line.order[0], 0);
    cr_assert_eq(line.again[0], 1, "the mutex went on being handed over");
    cr_assert_eq(failed_expectations, 0);
}

static int overtake_until_courteous(void *unused)
{
    int number = 0;

    (void)unused;
    memset(&line, 0, sizeof line);
    gyre_mutex_lock(&line.mutex);
    EXPECT_EQ(gyre_waitgroup_go(&line.group, lock_in_line, &number), 0);
    await_queued(1);
    gyre_mutex_unlock(&line.mutex);
    compute(4 * GYRE_MILLISECOND);
    for (int i = 1; i < 16; i++) { /* every 16th looks at the clock */
        EXPECT_EQ(gyre_mutex_try_lock(&line.mutex), 1);
        gyre_mutex_unlock(&line.mutex);
    }
    EXPECT_EQ(gyre_mutex_try_lock(&line.mutex), 0);
    gyre_mutex_lock(&line.mutex);
    EXPECT_EQ(line.count, 1);
    gyre_mutex_unlock(&line.mutex);
    return gyre_waitgroup_wait(&line.group);
}

Test(mutex, who_was_let_pass_has_a_turn)
{
    cr_assert_eq(run_with_workers(1, overtake_until_courteous, NULL), 0);
    cr_assert_eq(line.again[0], 1, "the mutex was handed over");
    cr_assert_eq(failed_expectations, 0);
}

static gyre_mutex early = GYRE_MUTEX_INIT;

Test(mutex, locks_before_the_runtime_runs)
{
    gyre_mutex_lock(&early);
    cr_assert_eq(gyre_mutex_try_lock(&early), 0);
    gyre_mutex_unlock(&early);
    cr_assert_eq(gyre_mutex_lock_cancellable(&early), 0);
    gyre_mutex_unlock(&early);
}

static void *lock_on_thread(void *arg)
{
    lock_once(arg);
    atomic_store(&((struct shared *)arg)->order, 2);
    return NULL;
}

INSIDE(mutex, a_thread_waits_for_a_coroutine)
{
    struct shared shared = {.sum = 0};
    pthread_t thread;

    gyre_mutex_lock(&shared.mutex);
    pthread_create(&thread, NULL, lock_on_thread, &shared);
    await_flag(&shared.arrived, 1);
    gyre_sleep(GYRE_MILLISECOND);
    EXPECT_EQ(atomic_load(&shared.order), 0);
    gyre_mutex_unlock(&shared.mutex);
    await_flag(&shared.order, 2);
    pthread_join(thread, NULL);
    return 0;
}
