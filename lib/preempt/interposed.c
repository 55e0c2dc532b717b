/*
 * libgyre-preempt: stands before the C library's lock functions, and tells libgyre of each lock
 * that is taken and released, so that a coroutine which holds one is not interrupted.
 *
 * - A lock is counted before it is taken, and taken back from the count after it was released or
 *   could not be had: at no moment is one held that is not counted.
 * - Each success counts: a recursive mutex as often as it is locked, a robust one also when its
 *   owner died (EOWNERDEAD: it is held). An unlock that fails (EPERM) takes nothing back.
 * - Without a runtime (the hooks are NULL) a call costs a load and two jumps.
 *
 * The C library's functions are found by dlsym when this library is initialised. Locks are
 * taken before that too: by the initialisers of other libraries, by malloc. So each pointer starts
 * at a function that looks up and goes on. Several threads may do so at once, for they find the
 * same; dlsym itself locks inside the C library, which does not come here, and its malloc, if it
 * needs one for an error message, may come here for another function: the depth is bounded.
 * Rejected: looking up under a lock or pthread_once, which would be taken inside itself; a flag in
 * each call.
 *
 * Not interposed, for nothing changes by them:
 * - pthread_cond_wait, _timedwait, _clockwait and cnd_*: the mutex is held again when they return,
 *   and when they end by cancellation or pthread_exit, whose cleanup handlers then unlock it by our
 *   functions. Meanwhile the thread is inside the C library, where nothing is interrupted. Counted
 *   too high is a robust mutex that became ENOTRECOVERABLE during the wait, for it is not held; the
 *   coroutine is then not interrupted any more, which is sound. (By name, dlsym would find an old
 *   version of these on some processors: the functions below have one each.)
 * - pthread_mutex_destroy, pthread_rwlock_destroy, mtx_destroy: not of a lock that is held.
 * - pthread_mutex_consistent; pthread_mutex_setprioceiling, which locks and unlocks inside.
 */
#include "base/lock_functions.h"
#include "preempt/count.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <unistd.h>

/* X(kind, name, parameters, arguments): kind says what 0, the result of success, does. */
#define INT_FUNCTIONS(X)                                                                           \
    X(TAKES, pthread_mutex_lock, (pthread_mutex_t * lock), (lock))                                 \
    X(TAKES, pthread_mutex_trylock, (pthread_mutex_t * lock), (lock))                              \
    X(TAKES, pthread_mutex_timedlock,                                                              \
      (pthread_mutex_t *restrict lock, const struct timespec *restrict until), (lock, until))      \
    X(TAKES, pthread_mutex_clocklock,                                                              \
      (pthread_mutex_t *restrict lock, clockid_t clock_id, const struct timespec *restrict until), \
      (lock, clock_id, until))                                                                     \
    X(RELEASES, pthread_mutex_unlock, (pthread_mutex_t * lock), (lock))                            \
    X(TAKES, pthread_rwlock_rdlock, (pthread_rwlock_t * lock), (lock))                             \
    X(TAKES, pthread_rwlock_wrlock, (pthread_rwlock_t * lock), (lock))                             \
    X(TAKES, pthread_rwlock_tryrdlock, (pthread_rwlock_t * lock), (lock))                          \
    X(TAKES, pthread_rwlock_trywrlock, (pthread_rwlock_t * lock), (lock))                          \
    X(TAKES, pthread_rwlock_timedrdlock,                                                           \
      (pthread_rwlock_t *restrict lock, const struct timespec *restrict until), (lock, until))     \
    X(TAKES, pthread_rwlock_timedwrlock,                                                           \
      (pthread_rwlock_t *restrict lock, const struct timespec *restrict until), (lock, until))     \
    X(TAKES, pthread_rwlock_clockrdlock,                                                           \
      (pthread_rwlock_t *restrict lock, clockid_t clock_id,                                        \
       const struct timespec *restrict until),                                                     \
      (lock, clock_id, until))                                                                     \
    X(TAKES, pthread_rwlock_clockwrlock,                                                           \
      (pthread_rwlock_t *restrict lock, clockid_t clock_id,                                        \
       const struct timespec *restrict until),                                                     \
      (lock, clock_id, until))                                                                     \
    X(RELEASES, pthread_rwlock_unlock, (pthread_rwlock_t * lock), (lock))                          \
    X(TAKES, pthread_spin_lock, (pthread_spinlock_t * lock), (lock))                               \
    X(TAKES, pthread_spin_trylock, (pthread_spinlock_t * lock), (lock))                            \
    X(RELEASES, pthread_spin_unlock, (pthread_spinlock_t * lock), (lock))                          \
    X(TAKES, mtx_lock, (mtx_t * lock), (lock))                                                     \
    X(TAKES, mtx_trylock, (mtx_t * lock), (lock))                                                  \
    X(TAKES, mtx_timedlock, (mtx_t *restrict lock, const struct timespec *restrict until),         \
      (lock, until))                                                                               \
    X(RELEASES, mtx_unlock, (mtx_t * lock), (lock))                                                \
    X(TAKES, ftrylockfile, (FILE * lock), (lock))

/* Results of their own. */
#define VOID_FUNCTIONS(X)                                                                          \
    X(flockfile, (FILE * lock), (lock))                                                            \
    X(funlockfile, (FILE * lock), (lock))

enum function {
#define X(kind, name, parameters, arguments) NR_##name,
    INT_FUNCTIONS(X)
#undef X
#define X(name, ...) NR_##name,
        VOID_FUNCTIONS(X)
#undef X
            FUNCTION_COUNT
};

/* Those that take a lock are the functions of base/lock_functions.h, no more and no fewer. */
#define TAKES_ONE                            1
#define RELEASES_ONE                         0
#define X(kind, name, parameters, arguments) +kind##_ONE
enum { NR___cxa_guard_acquire }; /* in guard.c */
#define IS_HERE(name) +(1 + 0 * NR_##name)
_Static_assert(2 /* flockfile, __cxa_guard_acquire */ INT_FUNCTIONS(X) == 0 LOCK_FUNCTIONS(IS_HERE),
               "base/lock_functions.h");
#undef X

static const char *const names[] = {
#define X(kind, name, parameters, arguments) #name,
    INT_FUNCTIONS(X)
#undef X
#define X(name, ...) #name,
        VOID_FUNCTIONS(X)
#undef X
};

/* For each the C library's function, or what looks it up. Relaxed: only pointers to code change
 * hands, which was there before any thread that could call it. */
static _Atomic(void *) next[FUNCTION_COUNT];

#define NEXT(name) ((__typeof__(&name))atomic_load_explicit(&next[NR_##name], memory_order_relaxed))

/* An alias that no other library's pthread_mutex_lock can stand before. */
extern __typeof__(pthread_mutex_lock) own_mutex_lock
    __attribute__((alias("pthread_mutex_lock"), visibility("hidden"), nothrow));

/* Used by a name that can't be moved to the program by a copy relocation. */
struct gyre_preempt_interposed gyre_preempt_hooks = {
    .version = 1,
    .lock_function = (void *)own_mutex_lock,
};
extern GYRE_API struct gyre_preempt_interposed gyre_preempt_interposed
    __attribute__((alias("gyre_preempt_hooks")));

static void *found(enum function function, void *address)
{
    if (address)
        atomic_store_explicit(&next[function], address, memory_order_relaxed);
    return address;
}

/* Called, yet in no library: only a program that took our definition for the real one gets here. */
static _Noreturn void missing(const char *name)
{
    static const char why[] = ": libgyre-preempt finds no library that has it\n";

    if (write(STDERR_FILENO, name, strlen(name)) < 0 ||
        write(STDERR_FILENO, why, sizeof why - 1) < 0) {
        /* nobody to tell */
    }
    abort();
}

static void *look_up(enum function function)
{
    int error = errno;
    void *address = found(function, dlsym(RTLD_NEXT, names[function]));

    if (!address)
        missing(names[function]);
    errno = error;
    return address;
}

#define X(kind, name, parameters, arguments)                                                       \
    static int first_##name parameters                                                             \
    {                                                                                              \
        return ((__typeof__(&name))look_up(NR_##name))arguments;                                   \
    }
INT_FUNCTIONS(X)
#undef X

#define X(name, parameters, arguments)                                                             \
    static void first_##name parameters                                                            \
    {                                                                                              \
        ((__typeof__(&name))look_up(NR_##name)) arguments;                                         \
    }
VOID_FUNCTIONS(X)
#undef X

static _Atomic(void *) next[FUNCTION_COUNT] = {
#define X(kind, name, parameters, arguments) [NR_##name] = (void *)first_##name,
    INT_FUNCTIONS(X)
#undef X
#define X(name, ...) [NR_##name] = (void *)first_##name,
        VOID_FUNCTIONS(X)
#undef X
};

/* So that later no lock waits for the dynamic linker's, which may be held by a thread that is
 * inside dlopen, where an initialiser may wait for the one who locks. */
__attribute__((constructor)) static void look_up_all(void)
{
    for (enum function function = 0; function < FUNCTION_COUNT; function++)
        found(function, dlsym(RTLD_NEXT, names[function]));
}

#define TAKES(name, parameters, arguments)                                                         \
    GYRE_API int name parameters                                                                   \
    {                                                                                              \
        int result;                                                                                \
                                                                                                   \
        count_one();                                                                               \
        result = NEXT(name) arguments;                                                             \
        if (unlikely(result != 0) && result != EOWNERDEAD)                                         \
            take_one_back();                                                                       \
        return result;                                                                             \
    }

#define RELEASES(name, parameters, arguments)                                                      \
    GYRE_API int name parameters                                                                   \
    {                                                                                              \
        int result = NEXT(name) arguments;                                                         \
                                                                                                   \
        if (likely(result == 0))                                                                   \
            take_one_back();                                                                       \
        return result;                                                                             \
    }

#define X(kind, name, parameters, arguments) kind(name, parameters, arguments)
INT_FUNCTIONS(X)
#undef X

GYRE_API void flockfile(FILE *file)
{
    count_one();
    NEXT(flockfile)(file);
}

GYRE_API void funlockfile(FILE *file)
{
    NEXT(funlockfile)(file);
    take_one_back();
}
