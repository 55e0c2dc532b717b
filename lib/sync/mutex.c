/*
 * The mutex: one word that is locked and unlocked by one compare-and-swap each, and a queue for
 * those who have to wait.
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
 * One that gives up because its context has ended is still in the queue, and so was not woken; one
 * that was woken competes once more first, and if it queues again, WOKEN goes with that.
 */
#include "sync/queue.h"

#include "base/clock.h"
#include "base/panic.h"

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
};

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

/*
 * Under the guard: locks, unless one of `unless` is set, and returns true; or else notes that one
 * more waits. A woken one is no longer on its way in either case.
 */
static bool take_or_wait(_Atomic(uint32_t) *word, uint32_t unless, bool woken, bool starving)
{
    uint32_t keep = woken ? ~WOKEN_MASK : ~(uint32_t)0, state, next;

    state = atomic_load_explicit(word, memory_order_relaxed);
    do {
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
 * its way from then on.
 */
static bool hand_over_or_wake(gyre_mutex *mutex, struct sync_taken *taken)
{
    _Atomic(uint32_t) *word = sync_word(&mutex->state);
    struct spinlock *guard = sync_guard(&mutex->guard);
    struct gyre_sync_waiter *waiter;
    bool handed_over;

    spin_lock(guard);
    waiter = mutex->queue.first;
    if (unlikely(!waiter)) {
        spin_unlock(guard); /* it has given up, and the word says so */
        return false;
    }
    handed_over = atomic_load_explicit(word, memory_order_relaxed) & STARVING;
    if (handed_over)
        waiter->granted = true;
    else
        atomic_fetch_or_explicit(word, WOKEN | SINCE(clock_now()) << SINCE_SHIFT,
                                 memory_order_relaxed);
    gyre_sync_take(&mutex->queue, waiter, taken);
    if (sync_queue_empty(&mutex->queue))
        atomic_fetch_and_explicit(word, ~(uint32_t)(WAITING | STARVING), memory_order_relaxed);
    spin_unlock(guard);
    return handed_over;
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
    uint32_t free = 0;

    /* Acquire: pairs with the release in unlock. */
    return likely(atomic_compare_exchange_strong_explicit(
        sync_word(&mutex->state), &free, LOCKED, memory_order_acquire, memory_order_relaxed));
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

void gyre_mutex_unlock(gyre_mutex *mutex)
{
    uint32_t state = LOCKED;

    /* Release: pairs with the acquires in lock. */
    if (unlikely(!atomic_compare_exchange_strong_explicit(
            sync_word(&mutex->state), &state, 0, memory_order_release, memory_order_relaxed)))
        unlock_slow(mutex);
}
