/*
 * Workers that hold still in the middle of everything, and others that do their work meanwhile.
 *
 * Hypothesis: whatever a helper takes from a worker that is stuck (or was, a moment ago: it finds
 * out late), completions, timers, the just-woken one, or a wake that is not for it, nothing is lost
 * and nothing comes twice. Aimed at: holders that sleep a little longer than the watchdog waits,
 * and go on right when the others begin to help; beside them short sleeps, selects with a timer
 * that race with a channel, reads that are cancelled, and closes of what others read.
 */
#include "stress.h"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PAIRS = 4 };

static _Atomic(uint64_t) held, slept, exchanged, closed;

static int hold(void *unused)
{
    struct random random = stress_random();

    (void)unused;
    while (stress_goes_on()) {
        long ns = 9000000 + (long)random_below(&random, 4000) * 1000;

        nanosleep(&(struct timespec){0, ns}, NULL);
        atomic_fetch_add(&held, 1);
        for (unsigned i = random_below(&random, 20); i; i--)
            gyre_sleep((int64_t)random_below(&random, 100) * GYRE_MICROSECOND);
    }
    return 0;
}

static int sleep_briefly(void *unused)
{
    struct random random = stress_random();

    (void)unused;
    while (stress_goes_on()) {
        int64_t duration = (int64_t)random_below(&random, 3000) * GYRE_MICROSECOND;
        int64_t before = gyre_now();

        CHECK(!gyre_sleep(duration), "a sleep was interrupted");
        CHECK(gyre_now() >= before + duration, "a sleep was too short");
        atomic_fetch_add(&slept, 1);
    }
    return 0;
}

static int send_some(void *sender)
{
    struct random random = stress_random();
    int n = 0;

    while (stress_goes_on()) {
        n++;
        CHECK(!gyre_chan_send(*(gyre_sender *)sender, &n), "send");
        gyre_sleep((int64_t)random_below(&random, 1000) * GYRE_MICROSECOND);
    }
    gyre_chan_close(*(gyre_sender *)sender);
    return 0;
}

/* Every value once and in order, whoever wins. */
static int select_some(void *receiver)
{
    struct random random = stress_random();
    int value, expected = 1;

    for (;;) {
        struct gyre_case cases[] = {
            gyre_case_recv(*(gyre_receiver *)receiver, &value),
            gyre_case_after((int64_t)random_below(&random, 1000) * GYRE_MICROSECOND)};
        int chosen = gyre_select_n(cases, 2);

        CHECK(chosen == 0 || chosen == 1, "select: %d", chosen);
        if (chosen == 1)
            continue;
        if (cases[0].result != 1)
            return 0;
        CHECK(value == expected++, "received %d, not %d", value, expected - 1);
    }
}

static int echo(void *fd)
{
    char byte;

    while (gyre_read(*(int *)fd, &byte, 1) == 1)
        if (gyre_write(*(int *)fd, &byte, 1) != 1)
            break;
    return 0;
}

/* A read that has a timeout gets the byte, or leaves it for the next. */
static void exchange(int fd, struct random *random, char byte)
{
    char got = 0;
    ssize_t result;

    CHECK(gyre_write(fd, &byte, 1) == 1, "write");
    do {
        GYRE_TIMEOUT((int64_t)random_below(random, 2000) * GYRE_MICROSECOND + 1);
        result = gyre_read(fd, &got, 1);
        CHECK(result == 1 || result == -ETIMEDOUT, "read: %zd", result);
    } while (result != 1);
    CHECK(got == byte, "read %d, not %d", got, byte);
    atomic_fetch_add(&exchanged, 1);
}

static int exchange_and_close(void *unused)
{
    struct random random = stress_random();

    (void)unused;
    while (stress_goes_on()) {
        int ends[2];
        gyre_handle handle;
        bool early;

        CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
        CHECK(!gyre_spawn(&handle, echo, &ends[1]), "spawn");
        for (unsigned i = random_below(&random, 20); i; i--)
            exchange(ends[0], &random, (char)i);
        early = random_below(&random, 2);
        if (early)
            gyre_close(ends[1]); /* while it is read */
        else
            shutdown(ends[0], SHUT_RDWR);
        CHECK(!gyre_join(handle, NULL), "join");
        gyre_close(ends[0]);
        if (!early)
            gyre_close(ends[1]);
        atomic_fetch_add(&closed, 1);
    }
    return 0;
}

static int play(void *unused)
{
    gyre_channel channel;
    GYRE_GROUP(group);

    (void)unused;
    CHECK(!gyre_chan_make(&channel, sizeof(int), 0), "channel");
    for (int i = 0; i < PAIRS; i++) {
        gyre_group_go(&group, sleep_briefly, NULL);
        gyre_group_go(&group, exchange_and_close, NULL);
    }
    gyre_group_go(&group, send_some, &channel.sender);
    gyre_group_go(&group, select_some, &channel.receiver);
    gyre_group_go(&group, hold, NULL);
    gyre_group_go(&group, hold, NULL);
    CHECK(!gyre_group_wait(&group), "group");
    gyre_chan_release(channel);
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run("rescue", play);
    printf("%lu holds, %lu sleeps, %lu exchanges, %lu closes\n", (unsigned long)held,
           (unsigned long)slept, (unsigned long)exchanged, (unsigned long)closed);
    return 0;
}
