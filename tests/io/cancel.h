/*
 * For tests of many calls alike: one runs in a coroutine under a context of its own, while others
 * cancel it, close what it uses, or send signals to every thread of the process.
 */
#ifndef GYRE_TESTS_IO_CANCEL_H
#define GYRE_TESTS_IO_CANCEL_H

#include "sched/coro.h"
#include "stress.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/syscall.h>

struct state; /* the test's: what a call uses */

struct attempt {
    long (*call)(struct state *);
    struct state *state;
    struct gyre_context *context;
    gyre_handle handle;
    long result;
    atomic_bool over;
};

static inline int attempt_run(void *argument)
{
    struct attempt *attempt = argument;

    {
        GYRE_WITH_CONTEXT(attempt->context);
        attempt->result = attempt->call(attempt->state);
    }
    atomic_store(&attempt->over, true);
    return 0;
}

static inline void attempt_start(struct attempt *attempt, long (*call)(struct state *),
                                 struct state *state)
{
    attempt->call = call;
    attempt->state = state;
    atomic_init(&attempt->over, false);
    CHECK_EQ(gyre_context_with_cancel(gyre_context_background(), &attempt->context), 0);
    CHECK_EQ(gyre_spawn(&attempt->handle, attempt_run, attempt), 0);
}

/* Until it waits for something, or is over. */
static inline void attempt_await_parked(struct attempt *attempt)
{
    uint32_t wait;

    do {
        gyre_yield();
        wait = atomic_load(&attempt->handle.coro->wait);
    } while (wait != WAIT_OPERATION && wait != WAIT_OBJECT && !atomic_load(&attempt->over));
}

static inline long attempt_end(struct attempt *attempt)
{
    CHECK_EQ(gyre_join(attempt->handle, NULL), 0);
    gyre_context_release(attempt->context);
    return attempt->result;
}

static inline int attempt_cancel(void *argument)
{
    struct attempt *attempt = argument;

    gyre_context_cancel(attempt->context);
    return 0;
}

/* In a context that has ended before. */
static inline long attempt_ended(long (*call)(struct state *), struct state *state)
{
    struct gyre_context *context;
    long result;

    CHECK_EQ(gyre_context_with_cancel(gyre_context_background(), &context), 0);
    gyre_context_cancel(context);
    {
        GYRE_WITH_CONTEXT(context);
        result = call(state);
    }
    gyre_context_release(context);
    return result;
}

/* --- signals: a handler without SA_RESTART, in every thread again and again --------------------
 */

static struct {
    pthread_t thread;
    atomic_bool stop;
    atomic_ulong rounds, received;
} storm;

static inline void storm_receive(int number)
{
    (void)number;
    atomic_fetch_add(&storm.received, 1);
}

static inline void *storm_send(void *unused)
{
    const struct timespec pause = {0, 300000};
    pid_t self = (pid_t)syscall(SYS_gettid);

    while (!atomic_load(&storm.stop)) {
        DIR *threads = opendir("/proc/self/task");
        const struct dirent *entry;

        while (threads && (entry = readdir(threads)))
            if (atoi(entry->d_name) > 0 && atoi(entry->d_name) != self)
                syscall(SYS_tgkill, getpid(), atoi(entry->d_name), SIGUSR1);
        if (threads)
            closedir(threads);
        atomic_fetch_add(&storm.rounds, 1);
        nanosleep(&pause, NULL);
    }
    return unused;
}

static inline void storm_begin(void)
{
    struct sigaction action = {.sa_handler = storm_receive};

    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    atomic_store(&storm.stop, false);
    CHECK_EQ(pthread_create(&storm.thread, NULL, storm_send, NULL), 0);
}

/* Every thread was sent that many more. */
static inline void storm_await(unsigned long rounds)
{
    unsigned long end = atomic_load(&storm.rounds) + rounds;

    while (atomic_load(&storm.rounds) < end)
        gyre_yield();
}

static inline void storm_end(void)
{
    atomic_store(&storm.stop, true);
    CHECK_EQ(pthread_join(storm.thread, NULL), 0);
    CHECK(atomic_load(&storm.received));
}

#endif
