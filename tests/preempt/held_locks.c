/*
 * Who holds a lock that libgyre-preempt counts is not interrupted, and is again afterwards; an
 * attempt that failed changes nothing; two coroutines of one worker never wait for each other.
 *
 * With argument `uncounted`, without libgyre-preempt: nobody is interrupted, and the mode says why.
 */
#include "held.h"

#include <errno.h>
#include <pthread.h>
#include <threads.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_spinlock_t spinlock;
static mtx_t mtx;

static void nothing(void)
{
}

static void take_mutex(void)
{
    CHECK(!pthread_mutex_lock(&mutex), "lock");
}

static void give_mutex(void)
{
    CHECK(!pthread_mutex_unlock(&mutex), "unlock");
}

static void fail_mutex(void)
{
    take_mutex();
    CHECK(pthread_mutex_trylock(&mutex) == EBUSY, "trylock");
    give_mutex();
}

static void take_twice(void)
{
    CHECK(!pthread_rwlock_rdlock(&rwlock), "rdlock");
    CHECK(!pthread_rwlock_tryrdlock(&rwlock), "tryrdlock");
    CHECK(!pthread_rwlock_unlock(&rwlock), "unlock");
}

static void take_writer(void)
{
    CHECK(!pthread_rwlock_wrlock(&rwlock), "wrlock");
}

static void give_rwlock(void)
{
    CHECK(!pthread_rwlock_unlock(&rwlock), "unlock");
}

static void take_spinlock(void)
{
    pthread_spin_lock(&spinlock);
}

static void give_spinlock(void)
{
    pthread_spin_unlock(&spinlock);
}

static void take_mtx(void)
{
    CHECK(mtx_lock(&mtx) == thrd_success, "lock");
}

static void give_mtx(void)
{
    CHECK(mtx_unlock(&mtx) == thrd_success, "unlock");
}

static void take_stream(void)
{
    flockfile(stdin);
}

static void give_stream(void)
{
    funlockfile(stdin);
}

static const struct {
    const char *name;
    void (*take)(void), (*give)(void);
} locks[] = {
    {"a mutex", take_mutex, give_mutex},
    {"an rwlock taken twice, released once", take_twice, give_rwlock},
    {"a written rwlock", take_writer, give_rwlock},
    {"a spinlock", take_spinlock, give_spinlock},
    {"a C11 mutex", take_mtx, give_mtx},
    {"a stream", take_stream, give_stream},
    {NULL, fail_mutex, nothing},
};

static uint64_t inside;

static int contend(void *arg)
{
    uint64_t *rounds = arg;

    for (; *rounds < 300; ++*rounds) {
        take_mutex();
        CHECK(++inside == 1, "two hold a mutex");
        for (uint64_t i = *rounds % 40; i > 0; i--)
            compute();
        inside--;
        give_mutex();
        for (uint64_t i = *rounds % 7; i > 0; i--)
            compute();
    }
    return 0;
}

static void test_contention(void)
{
    uint64_t rounds[2] = {0, 0};
    gyre_handle handles[2];

    for (int i = 0; i < 2; i++)
        CHECK(!gyre_spawn(&handles[i], contend, &rounds[i]), "spawn");
    for (int i = 0; i < 2; i++)
        CHECK(!gyre_join(handles[i], NULL), "join");
    CHECK(rounds[0] + rounds[1] == 600, "rounds");
}

static int test(void *arg)
{
    gyre_handle handle;

    (void)arg;
    if (!is_asynchronous())
        return 77;
    CHECK(!gyre_spawn(&handle, other, NULL), "spawn");
    for (size_t i = 0; i < sizeof locks / sizeof *locks; i++) {
        locks[i].take();
        if (locks[i].name)
            compute_holding(locks[i].name);
        locks[i].give();
        compute_until_interrupted();
    }
    other_ends = 1;
    CHECK(!gyre_join(handle, NULL), "join");
    test_contention();
    return 0;
}

static int test_uncounted(void *arg)
{
    int64_t end = gyre_now() + 10 * GYRE_MILLISECOND; /* 50 quanta */
    struct gyre_preempt_counts counts;
    gyre_handle handle;

    (void)arg;
    CHECK(!gyre_spawn(&handle, other, NULL), "spawn");
    while (gyre_now() < end)
        compute();
    counts = get_counts();
    CHECK(turns() == 0 && counts.preempted == 0, "interrupted");
    other_ends = 1;
    CHECK(!gyre_join(handle, NULL), "join");
    printf("%s\n", counts.mode);
    CHECK(strncmp(counts.mode, "cooperative: ", 13) == 0, "the mode");
    return strstr(counts.mode, "libgyre-preempt") ? 0 : 77;
}

int main(int argc, char **argv)
{
    CHECK(!pthread_spin_init(&spinlock, 0), "spinlock");
    CHECK(mtx_init(&mtx, mtx_plain) == thrd_success, "mutex");
    return run_held(argc > 1 && !strcmp(argv[1], "uncounted") ? test_uncounted : test, NULL);
}
