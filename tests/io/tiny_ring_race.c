/*
 * Thousands of coroutines on rings of four entries.
 *
 * Hypothesis: a submission queue that is always full and a completion queue that overflows cost
 * time and lose nothing: each operation completes once, timers and cancels included.
 *
 * Pairs of coroutines play ping-pong over socket pairs, all at once; some of the pings are reads
 * that time out first. At the end all that waits is cancelled together.
 */
#include "stress.h"

#include <sys/resource.h>
#include <sys/socket.h>

enum { PAIRS = 1200 };

static int fds[PAIRS][2];
static unsigned long rounds;
static unsigned pairs;
static atomic_ulong pings, pongs, timeouts, cancelled;

static int pong(void *arg)
{
    int fd = *(int *)arg;
    char byte;
    ssize_t n;

    while ((n = gyre_read(fd, &byte, 1)) == 1) {
        CHECK_EQ(gyre_write(fd, &byte, 1), 1);
        atomic_fetch_add(&pongs, 1);
    }
    CHECK_EQ(n, 0);
    return 0;
}

static int ping(void *arg)
{
    int fd = *(int *)arg;
    char byte = 0, back;

    for (unsigned long i = 0; i < rounds; i++, byte++) {
        if (i % 4 == 0) {
            GYRE_TIMEOUT(GYRE_MICROSECOND * (int64_t)(i % 50));
            CHECK_EQ(gyre_read(fd, &back, 1), -ETIMEDOUT);
            atomic_fetch_add(&timeouts, 1);
        }
        CHECK_EQ(gyre_write(fd, &byte, 1), 1);
        CHECK_EQ(gyre_read(fd, &back, 1), 1);
        CHECK_EQ(back, byte);
        atomic_fetch_add(&pings, 1);
    }
    CHECK_EQ(gyre_shutdown(fd, SHUT_WR), 0);
    return 0;
}

static int wait_to_be_cancelled(void *arg)
{
    char byte;

    CHECK_EQ(gyre_read(*(int *)arg, &byte, 1), -ECANCELED);
    atomic_fetch_add(&cancelled, 1);
    return 0;
}

static void play(gyre_handle *handles)
{
    for (unsigned i = 0; i < pairs; i++) {
        CHECK_EQ(gyre_spawn(&handles[2 * i], pong, &fds[i][0]), 0);
        CHECK_EQ(gyre_spawn(&handles[2 * i + 1], ping, &fds[i][1]), 0);
    }
    for (unsigned i = 0; i < 2 * pairs; i++)
        CHECK_EQ(gyre_join(handles[i], NULL), 0);
    CHECK_EQ(pings, pairs * rounds);
    CHECK_EQ(pongs, pings);
    CHECK_EQ(timeouts, pairs * ((rounds + 3) / 4));
}

static void cancel_all(gyre_handle *handles)
{
    GYRE_CANCELLABLE();
    struct gyre_context *context = gyre_context_current();

    for (unsigned i = 0; i < pairs; i++)
        CHECK_EQ(gyre_spawn(&handles[i], wait_to_be_cancelled, &fds[i][0]), 0);
    for (int i = 0; i < 100; i++)
        gyre_yield();
    gyre_context_cancel(context);
    gyre_context_release(context);
    {
        GYRE_SHIELD();
        for (unsigned i = 0; i < pairs; i++)
            CHECK_EQ(gyre_join(handles[i], NULL), 0);
    }
    CHECK_EQ(cancelled, pairs);
}

static int run_pairs(void *unused)
{
    static gyre_handle handles[2 * PAIRS];

    (void)unused;
    pings = pongs = timeouts = cancelled = 0;
    for (unsigned i = 0; i < pairs; i++)
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds[i]), 0);
    play(handles);
    for (unsigned i = 0; i < pairs; i++) {
        CHECK_EQ(gyre_close(fds[i][0]), 0);
        CHECK_EQ(gyre_close(fds[i][1]), 0);
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds[i]), 0);
    }
    cancel_all(handles);
    for (unsigned i = 0; i < pairs; i++) {
        CHECK_EQ(gyre_close(fds[i][0]), 0);
        CHECK_EQ(gyre_close(fds[i][1]), 0);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct rlimit limit;

    stress_begin(argc, argv);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    rounds = stress_rounds(20);
    pairs = PAIRS;
#ifdef GYRE_TSAN
    pairs = 40; /* its fibers are dear */
#endif
    if (limit.rlim_cur < 2 * pairs + 100)
        pairs = (unsigned)(limit.rlim_cur - 100) / 2;
    stress_run_each("ping-pong on four entries", 4, run_pairs);
    stress_run_each("ping-pong on sixteen entries", 16, run_pairs);
    return 0;
}
