/*
 * The reader-writer mutex: one word, and two queues, of readers and of the writer whose turn it is;
 * the others compete for that turn by a mutex.
 *
 * Phase-fair: while that writer waits, new readers queue; the last reader that leaves hands over to
 * it; a writer that leaves hands over to all readers that wait, or, without any, to the writer in
 * the queue. So none of these has to compete or can be overtaken. Writers among themselves may
 * overtake each other, as on the mutex. (Rejected: all writers in the queue, which saves two of
 * four locked instructions: under contention each lock is then handed to one that is asleep.)
 *
 * Invariants. WAITING: a queue is not empty; both change under the guard. While readers are
 * inside, or nobody is, readers wait only behind a writer. WAITING says that the one who leaves
 * last has to hand over, under the guard: he is inside until then, and those he hands over to can't
 * be seen to have left before it is free, so nobody touches the storage after who may free it. For
 * the same reason a writer gives its turn away before it leaves.
 */
#include "base/panic.h"
#include "sync/queue.h"

#define READERS_MAX ((uint32_t)1 << 29)
#define READERS     (((uint32_t)1 << 30) - 1)
#define WRITER      ((uint32_t)1 << 30)
#define WAITING     ((uint32_t)1 << 31)

static _Atomic(uint32_t) *word_of(gyre_rwmutex *mutex)
{
    return sync_word(&mutex->state);
}

static uint32_t look(gyre_rwmutex *mutex)
{
    return atomic_load_explicit(word_of(mutex), memory_order_relaxed);
}

/* Acquire: pairs with leave; what was written inside is seen. */
static inline bool enter(gyre_rwmutex *mutex, uint32_t *state, uint32_t next)
{
    return atomic_compare_exchange_weak_explicit(word_of(mutex), state, next, memory_order_acquire,
                                                 memory_order_relaxed);
}

/* Release: pairs with enter. */
static inline bool leave(gyre_rwmutex *mutex, uint32_t *state, uint32_t next)
{
    return atomic_compare_exchange_weak_explicit(word_of(mutex), state, next, memory_order_release,
                                                 memory_order_relaxed);
}

static inline bool try_read(gyre_rwmutex *mutex)
{
    uint32_t state = look(mutex);

    while (likely(!(state & (WRITER | WAITING)))) {
        if (unlikely(state >= READERS_MAX))
            gyre_panic("more than %u readers of a gyre_rwmutex", READERS_MAX);
        if (likely(enter(mutex, &state, state + 1)))
            return true;
    }
    return false;
}

static inline bool try_write(gyre_rwmutex *mutex)
{
    uint32_t free = 0;

    /* Acquire: pairs with leave. */
    return likely(atomic_compare_exchange_strong_explicit(
        word_of(mutex), &free, WRITER, memory_order_acquire, memory_order_relaxed));
}

/* --- waiting: under the guard -------------------------------------------------------------- */

/* Lets all readers in that wait, in place of `writer` or beside those that are inside. */
static void let_readers_in(gyre_rwmutex *mutex, uint32_t writer, struct sync_taken *taken)
{
    uint32_t state = look(mutex), count = 0, clear = writer;

    for (struct gyre_sync_waiter *reader = mutex->readers.first; reader; reader = reader->next)
        count++;
    if (sync_queue_empty(&mutex->writer))
        clear |= WAITING;
    if (unlikely((state & READERS) + count > READERS_MAX))
        gyre_panic("more than %u readers of a gyre_rwmutex", READERS_MAX);
    /* Readers that are inside may leave meanwhile, but for the last. */
    while (!leave(mutex, &state, (state & ~clear) + count))
        ;
    gyre_sync_take_all(&mutex->readers, taken);
}

/* The lock is nobody's but the caller's: it becomes the first writer's. */
static void let_writer_in(gyre_rwmutex *mutex, struct sync_taken *taken)
{
    gyre_sync_take(&mutex->writer, mutex->writer.first, taken);
    /* Relaxed: all goes by the guard and the readying. */
    atomic_store_explicit(word_of(mutex),
                          sync_queue_empty(&mutex->writer) && sync_queue_empty(&mutex->readers)
                              ? WRITER
                              : WRITER | WAITING,
                          memory_order_relaxed);
}

/* One gave up waiting. */
static void settle(gyre_rwmutex *mutex, struct sync_taken *taken)
{
    if (!sync_queue_empty(&mutex->writer))
        return;
    if (sync_queue_empty(&mutex->readers))
        atomic_fetch_and_explicit(word_of(mutex), ~WAITING, memory_order_relaxed);
    else if (!(look(mutex) & WRITER))
        let_readers_in(mutex, 0, taken);
}

/* Enters, and returns true, unless one of `unless` stands there; or else notes that one waits. */
static bool enter_or_wait(gyre_rwmutex *mutex, uint32_t unless, uint32_t change)
{
    uint32_t state = look(mutex);

    while (!enter(mutex, &state, state & unless ? state | WAITING : state + change))
        ;
    return !(state & unless);
}

static int wait(gyre_rwmutex *mutex, bool writes, bool interruptible)
{
    struct spinlock *guard = sync_guard(&mutex->guard);
    struct gyre_sync_queue *queue = writes ? &mutex->writer : &mutex->readers;
    struct sync_taken taken = {NULL, NULL};
    struct gyre_sync_waiter waiter;
    int error = 0;

    gyre_sync_waiter_init(&waiter, interruptible);
    spin_lock(guard);
    if (enter_or_wait(mutex, writes ? ~(uint32_t)0 : WRITER | WAITING, writes ? WRITER : 1)) {
        spin_unlock(guard);
        return 0;
    }
    gyre_sync_append(queue, &waiter);
    error = gyre_sync_wait(&waiter, queue, guard, PARK_RWMUTEX);
    if (error >= 0)
        return 0;
    settle(mutex, &taken);
    spin_unlock(guard);
    gyre_sync_ready(&taken);
    return error;
}

/* The turn is the caller's already, and is given away if it fails. */
static int write_in_turn(gyre_rwmutex *mutex, bool interruptible)
{
    int error = try_write(mutex) ? 0 : wait(mutex, true, interruptible);

    if (error)
        gyre_mutex_unlock(&mutex->turn);
    return error;
}

/* --- handing over -------------------------------------------------------------------------- */

/*
 * The last reader: false when he is not, any more. The writer he saw waiting may have given up, and
 * let other readers in, before he has the guard.
 */
static bool hand_over_from_reader(gyre_rwmutex *mutex, struct sync_taken *taken)
{
    struct spinlock *guard = sync_guard(&mutex->guard);
    uint32_t state;
    bool last;

    spin_lock(guard);
    /* Acquire: pairs with leave of the other readers, for the writer to come. */
    state = atomic_load_explicit(word_of(mutex), memory_order_acquire);
    last = (state & READERS) == 1 && !sync_queue_empty(&mutex->writer);
    if (last)
        let_writer_in(mutex, taken);
    spin_unlock(guard);
    return last;
}

static bool hand_over_from_writer(gyre_rwmutex *mutex, struct sync_taken *taken)
{
    struct spinlock *guard = sync_guard(&mutex->guard);
    bool waited = true;

    spin_lock(guard);
    if (!sync_queue_empty(&mutex->readers))
        let_readers_in(mutex, WRITER, taken);
    else if (!sync_queue_empty(&mutex->writer))
        let_writer_in(mutex, taken);
    else
        waited = false;
    spin_unlock(guard);
    return waited;
}

/* --- public -------------------------------------------------------------------------------- */

void gyre_rwmutex_rlock(gyre_rwmutex *mutex)
{
    if (!try_read(mutex))
        wait(mutex, false, false);
}

int gyre_rwmutex_rlock_cancellable(gyre_rwmutex *mutex)
{
    int error = sync_entry_error();

    if (error)
        return error;
    return try_read(mutex) ? 0 : wait(mutex, false, true);
}

int gyre_rwmutex_try_rlock(gyre_rwmutex *mutex)
{
    return try_read(mutex);
}

void gyre_rwmutex_runlock(gyre_rwmutex *mutex)
{
    uint32_t state = look(mutex);
    struct sync_taken taken = {NULL, NULL};

    for (;;) {
        if (unlikely(!(state & READERS)))
            gyre_panic("runlock of unlocked rwmutex");
        if (unlikely(state & WAITING && (state & READERS) == 1)) {
            if (hand_over_from_reader(mutex, &taken))
                break;
            state = look(mutex);
        } else if (likely(leave(mutex, &state, state - 1))) {
            return;
        }
    }
    gyre_sync_ready(&taken);
}

void gyre_rwmutex_lock(gyre_rwmutex *mutex)
{
    gyre_mutex_lock(&mutex->turn);
    write_in_turn(mutex, false);
}

int gyre_rwmutex_lock_cancellable(gyre_rwmutex *mutex)
{
    int error = gyre_mutex_lock_cancellable(&mutex->turn);

    return error ? error : write_in_turn(mutex, true);
}

int gyre_rwmutex_try_lock(gyre_rwmutex *mutex)
{
    if (!gyre_mutex_try_lock(&mutex->turn))
        return 0;
    if (try_write(mutex))
        return 1;
    gyre_mutex_unlock(&mutex->turn);
    return 0;
}

void gyre_rwmutex_unlock(gyre_rwmutex *mutex)
{
    uint32_t state = WRITER;
    struct sync_taken taken = {NULL, NULL};

    if (unlikely(!(look(mutex) & WRITER)))
        gyre_panic("unlock of unlocked rwmutex");
    gyre_mutex_unlock(&mutex->turn);
    while (unlikely(!leave(mutex, &state, 0))) {
        if (state & WAITING && hand_over_from_writer(mutex, &taken))
            break;
        state = WRITER;
    }
    gyre_sync_ready(&taken);
}
