/* Feeds: what comes is lent in order and whole, whatever ends, runs out or is closed meanwhile. */
#include "../io/harness.h"
#include "net/feed_pool.h"

#include <sys/un.h>

/* --- helpers ---------------------------------------------------------------------------------- */

static struct gyre_feed *open_feed(int fd, unsigned flags, unsigned ahead)
{
    struct gyre_feed_options options = GYRE_FEED_INIT;
    struct gyre_feed *feed = NULL;

    options.flags = flags;
    options.ahead = ahead;
    EXPECT_EQ(gyre_feed_open(&feed, fd, &options), 0);
    return feed;
}

static void close_pair(int fds[2])
{
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
}

/* Two UDP sockets that are connected to each other. */
static void make_udp_pair(int fds[2])
{
    struct sockaddr_in address[2];
    socklen_t length = sizeof address[0];

    for (int i = 0; i < 2; i++) {
        address[i] = (struct sockaddr_in){.sin_family = AF_INET};
        address[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(bind(fds[i], (struct sockaddr *)&address[i], length), 0);
        EXPECT_EQ(getsockname(fds[i], (struct sockaddr *)&address[i], &length), 0);
    }
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(connect(fds[i], (struct sockaddr *)&address[1 - i], length), 0);
}

/* A stream of bytes that tells where it was cut. */
static unsigned char byte_at(size_t position)
{
    return (unsigned char)(position * 7 + position / 251);
}

struct source {
    int fd;
    size_t size;
};

static int write_bytes(void *arg)
{
    struct source *source = arg;
    unsigned char data[10000];
    size_t at = 0;

    while (at < source->size) {
        size_t n = source->size - at < sizeof data ? source->size - at : sizeof data;

        for (size_t i = 0; i < n; i++)
            data[i] = byte_at(at + i);
        EXPECT_EQ(gyre_write_all(source->fd, data, n, NULL), n);
        at += n;
    }
    EXPECT_EQ(gyre_shutdown(source->fd, SHUT_WR), 0);
    return 0;
}

static bool matches(const struct gyre_piece *piece, size_t at)
{
    for (size_t i = 0; i < piece->size; i++)
        if ((unsigned char)piece->data[i] != byte_at(at + i))
            return false;
    return true;
}

static size_t read_bytes(struct gyre_feed *feed)
{
    struct gyre_piece piece;
    size_t at = 0;
    int n;

    while ((n = gyre_feed_next(feed, &piece)) == 1) {
        EXPECT(piece.size > 0 && piece.size <= PROVIDED_SIZE && !piece.truncated);
        EXPECT(matches(&piece, at));
        at += piece.size;
        gyre_feed_return(&piece);
        EXPECT(!piece.data && !piece.size);
    }
    EXPECT_EQ(n, 0);
    EXPECT_EQ(gyre_feed_next(feed, &piece), 0);
    return at;
}

static int result_of(gyre_handle handle)
{
    int result = 12345;

    EXPECT_EQ(gyre_join(handle, &result), 0);
    return result;
}

static int next_into(void *arg)
{
    struct gyre_piece piece;
    int result = gyre_feed_next(arg, &piece);

    if (result == 1)
        gyre_feed_return(&piece);
    return result;
}

/* --- streams ---------------------------------------------------------------------------------- */

INSIDE(feed, a_stream_comes_whole_and_ends)
{
    int fds[2];
    struct source source = {0, 1000 * 1000};
    struct gyre_feed *feed;
    gyre_handle writer;

    make_stream_pair(fds);
    source.fd = fds[1];
    feed = open_feed(fds[0], 0, 0);
    EXPECT_EQ(gyre_spawn(&writer, write_bytes, &source), 0);
    EXPECT_EQ(read_bytes(feed), source.size);
    EXPECT_EQ(gyre_join(writer, NULL), 0);
    gyre_feed_close(feed);
    close_pair(fds);
    return 0;
}

INSIDE(feed, small_aheads_lose_nothing)
{
    for (unsigned ahead = 1; ahead < 4; ahead++) {
        int fds[2];
        struct source source = {0, 300 * 1000};
        struct gyre_feed *feed;
        gyre_handle writer;

        make_stream_pair(fds);
        source.fd = fds[1];
        feed = open_feed(fds[0], 0, ahead);
        EXPECT_EQ(gyre_spawn(&writer, write_bytes, &source), 0);
        EXPECT_EQ(read_bytes(feed), source.size);
        EXPECT_EQ(gyre_join(writer, NULL), 0);
        gyre_feed_close(feed);
        close_pair(fds);
    }
    return 0;
}

INSIDE(feed, what_nobody_takes_stays_in_the_socket)
{
    int fds[2];
    ssize_t sent = 0, n;
    struct gyre_feed *feed;
    struct gyre_piece piece;
    static char data[4096];

    make_stream_pair(fds);
    feed = open_feed(fds[0], 0, 2);
    EXPECT_EQ(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    for (int quiet = 0; quiet < 100; quiet++) {
        while ((n = send(fds[1], data, sizeof data, MSG_NOSIGNAL)) > 0) {
            sent += n;
            quiet = 0;
        }
        gyre_yield();
    }
    EXPECT(sent < 4 << 20);
    while (sent > 0 && gyre_feed_next(feed, &piece) == 1) {
        sent -= (ssize_t)piece.size;
        gyre_feed_return(&piece);
    }
    EXPECT_EQ(sent, 0);
    gyre_feed_close(feed);
    close_pair(fds);
    return 0;
}

INSIDE(feed, a_reset_comes_after_what_was_sent_before_and_stays)
{
    struct gyre_listener *listener;
    char address[GYRE_ADDRESS_SIZE];
    struct gyre_feed *feed;
    struct gyre_piece piece;
    int fds[2], n;

    EXPECT_EQ(gyre_tcp_listen(&listener, "127.0.0.1:0"), 0);
    EXPECT(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) > 0);
    fds[1] = gyre_tcp_dial(address);
    fds[0] = gyre_accept(listener);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    feed = open_feed(fds[0], 0, 0);
    EXPECT_EQ(gyre_write(fds[1], "one", 3), 3);
    EXPECT_EQ(gyre_feed_next(feed, &piece), 1);
    EXPECT(piece.size == 3 && !memcmp(piece.data, "one", 3));
    gyre_feed_return(&piece);
    EXPECT_EQ(gyre_set_linger(fds[1], 1, 0), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    while ((n = gyre_feed_next(feed, &piece)) == 1)
        gyre_feed_return(&piece);
    EXPECT_EQ(n, -ECONNRESET);
    EXPECT_EQ(gyre_feed_next(feed, &piece), -ECONNRESET);
    gyre_feed_close(feed);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    return 0;
}

INSIDE(feed, a_non_blocking_socket_works_or_says_so)
{
    struct gyre_feed *feed;
    struct gyre_piece piece;
    int fds[2], n;

    make_stream_pair(fds);
    EXPECT_EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    feed = open_feed(fds[0], 0, 0);
    for (int i = 0; i < 10; i++)
        gyre_yield();
    EXPECT_EQ(gyre_write(fds[1], "x", 1), 1);
    while ((n = gyre_feed_next(feed, &piece)) == -EAGAIN)
        ;
    EXPECT_EQ(n, 1);
    gyre_feed_return(&piece);
    gyre_feed_close(feed);
    close_pair(fds);
    return 0;
}

/* --- datagrams -------------------------------------------------------------------------------- */

INSIDE(feed, datagrams_come_one_by_one_with_their_senders)
{
    struct gyre_feed *feed;
    enum { longest = 16240 };
    struct gyre_piece piece;
    struct sockaddr_in name, from;
    socklen_t length = sizeof name;
    static char big[PROVIDED_SIZE];
    int fds[2];

    memset(big, 'b', sizeof big);
    make_udp_pair(fds);
    EXPECT_EQ(getsockname(fds[1], (struct sockaddr *)&name, &length), 0);
    feed = open_feed(fds[0], GYRE_FEED_ADDRESSES, 0);
    EXPECT_EQ(send(fds[1], "one", 3, 0), 3);
    EXPECT_EQ(send(fds[1], "", 0, 0), 0);
    EXPECT_EQ(send(fds[1], big, longest, 0), longest);
    EXPECT_EQ(send(fds[1], big, longest + 1, 0), longest + 1);
    EXPECT_EQ(send(fds[1], "last", 4, 0), 4);
    for (size_t i = 0; i < 5; i++) {
        static const size_t sizes[] = {3, 0, longest, longest, 4};

        EXPECT_EQ(gyre_feed_next(feed, &piece), 1);
        EXPECT_EQ(piece.size, sizes[i]);
        EXPECT_EQ(piece.truncated, i == 3);
        EXPECT_EQ(piece.from.length, sizeof name);
        memcpy(&from, &piece.from.storage, sizeof from);
        EXPECT(from.sin_port == name.sin_port);
        if (i == 4)
            EXPECT(!memcmp(piece.data, "last", 4));
        gyre_feed_return(&piece);
    }
    gyre_feed_close(feed);
    feed = open_feed(fds[0], 0, 0);
    EXPECT_EQ(send(fds[1], "two", 3, 0), 3);
    EXPECT_EQ(gyre_feed_next(feed, &piece), 1);
    EXPECT(piece.size == 3 && piece.from.length == 0 && !memcmp(piece.data, "two", 3));
    gyre_feed_return(&piece);
    gyre_feed_close(feed);
    close_pair(fds);
    return 0;
}

INSIDE(feed, a_refused_datagram_is_told_once)
{
    struct gyre_feed *feed;
    struct gyre_piece piece;
    int fds[2];

    make_udp_pair(fds);
    feed = open_feed(fds[0], 0, 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(send(fds[0], "x", 1, 0), 1);
    EXPECT_EQ(gyre_feed_next(feed, &piece), -ECONNREFUSED);
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_feed_next(feed, &piece), -ETIMEDOUT);
    }
    gyre_feed_close(feed);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    return 0;
}

INSIDE(feed, messages_of_a_connection_end)
{
    struct gyre_feed *feed;
    struct gyre_piece piece;
    int fds[2];

    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    feed = open_feed(fds[0], 0, 0);
    EXPECT_EQ(gyre_write(fds[1], "abc", 3), 3);
    EXPECT_EQ(gyre_write(fds[1], "de", 2), 2);
    EXPECT_EQ(gyre_shutdown(fds[1], SHUT_WR), 0);
    EXPECT_EQ(gyre_feed_next(feed, &piece), 1);
    EXPECT_EQ(piece.size, 3);
    gyre_feed_return(&piece);
    EXPECT_EQ(gyre_feed_next(feed, &piece), 1);
    EXPECT_EQ(piece.size, 2);
    gyre_feed_return(&piece);
    EXPECT_EQ(gyre_feed_next(feed, &piece), 0);
    EXPECT_EQ(gyre_feed_next(feed, &piece), 0);
    gyre_feed_close(feed);
    close_pair(fds);
    return 0;
}

/* --- buffers ---------------------------------------------------------------------------------- */

/* More than the pool has are lent, and come back from elsewhere. */
static struct gyre_piece hoard[PROVIDED_MOST + 64];

static int give_back(void *arg)
{
    size_t count = *(size_t *)arg;

    for (size_t i = 0; i < count; i++)
        gyre_feed_return(&hoard[i]);
    return 0;
}

INSIDE(feed, a_feed_waits_for_a_buffer_when_all_are_lent)
{
    struct gyre_feed *feed, *other;
    struct gyre_piece piece;
    int fds[2], others[2];
    size_t count = 0;
    gyre_handle returner, waiter;

    make_stream_pair(fds);
    make_stream_pair(others);
    feed = open_feed(fds[0], 0, 1);
    /* One at a time, so that they count: each in a buffer of its own. */
    for (; count < PROVIDED_MOST; count++) {
        EXPECT_EQ(send(fds[1], "x", 1, 0), 1);
        if (gyre_feed_next(feed, &hoard[count]) != 1)
            break;
    }
    EXPECT_EQ(count, PROVIDED_MOST);
    EXPECT_EQ(send(fds[1], "y", 1, 0), 1);
    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_feed_next(feed, &piece), -ETIMEDOUT);
    }
    /* A feed that stands still can be closed. */
    if (gyre_feed_open(&other, others[0], NULL) == 0) {
        EXPECT_EQ(send(others[1], "z", 1, 0), 1);
        for (int i = 0; i < 20; i++)
            gyre_yield();
        gyre_feed_close(other);
    }
    EXPECT_EQ(gyre_spawn(&waiter, next_into, feed), 0);
    await_parked(waiter);
    EXPECT_EQ(gyre_spawn(&returner, give_back, &count), 0);
    EXPECT_EQ(result_of(waiter), 1);
    EXPECT_EQ(gyre_join(returner, NULL), 0);
    gyre_feed_close(feed);
    close_pair(fds);
    close_pair(others);
    return 0;
}

static size_t resident(void)
{
    unsigned long pages = 0, all;
    FILE *file = fopen("/proc/self/statm", "re");

    EXPECT(file && fscanf(file, "%lu %lu", &all, &pages) == 2);
    fclose(file);
    return pages * 4096;
}

static int grow_and_shrink(void *unused)
{
    enum { COUNT = 2000 };
    static char data[PROVIDED_SIZE];
    struct gyre_feed *feed;
    size_t before, peak;
    int fds[2];

    (void)unused;
    make_stream_pair(fds);
    feed = open_feed(fds[0], 0, 1);
    before = resident();
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            EXPECT_EQ(send(fds[1], data, sizeof data, 0), sizeof data);
            EXPECT_EQ(gyre_feed_next(feed, &hoard[i]), 1);
        }
        peak = resident();
        EXPECT(peak > before + COUNT * (size_t)PROVIDED_SIZE / 2);
        for (size_t i = 0; i < COUNT; i++)
            gyre_feed_return(&hoard[i]);
        for (int i = 0; i < 2000 && resident() > before + (1 << 20); i++)
            EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0);
        EXPECT(resident() <= before + (1 << 20));
    }
    gyre_feed_close(feed);
    close_pair(fds);
    return 0;
}

/* The last tick while they were used looked when all were lent; the next one sees that. */
static int shrink_after_the_last_use(void *unused)
{
    enum { COUNT = 2000 };
    static char data[PROVIDED_SIZE];
    struct feed_pool *pool;
    struct gyre_feed *feed;
    int fds[2];

    (void)unused;
    make_stream_pair(fds);
    feed = open_feed(fds[0], 0, 1);
    pool = worker_current()->feeds;
    for (size_t i = 0; i < COUNT; i++) {
        EXPECT_EQ(send(fds[1], data, sizeof data, 0), sizeof data);
        EXPECT_EQ(gyre_feed_next(feed, &hoard[i]), 1);
    }
    for (int i = 0; i < 5000 && pool->seen != pool->buffers.taken; i++)
        EXPECT_EQ(gyre_sleep(100 * GYRE_MICROSECOND), 0);
    for (size_t i = 0; i < COUNT; i++)
        gyre_feed_return(&hoard[i]);
    for (int i = 0; i < 5000 && provided_circulating(&pool->buffers) > gyre_provided_least; i++)
        EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0);
    EXPECT_EQ(provided_circulating(&pool->buffers), gyre_provided_least);
    gyre_feed_close(feed);
    close_pair(fds);
    return 0;
}

Test(feed, memory_is_given_back_after_the_last_use)
{
    gyre_feed_pool_period = 20 * GYRE_MILLISECOND;
    cr_assert_eq(run_with_workers(1, shrink_after_the_last_use, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}

Test(feed, memory_is_given_back_when_it_was_not_needed)
{
    gyre_feed_pool_period = 5 * GYRE_MILLISECOND;
    cr_assert_eq(run_with_workers(1, grow_and_shrink, NULL), 0);
    cr_assert_eq(run_with_workers(2, grow_and_shrink, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}

INSIDE(feed, a_piece_outlives_its_feed)
{
    struct gyre_feed *feed;
    struct gyre_piece piece, empty = {0};
    int fds[2];

    make_stream_pair(fds);
    feed = open_feed(fds[0], 0, 0);
    EXPECT_EQ(gyre_write(fds[1], "keep", 4), 4);
    EXPECT_EQ(gyre_feed_next(feed, &piece), 1);
    gyre_feed_close(feed);
    close_pair(fds);
    EXPECT(piece.size == 4 && !memcmp(piece.data, "keep", 4));
    piece.data[0] = 'd';
    gyre_feed_return(&piece);
    gyre_feed_return(&piece);
    gyre_feed_return(&empty);
    gyre_feed_return(NULL);
    return 0;
}

/* --- cancellation and closing ----------------------------------------------------------------- */

INSIDE(feed, a_cancelled_wait_loses_nothing)
{
    struct gyre_feed *feed;
    struct gyre_piece piece;
    int fds[2];

    make_stream_pair(fds);
    feed = open_feed(fds[0], 0, 0);
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_feed_next(feed, &piece), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_write(fds[1], "abc", 3), 3);
    {
        GYRE_TIMEOUT(-1);
        EXPECT_EQ(gyre_feed_next(feed, &piece), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_feed_next(feed, &piece), 1);
    EXPECT_EQ(piece.size, 3);
    gyre_feed_return(&piece);
    gyre_feed_close(feed);
    close_pair(fds);
    return 0;
}

INSIDE(feed, closing_wakes_all_who_wait)
{
    struct gyre_feed *feed;
    gyre_handle waiters[3];
    int fds[2];

    make_stream_pair(fds);
    feed = open_feed(fds[0], 0, 0);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(gyre_spawn(&waiters[i], next_into, feed), 0);
        await_parked(waiters[i]);
    }
    gyre_feed_close(feed);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(result_of(waiters[i]), -EBADF);
    gyre_feed_close(NULL);
    close_pair(fds);
    return 0;
}

static atomic_int sum, left;

/* The last to be counted ends the others. */
static int add_up(void *arg)
{
    struct gyre_piece piece;
    int n;

    while ((n = gyre_feed_next(arg, &piece)) == 1) {
        int number;

        EXPECT_EQ(piece.size, sizeof number);
        memcpy(&number, piece.data, sizeof number);
        gyre_feed_return(&piece);
        atomic_fetch_add(&sum, number);
        atomic_fetch_sub(&left, 1);
        gyre_yield();
    }
    return n;
}

INSIDE(feed, each_datagram_goes_to_one_of_many)
{
    enum { MANY = 8, DATAGRAMS = 2000 };
    struct gyre_feed *feed;
    gyre_handle handles[MANY];
    int fds[2];

    atomic_store(&sum, 0);
    atomic_store(&left, DATAGRAMS);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    feed = open_feed(fds[0], 0, 20);
    for (int i = 0; i < MANY; i++)
        EXPECT_EQ(gyre_spawn(&handles[i], add_up, feed), 0);
    for (int i = 0; i < DATAGRAMS; i++)
        EXPECT_EQ(gyre_write(fds[1], &i, sizeof i), sizeof i);
    while (atomic_load(&left))
        gyre_yield();
    gyre_feed_close(feed);
    for (int i = 0; i < MANY; i++)
        EXPECT_EQ(result_of(handles[i]), -EBADF);
    EXPECT_EQ(atomic_load(&sum), DATAGRAMS * (DATAGRAMS - 1) / 2);
    close_pair(fds);
    return 0;
}

INSIDE(feed, closing_frees_what_was_not_taken)
{
    for (int i = 0; i < 50; i++) {
        struct gyre_feed *feed;
        int fds[2];

        make_stream_pair(fds);
        feed = open_feed(fds[0], 0, 0);
        EXPECT_EQ(gyre_write(fds[1], "abc", 3), 3);
        for (int j = 0; j < i % 5; j++)
            gyre_yield();
        gyre_feed_close(feed);
        close_pair(fds);
    }
    return 0;
}

INSIDE(feed, a_descriptor_closed_too_early_ends_its_feed)
{
    struct gyre_feed *feed, *next;
    struct gyre_piece piece;
    gyre_handle waiter;
    char byte;
    int fds[2], again[2];

    make_stream_pair(fds);
    feed = open_feed(fds[0], 0, 0);
    EXPECT_EQ(gyre_feed_open(&next, fds[0], NULL), -EBUSY);
    EXPECT_EQ(gyre_spawn(&waiter, next_into, feed), 0);
    await_parked(waiter);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(result_of(waiter), -EBADF);
    /* The peer sees the end, and the number's next user keeps what comes for it. */
    EXPECT_EQ(gyre_read(fds[1], &byte, 1), 0);
    make_stream_pair(again);
    EXPECT(again[0] == fds[0] || again[1] == fds[0]);
    EXPECT_EQ(gyre_write(again[1], "n", 1), 1);
    EXPECT_EQ(gyre_feed_next(feed, &piece), -EBADF);
    next = open_feed(again[0], 0, 0);
    gyre_feed_close(feed);
    EXPECT_EQ(gyre_feed_next(next, &piece), 1);
    EXPECT_EQ(piece.data[0], 'n');
    gyre_feed_return(&piece);
    gyre_feed_close(next);
    close_pair(again);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    return 0;
}

static int close_number(void *arg)
{
    return gyre_close(*(int *)arg);
}

INSIDE(feed, closing_both_at_once_is_safe)
{
    for (int i = 0; i < 200; i++) {
        struct gyre_feed *feed;
        gyre_handle closer;
        int fds[2];

        make_stream_pair(fds);
        feed = open_feed(fds[0], 0, 0);
        EXPECT_EQ(gyre_spawn(&closer, close_number, &fds[0]), 0);
        for (int j = 0; j < i % 4; j++)
            gyre_yield();
        gyre_feed_close(feed);
        EXPECT_EQ(result_of(closer), 0);
        EXPECT_EQ(gyre_close(fds[1]), 0);
    }
    return 0;
}

/* --- mistakes --------------------------------------------------------------------------------- */

INSIDE(feed, opening_tells_what_is_wrong)
{
    struct gyre_feed_options options = GYRE_FEED_INIT;
    struct gyre_feed *feed = (void *)&options;
    struct gyre_piece piece;
    int fds[2], pipes[2];

    make_stream_pair(fds);
    make_pipe(pipes);
    EXPECT_EQ(gyre_feed_open(NULL, fds[0], NULL), -EINVAL);
    EXPECT_EQ(gyre_feed_open(&feed, -1, NULL), -EBADF);
    EXPECT_EQ(gyre_feed_open(&feed, 12345, NULL), -EBADF);
    EXPECT_EQ(gyre_feed_open(&feed, pipes[0], NULL), -ENOTSOCK);
    options.flags = GYRE_FEED_ADDRESSES;
    EXPECT_EQ(gyre_feed_open(&feed, fds[0], &options), -EINVAL);
    options.flags = 2;
    EXPECT_EQ(gyre_feed_open(&feed, fds[0], &options), -EINVAL);
    options.flags = 0;
    options.size = 3;
    EXPECT_EQ(gyre_feed_open(&feed, fds[0], &options), -EINVAL);
    EXPECT_EQ(gyre_feed_next(NULL, &piece), -EINVAL);
    EXPECT(feed == (void *)&options);
    close_pair(fds);
    close_pair(pipes);
    return 0;
}

static int open_without_buffers(void *unused)
{
    struct gyre_feed *feed;
    int fds[2];

    (void)unused;
    make_stream_pair(fds);
    EXPECT_EQ(gyre_feed_open(&feed, fds[0], NULL), -EOPNOTSUPP);
    close_pair(fds);
    return 0;
}

Test(feed, a_kernel_without_provided_buffers_is_told)
{
    gyre_ring_masked[0] |= (uint64_t)1 << IORING_OP_PROVIDE_BUFFERS;
    cr_assert_eq(run_with_workers(1, open_without_buffers, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}

static int return_twice(void *unused)
{
    struct gyre_feed *feed;
    struct gyre_piece piece, copy;
    int fds[2];

    (void)unused;
    make_stream_pair(fds);
    feed = open_feed(fds[0], 0, 0);
    EXPECT_EQ(gyre_write(fds[1], "x", 1), 1);
    EXPECT_EQ(gyre_feed_next(feed, &piece), 1);
    copy = piece;
    gyre_feed_return(&piece);
    gyre_feed_return(&copy);
    return 0;
}

Test(feed, a_piece_returned_twice_is_a_panic, .signal = SIGABRT)
{
    run_with_workers(1, return_twice, NULL);
}
