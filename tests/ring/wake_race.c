/*
 * Wakes against falling asleep, by both ways there are: a message to the ring, and the eventfd
 * that stands in where the kernel has none.
 *
 * Hypothesis: work that is made ready by another thread is run, however little time there is
 * between the last look of a worker and its sleep; no later event is needed. Each step waits for
 * the one before, so that a single lost wake hangs.
 */
#include "../io/stress.h"
#include "ring/ring.h"

#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static atomic_bool no_send_message;
static atomic_ulong done;
static unsigned long rounds;
static atomic_bool over;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    long a[6];
    va_list list;

    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (no_send_message && number == SYS_io_uring_register && a[1] == ABI_REGISTER_SEND_MSG_RING) {
        errno = EINVAL;
        return -1;
    }
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int step(void *unused)
{
    (void)unused;
    atomic_fetch_add(&done, 1);
    return 0;
}

static void *drive(void *runtime)
{
    struct random random = stress_random(1);

    for (unsigned long i = 1; i <= rounds; i++) {
        /* Sometimes at once, sometimes when the worker has gone to sleep for long. */
        if (random_below(&random, 2))
            for (uint32_t spins = random_below(&random, 2000); spins; spins--)
                cpu_relax();
        CHECK_EQ(gyre_runtime_go(runtime, step, NULL), 0);
        while (atomic_load(&done) < i)
            sched_yield();
    }
    atomic_store(&over, true);
    return NULL;
}

/* Two coroutines that each run on a worker of their own, if there is one. */
static int echo(void *arg)
{
    int *fds = arg;
    char byte;

    while (gyre_read(fds[0], &byte, 1) == 1)
        CHECK_EQ(gyre_write(fds[0], &byte, 1), 1);
    return gyre_close(fds[0]);
}

static int run_all(void *unused)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handle;
    pthread_t thread;
    char byte = 'x';
    int fds[2];

    (void)unused;
    done = 0;
    over = false;
    options.flags = GYRE_SPAWN_PINNED;
    options.worker = gyre_worker_count();
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    CHECK_EQ(gyre_spawn_options(&handle, echo, fds, &options), 0);
    CHECK_EQ(pthread_create(&thread, NULL, drive, gyre_runtime_current()), 0);
    while (!atomic_load(&over)) {
        CHECK_EQ(gyre_write(fds[1], &byte, 1), 1);
        CHECK_EQ(gyre_read(fds[1], &byte, 1), 1);
        gyre_sleep(50 * GYRE_MICROSECOND);
    }
    pthread_join(thread, NULL);
    CHECK_EQ(gyre_close(fds[1]), 0);
    CHECK_EQ(gyre_join(handle, NULL), 0);
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    rounds = stress_rounds(5000);
    stress_run_each("wakes by message", 0, run_all);
    no_send_message = true;
    stress_run_each("wakes by eventfd", 0, run_all);
    stress_run_each("wakes by eventfd, tiny ring", 4, run_all);
    return 0;
}
