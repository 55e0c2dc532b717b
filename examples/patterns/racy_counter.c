/*
 * The racy counter and its three repairs. Ten coroutines add a thousand each; between reading
 * the counter and writing it back another one may have counted, and that is lost.
 *
 *     counter++                                        a read, an addition, a write
 *     mu.Lock(); counter++; mu.Unlock()
 *     counts <- 1                                      and one goroutine that owns the counter
 *     atomic.AddInt64(&counter, 1)
 *
 * Atomics are C11's: gyre needs none of its own. For a counter they are the cheapest; a
 * mutex guards several things that belong together; a channel hands the matter to an owner.
 */
#include <gyre.h>

#include <stdatomic.h>
#include <stdio.h>

enum { COROUTINES = 10, EACH = 1000 };

/* Reading and writing are atomic by themselves, so that this is a wrong program, not an undefined
 * one; the yield stands for whatever takes long enough to be noticed. */
static atomic_int racy;

static int count_racily(void *arg)
{
    (void)arg;
    for (int i = 0; i < EACH; i++) {
        int seen = racy;

        if (i % 100 == 0)
            gyre_yield();
        racy = seen + 1;
    }
    return 0;
}

static gyre_mutex mutex = GYRE_MUTEX_INIT;
static int guarded;

static int count_locked(void *arg)
{
    (void)arg;
    for (int i = 0; i < EACH; i++) {
        GYRE_MUTEX_GUARD(&mutex);
        guarded++;
    }
    return 0;
}

GYRE_CHAN_TYPE(ints, int);

static int count_by_channel(void *arg)
{
    const ints_sender *counts = arg;
    int error = 0;

    for (int i = 0; i < EACH && !error; i++)
        error = ints_send(*counts, 1);
    return error;
}

static atomic_int exact;

static int count_atomically(void *arg)
{
    (void)arg;
    for (int i = 0; i < EACH; i++)
        atomic_fetch_add(&exact, 1);
    return 0;
}

static int run(gyre_fn fn, void *arg)
{
    GYRE_GROUP(counting);
    for (int i = 0; i < COROUTINES; i++)
        gyre_group_go(&counting, fn, arg);
    return gyre_group_wait(&counting);
}

static int feed(void *arg)
{
    const ints_sender *counts = arg;
    int error = run(count_by_channel, arg);

    ints_close_error(*counts, error);
    return error;
}

/* The owner: nobody else touches the total. */
static int own(int *total)
{
    ints counts;
    int n, error = ints_make(&counts, 16);

    if (error)
        return error;
    {
        GYRE_GROUP(feeding);
        if ((error = gyre_group_go(&feeding, feed, &counts.sender)) == 0)
            while ((error = ints_recv(counts.receiver, &n)) > 0)
                *total += n;
    }
    ints_release(counts);
    return error;
}

static int start(void *arg)
{
    int owned = 0, error;

    (void)arg;
    if ((error = run(count_racily, NULL)) || (error = run(count_locked, NULL)) ||
        (error = own(&owned)) || (error = run(count_atomically, NULL)))
        return error;
    printf("racy: %d of %d\n", racy, COROUTINES * EACH);
    printf("mutex: %d\nchannel: %d\natomic: %d\n", guarded, owned, exact);
    return 0;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
