/*
 * Streams of known bytes through feeds of every width, with waits cut short, pieces returned late
 * and by others, and a pool that shrinks all the time.
 *
 * Hypothesis: whatever a cancellation, a full queue or an empty pool does to the multishot receive,
 * each byte comes once and in order; no feed stands still for ever; closing at any moment ends, as
 * does closing the descriptor first.
 * Windows aimed at: a piece against the end of its waiter's context; the cancel of a full queue
 * against pieces that still come; the buffer that comes back against the feed that found none; the
 * trim's unregistered moment against receives, returns and reapers of other workers; gyre_close
 * against gyre_feed_close.
 */
#include "../io/stress.h"
#include "net/feed_pool.h"

#include <netinet/in.h>
#include <sys/socket.h>

enum { PAIRS = 24, RETURNERS = 3, SHELF = 64 };

static struct random randoms[2 * PAIRS + RETURNERS + 1];
static size_t bytes_each;
static unsigned long rounds;
static bool close_early, hogged, tcp;
static atomic_ulong pieces, cut_short, ended_early;
static atomic_bool over;
static atomic_int reading;

/* Pieces that somebody else returns. */
static gyre_mutex shelf_lock = GYRE_MUTEX_INIT;
static struct gyre_piece shelf[SHELF];
static unsigned shelf_count;

struct end {
    int fd;
    struct random *random;
};

static unsigned char byte_at(size_t position)
{
    return (unsigned char)(position * 7 + position / 251);
}

static int write_bytes(void *arg)
{
    struct end *end = arg;
    unsigned char data[20000];
    size_t at = 0;

    while (at < bytes_each) {
        size_t n = 1 + random_below(end->random, random_below(end->random, 4) ? 200 : sizeof data);
        ssize_t sent;

        if (n > bytes_each - at)
            n = bytes_each - at;
        for (size_t i = 0; i < n; i++)
            data[i] = byte_at(at + i);
        sent = gyre_write_all(end->fd, data, n, NULL);
        if (sent < 0) {
            CHECK(close_early && (sent == -EPIPE || sent == -ECONNRESET));
            break;
        }
        at += n;
        if (random_below(end->random, 16) == 0)
            gyre_sleep(random_below(end->random, 100 * 1000));
    }
    CHECK_EQ(gyre_close(end->fd), 0);
    return 0;
}

static void return_somehow(struct random *random, struct gyre_piece *piece)
{
    bool shelved = false;

    if (random_below(random, 3) == 0) {
        gyre_mutex_lock(&shelf_lock);
        if (shelf_count < SHELF && !atomic_load(&over)) {
            shelf[shelf_count++] = *piece;
            shelved = true;
        }
        gyre_mutex_unlock(&shelf_lock);
    } else if (random_below(random, 8) == 0) {
        gyre_yield();
    }
    if (!shelved)
        gyre_feed_return(piece);
}

static int return_others(void *arg)
{
    struct random *random = arg;

    for (;;) {
        struct gyre_piece piece;
        bool some, last;

        gyre_mutex_lock(&shelf_lock);
        last = atomic_load(&over);
        some = shelf_count;
        if (some) {
            unsigned at = (unsigned)random_below(random, shelf_count);

            piece = shelf[at];
            shelf[at] = shelf[--shelf_count];
        }
        gyre_mutex_unlock(&shelf_lock);
        if (some)
            gyre_feed_return(&piece);
        else if (last)
            return 0;
        if (!some || random_below(random, 4) == 0)
            gyre_sleep(random_below(random, 200 * 1000));
    }
}

static int next_in_time(struct random *random, struct gyre_feed *feed, struct gyre_piece *piece)
{
    if (random_below(random, 4))
        return gyre_feed_next(feed, piece);
    GYRE_TIMEOUT(random_below(random, 50 * 1000));
    return gyre_feed_next(feed, piece);
}

static int read_bytes(void *arg)
{
    struct end *end = arg;
    struct gyre_feed_options options = GYRE_FEED_INIT;
    struct gyre_feed *feed;
    size_t at = 0, stop = bytes_each + 1;
    int n;

    options.ahead = (unsigned)random_below(end->random, 20);
    if (close_early)
        stop = random_below(end->random, (uint32_t)bytes_each);
    CHECK_EQ(gyre_feed_open(&feed, end->fd, &options), 0);
    while (at < stop) {
        struct gyre_piece piece;

        n = next_in_time(end->random, feed, &piece);
        if (n == -ETIMEDOUT) {
            atomic_fetch_add(&cut_short, 1);
            continue;
        }
        if (n == 0)
            break;
        CHECK_EQ(n, 1);
        CHECK(piece.size > 0);
        for (size_t i = 0; i < piece.size; i++)
            CHECK_EQ((unsigned char)piece.data[i], byte_at(at + i));
        at += piece.size;
        memset(piece.data, 0xee, piece.size);
        return_somehow(end->random, &piece);
        atomic_fetch_add(&pieces, 1);
    }
    CHECK(at == bytes_each || (close_early && at >= stop));
    if (at != bytes_each)
        atomic_fetch_add(&ended_early, 1);
    if (close_early && random_below(end->random, 2)) {
        CHECK_EQ(gyre_close(end->fd), 0);
        gyre_feed_close(feed);
    } else {
        gyre_feed_close(feed);
        CHECK_EQ(gyre_close(end->fd), 0);
    }
    atomic_fetch_sub(&reading, 1);
    return 0;
}

/* Holds its worker, and with it the ring of the feeds that were opened there. */
static int compute(void *unused)
{
    (void)unused;
    while (atomic_load(&reading)) {
        int64_t until = gyre_now() + 30 * GYRE_MILLISECOND;

        while (gyre_now() < until)
            ;
        gyre_yield();
    }
    return 0;
}

static void make_pair(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int listener;

    if (!tcp) {
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        return;
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(listener, (struct sockaddr *)&address, length), 0);
    CHECK_EQ(listen(listener, 1), 0);
    CHECK_EQ(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(fds[1], (struct sockaddr *)&address, length), 0);
    fds[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    CHECK(fds[0] >= 0);
    CHECK_EQ(close(listener), 0);
}

static void play_round(void)
{
    gyre_handle handles[2 * PAIRS + RETURNERS + 1];
    struct end ends[2 * PAIRS];
    unsigned count = 0;

    atomic_store(&reading, PAIRS);
    atomic_store(&over, false);
    for (unsigned i = 0; i < PAIRS; i++) {
        int fds[2];

        make_pair(fds);
        ends[2 * i] = (struct end){fds[0], &randoms[2 * i]};
        ends[2 * i + 1] = (struct end){fds[1], &randoms[2 * i + 1]};
        CHECK_EQ(gyre_spawn(&handles[count++], read_bytes, &ends[2 * i]), 0);
        CHECK_EQ(gyre_spawn(&handles[count++], write_bytes, &ends[2 * i + 1]), 0);
    }
    for (unsigned i = 0; i < RETURNERS; i++)
        CHECK_EQ(gyre_spawn(&handles[count++], return_others, &randoms[2 * PAIRS + i]), 0);
    if (hogged)
        CHECK_EQ(gyre_spawn(&handles[count++], compute, NULL), 0);
    for (unsigned i = 0; i < 2 * PAIRS; i++)
        CHECK_EQ(gyre_join(handles[i], NULL), 0);
    atomic_store(&over, true);
    for (unsigned i = 2 * PAIRS; i < count; i++)
        CHECK_EQ(gyre_join(handles[i], NULL), 0);
}

static int run_rounds(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 2 * PAIRS + RETURNERS + 1; i++)
        randoms[i] = stress_random(i);
    for (unsigned long i = 0; i < rounds; i++) {
        close_early = i % 2;
        tcp = i / 2 % 2;
        play_round();
    }
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    rounds = stress_rounds(20);
    bytes_each = 200 * 1000;
#ifdef GYRE_TSAN
    bytes_each = 40 * 1000;
#endif
    gyre_feed_pool_period = 300 * GYRE_MICROSECOND;
    gyre_provided_least = 4;
    stress_run_each("feeds", 0, run_rounds);
    gyre_provided_most = 64;
    stress_run_each("feeds, few buffers", 0, run_rounds);
    stress_run_each("feeds, few buffers, tiny ring", 4, run_rounds);
    hogged = true;
    rounds = rounds / 10 + 1;
    stress_run("feeds beside a hog", 2, 0, run_rounds);
    stress_run("feeds beside a hog", 5, 0, run_rounds);
    printf("%lu pieces, %lu waits cut short, %lu ended early\n", pieces, cut_short, ended_early);
    return 0;
}
