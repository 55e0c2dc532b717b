/* The end of the main coroutine: the others are cancelled and awaited, whatever they do. */
#include "inside.h"

#include "base/checks.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_int started, ended, spawned_late;

static int note_end(int error)
{
    EXPECT_EQ(error, -ECANCELED);
    atomic_fetch_add(&ended, 1);
    return error;
}

static int in_sleep(void *arg)
{
    (void)arg;
    atomic_fetch_add(&started, 1);
    return note_end(gyre_sleep(INT64_MAX));
}

static int in_join(void *arg)
{
    gyre_handle handle;
    int error;

    (void)arg;
    EXPECT_EQ(gyre_spawn(&handle, in_sleep, NULL), 0);
    atomic_fetch_add(&started, 1);
    error = gyre_join(handle, NULL);
    if (!error) /* the other one was faster */
        error = gyre_context_error();
    return note_end(error);
}

static int in_scope(void *arg)
{
    (void)arg;
    atomic_fetch_add(&started, 1);
    GYRE_CANCELLABLE();
    GYRE_TIMEOUT(GYRE_HOUR);
    return note_end(gyre_sleep(INT64_MAX));
}

static int in_shield(void *arg)
{
    (void)arg;
    atomic_fetch_add(&started, 1);
    {
        GYRE_SHIELD();
        EXPECT_EQ(gyre_sleep(100 * GYRE_MILLISECOND), 0); /* longer than main waits */
    }
    return note_end(gyre_sleep(INT64_MAX));
}

static int in_yield(void *arg)
{
    int error;

    (void)arg;
    atomic_fetch_add(&started, 1);
    while (!(error = gyre_yield()))
        ;
    return note_end(error);
}

static int in_accept(void *arg)
{
    struct gyre_listener *listener;
    int error;

    (void)arg;
    atomic_fetch_add(&started, 1);
    EXPECT_EQ(gyre_tcp_listen(&listener, "127.0.0.1:0"), 0);
    error = gyre_accept(listener);
    gyre_listener_close(listener);
    return note_end(error);
}

static int in_read(void *arg)
{
    char byte;
    int fds[2], error;

    (void)arg;
    atomic_fetch_add(&started, 1);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    error = (int)gyre_read(fds[0], &byte, 1);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    return note_end(error);
}

static int in_write(void *arg)
{
    static char bytes[1 << 20];
    size_t done = 0;
    int fds[2], error;

    (void)arg;
    atomic_fetch_add(&started, 1);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    error = (int)gyre_write_all(fds[0], bytes, sizeof bytes, &done);
    EXPECT(done < sizeof bytes);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    return note_end(error);
}

static int spawns_at_the_end(void *arg)
{
    gyre_handle handle = {0};
    int error;

    (void)arg;
    atomic_fetch_add(&started, 1);
    error = gyre_sleep(INT64_MAX);
    EXPECT_EQ(gyre_go(in_sleep, NULL), -ECANCELED);
    EXPECT_EQ(gyre_spawn(&handle, in_sleep, NULL), -ECANCELED);
    EXPECT_EQ(gyre_go_copy(in_sleep, "x", 1), -ECANCELED);
    EXPECT_EQ(gyre_runtime_go(gyre_runtime_current(), in_sleep, NULL), -ECANCELED);
    EXPECT(!handle.coro);
    atomic_fetch_add(&spawned_late, 1);
    return note_end(error);
}

static const struct {
    gyre_fn fn;
    int count;
} kinds[] = {
    {in_sleep, 1}, {in_join, 2},   {in_scope, 1}, {in_shield, 1},         {in_yield, 1},
    {in_read, 1},  {in_accept, 1}, {in_write, 1}, {spawns_at_the_end, 1},
};

static int wanted;

static int start_all(void *arg)
{
    int64_t settle = *(int64_t *)arg;

    started = ended = spawned_late = wanted = 0;
    for (int i = 0; i < 10; i++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            EXPECT_EQ(gyre_go(kinds[k].fn, NULL), 0);
            wanted += kinds[k].count;
        }
    await_flag(&started, wanted);
    EXPECT_EQ(gyre_sleep(settle), 0);
    return 17;
}

static int descriptors(void)
{
    int fd = dup(STDOUT_FILENO);

    close(fd);
    return fd;
}

Test(shutdown, ends_coroutines_parked_in_every_way, .timeout = 60)
{
    int64_t settle = 30 * GYRE_MILLISECOND;
    int before = descriptors();

    for (unsigned workers = 1; workers <= 5; workers += 2) {
        cr_assert_eq(run_with_workers(workers, start_all, &settle), 17);
        cr_assert_eq(failed_expectations, 0);
        cr_assert_eq(ended, wanted, "%d of %d ended", ended, wanted);
        cr_assert_eq(spawned_late, 10);
        cr_assert_eq(descriptors(), before);
    }
}

static int start_and_leave(void *arg)
{
    ended = wanted = 0;
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(gyre_go(in_sleep, NULL), 0);
        EXPECT_EQ(gyre_go(in_scope, NULL), 0);
        EXPECT_EQ(gyre_go(in_yield, NULL), 0);
        wanted += 3;
        if (arg && i % 10 == 0)
            gyre_yield();
    }
    return 0;
}

/* The end comes while they start, park, and enter scopes. */
Test(shutdown, catches_those_on_their_way, .timeout = 60)
{
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(run_with_workers(1 + (unsigned)i % 5, start_and_leave, i % 2 ? &ended : NULL),
                     0);
        cr_assert_eq(failed_expectations, 0);
        cr_assert_eq(ended, wanted);
    }
}

/* --- the grace ---------------------------------------------------------------------------------
 */

static int nothing(void *arg)
{
    (void)arg;
    return 3;
}

Test(shutdown, without_grace_who_ends_is_no_straggler)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 2;
    options.grace = -1;
    for (int i = 0; i < 300; i++)
        cr_assert_eq(gyre_run_options(nothing, NULL, &options), 3);
    options.grace = INT64_MIN;
    cr_assert_eq(gyre_run_options(nothing, NULL, &options), 3);
    options.grace = 1;
    cr_assert_eq(gyre_run_options(nothing, NULL, &options), 3);
}

static atomic_int let_go, hogging;

static int hog(void *arg)
{
    (void)arg;
    atomic_store(&hogging, 1);
    while (!atomic_load(&let_go))
        ;
    return 0;
}

static int start_hog(void *arg)
{
    (void)arg;
    EXPECT_EQ(gyre_go_at("pool.c:9\0hog", hog, NULL), 0);
    await_flag(&hogging, 1);
    return 0;
}

Test(shutdown, stragglers_may_be_left_behind)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    gyre_checks = false; /* they would tell of the hog before */
    note_messages();
    options.workers = 2;
    options.grace = 20 * GYRE_MILLISECOND;
    options.keep_stragglers = 1;
    cr_assert_eq(gyre_run_options(start_hog, NULL, &options), -EBUSY);
    cr_assert_str_eq(messages,
                     "gyre: shutdown: 1 coroutine did not end within the grace of 20 ms:\n"
                     "  2 \"hog\", started at pool.c:9, running\n");
    note_messages();
    cr_assert_eq(gyre_run(nothing, NULL), -EBUSY); /* the process goes on, without a runtime */
    cr_assert_str_eq(messages, "gyre: cannot start: a runtime runs in this process already\n");
    atomic_store(&let_go, 1);
}

/* --- foreign threads ---------------------------------------------------------------------------
 */

enum { THREADS = 8, EACH = 2000 };

static atomic_int ran, refused, accepted, threads_over;

static int count_run(void *arg)
{
    (void)arg;
    atomic_fetch_add(&ran, 1);
    return 0;
}

static void *spawn_many(void *runtime)
{
    for (int i = 0; i < EACH; i++)
        if (gyre_runtime_go(runtime, count_run, NULL))
            atomic_fetch_add(&refused, 1);
    return NULL;
}

INSIDE(foreign, threads_spawn_into_a_running_runtime)
{
    pthread_t threads[THREADS];

    ran = refused = 0;
    for (int i = 0; i < THREADS; i++)
        EXPECT_EQ(pthread_create(&threads[i], NULL, spawn_many, gyre_runtime_current()), 0);
    while (atomic_load(&ran) + atomic_load(&refused) < THREADS * EACH)
        gyre_sleep(GYRE_MILLISECOND);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    EXPECT_EQ(refused, 0);
    EXPECT_EQ(ran, THREADS * EACH);
    return 0;
}

static void *spawn_until_refused(void *runtime)
{
    int error;

    while (!(error = gyre_runtime_go(runtime, count_run, NULL)))
        atomic_fetch_add(&accepted, 1);
    EXPECT_EQ(error, -ECANCELED);
    atomic_fetch_add(&threads_over, 1);
    return NULL;
}

/* Keeps the runtime in its shutdown until the threads have let go of it. */
static int stay_for_threads(void *arg)
{
    (void)arg;
    GYRE_SHIELD();
    while (atomic_load(&threads_over) < THREADS)
        gyre_sleep(GYRE_MILLISECOND);
    return 0;
}

static int end_under_fire(void *arg)
{
    pthread_t *threads = arg;

    EXPECT_EQ(gyre_go(stay_for_threads, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        EXPECT_EQ(pthread_create(&threads[i], NULL, spawn_until_refused, gyre_runtime_current()),
                  0);
    return gyre_sleep(5 * GYRE_MILLISECOND);
}

Test(foreign, spawning_is_refused_in_the_shutdown, .timeout = 60)
{
    for (unsigned workers = 1; workers <= 5; workers += 2) {
        pthread_t threads[THREADS];

        ran = accepted = threads_over = 0;
        cr_assert_eq(run_with_workers(workers, end_under_fire, threads), 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        cr_assert_eq(failed_expectations, 0);
        cr_assert_eq(ran, accepted); /* what was let in has run */
    }
}
