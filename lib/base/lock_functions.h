/*
 * The C library's functions that take a lock: libgyre-preempt stands before each and counts, and a
 * program that calls any is interrupted only where it does.
 *
 *   #define COUNTED(name) ...
 *   LOCK_FUNCTIONS(COUNTED)
 *
 * Not here: what takes a lock and gives it back before it returns (printf, malloc): a coroutine in
 * it is in a library, and left alone.
 */
#ifndef GYRE_LIB_BASE_LOCK_FUNCTIONS_H
#define GYRE_LIB_BASE_LOCK_FUNCTIONS_H

/* clang-format off */
#define LOCK_FUNCTIONS(X)       \
    X(pthread_mutex_lock)       \
    X(pthread_mutex_trylock)    \
    X(pthread_mutex_timedlock)  \
    X(pthread_mutex_clocklock)  \
    X(pthread_rwlock_rdlock)    \
    X(pthread_rwlock_wrlock)    \
    X(pthread_rwlock_tryrdlock) \
    X(pthread_rwlock_trywrlock) \
    X(pthread_rwlock_timedrdlock) \
    X(pthread_rwlock_timedwrlock) \
    X(pthread_rwlock_clockrdlock) \
    X(pthread_rwlock_clockwrlock) \
    X(pthread_spin_lock)        \
    X(pthread_spin_trylock)     \
    X(mtx_lock)                 \
    X(mtx_trylock)              \
    X(mtx_timedlock)            \
    X(flockfile)                \
    X(ftrylockfile)             \
    X(__cxa_guard_acquire)

/* Names that glibc keeps for programs of old: nothing that is compiled today calls them. */
#define LOCK_FUNCTION_ALIASES(X)   \
    X(__pthread_mutex_lock)        \
    X(__pthread_mutex_trylock)     \
    X(__pthread_rwlock_rdlock)     \
    X(__pthread_rwlock_wrlock)     \
    X(__pthread_rwlock_tryrdlock)  \
    X(__pthread_rwlock_trywrlock)  \
    X(_IO_flockfile)               \
    X(_IO_ftrylockfile)
/* clang-format on */

#endif
