/*
 * gyre/sync.h - Go's sync: mutex, reader-writer mutex, wait group, once, condition, semaphore,
 * barrier. (gyre/pool.h has the pool.)
 *
 * All live in the caller's storage and start zeroed (the *_INIT macros), statically too, before the
 * runtime runs. None needs destroying; the storage must outlive every call, and none may be copied
 * once used. What waits, waits in a queue on the stacks of those who wait: nothing is allocated,
 * and nothing here fails for want of memory.
 *
 * Threads that are not workers may call all of these as well, while the runtime runs or not: they
 * sleep on a futex instead of parking, and no context cancels them. (A worker must not
 * wait for such a thread while that waits for the worker's coroutines: as ever with locks.)
 *
 * Waiting for a lock is not cancelled: a coroutine whose context has ended still gets its mutex,
 * so that clean-up works. The cancellable forms say so in their name, and warn when their result is
 * ignored. What waits for others to do something (wait group, condition, semaphore, barrier)
 * returns -ECANCELED or -ETIMEDOUT once the context has ended, at entry too; where it did
 * not get what it waited for, nothing is taken from anybody.
 */
#ifndef GYRE_SYNC_H
#define GYRE_SYNC_H

#include <gyre/base.h>

GYRE_BEGIN_DECLS

struct gyre_sync_waiter; /* private */

/* Private: who waits, in order. */
struct gyre_sync_queue {
    struct gyre_sync_waiter *first, *last;
};

/*
 * Private: the short way of the calls below, in place of the call; the library has each as a
 * function as well, which GYRE_NO_INLINE, -O0 and a taken address use.
 */
#ifndef GYRE_NO_INLINE
#define GYRE_SYNC_INLINE_ extern inline __attribute__((gnu_inline))
#endif

/* --- mutex --------------------------------------------------------------------------------- */

/*
 * A mutex. Not recursive. It belongs to nobody: another coroutine than the one that locked it may
 * unlock it, as in Go. Fair as Go's: a newcomer may overtake those who wait, which is fast, until
 * one has waited for a millisecond: then the next unlock hands the mutex over to the first. Its
 * storage may be freed by who locks it last, right after the unlock. Go: sync.Mutex.
 */
typedef struct gyre_mutex {
    uint32_t state, guard; /* private */
    struct gyre_sync_queue queue;
} gyre_mutex;

#define GYRE_MUTEX_INIT                                                                            \
    {                                                                                              \
        0, 0,                                                                                      \
        {                                                                                          \
            0, 0                                                                                   \
        }                                                                                          \
    }

/* Locks; parks while another holds it, whatever becomes of the context. From any thread. Go: Lock.
 */
GYRE_API void gyre_mutex_lock(gyre_mutex *mutex);

#define GYRE_MUTEX_BUSY_ 15u
#ifdef GYRE_SYNC_INLINE_
void gyre_mutex_lock_(gyre_mutex *mutex) __asm__("gyre_mutex_lock");
GYRE_SYNC_INLINE_ void gyre_mutex_lock(gyre_mutex *mutex)
{
    uint32_t state = __atomic_load_n(&mutex->state, __ATOMIC_RELAXED);

    if (__builtin_expect((state & GYRE_MUTEX_BUSY_) != 0, 0) ||
        __builtin_expect(!__atomic_compare_exchange_n(&mutex->state, &state, state | 1, 0,
                                                      __ATOMIC_ACQUIRE, __ATOMIC_RELAXED),
                         0))
        gyre_mutex_lock_(mutex);
}
#endif

/* Locks unless the context ends first: 0, or -ECANCELED or -ETIMEDOUT, and then it is not
 * locked. Parks. From any thread. Go: none. */
GYRE_API GYRE_NODISCARD int gyre_mutex_lock_cancellable(gyre_mutex *mutex);

/* Locks if nobody holds it and nobody is owed it: 1, else 0. Never parks. From any thread.
 * Go: TryLock. */
GYRE_API GYRE_NODISCARD int gyre_mutex_try_lock(gyre_mutex *mutex);

/* Unlocks, and readies who is next. Panics when it is not locked. Never parks. From any thread.
 * Go: Unlock. */
GYRE_API void gyre_mutex_unlock(gyre_mutex *mutex);

/* Locked until the end of the block, by whatever way it is left. Go: Lock; defer Unlock. */
#define GYRE_MUTEX_GUARD(mutex)                                                                    \
    __attribute__((cleanup(gyre_mutex_guard_leave), unused)) gyre_mutex *GYRE_SYNC_NAME_(          \
        __COUNTER__) = gyre_mutex_guard_enter(mutex)
#define GYRE_SYNC_JOIN_(a, b)   a##b
#define GYRE_SYNC_NAME_(number) GYRE_SYNC_JOIN_(gyre_guard_, number)

static inline gyre_mutex *gyre_mutex_guard_enter(gyre_mutex *mutex)
{
    gyre_mutex_lock(mutex);
    return mutex;
}

static inline void gyre_mutex_guard_leave(gyre_mutex **mutex)
{
    gyre_mutex_unlock(*mutex);
}

/* --- reader-writer mutex ------------------------------------------------------------------- */

/*
 * Many readers or one writer. Writers take turns by a gyre_mutex; the one whose turn it is holds
 * back new readers while it waits for those inside, so it is not starved; when it unlocks, all
 * readers that waited come before the next writer, so neither are they. Hence
 * locking for reading again while holding it for reading can deadlock, once a writer waits between
 * the two; so does trading a read lock for a write lock. Go: sync.RWMutex.
 */
typedef struct gyre_rwmutex {
    uint32_t state, guard; /* private */
    struct gyre_sync_queue readers, writer;
    gyre_mutex turn;
} gyre_rwmutex;

#define GYRE_RWMUTEX_INIT                                                                          \
    {                                                                                              \
        0, 0, {0, 0}, {0, 0}, GYRE_MUTEX_INIT                                                      \
    }

/* As the mutex's calls of the same names, r for reading. Panics: an unlock of what is not locked
 * that way, and more than 2^29 readers. */
GYRE_API void gyre_rwmutex_rlock(gyre_rwmutex *mutex);
GYRE_API GYRE_NODISCARD int gyre_rwmutex_rlock_cancellable(gyre_rwmutex *mutex);
GYRE_API GYRE_NODISCARD int gyre_rwmutex_try_rlock(gyre_rwmutex *mutex);
GYRE_API void gyre_rwmutex_runlock(gyre_rwmutex *mutex);
GYRE_API void gyre_rwmutex_lock(gyre_rwmutex *mutex);
GYRE_API GYRE_NODISCARD int gyre_rwmutex_lock_cancellable(gyre_rwmutex *mutex);
GYRE_API GYRE_NODISCARD int gyre_rwmutex_try_lock(gyre_rwmutex *mutex);
GYRE_API void gyre_rwmutex_unlock(gyre_rwmutex *mutex);

/* Locked, for reading or for writing, until the end of the block, by whatever way it is left. */
#define GYRE_RWMUTEX_RGUARD(mutex)                                                                 \
    __attribute__((cleanup(gyre_rwmutex_rguard_leave), unused)) gyre_rwmutex *GYRE_SYNC_NAME_(     \
        __COUNTER__) = gyre_rwmutex_rguard_enter(mutex)
#define GYRE_RWMUTEX_GUARD(mutex)                                                                  \
    __attribute__((cleanup(gyre_rwmutex_guard_leave), unused)) gyre_rwmutex *GYRE_SYNC_NAME_(      \
        __COUNTER__) = gyre_rwmutex_guard_enter(mutex)

static inline gyre_rwmutex *gyre_rwmutex_rguard_enter(gyre_rwmutex *mutex)
{
    gyre_rwmutex_rlock(mutex);
    return mutex;
}

static inline void gyre_rwmutex_rguard_leave(gyre_rwmutex **mutex)
{
    gyre_rwmutex_runlock(*mutex);
}

static inline gyre_rwmutex *gyre_rwmutex_guard_enter(gyre_rwmutex *mutex)
{
    gyre_rwmutex_lock(mutex);
    return mutex;
}

static inline void gyre_rwmutex_guard_leave(gyre_rwmutex **mutex)
{
    gyre_rwmutex_unlock(*mutex);
}

/* --- wait group ---------------------------------------------------------------------------- */

/*
 * Counts work that is under way. Add before the work is started, done when it ended; wait returns
 * when the count is zero. It may be used again after that. Go: sync.WaitGroup.
 */
typedef struct gyre_waitgroup {
    uint64_t state; /* private */
    uint32_t guard;
    struct gyre_sync_queue queue;
} gyre_waitgroup;

#define GYRE_WAITGROUP_INIT                                                                        \
    {                                                                                              \
        0, 0,                                                                                      \
        {                                                                                          \
            0, 0                                                                                   \
        }                                                                                          \
    }

/* Adds delta, which may be negative, to the count; reaching zero readies all who wait. Panics when
 * it falls below zero or exceeds 2^31 - 1. Never parks. From any thread. Go: Add. */
GYRE_API void gyre_waitgroup_add(gyre_waitgroup *group, int delta);
GYRE_API void gyre_waitgroup_done(gyre_waitgroup *group); /* add -1. Go: Done */

/*
 * Waits until the count is zero: 0; or -ECANCELED or -ETIMEDOUT when the context ended first, while
 * what is counted still runs: a block that owns what that uses, this wait group among it, must not
 * be left before. A GYRE_SHIELD around makes it wait to the end; GYRE_GROUP needs neither. Parks.
 * From any thread. Go: Wait.
 */
GYRE_API int gyre_waitgroup_wait(gyre_waitgroup *group);

/*
 * Starts fn(arg) as a coroutine that counts: one is added before, and taken away when it
 * has ended. Returns as gyre_go; on failure nothing is added. Only from a coroutine. Go:
 * WaitGroup.Go.
 */
#define gyre_waitgroup_go(group, fn, arg) gyre_waitgroup_go_at(GYRE_SITE(#fn), group, fn, arg)
#define gyre_waitgroup_go_copy(group, fn, arg, size)                                               \
    gyre_waitgroup_go_copy_at(GYRE_SITE(#fn), group, fn, arg, size)
GYRE_API int gyre_waitgroup_go_at(const char *site, gyre_waitgroup *group, gyre_fn fn, void *arg);
GYRE_API int gyre_waitgroup_go_copy_at(const char *site, gyre_waitgroup *group, gyre_fn fn,
                                       const void *arg, size_t size);

/* --- once ---------------------------------------------------------------------------------- */

/* Does something once, whoever comes first. Go: sync.Once, OnceFunc, OnceValue. */
typedef struct gyre_once {
    uint32_t state, guard; /* private */
    struct gyre_sync_queue queue;
    void *value;
    int result;
    uint64_t runner;
} gyre_once;

#define GYRE_ONCE_INIT                                                                             \
    {                                                                                              \
        0, 0, {0, 0}, 0, 0, 0                                                                      \
    }

/*
 * The first call runs fn(arg) (in the caller's context), the others wait until it has returned; all
 * return what it returned, an error too: it is not tried again. Parks, not cancelled. A call
 * from inside fn panics. From any thread. Go: OnceValue(func() error).
 */
GYRE_API int gyre_once_do(gyre_once *once, gyre_fn fn, void *arg);

#define GYRE_ONCE_DONE_ 2u
#ifdef GYRE_SYNC_INLINE_
int gyre_once_do_(gyre_once *once, gyre_fn fn, void *arg) __asm__("gyre_once_do");
GYRE_SYNC_INLINE_ int gyre_once_do(gyre_once *once, gyre_fn fn, void *arg)
{
    if (__builtin_expect(__atomic_load_n(&once->state, __ATOMIC_ACQUIRE) == GYRE_ONCE_DONE_, 1))
        return once->result;
    return gyre_once_do_(once, fn, arg);
}
#endif

/* The same for a pointer. One gyre_once is used with one of the two. Go: OnceValue. */
GYRE_API void *gyre_once_value(gyre_once *once, void *(*make)(void *arg), void *arg);

#ifdef GYRE_SYNC_INLINE_
void *gyre_once_value_(gyre_once *once, void *(*make)(void *arg),
                       void *arg) __asm__("gyre_once_value");
GYRE_SYNC_INLINE_ void *gyre_once_value(gyre_once *once, void *(*make)(void *arg), void *arg)
{
    if (__builtin_expect(__atomic_load_n(&once->state, __ATOMIC_ACQUIRE) == GYRE_ONCE_DONE_, 1))
        return once->value;
    return gyre_once_value_(once, make, arg);
}
#endif

/* --- condition ----------------------------------------------------------------------------- */

/* Waits for a change of what a mutex guards. Go: sync.Cond. */
typedef struct gyre_cond {
    uint32_t count, guard; /* private */
    struct gyre_sync_queue queue;
} gyre_cond;

#define GYRE_COND_INIT                                                                             \
    {                                                                                              \
        0, 0,                                                                                      \
        {                                                                                          \
            0, 0                                                                                   \
        }                                                                                          \
    }

/*
 * Unlocks mutex, waits until it is signalled, locks mutex again, in every case, and returns 0; or
 * -ECANCELED or -ETIMEDOUT when the context ended first, and then no signal was used up. No
 * spurious wake-ups; still look again at what you wait for: others may have been faster to lock.
 * Parks. From any thread; the mutex is held by the caller. Go: Wait.
 */
GYRE_API int gyre_cond_wait(gyre_cond *cond, gyre_mutex *mutex);

/* Wakes the one that has waited longest, or all. The mutex need not be held. Never park. From any
 * thread. Go: Signal, Broadcast. */
GYRE_API void gyre_cond_signal(gyre_cond *cond);
GYRE_API void gyre_cond_broadcast(gyre_cond *cond);

/* --- semaphore ----------------------------------------------------------------------------- */

/*
 * Weighted: size units, taken and given back in any portions. In order: a large request that
 * waits holds back smaller ones behind it. Go: golang.org/x/sync/semaphore.
 */
typedef struct gyre_semaphore {
    int64_t size, taken; /* private */
    uint32_t guard;
    struct gyre_sync_queue queue;
} gyre_semaphore;

#define GYRE_SEMAPHORE_INIT(size)                                                                  \
    {                                                                                              \
        (size), 0, 0,                                                                              \
        {                                                                                          \
            0, 0                                                                                   \
        }                                                                                          \
    }

/* Takes units (>= 0). 0; -ECANCELED or -ETIMEDOUT; -EINVAL: more than there are, or below zero.
 * Parks. From any thread. Go: Acquire. */
GYRE_API GYRE_NODISCARD int gyre_semaphore_acquire(gyre_semaphore *semaphore, int64_t units);
/* 1: taken, 0: not without waiting. Never parks. From any thread. Go: TryAcquire. */
GYRE_API GYRE_NODISCARD int gyre_semaphore_try_acquire(gyre_semaphore *semaphore, int64_t units);
/* Gives units back. Panics when more come back than were taken. Never parks. From any thread.
 * Go: Release. */
GYRE_API void gyre_semaphore_release(gyre_semaphore *semaphore, int64_t units);

/* --- barrier ------------------------------------------------------------------------------- */

/* parties coroutines wait for each other, again and again. Go: none. */
typedef struct gyre_barrier {
    uint32_t parties, arrived; /* private */
    uint32_t guard;
    struct gyre_sync_queue queue;
} gyre_barrier;

#define GYRE_BARRIER_INIT(parties)                                                                 \
    {                                                                                              \
        (parties), 0, 0,                                                                           \
        {                                                                                          \
            0, 0                                                                                   \
        }                                                                                          \
    }

/*
 * Waits until parties have called it: 1 for the last to come, 0 for the others; -ECANCELED or
 * -ETIMEDOUT when the context ended first: the caller then does not count as having arrived.
 * Parks. From any thread.
 */
GYRE_API int gyre_barrier_wait(gyre_barrier *barrier);

GYRE_END_DECLS

#endif
