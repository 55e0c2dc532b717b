/*
 * libgyre-preempt alone: for each function that it stands before, how many locks count as held
 * after it succeeded, failed, and was undone; for calls from this program, from a library, and from
 * before any initialiser. The hooks are the test's own.
 */
#include "hooks.h"
#include "interposed_library.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <threads.h>
#include <time.h>

static const struct timespec past = {1, 0};

/* Runs fn in another thread, to its end. */
static void elsewhere(void *(*fn)(void *), void *arg)
{
    pthread_t thread;

    CHECK(!pthread_create(&thread, NULL, fn, arg));
    CHECK(!pthread_join(thread, NULL));
}

/* --- before all initialisers -------------------------------------------------------------------
 * Libraries' constructors run after the functions in the program's .preinit_array: libgyre-preempt
 * knows no function of the C library yet.
 */

static bool early_done;
static long early_held;

static void lock_early(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_spinlock_t spinlock;

    set_hooks(count_acquired, count_released);
    pthread_mutex_lock(&mutex);
    pthread_spin_init(&spinlock, 0);
    pthread_spin_lock(&spinlock);
    flockfile(stderr);
    errno = 77;
    early_done = pthread_mutex_trylock(&mutex) == EBUSY;
    early_done &= errno == 77;
    early_held = held;
    funlockfile(stderr);
    pthread_spin_unlock(&spinlock);
    pthread_mutex_unlock(&mutex);
}

__attribute__((section(".preinit_array"), used)) static void (*const early)(void) = lock_early;

static void test_before_initialisers(void)
{
    CHECK(early_done);
    CHECK(early_held == 3);
    HELD(, 0);
}

/* --- pthread mutexes ---------------------------------------------------------------------------
 */

static void *try_to_lock(void *arg)
{
    pthread_mutex_t *mutex = arg;

    HELD(CHECK(pthread_mutex_trylock(mutex) == EBUSY), 0);
    HELD(CHECK(pthread_mutex_timedlock(mutex, &past) == ETIMEDOUT), 0);
    HELD(CHECK(pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &past) == ETIMEDOUT), 0);
    return NULL;
}

static void test_mutex(void)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    HELD(CHECK(!pthread_mutex_lock(&mutex)), 1);
    elsewhere(try_to_lock, &mutex);
    HELD(CHECK(!pthread_mutex_unlock(&mutex)), 0);
    HELD(CHECK(!pthread_mutex_trylock(&mutex)), 1);
    HELD(CHECK(!pthread_mutex_unlock(&mutex)), 0);
    HELD(CHECK(!pthread_mutex_timedlock(&mutex, &past)), 1);
    HELD(CHECK(!pthread_mutex_unlock(&mutex)), 0);
    HELD(CHECK(!pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &past)), 1);
    HELD(CHECK(!pthread_mutex_unlock(&mutex)), 0);
    CHECK(!pthread_mutex_destroy(&mutex));
}

static void make_mutex(pthread_mutex_t *mutex, int type, int robust)
{
    pthread_mutexattr_t attributes;

    CHECK(!pthread_mutexattr_init(&attributes));
    CHECK(!pthread_mutexattr_settype(&attributes, type));
    CHECK(!pthread_mutexattr_setrobust(&attributes, robust));
    CHECK(!pthread_mutex_init(mutex, &attributes));
}

static void test_recursive_mutex_counts_each_lock(void)
{
    pthread_mutex_t mutex;

    make_mutex(&mutex, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED);
    for (int i = 1; i <= 5; i++)
        HELD(CHECK(!(i % 2 ? pthread_mutex_lock(&mutex) : pthread_mutex_trylock(&mutex))), i);
    for (int i = 4; i >= 0; i--)
        HELD(CHECK(!pthread_mutex_unlock(&mutex)), i);
    HELD(CHECK(pthread_mutex_unlock(&mutex) == EPERM), 0);
}

static void test_what_an_error_checking_mutex_refuses(void)
{
    pthread_mutex_t mutex;

    make_mutex(&mutex, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED);
    HELD(CHECK(pthread_mutex_unlock(&mutex) == EPERM), 0);
    HELD(CHECK(!pthread_mutex_lock(&mutex)), 1);
    HELD(CHECK(pthread_mutex_lock(&mutex) == EDEADLK), 1);
    HELD(CHECK(pthread_mutex_timedlock(&mutex, &past) == EDEADLK), 1);
    HELD(CHECK(!pthread_mutex_unlock(&mutex)), 0);
}

static void *die_with_it(void *arg)
{
    HELD(CHECK(!pthread_mutex_lock(arg)), 1);
    return NULL;
}

static void test_robust_mutex_is_held_after_its_owner_died(void)
{
    pthread_mutex_t mutex;

    make_mutex(&mutex, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST);
    elsewhere(die_with_it, &mutex);
    HELD(CHECK(pthread_mutex_lock(&mutex) == EOWNERDEAD), 1);
    CHECK(!pthread_mutex_consistent(&mutex));
    HELD(CHECK(!pthread_mutex_unlock(&mutex)), 0);

    elsewhere(die_with_it, &mutex);
    HELD(CHECK(pthread_mutex_trylock(&mutex) == EOWNERDEAD), 1);
    HELD(CHECK(!pthread_mutex_unlock(&mutex)), 0); /* without making it consistent */
    HELD(CHECK(pthread_mutex_lock(&mutex) == ENOTRECOVERABLE), 0);
    HELD(CHECK(pthread_mutex_trylock(&mutex) == ENOTRECOVERABLE), 0);
}

static void test_condition_leaves_the_count(void)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

    HELD(CHECK(!pthread_mutex_lock(&mutex)), 1);
    HELD(CHECK(pthread_cond_timedwait(&condition, &mutex, &past) == ETIMEDOUT), 1);
    HELD(CHECK(!pthread_mutex_unlock(&mutex)), 0);
}

/* --- pthread reader-writer locks ----------------------------------------------------------------
 */

static void *try_to_write(void *arg)
{
    pthread_rwlock_t *lock = arg;

    HELD(CHECK(pthread_rwlock_trywrlock(lock) == EBUSY), 0);
    HELD(CHECK(pthread_rwlock_timedwrlock(lock, &past) == ETIMEDOUT), 0);
    HELD(CHECK(pthread_rwlock_clockwrlock(lock, CLOCK_MONOTONIC, &past) == ETIMEDOUT), 0);
    return NULL;
}

static void *try_to_read(void *arg)
{
    pthread_rwlock_t *lock = arg;

    HELD(CHECK(pthread_rwlock_tryrdlock(lock) == EBUSY), 0);
    HELD(CHECK(pthread_rwlock_timedrdlock(lock, &past) == ETIMEDOUT), 0);
    HELD(CHECK(pthread_rwlock_clockrdlock(lock, CLOCK_MONOTONIC, &past) == ETIMEDOUT), 0);
    return NULL;
}

static void test_rwlock_for_reading(void)
{
    pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

    HELD(CHECK(!pthread_rwlock_rdlock(&lock)), 1);
    HELD(CHECK(!pthread_rwlock_tryrdlock(&lock)), 2);
    HELD(CHECK(!pthread_rwlock_timedrdlock(&lock, &past)), 3);
    HELD(CHECK(!pthread_rwlock_clockrdlock(&lock, CLOCK_MONOTONIC, &past)), 4);
    elsewhere(try_to_write, &lock);
    for (int i = 3; i >= 0; i--)
        HELD(CHECK(!pthread_rwlock_unlock(&lock)), i);
}

static void test_rwlock_for_writing(void)
{
    pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

    HELD(CHECK(!pthread_rwlock_wrlock(&lock)), 1);
    elsewhere(try_to_read, &lock);
    elsewhere(try_to_write, &lock);
    HELD(CHECK(pthread_rwlock_rdlock(&lock) == EDEADLK), 1);
    HELD(CHECK(pthread_rwlock_wrlock(&lock) == EDEADLK), 1);
    HELD(CHECK(!pthread_rwlock_unlock(&lock)), 0);
    HELD(CHECK(!pthread_rwlock_trywrlock(&lock)), 1);
    HELD(CHECK(!pthread_rwlock_unlock(&lock)), 0);
    HELD(CHECK(!pthread_rwlock_timedwrlock(&lock, &past)), 1);
    HELD(CHECK(!pthread_rwlock_unlock(&lock)), 0);
    HELD(CHECK(!pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &past)), 1);
    HELD(CHECK(!pthread_rwlock_unlock(&lock)), 0);
}

/* --- the others --------------------------------------------------------------------------------
 */

static void test_spinlock(void)
{
    pthread_spinlock_t lock;

    CHECK(!pthread_spin_init(&lock, 0));
    HELD(CHECK(!pthread_spin_lock(&lock)), 1);
    HELD(CHECK(pthread_spin_trylock(&lock) == EBUSY), 1);
    HELD(CHECK(!pthread_spin_unlock(&lock)), 0);
    HELD(CHECK(!pthread_spin_trylock(&lock)), 1);
    HELD(CHECK(!pthread_spin_unlock(&lock)), 0);
}

static void *try_mtx(void *arg)
{
    HELD(CHECK(mtx_trylock(arg) == thrd_busy), 0);
    HELD(CHECK(mtx_timedlock(arg, &past) == thrd_timedout), 0);
    return NULL;
}

static void test_mtx(void)
{
    mtx_t mutex;

    CHECK(mtx_init(&mutex, mtx_timed | mtx_recursive) == thrd_success);
    HELD(CHECK(mtx_lock(&mutex) == thrd_success), 1);
    HELD(CHECK(mtx_trylock(&mutex) == thrd_success), 2);
    HELD(CHECK(mtx_timedlock(&mutex, &past) == thrd_success), 3);
    elsewhere(try_mtx, &mutex);
    for (int i = 2; i >= 0; i--)
        HELD(CHECK(mtx_unlock(&mutex) == thrd_success), i);
    HELD(CHECK(mtx_unlock(&mutex) == thrd_error), 0);
    mtx_destroy(&mutex);
}

static void *try_file(void *arg)
{
    HELD(CHECK(ftrylockfile(arg)), 0);
    return NULL;
}

static void test_file(void)
{
    HELD(flockfile(stdin), 1);
    HELD(CHECK(!ftrylockfile(stdin)), 2);
    elsewhere(try_file, stdin);
    HELD(funlockfile(stdin), 1);
    HELD(funlockfile(stdin), 0);
    HELD(fprintf(stdout, "# stdio's own locking is not counted\n"), 0);
}

static void test_library(void)
{
    HELD(CHECK(!library_lock()), 1);
    HELD(library_lock_file(), 2);
    HELD(library_unlock_file(), 1);
    HELD(CHECK(!library_unlock()), 0);
}

/* --- order: never held and not counted ----------------------------------------------------------
 */

static pthread_mutex_t ordered = PTHREAD_MUTEX_INITIALIZER;
static int (*real_trylock)(pthread_mutex_t *), (*real_unlock)(pthread_mutex_t *);
static int free_at_hook;

static void is_free(void)
{
    if (!real_trylock(&ordered)) {
        real_unlock(&ordered);
        free_at_hook++;
    }
}

static void test_counted_before_and_until_after(void)
{
    void *libc = dlopen("libc.so.6", RTLD_LAZY);

    CHECK(libc);
    real_trylock = (int (*)(pthread_mutex_t *))dlsym(libc, "pthread_mutex_trylock");
    real_unlock = (int (*)(pthread_mutex_t *))dlsym(libc, "pthread_mutex_unlock");
    CHECK(real_trylock && real_unlock);
    set_hooks(is_free, is_free);
    pthread_mutex_lock(&ordered);
    CHECK(free_at_hook == 1);
    pthread_mutex_unlock(&ordered);
    CHECK(free_at_hook == 2);
    set_hooks(count_acquired, count_released);
}

static void test_what_the_linker_finds_is_what_is_announced(void)
{
    CHECK(set_hooks(count_acquired, count_released)->lock_function ==
          dlsym(RTLD_DEFAULT, "pthread_mutex_lock"));
}

static void test_without_hooks(void)
{
    set_hooks(NULL, NULL);
    HELD(CHECK(!library_lock()), 0);
    HELD(CHECK(!library_unlock()), 0);
    elsewhere(try_file, (flockfile(stdin), stdin));
    HELD(funlockfile(stdin), 0);
    set_hooks(count_acquired, count_released);
}

/* --- a plugin in C++, while this program is in C: argument 1 and 2 -------------------------------
 */

static int initialised_with;

static int in_initialiser(int fail)
{
    initialised_with = (int)held;
    return fail;
}

static void test_plugin(const char *path)
{
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    int (*initialise)(int (*)(int), int);

    if (!plugin)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(plugin);
    initialise = (int (*)(int (*)(int), int))dlsym(plugin, "plugin_initialise");
    CHECK(initialise);
    HELD(CHECK(initialise(in_initialiser, 1) == -1), 0); /* throws */
    CHECK(initialised_with == 1);
    initialised_with = 0;
    HELD(CHECK(initialise(in_initialiser, 0) == 0), 0);
    CHECK(initialised_with == 1);
    initialised_with = 0;
    HELD(CHECK(initialise(in_initialiser, 0) == 0), 0);
    CHECK(initialised_with == 0);
}

int main(int argc, char **argv)
{
    test_before_initialisers();
    test_what_the_linker_finds_is_what_is_announced();
    test_mutex();
    test_recursive_mutex_counts_each_lock();
    test_what_an_error_checking_mutex_refuses();
    test_robust_mutex_is_held_after_its_owner_died();
    test_condition_leaves_the_count();
    test_rwlock_for_reading();
    test_rwlock_for_writing();
    test_spinlock();
    test_mtx();
    test_file();
    test_library();
    test_counted_before_and_until_after();
    test_without_hooks();
    for (int i = 1; i < argc; i++)
        test_plugin(argv[i]);
    return 0;
}
