/*
 * A socket that goes from listener to listener while clients connect.
 *
 * Hypothesis: who connects is served, by the one or the other, without waiting for the next who
 * connects. Window aimed at: a connection that wakes the accept of a listener which is being
 * stopped; the queue of a stopped one against those who still take from it.
 */
#include "../io/stress.h"

#include <sys/socket.h>

enum { DIALLERS = 3, ACCEPTORS = 2 };

static char address[GYRE_ADDRESS_SIZE];
static unsigned long rounds;
static atomic_bool over;
static atomic_ulong served, answered;
static struct random randoms[DIALLERS];

static int accept_all(void *arg)
{
    struct gyre_listener *listener = arg;
    int fd;

    while ((fd = gyre_accept(listener)) >= 0) {
        CHECK_EQ(gyre_write_all(fd, "x", 1, NULL), 1);
        CHECK_EQ(gyre_close(fd), 0);
        atomic_fetch_add(&served, 1);
    }
    CHECK_EQ(fd, -ESHUTDOWN);
    return 0;
}

static int dial(void *arg)
{
    struct random *random = arg;
    char byte;

    while (!atomic_load(&over)) {
        int fd = gyre_tcp_dial(address);

        CHECK(fd >= 0);
        gyre_set_linger(fd, 1, 0); /* or the ports run out */
        CHECK_EQ(gyre_read(fd, &byte, 1), 1);
        CHECK_EQ(gyre_close(fd), 0);
        atomic_fetch_add(&answered, 1);
        if (!random_below(random, 3))
            gyre_sleep(random_below(random, 100) * GYRE_MICROSECOND);
    }
    return 0;
}

static void let_some_come(unsigned long count)
{
    unsigned long before = atomic_load(&answered);

    while (atomic_load(&answered) < before + count)
        gyre_sleep(50 * GYRE_MICROSECOND);
}

/* old_ones: who accept from the listener that goes; new_ones: nobody yet. */
static void hand_on(struct random *random, struct gyre_listener **listener,
                    gyre_waitgroup *old_ones, gyre_waitgroup *new_ones)
{
    static const unsigned ahead[] = {1, 4, 20, 0};
    struct gyre_listen_options options = GYRE_LISTEN_INIT;
    struct gyre_listener *old = *listener;

    options.ahead = ahead[random_below(random, 4)];
    CHECK_EQ(gyre_listener_adopt(listener, dup(gyre_listener_fd(old)), &options), 0);
    for (int i = 0; i < ACCEPTORS; i++)
        CHECK_EQ(gyre_waitgroup_go(new_ones, accept_all, *listener), 0);
    let_some_come(random_below(random, 5));
    gyre_listener_stop(old);
    CHECK_EQ(gyre_waitgroup_wait(old_ones), 0);
    CHECK_EQ(gyre_listener_close(old), 0);
}

static int run_rounds(void *unused)
{
    struct random random = stress_random(0);
    gyre_waitgroup groups[3] = {GYRE_WAITGROUP_INIT, GYRE_WAITGROUP_INIT, GYRE_WAITGROUP_INIT};
    struct gyre_listener *listener;

    (void)unused;
    atomic_store(&over, false);
    CHECK_EQ(gyre_tcp_listen(&listener, "127.0.0.1:0"), 0);
    CHECK(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) > 0);
    for (int i = 0; i < ACCEPTORS; i++)
        CHECK_EQ(gyre_waitgroup_go(&groups[0], accept_all, listener), 0);
    for (int i = 0; i < DIALLERS; i++) {
        randoms[i] = stress_random((uint64_t)i + 1);
        CHECK_EQ(gyre_waitgroup_go(&groups[2], dial, &randoms[i]), 0);
    }
    for (unsigned long i = 0; i < rounds; i++)
        hand_on(&random, &listener, &groups[i % 2], &groups[(i + 1) % 2]);
    atomic_store(&over, true);
    CHECK_EQ(gyre_waitgroup_wait(&groups[2]), 0);
    gyre_listener_stop(listener);
    CHECK_EQ(gyre_waitgroup_wait(&groups[rounds % 2]), 0);
    return gyre_listener_close(listener);
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    rounds = stress_rounds(500);
    stress_run_each("handed on", 0, run_rounds);
    printf("%lu served\n", atomic_load(&served));
    return 0;
}
