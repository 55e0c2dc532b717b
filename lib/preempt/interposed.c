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
 *   functions. Meanwhile the thread is inside the C library, where nothing is interrupted. One case
 * is counted too high: a robust mutex that became ENOTRECOVERABLE during the wait is not held; the
 *   coroutine is then not interrupted any more, which is sound. (By name, dlsym would find an old
 *   version of these on some processors: the functions below have one each.)
 * - pthread_mutex_destroy, pthread_rwlock_destroy, mtx_destroy: not of a lock that is held.
 * - pthread_mutex_consistent; pthread_mutex_setprioceiling, which locks and unlocks inside.
 */
#include "base/interposed.h"
#include "base/lock_functions.h"
#include "base/macros.h"

#include <gyre/base.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <unistd.h>

/* Of C++ run-times; declared by none of our headers. */
int __cxa_guard_acquire(void *guard);
void __cxa_guard_release(void *guard);
void __cxa_guard_abort(void *guard);

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

#define GUARD_FUNCTIONS(X)                                                                         \
    X(__cxa_guard_acquire)                                                                         \
    X(__cxa_guard_release)                                                                         \
    X(__cxa_guard_abort)

enum function {
#define X(kind, name, parameters, arguments) NR_##name,
    INT_FUNCTIONS(X)
#undef X
#define X(name, ...) NR_##name,
        VOID_FUNCTIONS(X) GUARD_FUNCTIONS(X)
#undef X
            FUNCTION_COUNT
};

/* Those that take a lock are the functions of base/lock_functions.h, no more and no fewer. */
#define TAKES_ONE                            1
#define RELEASES_ONE                         0
#define X(kind, name, parameters, arguments) +kind##_ONE
#define IS_HERE(name)                        +(1 + 0 * NR_##name)
_Static_assert(2 /* flockfile, __cxa_guard_acquire */ INT_FUNCTIONS(X) == 0 LOCK_FUNCTIONS(IS_HERE),
               "base/lock_functions.h");
#undef X

static const char *const names[] = {
#define X(kind, name, parameters, arguments) #name,
    INT_FUNCTIONS(X)
#undef X
#define X(name, ...) #name,
        VOID_FUNCTIONS(X) GUARD_FUNCTIONS(X)
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
static struct gyre_preempt_interposed hooks = {
    .version = 1,
    .lock_function = (void *)own_mutex_lock,
};
extern GYRE_API struct gyre_preempt_interposed gyre_preempt_interposed
    __attribute__((alias("hooks")));

/* Relaxed: the hooks do something only in threads that were started after they were set. */
static inline void count_one(void)
{
    void (*acquired)(void) = atomic_load_explicit(&hooks.acquired, memory_order_relaxed);

    if (likely(acquired))
        acquired();
}

static inline void take_one_back(void)
{
    void (*released)(void) = atomic_load_explicit(&hooks.released, memory_order_relaxed);

    if (likely(released))
        released();
}

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

/*
 * The C++ run-time may be out of sight: loaded by dlopen for a plugin, which finds our functions
 * first nevertheless, or linked into the plugin. All three functions come from one place, for
 * they share a format. (The plugin may need this library too, and then leads back here: the two
 * names come first.)
 */
static bool take_guards_from(void *handle)
{
    void *acquire = dlsym(handle, "__cxa_guard_acquire");
    void *release = dlsym(handle, "__cxa_guard_release");
    void *abandon = dlsym(handle, "__cxa_guard_abort");

    if (!acquire || !release || !abandon || acquire == (void *)__cxa_guard_acquire)
        return false;
    found(NR___cxa_guard_release, release);
    found(NR___cxa_guard_abort, abandon);
    found(NR___cxa_guard_acquire, acquire);
    return true;
}

static bool take_guards_from_object(const char *name)
{
    void *handle = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);

    /* stays open: it must not go away now */
    return handle && take_guards_from(handle);
}

static void *look_up_guard(enum function function, const void *caller)
{
    int error = errno;
    Dl_info object;

    if (!take_guards_from(RTLD_NEXT) && !take_guards_from_object("libstdc++.so.6") &&
        !take_guards_from_object("libc++abi.so.1") &&
        !(dladdr(caller, &object) && take_guards_from_object(object.dli_fname)))
        missing(names[function]);
    errno = error;
    return atomic_load_explicit(&next[function], memory_order_relaxed);
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

/* NULL for the guards: where to look for them depends on the caller, whom a function behind this
 * pointer would not know. */
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
    bool all = true;

    for (enum function function = 0; function < NR___cxa_guard_acquire; function++)
        all &= found(function, dlsym(RTLD_NEXT, names[function])) != NULL;
    all &= take_guards_from(RTLD_NEXT);
    if (!all) /* a C program, as a rule; the message is not the program's */
        dlerror();
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

/*
 * The initialisation of a function's static variable in C++: 1 when the caller shall do it, and
 * all others wait. Counted afterwards, which is as good while no code of ours is interrupted: some
 * run-times throw from here when the initialisation enters itself.
 */
GYRE_API int __cxa_guard_acquire(void *guard)
{
    __typeof__(&__cxa_guard_acquire) acquire = NEXT(__cxa_guard_acquire);
    int begins;

    if (unlikely(!acquire))
        acquire =
            (__typeof__(acquire))look_up_guard(NR___cxa_guard_acquire, __builtin_return_address(0));
    begins = acquire(guard);
    if (begins)
        count_one();
    return begins;
}

GYRE_API void __cxa_guard_release(void *guard)
{
    __typeof__(&__cxa_guard_release) release = NEXT(__cxa_guard_release);

    if (unlikely(!release))
        release =
            (__typeof__(release))look_up_guard(NR___cxa_guard_release, __builtin_return_address(0));
    release(guard);
    take_one_back();
}

/* The initialiser threw. */
GYRE_API void __cxa_guard_abort(void *guard)
{
    __typeof__(&__cxa_guard_abort) abandon = NEXT(__cxa_guard_abort);

    if (unlikely(!abandon))
        abandon =
            (__typeof__(abandon))look_up_guard(NR___cxa_guard_abort, __builtin_return_address(0));
    abandon(guard);
    take_one_back();
}
