/*
 * Descriptors passed while receivers are cut short.
 *
 * Hypothesis: a message that the kernel has delivered reaches a receiver, or is closed by it:
 * whatever the moment of a cancellation or of the close of the socket, no descriptor is left at the
 * end. Window aimed at: the completion of a receive against the end of its context, and receives
 * with less room than descriptors come.
 */
#include "../io/stress.h"

#include <fcntl.h>
#include <sys/socket.h>

enum { RECEIVERS = 4, SENDERS = 3, MOST = 5 };

static unsigned long rounds, sends_each;
static int pair[2], source[2];
static atomic_ulong passed, cut_short, too_many;
static struct random randoms[RECEIVERS + SENDERS];

static int receive_all(void *arg)
{
    struct random *random = arg;

    for (;;) {
        int fds[MOST];
        size_t count = random_below(random, MOST + 1);
        char buffer[4];
        ssize_t n;

        if (random_below(random, 2)) {
            GYRE_TIMEOUT(random_below(random, 60 * 1000));
            n = gyre_recv_fds(pair[1], buffer, sizeof buffer, fds, &count);
        } else {
            n = gyre_recv_fds(pair[1], buffer, sizeof buffer, fds, &count);
        }
        if (n == -EBADF || n == -ENOTSOCK || n == 0)
            return 0; /* a pipe may have got the number of a closed socket */
        if (n == -ETIMEDOUT) {
            atomic_fetch_add(&cut_short, 1);
            continue;
        }
        if (n == -EMSGSIZE) {
            atomic_fetch_add(&too_many, 1);
            continue;
        }
        CHECK(n > 0);
        for (size_t i = 0; i < count; i++)
            CHECK_EQ(gyre_close(fds[i]), 0);
        atomic_fetch_add(&passed, count);
    }
}

static int send_all(void *arg)
{
    struct random *random = arg;

    for (unsigned long i = 0; i < sends_each; i++) {
        int fds[MOST];
        size_t count = random_below(random, MOST + 1);
        ssize_t n;

        for (size_t k = 0; k < count; k++)
            fds[k] = source[k & 1];
        if (random_below(random, 4) == 0) {
            GYRE_TIMEOUT(random_below(random, 20 * 1000));
            n = gyre_send_fds(pair[0], "abcd", 4, fds, count);
        } else {
            n = gyre_send_fds(pair[0], "abcd", 4, fds, count);
        }
        CHECK(n > 0 || n == -ETIMEDOUT || n == -EBADF || n == -ENOTSOCK || n == -EPIPE ||
              n == -ECONNRESET);
        if (n < 0 && n != -ETIMEDOUT)
            break;
        if (random_below(random, 3) == 0)
            gyre_sleep(random_below(random, 60 * 1000));
    }
    return 0;
}

static void play_round(struct random *random)
{
    gyre_handle handles[RECEIVERS + SENDERS];
    unsigned early = random_below(random, 3); /* which is closed, while all are at work */

    CHECK_EQ(gyre_unix_pair(pair, random_below(random, 2) ? SOCK_STREAM : SOCK_SEQPACKET), 0);
    for (int i = 0; i < RECEIVERS + SENDERS; i++)
        CHECK_EQ(gyre_spawn(&handles[i], i < RECEIVERS ? receive_all : send_all, &randoms[i]), 0);
    if (early < 2) {
        gyre_sleep(random_below(random, 2 * 1000 * 1000));
        CHECK_EQ(gyre_close(pair[early]), 0);
    }
    for (int i = RECEIVERS; i < RECEIVERS + SENDERS; i++)
        CHECK_EQ(gyre_join(handles[i], NULL), 0);
    if (early != 0)
        CHECK_EQ(gyre_close(pair[0]), 0);
    for (int i = 0; i < RECEIVERS; i++)
        CHECK_EQ(gyre_join(handles[i], NULL), 0);
    if (early != 1)
        CHECK_EQ(gyre_close(pair[1]), 0);
}

static int run_rounds(void *unused)
{
    struct random random = stress_random(0);
    int before;

    (void)unused;
    CHECK_EQ(pipe2(source, O_CLOEXEC), 0);
    before = open_descriptors();
    for (int i = 0; i < RECEIVERS + SENDERS; i++)
        randoms[i] = stress_random((uint64_t)i + 1);
    for (unsigned long i = 0; i < rounds; i++) {
        play_round(&random);
        CHECK_EQ(open_descriptors(), before);
    }
    CHECK_EQ(gyre_close(source[0]), 0);
    CHECK_EQ(gyre_close(source[1]), 0);
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    rounds = stress_rounds(20);
    sends_each = 60;
    stress_run_each("descriptors passed, receives cut short", 0, run_rounds);
    stress_run_each("descriptors passed, tiny ring", 4, run_rounds);
    printf("%lu passed, %lu receives cut short, %lu with too many\n", passed, cut_short, too_many);
    return 0;
}
