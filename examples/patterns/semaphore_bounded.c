/*
 * Bounded by a semaphore: a coroutine for each task, but only so many at the part that costs, such
 * as connections to one server.
 *
 *     sem := semaphore.NewWeighted(3)            or: sem := make(chan struct{}, 3)
 *     for range 20 {
 *         wg.Go(func() {
 *             if sem.Acquire(ctx, 1) != nil { return }
 *             defer sem.Release(1)
 *             ...
 *         })
 *     }
 *
 * Where the whole task is to be bounded, GYRE_GROUP(tasks, .limit = 3) is shorter: then no more
 * than three coroutines exist.
 */
#include <gyre.h>

#include <stdatomic.h>
#include <stdio.h>

enum { TASKS = 20, LIMIT = 3 };

static gyre_semaphore connections = GYRE_SEMAPHORE_INIT(LIMIT);
static atomic_int inside, most, done;

static void note_most(int now)
{
    int seen = atomic_load(&most);

    while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
        ;
}

static int task(void *arg)
{
    int error = gyre_semaphore_acquire(&connections, 1);

    (void)arg;
    if (error)
        return error;
    note_most(atomic_fetch_add(&inside, 1) + 1);
    error = gyre_sleep(GYRE_MILLISECOND); /* what costs */
    atomic_fetch_sub(&inside, 1);
    gyre_semaphore_release(&connections, 1);
    atomic_fetch_add(&done, 1);
    return error;
}

static int start(void *arg)
{
    int error;

    (void)arg;
    GYRE_GROUP(tasks);
    for (int i = 0; i < TASKS; i++)
        gyre_group_go(&tasks, task, NULL);
    if ((error = gyre_group_wait(&tasks)) == 0)
        printf("%d tasks done, at most %d at once\n", done, most);
    return error;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
