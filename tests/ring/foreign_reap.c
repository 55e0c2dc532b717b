/*
 * A worker that is stuck in a coroutine's loop does not keep its completions to itself: another
 * worker reaps them under the lock of the queue. With COOP_TASKRUN the kernel posts them at its
 * next tick, or at any other way through the kernel, of the stuck thread.
 *
 * A prototype of what preemption relies on. A coroutine that makes no call of gyre's holds one
 * worker, on whose ring a read waits. The read becomes ready; a coroutine of the other worker reaps
 * that ring, and the reader runs there while the first is still stuck. Prints how long it takes.
 */
#include "../io/stress.h"
#include "sched/worker.h"

#include <sys/socket.h>

enum { ROUNDS = 50 };

static int fds[2];
static _Atomic(int64_t) written_at, delay;
static atomic_bool stuck, let_go, read_done;
static atomic_int reader_worker = -1;

/* Starts on the worker that will be stuck, then is free to run elsewhere. */
static int reader(void *unused)
{
    char byte;

    (void)unused;
    CHECK_EQ(gyre_read(fds[0], &byte, 1), 1);
    atomic_store(&delay, gyre_now() - atomic_load(&written_at));
    atomic_store(&reader_worker, (int)gyre_worker_index());
    atomic_store(&read_done, true);
    return 0;
}

static int hog(void *unused)
{
    gyre_handle handle;

    (void)unused;
    CHECK_EQ(gyre_spawn(&handle, reader, NULL), 0);
    /* The read is on this worker's ring, or the round shows nothing. */
    while (atomic_load(&handle.coro->wait) != WAIT_OPERATION)
        gyre_yield();
    /* What is taken but not submitted yet nobody else can bring to the kernel. */
    while (ring_unsubmitted(&worker_current()->ring))
        gyre_yield();
    gyre_preempt_off(); /* else the reader may have its turn here */
    atomic_store(&stuck, true);
    while (!atomic_load(&let_go))
        cpu_relax();
    gyre_preempt_on();
    CHECK_EQ(gyre_join(handle, NULL), 0);
    return 0;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void round_trip(struct worker *victim, int64_t *delays, int *count)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handle;
    struct worker *self;
    unsigned reaped = 0;

    stuck = let_go = read_done = false;
    options.flags = GYRE_SPAWN_PINNED;
    options.worker = victim->index + 1;
    CHECK_EQ(gyre_spawn_options(&handle, hog, NULL, &options), 0);
    while (!atomic_load(&stuck)) /* so that this worker does not steal the reader */
        cpu_relax();
    self = worker_current();
    CHECK(self != victim);
    atomic_store(&written_at, gyre_now());
    CHECK_EQ(write(fds[1], "x", 1), 1);
    while (!atomic_load(&read_done) && gyre_now() - atomic_load(&written_at) < GYRE_SECOND) {
        reaped += gyre_ring_reap(&victim->ring, worker_current());
        gyre_yield();
    }
    if (atomic_load(&read_done)) {
        CHECK(atomic_load(&reader_worker) != (int)victim->index);
        if (reaped) /* else the reader had been stolen before it read */
            delays[(*count)++] = atomic_load(&delay);
    }
    atomic_store(&let_go, true);
    CHECK_EQ(gyre_join(handle, NULL), 0);
    CHECK(atomic_load(&read_done));
}

static int run_all(void *unused)
{
    struct worker *victim = &gyre_runtime_current()->workers[1];
    int64_t delays[ROUNDS];
    int count = 0;

    (void)unused;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < ROUNDS; i++)
        round_trip(victim, delays, &count);
    CHECK_EQ(gyre_close(fds[0]), 0);
    CHECK_EQ(gyre_close(fds[1]), 0);
    CHECK(count > 0);
    qsort(delays, (size_t)count, sizeof *delays, compare);
    printf(
        "reaped for a stuck worker %d times of %d, after (us) least %.0f median %.0f most %.0f\n",
        count, ROUNDS, (double)delays[0] / 1e3, (double)delays[count / 2] / 1e3,
        (double)delays[count - 1] / 1e3);
    return 0;
}

/* Pinned, so that it is not the hog's worker. */
static int run_pinned(void *unused)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handle;

    options.flags = GYRE_SPAWN_PINNED;
    options.worker = 1;
    CHECK_EQ(gyre_spawn_options(&handle, run_all, unused, &options), 0);
    CHECK_EQ(gyre_join(handle, NULL), 0);
    return 0;
}

int main(int argc, char **argv)
{
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        printf("needs two processors\n");
        return 77;
    }
    stress_begin(argc, argv);
    stress_run("a stuck worker's completions", 2, 0, run_pinned);
    return 0;
}
