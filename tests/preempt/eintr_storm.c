/*
 * What ticks and the watchdog do to system calls that a coroutine makes by itself: those that
 * SA_RESTART restarts never return EINTR and lose no byte; those that it does not restart say
 * so, and only where a coroutine waits in them. A thread of the program's own, which is no worker,
 * never gets one of our signals. By the usual quantum and by one of 200 us.
 *
 *   usage: eintr_storm [SECONDS | long]
 */
#include "storm.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

static int64_t end;
static _Atomic(unsigned long) calls, outside, polls, sleeps;
static atomic_bool stops;

static bool is_over(void)
{
    return gyre_now() >= end;
}

/* What a plain read gives is whole, however often it was begun anew. */
static int reads(void *arg)
{
    int *pair = arg;
    uint32_t wanted = 0;

    while (!is_over()) {
        uint32_t got;
        ssize_t n = wanted & 1 ? read(pair[0], &got, sizeof got)
                               : recv(pair[0], &got, sizeof got, MSG_WAITALL);

        if (n == 0)
            break;
        STORM_CHECK(n == sizeof got, "%zd: %s", n, strerror(errno));
        STORM_CHECK(got == wanted, "%u, not %u", got, wanted);
        wanted++;
        calls++;
    }
    return 0;
}

/* From another thread, for the only worker may be the one that reads. */
static void *writes(void *arg)
{
    int *pair = arg;

    for (uint32_t n = 0; !stops; n++) {
        struct timespec pause = {0, (long)(n * 7919 % 3000) * 1000};

        if (n % 16 == 0)
            pause.tv_nsec = 25000000; /* the watchdog has something to see */
        if (nanosleep(&pause, NULL))
            outside++;
        /* The last write may find nobody who reads it: it stays in the buffer. */
        if (send(pair[1], &n, sizeof n, MSG_NOSIGNAL) != sizeof n)
            break;
    }
    shutdown(pair[1], SHUT_RDWR);
    return NULL;
}

static int waits(void *unused)
{
    (void)unused;
    do {
        pid_t pid = vfork();
        int status;

        if (pid == 0) {
            struct timespec pause = {0, 5000000};

            nanosleep(&pause, NULL);
            _exit(3);
        }
        STORM_CHECK(waitpid(pid, &status, 0) == pid, "%s", strerror(errno));
        STORM_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3, "%#x", status);
        calls++;
        gyre_yield();
    } while (!is_over());
    return 0;
}

/* EINTR, or their time is up. */
static int sleeps_and_polls(void *unused)
{
    (void)unused;
    do {
        struct timespec left = {0, 15000000};
        int64_t start = gyre_now();
        int result;

        while (nanosleep(&left, &left)) {
            STORM_CHECK(errno == EINTR, "%s", strerror(errno));
            sleeps++;
        }
        STORM_CHECK(gyre_now() - start >= 15 * GYRE_MILLISECOND, "slept too short");
        start = gyre_now();
        result = poll(NULL, 0, 15);
        if (result < 0) {
            STORM_CHECK(errno == EINTR, "%s", strerror(errno));
            polls++;
        } else {
            STORM_CHECK(result == 0 && gyre_now() - start >= 14 * GYRE_MILLISECOND, "%d", result);
        }
        calls += 2;
        gyre_yield();
    } while (!is_over());
    return 0;
}

static int body(void *arg)
{
    gyre_handle handles[4];
    unsigned n = 0;

    storm_run.asynchronous = true;
    STORM_CHECK(!gyre_spawn(&handles[n++], reads, arg), "no memory");
    STORM_CHECK(!gyre_spawn(&handles[n++], waits, NULL), "no memory");
    STORM_CHECK(!gyre_spawn(&handles[n++], sleeps_and_polls, NULL), "no memory");
    STORM_CHECK(!gyre_spawn(&handles[n++], storm_hog, NULL), "no memory");
    while (n > 0)
        gyre_join(handles[--n], NULL);
    return 0;
}

int main(int argc, char **argv)
{
    static const unsigned workers[] = {1, 5};
    static const int64_t quanta[] = {0, 200 * GYRE_MICROSECOND};
    const char *seconds = argc > 1 ? argv[1] : "3";
    double duration = strcmp(seconds, "long") == 0 ? 180 : atof(seconds);

    storm_run.program = argv[0];
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGALRM, storm_hangs);
    for (unsigned i = 0; i < 4; i++) {
        struct gyre_options options = GYRE_OPTIONS_INIT;
        pthread_t writer;
        int pair[2];

        STORM_CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "%s", strerror(errno));
        stops = false;
        calls = outside = polls = sleeps = 0;
        options.workers = workers[i & 1];
        options.quantum = quanta[i >> 1];
        alarm(60 + (unsigned)duration);
        end = storm_run.end = gyre_now() + (int64_t)(duration / 4 * 1e9);
        pthread_create(&writer, NULL, writes, pair);
        STORM_CHECK(!gyre_run_options(body, pair, &options), "gyre_run failed");
        stops = true;
        close(pair[0]);
        pthread_join(writer, NULL);
        close(pair[1]);
        printf("%u workers, quantum %lld us: %lu calls; EINTR: %lu of nanosleep, %lu of poll\n",
               options.workers, (long long)options.quantum / 1000, calls, sleeps, polls);
        STORM_CHECK(outside == 0, "%lu interruptions of a thread that is no worker", outside);
    }
    return 0;
}
