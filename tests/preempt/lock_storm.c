/*
 * Who holds a lock of the C library is not interrupted: libgyre-preempt counts the locks. So
 * whoever wants one finds it held only by a thread that runs, and gets it. Mutexes of all kinds,
 * rwlocks, spinlocks, C11's, streams, conditions and pthread_once, between coroutines of one worker
 * and of several, and threads that are no workers. A coroutine interrupted with a lock would make
 * its worker wait for itself: a hang.
 *
 * With STORM_UNCOUNTED, without libgyre-preempt: then a program with such locks isn't interrupted
 * at all, and must not hang either.
 */
#include "storm.h"

#include <threads.h>

enum { THREADS = 2 };

/* Two numbers that are equal while nobody is inside; each lock has its own. */
struct guarded {
    uint64_t left, right;
    _Atomic(uint64_t) wanted;
};

static struct guarded by_mutex, by_recursive, by_spin, by_rwlock, by_c11, by_stream, by_cond;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t checking = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_spinlock_t spin;
static mtx_t c11;
static FILE *stream;

static void add(struct guarded *guarded, struct random *random, const char *what)
{
    storm_enter(what);
    STORM_CHECK(guarded->left == guarded->right, "%s: two were inside", what);
    guarded->left++;
    storm_work(random);
    guarded->right++;
    storm_leave();
    guarded->wanted++;
}

static void look(const struct guarded *guarded, struct random *random, const char *what)
{
    uint64_t left = guarded->left;

    storm_enter(what);
    storm_work(random);
    STORM_CHECK(guarded->left == left && guarded->right == left, "%s: changed", what);
    storm_leave();
}

static struct timespec soon(clockid_t clock)
{
    struct timespec when;

    clock_gettime(clock, &when);
    when.tv_sec += 50;
    return when;
}

static void mutexes(struct random *random)
{
    struct timespec when;

    switch (random_below(random, 4)) {
    case 0:
        if (pthread_mutex_trylock(&mutex))
            return;
        break;
    case 1:
        when = soon(CLOCK_REALTIME);
        STORM_CHECK(!pthread_mutex_timedlock(&mutex, &when), "timedlock");
        break;
    case 2:
        when = soon(CLOCK_MONOTONIC);
        STORM_CHECK(!pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &when), "clocklock");
        break;
    default:
        STORM_CHECK(!pthread_mutex_lock(&mutex), "lock");
    }
    add(&by_mutex, random, "a mutex's owner");
    STORM_CHECK(!pthread_mutex_unlock(&mutex), "unlock");
}

static void recursions(struct random *random)
{
    unsigned depth = 1 + random_below(random, 4);

    for (unsigned i = 0; i < depth; i++)
        STORM_CHECK(!pthread_mutex_lock(&recursive), "lock");
    add(&by_recursive, random, "a recursive mutex's owner");
    for (unsigned i = 1; i < depth; i++)
        STORM_CHECK(!pthread_mutex_unlock(&recursive), "unlock");
    look(&by_recursive, random, "a recursive mutex's owner");
    STORM_CHECK(!pthread_mutex_unlock(&recursive), "unlock");
}

/* Attempts that fail hold nothing: what they counted must be taken back. */
static void failures(struct random *random)
{
    STORM_CHECK(!pthread_mutex_lock(&checking), "lock");
    STORM_CHECK(pthread_mutex_lock(&checking) == EDEADLK, "locked twice");
    STORM_CHECK(pthread_mutex_trylock(&checking) == EBUSY, "locked twice");
    storm_enter("an error-checking mutex's owner");
    storm_work(random);
    storm_leave();
    STORM_CHECK(!pthread_mutex_unlock(&checking), "unlock");
}

static void rwlocks(struct random *random)
{
    struct timespec when;

    switch (random_below(random, 6)) {
    case 0:
        STORM_CHECK(!pthread_rwlock_wrlock(&rwlock), "wrlock");
        add(&by_rwlock, random, "a writer");
        break;
    case 1:
        if (pthread_rwlock_trywrlock(&rwlock))
            return;
        add(&by_rwlock, random, "a writer");
        break;
    case 2:
        when = soon(CLOCK_REALTIME);
        STORM_CHECK(!pthread_rwlock_timedwrlock(&rwlock, &when), "timedwrlock");
        add(&by_rwlock, random, "a writer");
        break;
    case 3:
        if (pthread_rwlock_tryrdlock(&rwlock))
            return;
        look(&by_rwlock, random, "a reader");
        break;
    case 4:
        when = soon(CLOCK_MONOTONIC);
        STORM_CHECK(!pthread_rwlock_clockrdlock(&rwlock, CLOCK_MONOTONIC, &when), "clockrdlock");
        look(&by_rwlock, random, "a reader");
        break;
    default:
        STORM_CHECK(!pthread_rwlock_rdlock(&rwlock), "rdlock");
        look(&by_rwlock, random, "a reader");
    }
    STORM_CHECK(!pthread_rwlock_unlock(&rwlock), "unlock");
}

static void spins(struct random *random)
{
    if (random_below(random, 2))
        pthread_spin_lock(&spin);
    else if (pthread_spin_trylock(&spin))
        return;
    add(&by_spin, random, "a spinlock's owner");
    pthread_spin_unlock(&spin);
}

static void c11_mutexes(struct random *random)
{
    if (random_below(random, 2))
        STORM_CHECK(mtx_lock(&c11) == thrd_success, "mtx_lock");
    else if (mtx_trylock(&c11) != thrd_success)
        return;
    add(&by_c11, random, "a C11 mutex's owner");
    STORM_CHECK(mtx_unlock(&c11) == thrd_success, "mtx_unlock");
}

static void streams(struct random *random)
{
    if (random_below(random, 2))
        flockfile(stream);
    else if (ftrylockfile(stream))
        return;
    add(&by_stream, random, "a stream's owner");
    fprintf(stream, "%d", 1);
    look(&by_stream, random, "a stream's owner");
    funlockfile(stream);
}

static void several(struct random *random)
{
    pthread_mutex_lock(&mutex);
    pthread_rwlock_rdlock(&rwlock);
    pthread_mutex_unlock(&mutex);
    look(&by_rwlock, random, "a reader who let a mutex go");
    pthread_rwlock_unlock(&rwlock);
}

/* A condition that a foreign thread signals at each round. Who waits holds nothing, and is in the C
 * library; who was woken holds the mutex. */
static pthread_mutex_t cond_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static uint64_t cond_turn;

static void conditions(struct random *random)
{
    struct timespec when = soon(CLOCK_REALTIME);
    uint64_t turn;
    int error = 0;

    pthread_mutex_lock(&cond_mutex);
    turn = cond_turn;
    while (cond_turn == turn && !error)
        error = random_below(random, 2) ? pthread_cond_wait(&cond, &cond_mutex)
                                        : pthread_cond_timedwait(&cond, &cond_mutex, &when);
    STORM_CHECK(!error, "%s", strerror(error));
    add(&by_cond, random, "who was woken");
    pthread_mutex_unlock(&cond_mutex);
}

static void (*const games[])(struct random *random) = {mutexes, recursions,  failures, rwlocks,
                                                       spins,   c11_mutexes, streams,  several};

static int play(struct storm_player *player)
{
    while (!storm_over()) {
        games[random_below(&player->random, ARRAY_SIZE(games))](&player->random);
        if (random_below(&player->random, 2))
            storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

static int wait_for_signals(struct storm_player *player)
{
    while (!storm_over()) {
        conditions(&player->random);
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

/* pthread_once waits for whoever runs the function: he must not be interrupted. */
static pthread_once_t onces[1 << 16];
static _Atomic(uint32_t) next_once;
static _Atomic(uint32_t) initialised;

static void initialise(void)
{
    struct random random = {atomic_load(&initialised)};

    storm_enter("a pthread_once function");
    storm_work(&random);
    storm_leave();
    initialised++;
}

static int once(struct storm_player *player)
{
    while (!storm_over()) {
        uint32_t ticket = next_once;

        if (ticket < ARRAY_SIZE(onces)) {
            pthread_once(&onces[ticket], initialise);
            STORM_CHECK(initialised > ticket, "not initialised");
            atomic_compare_exchange_strong(&next_once, &ticket, ticket + 1);
        }
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

static atomic_bool threads_end;
static pthread_t threads[THREADS], signaller;

static void *foreign(void *arg)
{
    struct random random = {(uintptr_t)arg};

    while (!threads_end) {
        games[random_below(&random, ARRAY_SIZE(games))](&random);
        if (random_below(&random, 4) == 0)
            usleep(random_below(&random, 100));
    }
    return NULL;
}

static void *signal_them(void *arg)
{
    (void)arg;
    while (!threads_end) {
        pthread_mutex_lock(&cond_mutex);
        cond_turn++;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&cond_mutex);
        usleep(20);
    }
    return NULL;
}

static void begin(void)
{
    static const pthread_once_t fresh = PTHREAD_ONCE_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(onces); i++)
        onces[i] = fresh;
    next_once = 0;
    initialised = 0;
    threads_end = false;
    for (int i = 0; i < THREADS; i++)
        STORM_CHECK(!pthread_create(&threads[i], NULL, foreign, (void *)(uintptr_t)(i + 1)),
                    "no thread");
    STORM_CHECK(!pthread_create(&signaller, NULL, signal_them, NULL), "no thread");
}

static void end(void)
{
    const struct guarded *all[] = {&by_mutex, &by_recursive, &by_spin, &by_rwlock,
                                   &by_c11,   &by_stream,    &by_cond};

    threads_end = true;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_join(signaller, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        STORM_CHECK(all[i]->left == all[i]->wanted && all[i]->right == all[i]->wanted, "%zu", i);
    STORM_CHECK(initialised == next_once, "%u of %u", initialised, next_once);
}

#ifndef STORM_UNCOUNTED
static const char *missing(const struct gyre_preempt_counts *counts)
{
    return counts->refused[GYRE_REFUSED_LOCK] ? NULL : "no lock was held at a tick";
}
#endif

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {
        {"locks", play, 6}, {"conditions", wait_for_signals, 2}, {"once", once, 3}};

    stream = fopen("/dev/null", "w");
    STORM_CHECK(stream, "no /dev/null");
    pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE);
    mtx_init(&c11, mtx_plain);
    storm_settings.before = begin;
    storm_settings.finish = end;
#ifdef STORM_UNCOUNTED
    storm_settings.cooperative = true;
#else
    storm_settings.missing = missing;
#endif
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
