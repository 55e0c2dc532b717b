/*
 * The mutex (model: tests/models/mutex.pml): one word that is locked and unlocked by one
 * compare-and-swap each, and a queue for those who have to wait.
 *
 * Normal mode: unlock lets go and wakes the first in the queue, who competes with whoever comes
 * along, which is fast: a coroutine that locks again and again need not switch in between. While
 * one who was woken is on its way (WOKEN) nobody else is woken. Starvation mode (STARVING): unlock
 * hands the mutex over to the first, and newcomers queue. It begins when one that was woken finds
 * the mutex locked and has waited for a millisecond, or when a newcomer sees that one has been on
 * its way for that long: it may sit in the queue of a worker whose coroutine never parks but for
 * this mutex. It ends when the first gets the mutex, who then may go on for as long: each has his
 * turn of a millisecond or two. (Rejected: Go's, which goes on handing over until one had to wait
 * for less: all who wait then get the mutex once, and one who never parks has the rest of the
 * time.)
 *
 * Invariants. WAITING: the queue is not empty; both change under the guard. A mutex that is not
 * locked while others wait has WOKEN set: who takes WOKEN away leaves it locked. STARVING and not
 * locked: WOKEN is set, and only the one on its way may lock.
 *
 * The storage may be freed by who locks it next, as soon as it is not locked: so the unlock wakes
 * first, under the guard and still locked, and its exchange that clears LOCKED is the last that it
 * touches, but for readying the one it took. (Rejected: to let go first and wake then, as it is
 * commonly done with mutexes that are never freed.)
 *
 * Bias: after 2^14 unlocks that woke nobody the mutex is BIASED, and then unlock is a plain store,
 * made by a restartable sequence. Locking is a compare-and-swap still, so who has to wait sees that
 * it is locked; it may queue only when nobody unlocks by a plain store any more, which would
 * overwrite WAITING. So it takes BIASED away, breaks off all sequences (a membarrier: 1 to 10 us,
 * less than a nanosecond for each of those unlocks), and looks again: an unlock was either seen by
 * then, and brought BIASED back, or it looks again itself. Only under the guard: of two at a time
 * one could take the other's work for his own. (Rejected: a plain store, and then a load that tells
 * whether someone waits, with any barrier on the other side: the storage may be gone by then.)
 *
 * One that gives up because its context has ended is still in the queue, and so was not woken; one
 * that was woken competes once more first, and if it queues again, WOKEN goes with that.
 */
#include "sync/queue.h"

#include "base/clock.h"
#include "base/panic.h"
#include "base/restart.h"

enum {
    LOCKED = 1 << 0,
    WOKEN = 1 << 1,
    WAITING = 1 << 2,
    STARVING = 1 << 3,
    /* With WOKEN: how often the one on its way was overtaken, modulo 16, and since when it is, in
     * units of 2^20 ns, modulo 2^24. */
    OVERTAKEN = 1 << 4,
    OVERTAKEN_MASK = 15 << 4,
    SINCE_SHIFT = 8,
    /* Without WOKEN, WAITING and STARVING: unlock is a plain store. */
    BIASED = 1 << 22,
    /* How many unlocks that woke nobody earn a bias. */
    EARNS_BIAS = 1 << 14,
};

_Static_assert((LOCKED | WOKEN | WAITING | STARVING) == GYRE_MUTEX_BUSY_, "as in gyre/sync.h");

#define WOKEN_MASK  (~(uint32_t)(LOCKED | WAITING | STARVING))
#define SINCE(time) ((uint32_t)((uint64_t)(time) >> 20))

static const int64_t patience = GYRE_MILLISECOND;

/* Has the one on its way been overtaken for too long? Looks at the clock every 16th time only. */
static bool overdue(uint32_t state)
{
    return !(state & OVERTAKEN_MASK) &&
           ((SINCE(clock_now()) - (state >> SINCE_SHIFT)) & 0xffffff) > 1;
}

/* For one that did not wait yet. False: it has to; *courteous: and be it to let others pass. */
static bool take_as_newcomer(_Atomic(uint32_t) *word, bool *courteous)
{
    uint32_t state = atomic_load_explicit(word, memory_order_relaxed), next;

    do {
        if (state & (LOCKED | STARVING))
            return false;
        next = state | LOCKED;
        if (state & WOKEN) {
            next = (next & ~(uint32_t)OVERTAKEN_MASK) | ((next + OVERTAKEN) & OVERTAKEN_MASK);
            if (unlikely(overdue(next))) {
                *courteous = true;
                return false;
            }
        }
        /* Acquire: pairs with the release in unlock. */
    } while (!atomic_compare_exchange_weak_explicit(word, &state, next, memory_order_acquire,
                                                    memory_order_relaxed));
    return true;
}

/* How many unlocks there were since one waited, more or less: beside the guard, written by who has
 * the mutex or the guard. */
static _Atomic(uint16_t) *unlocks_of(gyre_mutex *mutex)
{
    _Static_assert(sizeof(struct spinlock) <= 2, "there is room beside it");
    return (_Atomic(uint16_t) *)&mutex->guard + 1;
}

static bool biased(uint32_t state)
{
    return (state & (BIASED | WOKEN)) == BIASED;
}

/* Under the guard: returns the state, which is no longer biased. */
static __attribute__((noinline)) uint32_t end_bias(_Atomic(uint32_t) *word, uint32_t state)
{
    while (biased(state)) {
        /* Relaxed: a system call follows, or another look. */
        if (!atomic_compare_exchange_strong_explicit(word, &state, state & ~(uint32_t)BIASED,
                                                     memory_order_relaxed, memory_order_relaxed))
            continue;
        gyre_restart_all();
        state = atomic_load_explicit(word, memory_order_relaxed);
    }
    return state;
}

/*
 * Under the guard: locks, unless one of `unless` is set, and returns true; or else notes that one
 * more waits. A woken one is no longer on its way in either case.
 */
static bool take_or_wait(_Atomic(uint32_t) *word, uint32_t unless, bool woken, bool starving)
{
    uint32_t keep = woken ? ~WOKEN_MASK : ~(uint32_t)0, state, next;

    state = atomic_load_explicit(word, memory_order_relaxed);
    do {
        if (unlikely(biased(state)) && state & unless)
            state = end_bias(word, state);
        next = state & keep;
        if (state & unless)
            next |= WAITING | (starving ? STARVING : 0);
        else
            next = (woken ? next & ~(uint32_t)STARVING : next) | LOCKED;
        /* Acquire: pairs with the release in unlock. */
    } while (!atomic_compare_exchange_weak_explicit(word, &state, next, memory_order_acquire,
                                                    memory_order_relaxed));
    return !(state & unless);
}

static int lock_slow(gyre_mutex *mutex, bool interruptible)
{
    _Atomic(uint32_t) *word = sync_word(&mutex->state);
    struct spinlock *guard = sync_guard(&mutex->guard);
    struct gyre_sync_waiter waiter;
    uint32_t unless = LOCKED | STARVING;
    bool woken = false, starving = false;

    if (take_as_newcomer(word, &starving))
        return 0;
    if (starving)
        unless |= WOKEN;
    gyre_sync_waiter_init(&waiter, interruptible);
    waiter.units = clock_now();
    for (;;) {
        int error;

        spin_lock(guard);
        if (take_or_wait(word, unless, woken, starving)) {
            spin_unlock(guard);
            return 0;
        }
        atomic_store_explicit(unlocks_of(mutex), 0, memory_order_relaxed);
        if (woken)
            gyre_sync_prepend(&mutex->queue, &waiter);
        else
            gyre_sync_append(&mutex->queue, &waiter);
        error = gyre_sync_wait(&waiter, &mutex->queue, guard, PARK_MUTEX);
        if (error < 0) {
            if (sync_queue_empty(&mutex->queue))
                atomic_fetch_and_explicit(word, ~(uint32_t)(WAITING | STARVING),
                                          memory_order_relaxed);
            spin_unlock(guard);
            return error;
        }
        starving = clock_now() - waiter.units > patience;
        if (waiter.granted) {
            atomic_fetch_and_explicit(word, ~(uint32_t)STARVING, memory_order_relaxed);
            return 0;
        }
        woken = true;
        unless = LOCKED;
    }
}

/*
 * Still locked, with someone in the queue: hands over (true), or takes the first off it, who is on
 * its way from then on; or neither, if another look under the guard says so.
 */
static bool hand_over_or_wake(gyre_mutex *mutex, struct sync_taken *taken)
{
    _Atomic(uint32_t) *word = sync_word(&mutex->state);
    struct spinlock *guard = sync_guard(&mutex->guard);
    struct gyre_sync_waiter *waiter;
    uint32_t state;

    spin_lock(guard);
    waiter = mutex->queue.first;
    state = atomic_load_explicit(word, memory_order_relaxed);
    if (unlikely(!waiter || (state & (STARVING | WOKEN)) == WOKEN)) {
        spin_unlock(guard); /* one has given up, and the word says so */
        return false;
    }
    if (state & STARVING)
        waiter->granted = true;
    else
        atomic_fetch_or_explicit(word, WOKEN | SINCE(clock_now()) << SINCE_SHIFT,
                                 memory_order_relaxed);
    gyre_sync_take(&mutex->queue, waiter, taken);
    if (sync_queue_empty(&mutex->queue))
        atomic_fetch_and_explicit(word, ~(uint32_t)(WAITING | STARVING), memory_order_relaxed);
    spin_unlock(guard);
    return state & STARVING;
}

static __attribute__((noinline)) void unlock_slow(gyre_mutex *mutex)
{
    _Atomic(uint32_t) *word = sync_word(&mutex->state);
    uint32_t state = atomic_load_explicit(word, memory_order_relaxed);
    struct sync_taken taken = {NULL, NULL};

    if (unlikely(!(state & LOCKED)))
        gyre_panic("unlock of unlocked mutex");
    for (;;) {
        if (state & WAITING && (state & STARVING || !(state & WOKEN))) {
            if (hand_over_or_wake(mutex, &taken))
                break;
            state = atomic_load_explicit(word, memory_order_relaxed);
            continue;
        }
        /* Release: pairs with the acquires in lock. */
        if (atomic_compare_exchange_weak_explicit(word, &state, state & ~(uint32_t)LOCKED,
                                                  memory_order_release, memory_order_relaxed))
            break;
    }
    gyre_sync_ready(&taken);
}

/* --- public -------------------------------------------------------------------------------- */

static inline bool lock_fast(gyre_mutex *mutex)
{
    _Atomic(uint32_t) *word = sync_word(&mutex->state);
    uint32_t state = atomic_load_explicit(word, memory_order_relaxed);

    /* Acquire: pairs with the release in unlock. */
    return likely(!(state & GYRE_MUTEX_BUSY_)) &&
           likely(atomic_compare_exchange_strong_explicit(
               word, &state, state | LOCKED, memory_order_acquire, memory_order_relaxed));
}

void gyre_mutex_lock(gyre_mutex *mutex)
{
    if (!lock_fast(mutex))
        lock_slow(mutex, false);
}

int gyre_mutex_lock_cancellable(gyre_mutex *mutex)
{
    int error = sync_entry_error();

    if (error)
        return error;
    return lock_fast(mutex) ? 0 : lock_slow(mutex, true);
}

int gyre_mutex_try_lock(gyre_mutex *mutex)
{
    bool courteous;

    return lock_fast(mutex) || take_as_newcomer(sync_word(&mutex->state), &courteous);
}

static __attribute__((noinline)) void unlock_unbiased(gyre_mutex *mutex)
{
    uint32_t state = LOCKED, next = 0;

    if (restart_possible()) {
        _Atomic(uint16_t) *unlocks = unlocks_of(mutex);
        unsigned count = atomic_load_explicit(unlocks, memory_order_relaxed) + 1u;

        atomic_store_explicit(unlocks, (uint16_t)count, memory_order_relaxed);
        if (unlikely(count % EARNS_BIAS == 0))
            next = BIASED;
    }
    /* Release: pairs with the acquires in lock. */
    if (unlikely(!atomic_compare_exchange_strong_explicit(
            sync_word(&mutex->state), &state, next, memory_order_release, memory_order_relaxed)))
        unlock_slow(mutex);
}

void gyre_mutex_unlock(gyre_mutex *mutex)
{
    _Atomic(uint32_t) *word = sync_word(&mutex->state);

    if (likely(atomic_load_explicit(word, memory_order_relaxed) == (LOCKED | BIASED)) &&
        likely(restart_store_if(word, LOCKED | BIASED, BIASED)))
        return;
    unlock_unbiased(mutex);
}
