/*
 * Once: 0, RUNNING, DONE; with RUNNING also WAITING, which changes under the guard.
 *
 * Whoever sees DONE may free the storage, so the exchange to DONE is the last that the runner
 * touches: those who wait are taken off the queue before and readied after it.
 */
#include "base/panic.h"
#include "base/text.h"
#include "sync/queue.h"

#include <pthread.h>

enum { RUNNING = 1, DONE = GYRE_ONCE_DONE_, WAITING = 4 };

/* Never 0; a coroutine's number stays far below the bit that tells threads apart. */
static uint64_t caller(void)
{
    struct gyre_coro *self = coro_current();

    return self ? self->id : (uint64_t)pthread_self() | (uint64_t)1 << 63;
}

static void await_done(gyre_once *once)
{
    _Atomic(uint32_t) *word = sync_word(&once->state);
    struct spinlock *guard = sync_guard(&once->guard);
    struct gyre_sync_waiter waiter;
    uint32_t state;

    gyre_sync_waiter_init(&waiter, false);
    spin_lock(guard);
    /* Acquire: pairs with the release in finish. */
    state = atomic_load_explicit(word, memory_order_acquire);
    do {
        if (state == DONE) {
            spin_unlock(guard);
            return;
        }
    } while (!atomic_compare_exchange_weak_explicit(word, &state, RUNNING | WAITING,
                                                    memory_order_acquire, memory_order_acquire));
    gyre_sync_append(&once->queue, &waiter);
    gyre_sync_wait(&waiter, &once->queue, guard, PARK_ONCE);
}

/* True: the caller runs it, and calls finish. False: it has been run. */
static bool begin(gyre_once *once, const char *call)
{
    uint32_t state = 0;
    uint64_t self = caller();

    /* Acquire where it fails: pairs with the release in finish. */
    if (atomic_compare_exchange_strong_explicit(sync_word(&once->state), &state, RUNNING,
                                                memory_order_acquire, memory_order_acquire)) {
        /* Relaxed: only the runner itself finds its own number here. */
        atomic_store_explicit(sync_long(&once->runner), self, memory_order_relaxed);
        return true;
    }
    if (state == DONE)
        return false;
    if (atomic_load_explicit(sync_long(&once->runner), memory_order_relaxed) == self)
        gyre_panic("%s called from inside its own function", call);
    await_done(once);
    return false;
}

static void finish(gyre_once *once)
{
    _Atomic(uint32_t) *word = sync_word(&once->state);
    struct spinlock *guard = sync_guard(&once->guard);
    struct sync_taken taken = {NULL, NULL};
    uint32_t state = RUNNING;

    /* Release: the result is seen by who finds it done. */
    while (!atomic_compare_exchange_weak_explicit(word, &state, DONE, memory_order_release,
                                                  memory_order_relaxed)) {
        if (state & WAITING) {
            spin_lock(guard);
            gyre_sync_take_all(&once->queue, &taken);
            atomic_store_explicit(word, RUNNING, memory_order_relaxed);
            spin_unlock(guard);
        }
        state = RUNNING;
    }
    gyre_sync_ready(&taken);
}

static inline bool is_done(gyre_once *once)
{
    /* Acquire: pairs with the release in finish. */
    return likely(atomic_load_explicit(sync_word(&once->state), memory_order_acquire) == DONE);
}

/* Called in tail position, so that no other function of gyre is below the program's. */
CALLS_PROGRAM static int run(gyre_once *once, gyre_fn fn, void *arg)
{
    int result = once->result = fn(arg);

    finish(once);
    return result;
}

CALLS_PROGRAM static void *run_make(gyre_once *once, void *(*make)(void *arg), void *arg)
{
    void *value = once->value = make(arg);

    finish(once);
    return value;
}

int gyre_once_do(gyre_once *once, gyre_fn fn, void *arg)
{
    if (!is_done(once) && begin(once, "gyre_once_do"))
        return run(once, fn, arg);
    return once->result;
}

void *gyre_once_value(gyre_once *once, void *(*make)(void *arg), void *arg)
{
    if (!is_done(once) && begin(once, "gyre_once_value"))
        return run_make(once, make, arg);
    return once->value;
}
