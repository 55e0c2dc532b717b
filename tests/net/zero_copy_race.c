/*
 * Zero-copy sends given up at random, by their context and by a close.
 *
 * Hypothesis: when the call returns the kernel has let go of the buffer: the sender writes
 * something else to it at once, and no reader ever sees that. Window aimed at: the end of a
 * context, or gyre_close, before the send's result, between it and the notification, and after
 * that; the reset of a connection against its descriptor's next owner.
 */
#include "../io/stress.h"

#include <sys/socket.h>

enum { SIZE = 96 << 10, GOOD = 0x11, BAD = 0x66 };

static unsigned long rounds;
static struct gyre_listener *listener;
static char address[GYRE_ADDRESS_SIZE];
static atomic_ulong whole, given_up, closed;
static struct random randoms[3];

struct pair {
    struct random *random, *reader_random, *closer_random;
    int fd, peer;
};

static int read_slowly(void *arg)
{
    struct pair *pair = arg;
    char buffer[8192];
    ssize_t n;

    while ((n = gyre_read(pair->peer, buffer, sizeof buffer)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQ(buffer[i], GOOD);
        if (random_below(pair->reader_random, 8) == 0)
            gyre_sleep(random_below(pair->reader_random, 200 * 1000));
    }
    CHECK(n == 0 || n == -ECONNRESET);
    return 0;
}

static int close_at_random(void *arg)
{
    struct pair *pair = arg;

    gyre_sleep(random_below(pair->closer_random, 300 * 1000));
    CHECK_EQ(gyre_close(pair->fd), 0);
    return 0;
}

static ssize_t send_some(struct pair *pair, char *buffer)
{
    size_t done = 0;
    ssize_t n;
    int copied;

    memset(buffer, GOOD, SIZE);
    if (random_below(pair->random, 2)) {
        GYRE_TIMEOUT(random_below(pair->random, 300 * 1000));
        n = gyre_send_zero_copy(pair->fd, buffer, SIZE, &done, &copied);
    } else {
        n = gyre_send_zero_copy(pair->fd, buffer, SIZE, &done, NULL);
    }
    memset(buffer, BAD, SIZE);
    CHECK(n < 0 || (n == SIZE && done == SIZE));
    return n;
}

static void converse(struct pair *pair, char *buffer)
{
    bool closes = random_below(pair->random, 2);
    gyre_handle reader, closer;
    ssize_t n = 0;

    pair->fd = gyre_tcp_dial(address);
    CHECK(pair->fd >= 0);
    CHECK_EQ(gyre_set_buffers(pair->fd, 0, 256 << 10), 0);
    pair->peer = gyre_accept(listener);
    CHECK(pair->peer >= 0);
    CHECK_EQ(gyre_spawn(&reader, read_slowly, pair), 0);
    if (closes)
        CHECK_EQ(gyre_spawn(&closer, close_at_random, pair), 0);
    for (int i = 0; i < 4 && n >= 0; i++)
        n = send_some(pair, buffer);
    CHECK(n >= 0 || n == -ETIMEDOUT || n == -ECONNRESET || (closes && n == -EBADF));
    atomic_fetch_add(n >= 0 ? &whole : n == -EBADF ? &closed : &given_up, 1);
    if (closes)
        CHECK_EQ(gyre_join(closer, NULL), 0);
    else
        CHECK_EQ(gyre_close(pair->fd), 0);
    CHECK_EQ(gyre_join(reader, NULL), 0);
    CHECK_EQ(gyre_close(pair->peer), 0);
}

static int send_all(void *unused)
{
    struct pair pair = {&randoms[0], &randoms[1], &randoms[2], -1, -1};
    char *buffer = malloc(SIZE);
    int before = open_descriptors();

    (void)unused;
    randoms[0] = stress_random(1);
    randoms[1] = stress_random(2);
    randoms[2] = stress_random(3);
    CHECK(buffer != NULL);
    CHECK_EQ(gyre_tcp_listen(&listener, "127.0.0.1:0"), 0);
    CHECK_EQ(gyre_set_buffers(gyre_listener_fd(listener), 16 << 10, 0), 0);
    CHECK(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) > 0);
    for (unsigned long i = 0; i < rounds; i++)
        converse(&pair, buffer);
    CHECK_EQ(gyre_listener_close(listener), 0);
    CHECK_EQ(open_descriptors(), before);
    free(buffer);
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    rounds = stress_rounds(30);
    stress_run_each("zero-copy sends given up", 0, send_all);
    stress_run_each("zero-copy sends given up, tiny ring", 4, send_all);
    printf("%lu conversations whole, %lu given up, %lu closed\n", whole, given_up, closed);
    return 0;
}
