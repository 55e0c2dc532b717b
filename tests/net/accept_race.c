/*
 * A listener shared by many acceptors whose waits are cut short at random.
 *
 * Hypothesis: no connection is lost between the kernel, the listener's queue and an acceptor that
 * is interrupted at the moment it is given one: whoever has connected is served, and no descriptor
 * is left at the end. Closing at any moment gives every acceptor -EBADF and every peer an end.
 * Window aimed at: a descriptor handed to a waiter against the end of the waiter's context, and the
 * close against accepts, retries and messages to the ring's owner under way.
 */
#include "../io/stress.h"

#include <netinet/in.h>
#include <sys/socket.h>

enum { ACCEPTORS = 8, DIALLERS = 16 };

static struct gyre_listener *listener;
static char address[GYRE_ADDRESS_SIZE];
static unsigned long rounds, dials_each;
static bool close_early;
static atomic_bool closing;
static atomic_int dialling, serving;
static atomic_ulong served, cut_short, gave_up, ended;
static struct random randoms[ACCEPTORS + DIALLERS];

static int serve(void *arg)
{
    int fd = *(int *)arg;
    uint64_t id;
    ssize_t n = gyre_read_all(fd, &id, sizeof id, NULL);

    if (n == sizeof id) {
        CHECK(gyre_write_all(fd, &id, sizeof id, NULL) >= 0 || close_early);
        atomic_fetch_add(&served, 1);
    } else {
        CHECK(n == 0 || n == -ECONNRESET); /* a dial that gave up */
    }
    CHECK_EQ(gyre_close(fd), 0);
    atomic_fetch_sub(&serving, 1);
    return 0;
}

static int accept_all(void *arg)
{
    struct random *random = arg;

    for (;;) {
        int fd;
        {
            GYRE_TIMEOUT(random_below(random, 200 * 1000));
            fd = gyre_accept(listener);
        }
        if (fd == -EBADF)
            break;
        if (fd < 0) {
            CHECK_EQ(fd, -ETIMEDOUT);
            atomic_fetch_add(&cut_short, 1);
            continue;
        }
        atomic_fetch_add(&serving, 1);
        CHECK_EQ(gyre_go_copy(serve, &fd, sizeof fd), 0);
    }
    CHECK(atomic_load(&closing));
    return 0;
}

static bool ask(struct random *random, int fd)
{
    uint64_t id = random_next(random), back = 0;
    ssize_t n = gyre_write_all(fd, &id, sizeof id, NULL);

    if (n == sizeof id)
        n = gyre_read_all(fd, &back, sizeof back, NULL);
    if (n == sizeof back) {
        CHECK(back == id);
        return true;
    }
    CHECK(close_early && (n >= 0 || n == -ECONNRESET || n == -EPIPE));
    return false;
}

static int dial_all(void *arg)
{
    struct random *random = arg;

    for (unsigned long i = 0; i < dials_each; i++) {
        int fd;

        if (random_below(random, 4) == 0) {
            GYRE_TIMEOUT(random_below(random, 100 * 1000));
            fd = gyre_tcp_dial(address);
        } else {
            fd = gyre_tcp_dial(address);
        }
        if (fd < 0) {
            CHECK(fd == -ETIMEDOUT || (close_early && (fd == -ECONNREFUSED || fd == -ECONNRESET)));
            atomic_fetch_add(fd == -ETIMEDOUT ? &gave_up : &ended, 1);
            continue;
        }
        /* Reset, so that ports don't run out. */
        CHECK_EQ(gyre_set_linger(fd, 1, 0), 0);
        if (!ask(random, fd))
            atomic_fetch_add(&ended, 1);
        CHECK_EQ(gyre_close(fd), 0);
    }
    atomic_fetch_sub(&dialling, 1);
    return 0;
}

static void play_round(struct random *random)
{
    gyre_handle handles[ACCEPTORS + DIALLERS];
    struct gyre_listen_options options = GYRE_LISTEN_INIT;

    options.ahead = 1 + random_below(random, 32);
    closing = false;
    close_early = random_below(random, 2);
    dialling = DIALLERS;
    CHECK_EQ(gyre_tcp_listen_options(&listener, "127.0.0.1:0", &options), 0);
    CHECK(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) > 0);
    for (int i = 0; i < ACCEPTORS; i++)
        CHECK_EQ(gyre_spawn(&handles[i], accept_all, &randoms[i]), 0);
    for (int i = ACCEPTORS; i < ACCEPTORS + DIALLERS; i++)
        CHECK_EQ(gyre_spawn(&handles[i], dial_all, &randoms[i]), 0);
    if (close_early)
        gyre_sleep(random_below(random, 5 * 1000 * 1000));
    else
        while (atomic_load(&dialling))
            gyre_sleep(GYRE_MILLISECOND);
    atomic_store(&closing, true);
    CHECK_EQ(gyre_listener_close(listener), 0);
    for (int i = 0; i < ACCEPTORS + DIALLERS; i++)
        CHECK_EQ(gyre_join(handles[i], NULL), 0);
    while (atomic_load(&serving))
        gyre_sleep(GYRE_MILLISECOND);
}

static int run_rounds(void *unused)
{
    struct random random = stress_random(0);
    int before = open_descriptors();

    (void)unused;
    for (int i = 0; i < ACCEPTORS + DIALLERS; i++)
        randoms[i] = stress_random((uint64_t)i + 1);
    for (unsigned long i = 0; i < rounds; i++) {
        play_round(&random);
        CHECK_EQ(open_descriptors(), before);
    }
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    rounds = stress_rounds(20);
    dials_each = 20;
    stress_run_each("accepts cut short", 0, run_rounds);
    stress_run_each("accepts cut short, tiny ring", 4, run_rounds);
    printf("%lu served, %lu accepts cut short, %lu dials gave up, %lu ended by the close\n", served,
           cut_short, gave_up, ended);
    return 0;
}
