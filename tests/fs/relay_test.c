/* Bytes passed on between connections and pipes. */
#include "files.h"

#include <gyre/io.h>
#include <gyre/net.h>

#include <poll.h>
#include <sys/resource.h>

enum { SIZE = 3 << 20, KINDS = 3, FAR = 64 << 20 };

/* [1] is written to, [0] is read from. A relay goes from in[0] to out[1]. */
struct lane {
    int in[2], out[2];
};

static void make_tcp_pair(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    EXPECT_EQ(bind(listener, (struct sockaddr *)&address, length), 0);
    EXPECT_EQ(listen(listener, 1), 0);
    EXPECT_EQ(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fds[1], (struct sockaddr *)&address, length), 0);
    fds[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    EXPECT_EQ(close(listener), 0);
}

static void make_pair(int kind, int fds[2])
{
    if (kind == 0)
        make_tcp_pair(fds);
    else if (kind == 1)
        make_pipe(fds);
    else
        make_stream_pair(fds);
}

static void make_lane(struct lane *lane, int in, int out)
{
    make_pair(in, lane->in);
    make_pair(out, lane->out);
}

static void close_one(int fd)
{
    if (fd >= 0)
        EXPECT_EQ(gyre_close(fd), 0);
}

static void close_lane(const struct lane *lane)
{
    for (int i = 0; i < 2; i++) {
        close_one(lane->in[i]);
        close_one(lane->out[i]);
    }
}

static char byte_at(size_t i)
{
    return (char)(i * 7 + i / 4096);
}

static char *make_pattern(size_t size)
{
    char *data = malloc(size);

    for (size_t i = 0; i < size; i++)
        data[i] = byte_at(i);
    return data;
}

struct writing {
    int fd;
    const char *data;
    size_t size, done;
};

static int write_it(void *argument)
{
    struct writing *writing = argument;

    return (int)gyre_write_all(writing->fd, writing->data, writing->size, &writing->done);
}

struct relaying {
    int from, to;
    size_t limit, done;
    ssize_t result;
};

static int relay_it(void *argument)
{
    struct relaying *relaying = argument;

    relaying->result =
        gyre_relay_all(relaying->from, relaying->to, relaying->limit, &relaying->done);
    return 0;
}

static gyre_handle start(gyre_fn fn, void *argument)
{
    gyre_handle handle;

    EXPECT_EQ(gyre_spawn(&handle, fn, argument), 0);
    return handle;
}

static void pass_all_on(int in, int out, const char *data, char *copy)
{
    struct lane lane;
    struct writing writing = {.data = data, .size = SIZE};
    struct relaying relaying = {.limit = SIZE_MAX};
    gyre_handle writer, relay;
    ssize_t n;

    make_lane(&lane, in, out);
    writing.fd = lane.in[1];
    relaying.from = lane.in[0];
    relaying.to = lane.out[1];
    writer = start(write_it, &writing);
    relay = start(relay_it, &relaying);
    memset(copy, 0, SIZE);
    EXPECT_EQ(gyre_read_all(lane.out[0], copy, SIZE, NULL), SIZE);
    EXPECT(!memcmp(data, copy, SIZE));
    EXPECT_EQ(result_of(writer), SIZE);
    close_one(lane.in[1]);
    lane.in[1] = -1;
    EXPECT_EQ(result_of(relay), 0);
    EXPECT_EQ(relaying.result, SIZE);
    EXPECT_EQ(relaying.done, SIZE);
    close_one(lane.out[1]);
    lane.out[1] = -1;
    n = gyre_read(lane.out[0], copy, 1);
    EXPECT_EQ(n, 0);
    close_lane(&lane);
}

INSIDE(relay, all_arrives_whatever_the_sides_are)
{
    char *data = make_pattern(SIZE), *copy = malloc(SIZE);

    for (int in = 0; in < KINDS; in++)
        for (int out = 0; out < KINDS; out++)
            pass_all_on(in, out, data, copy);
    free(data);
    free(copy);
    return 0;
}

INSIDE(relay, without_a_descriptor_for_the_pipe_it_copies)
{
    char *data = make_pattern(SIZE), *copy = malloc(SIZE);
    struct rlimit before, few;
    struct lane lane;
    struct writing writing = {.data = data, .size = SIZE};
    struct relaying relaying = {.limit = SIZE};
    gyre_handle writer, relay;
    int highest;

    make_lane(&lane, 0, 0);
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    highest = dup(lane.in[0]);
    few = before;
    few.rlim_cur = (rlim_t)highest;
    close(highest);
    writing.fd = lane.in[1];
    relaying.from = lane.in[0];
    relaying.to = lane.out[1];
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    writer = start(write_it, &writing);
    relay = start(relay_it, &relaying);
    EXPECT_EQ(gyre_read_all(lane.out[0], copy, SIZE, NULL), SIZE);
    EXPECT(!memcmp(data, copy, SIZE));
    EXPECT_EQ(result_of(writer), SIZE);
    EXPECT_EQ(result_of(relay), 0);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    close_lane(&lane);
    free(data);
    free(copy);
    return 0;
}

/* What is sent alternates between bulk and words that are waited for. */
INSIDE(relay, bulk_and_words_by_turns)
{
    enum { BULK = 400000, WORDS = 60, WORD = 64 };
    char *data = make_pattern(BULK), *copy = malloc(BULK);

    for (int in = 0; in < 2; in++)
        for (int out = 0; out < 2; out++) {
            struct lane lane;
            struct writing writing = {.data = data, .size = BULK};
            struct relaying relaying = {.limit = (BULK + WORDS * WORD) * 3};
            gyre_handle relay;

            make_lane(&lane, in, out);
            writing.fd = lane.in[1];
            relaying.from = lane.in[0];
            relaying.to = lane.out[1];
            relay = start(relay_it, &relaying);
            for (int turn = 0; turn < 3; turn++) {
                gyre_handle writer = start(write_it, &writing);

                EXPECT_EQ(gyre_read_all(lane.out[0], copy, BULK, NULL), BULK);
                EXPECT(!memcmp(data, copy, BULK));
                EXPECT_EQ(result_of(writer), BULK);
                for (int i = 0; i < WORDS; i++) {
                    EXPECT_EQ(gyre_write(lane.in[1], data + i, WORD), WORD);
                    EXPECT_EQ(gyre_read_all(lane.out[0], copy, WORD, NULL), WORD);
                    EXPECT(!memcmp(data + i, copy, WORD));
                }
            }
            EXPECT_EQ(result_of(relay), 0);
            EXPECT_EQ(relaying.result, relaying.limit);
            close_lane(&lane);
        }
    free(data);
    free(copy);
    return 0;
}

INSIDE(relay, a_limit_leaves_the_rest)
{
    enum { LIMIT = 1000003, MORE = 100 };
    char *data = make_pattern(SIZE), *copy = malloc(SIZE);

    for (int in = 0; in < KINDS; in++) {
        struct lane lane;
        struct writing writing = {.data = data, .size = LIMIT + MORE};
        struct relaying relaying = {.limit = LIMIT};
        gyre_handle writer, relay;

        make_lane(&lane, in, 0);
        writing.fd = lane.in[1];
        relaying.from = lane.in[0];
        relaying.to = lane.out[1];
        writer = start(write_it, &writing);
        relay = start(relay_it, &relaying);
        EXPECT_EQ(gyre_read_all(lane.out[0], copy, LIMIT, NULL), LIMIT);
        EXPECT(!memcmp(data, copy, LIMIT));
        EXPECT_EQ(result_of(relay), 0);
        EXPECT_EQ(relaying.result, LIMIT);
        EXPECT_EQ(gyre_read_all(lane.in[0], copy, MORE, NULL), MORE);
        EXPECT(!memcmp(data + LIMIT, copy, MORE));
        EXPECT_EQ(result_of(writer), writing.size);
        close_lane(&lane);
    }
    free(data);
    free(copy);
    return 0;
}

/* Until nothing more goes; how many bytes were delivered. */
static size_t relay_until_stuck(struct gyre_relay *relay, int to, bool holds)
{
    struct pollfd full = {.fd = to, .events = POLLOUT};
    size_t done = 0;
    ssize_t n;

    do {
        GYRE_TIMEOUT(10 * GYRE_MILLISECOND);
        n = gyre_relay_next(relay, SIZE_MAX);
        done += n > 0 ? (size_t)n : 0;
        EXPECT(n > 0 || n == -ETIMEDOUT);
    } while (n > 0 || poll(&full, 1, 0) > 0 || (holds && !gyre_relay_held(relay)));
    return done;
}

static void expect_timeout(int fd, int option, bool none)
{
    struct timeval timeout;
    socklen_t length = sizeof timeout;

    EXPECT_EQ(getsockopt(fd, SOL_SOCKET, option, &timeout, &length), 0);
    EXPECT_EQ(!timeout.tv_sec && !timeout.tv_usec, none);
}

struct checking {
    int fd;
    size_t size;
    bool same;
};

static int check_it(void *argument)
{
    static const size_t piece = 65536;
    struct checking *checking = argument;
    char *buffer = malloc(piece);
    size_t done = 0;
    ssize_t n = 1;

    checking->same = true;
    while (done < checking->size && n > 0) {
        size_t want = checking->size - done < piece ? checking->size - done : piece;

        n = gyre_read(checking->fd, buffer, want);
        for (ssize_t i = 0; i < n; i++)
            checking->same &= buffer[i] == byte_at(done + (size_t)i);
        done += n > 0 ? (size_t)n : 0;
    }
    free(buffer);
    return (int)done;
}

INSIDE(relay, a_deadline_loses_nothing_and_it_goes_on)
{
    char *data = make_pattern(FAR);

    for (int i = 0; i < KINDS * KINDS; i++) {
        struct lane lane;
        struct writing writing = {.data = data, .size = FAR};
        struct checking checking = {.size = FAR};
        struct gyre_relay *relay = NULL;
        gyre_handle writer, checker;
        size_t done, held;
        ssize_t n = 1;
        int before;

        make_lane(&lane, i / KINDS, i % KINDS);
        before = open_descriptors();
        writing.fd = lane.in[1];
        writer = start(write_it, &writing);
        EXPECT_EQ(gyre_relay_open(&relay, lane.in[0], lane.out[1]), 0);
        done = relay_until_stuck(relay, lane.out[1], i == 0);
        held = gyre_relay_held(relay);
        EXPECT(done + held < FAR);
        EXPECT_EQ(open_descriptors(), before + (i == 0 ? 2 : 0));
        if (i == 0) {
            expect_timeout(lane.in[0], SO_RCVTIMEO, false);
            expect_timeout(lane.out[1], SO_SNDTIMEO, false);
        }
        checking.fd = lane.out[0];
        checker = start(check_it, &checking);
        while (done < FAR && (n = gyre_relay_next(relay, FAR - done)) > 0)
            done += (size_t)n;
        EXPECT(n > 0);
        EXPECT_EQ(done, FAR);
        EXPECT_EQ(gyre_relay_held(relay), 0);
        gyre_relay_close(relay);
        EXPECT_EQ(result_of(checker), FAR);
        EXPECT(checking.same);
        EXPECT_EQ(result_of(writer), FAR);
        if (i == 0) {
            expect_timeout(lane.in[0], SO_RCVTIMEO, true);
            expect_timeout(lane.out[1], SO_SNDTIMEO, true);
        }
        close_lane(&lane);
    }
    free(data);
    return 0;
}

/* A relay that has come to splicing, and waits: for bytes, or for room. */
struct waiting {
    struct lane lane;
    struct relaying relaying;
    struct writing writing;
    gyre_handle relay, writer;
};

static void begin_waiting(struct waiting *waiting, int kind, const char *data, bool for_room)
{
    make_lane(&waiting->lane, kind, kind);
    waiting->relaying =
        (struct relaying){waiting->lane.in[0], waiting->lane.out[1], SIZE_MAX, 0, 1};
    waiting->writing = (struct writing){waiting->lane.in[1], data, for_room ? FAR : SIZE, 0};
    waiting->writer = start(write_it, &waiting->writing);
    waiting->relay = start(relay_it, &waiting->relaying);
    if (for_room) {
        struct pollfd full = {.fd = waiting->lane.out[1], .events = POLLOUT};

        do
            gyre_yield();
        while (poll(&full, 1, 0) > 0);
        await_parked(waiting->relay);
    } else {
        struct checking checking = {.fd = waiting->lane.out[0], .size = SIZE};

        EXPECT_EQ(check_it(&checking), SIZE);
        EXPECT(checking.same);
        EXPECT_EQ(result_of(waiting->writer), SIZE);
    }
}

static void end_waiting(struct waiting *waiting, bool for_room)
{
    EXPECT_EQ(result_of(waiting->relay), 0);
    EXPECT(waiting->relaying.done <= waiting->writing.size);
    close_lane(&waiting->lane);
    if (for_room)
        result_of(waiting->writer);
}

INSIDE(relay, cancelled_while_it_waits)
{
    char *data = make_pattern(FAR);

    for (int for_room = 0; for_room < 2; for_room++) {
        struct waiting waiting;

        {
            GYRE_CANCELLABLE();
            begin_waiting(&waiting, 0, data, for_room);
            gyre_context_cancel(gyre_context_current());
        }
        end_waiting(&waiting, for_room);
        EXPECT_EQ(waiting.relaying.result, -ECANCELED);
        if (!for_room)
            EXPECT_EQ(waiting.relaying.done, SIZE);
    }
    free(data);
    return 0;
}

INSIDE(relay, closed_while_it_waits)
{
    char *data = make_pattern(FAR);

    for (int for_room = 0; for_room < 2; for_room++) {
        struct waiting waiting;
        int *fd;

        begin_waiting(&waiting, 0, data, for_room);
        fd = for_room ? &waiting.lane.out[1] : &waiting.lane.in[0];
        close_one(*fd);
        *fd = -1;
        end_waiting(&waiting, for_room);
        EXPECT_EQ(waiting.relaying.result, -EBADF);
    }
    free(data);
    return 0;
}

static void reset(int *fd)
{
    const struct linger at_once = {1, 0};

    EXPECT_EQ(setsockopt(*fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close_one(*fd);
    *fd = -1;
}

INSIDE(relay, reset_while_it_waits)
{
    char *data = make_pattern(FAR);

    for (int for_room = 0; for_room < 2; for_room++) {
        struct waiting waiting;

        begin_waiting(&waiting, 0, data, for_room);
        reset(for_room ? &waiting.lane.out[0] : &waiting.lane.in[1]);
        end_waiting(&waiting, for_room);
        if (waiting.relaying.result != -EPIPE) /* where the reset was seen as such before */
            EXPECT_EQ(waiting.relaying.result, -ECONNRESET);
    }
    free(data);
    return 0;
}

INSIDE(relay, no_signal_where_nobody_reads)
{
    char *data = make_pattern(FAR);
    struct waiting waiting;

    begin_waiting(&waiting, 0, data, false);
    EXPECT_EQ(shutdown(waiting.lane.out[1], SHUT_WR), 0);
    EXPECT_EQ(gyre_write(waiting.lane.in[1], "x", 1), 1);
    end_waiting(&waiting, false);
    EXPECT_EQ(waiting.relaying.result, -EPIPE);

    begin_waiting(&waiting, 1, data, true);
    close_one(waiting.lane.out[0]);
    waiting.lane.out[0] = -1;
    EXPECT_EQ(result_of(waiting.relay), 0);
    EXPECT_EQ(waiting.relaying.result, -EPIPE);
    close_one(waiting.lane.in[1]); /* the writer first, which would get a signal */
    waiting.lane.in[1] = -1;
    EXPECT_EQ(result_of(waiting.writer), -EBADF);
    close_lane(&waiting.lane);
    free(data);
    return 0;
}

INSIDE(relay, a_number_that_was_closed_is_not_the_next_file)
{
    struct lane lane;
    struct gyre_relay *relay = NULL;
    int other[2];
    char byte;

    make_lane(&lane, 0, 0);
    make_stream_pair(other);
    EXPECT_EQ(gyre_relay_open(&relay, lane.in[0], lane.out[1]), 0);
    close_one(lane.in[0]);
    EXPECT_EQ(fcntl(other[0], F_DUPFD_CLOEXEC, lane.in[0]), lane.in[0]);
    EXPECT_EQ(gyre_write(other[1], "x", 1), 1);
    EXPECT_EQ(gyre_relay_next(relay, 1), -EBADF);
    gyre_relay_close(relay);
    EXPECT_EQ(gyre_read(other[0], &byte, 1), 1);
    close_one(other[0]);
    close_one(other[1]);
    close_lane(&lane);
    return 0;
}

INSIDE(relay, a_peer_that_sends_no_more_may_receive_slowly)
{
    char *data = make_pattern(FAR);
    struct waiting waiting;
    struct checking checking = {.size = FAR};

    begin_waiting(&waiting, 0, data, true);
    EXPECT_EQ(shutdown(waiting.lane.out[0], SHUT_WR), 0);
    await_parked(waiting.relay);
    checking.fd = waiting.lane.out[0];
    EXPECT_EQ(check_it(&checking), FAR);
    EXPECT(checking.same);
    EXPECT_EQ(result_of(waiting.writer), FAR);
    close_one(waiting.lane.in[1]);
    waiting.lane.in[1] = -1;
    end_waiting(&waiting, false);
    EXPECT_EQ(waiting.relaying.result, FAR);
    free(data);
    return 0;
}

INSIDE(relay, urgent_data_is_not_taken_for_the_end)
{
    struct lane lane;
    char *data = make_pattern(SIZE);
    struct writing writing = {.data = data, .size = SIZE};
    struct relaying relaying = {.limit = SIZE_MAX};
    char *copy = malloc(SIZE);
    gyre_handle writer, relay;

    make_lane(&lane, 0, 0);
    writing.fd = lane.in[1];
    relaying.from = lane.in[0];
    relaying.to = lane.out[1];
    writer = start(write_it, &writing);
    relay = start(relay_it, &relaying);
    EXPECT_EQ(gyre_read_all(lane.out[0], copy, SIZE, NULL), SIZE);
    EXPECT_EQ(result_of(writer), SIZE);
    EXPECT_EQ(send(lane.in[1], "!", 1, MSG_OOB), 1);
    EXPECT_EQ(gyre_write(lane.in[1], "after", 5), 5);
    EXPECT_EQ(gyre_read_all(lane.out[0], copy, 5, NULL), 5);
    EXPECT(!memcmp(copy, "after", 5));
    close_one(lane.in[1]);
    lane.in[1] = -1;
    EXPECT_EQ(result_of(relay), 0);
    EXPECT_EQ(relaying.result, SIZE + 5);
    close_lane(&lane);
    free(data);
    free(copy);
    return 0;
}

INSIDE(relay, many_slow_peers_need_no_thread)
{
    enum { MANY = 30 };
    static struct waiting waiting[MANY];
    const int before = count_threads();
    char *data = make_pattern(FAR);

    {
        GYRE_CANCELLABLE();
        for (int i = 0; i < MANY; i++)
            begin_waiting(&waiting[i], 0, data, i % 2);
        EXPECT_EQ(count_threads(), before);
        gyre_context_cancel(gyre_context_current());
    }
    for (int i = 0; i < MANY; i++) {
        end_waiting(&waiting[i], i % 2);
        EXPECT_EQ(waiting[i].relaying.result, -ECANCELED);
    }
    free(data);
    return 0;
}

INSIDE(relay, nothing_and_errors)
{
    struct lane lane;
    struct gyre_relay *relay = NULL;
    size_t done = 7;

    make_lane(&lane, 0, 0);
    EXPECT_EQ(gyre_relay_open(&relay, -1, lane.out[1]), -EBADF);
    EXPECT_EQ(gyre_relay_open(&relay, lane.in[0], -1), -EBADF);
    EXPECT(!relay);
    EXPECT_EQ(gyre_relay_all(-1, lane.out[1], 1, &done), -EBADF);
    EXPECT_EQ(done, 0);
    EXPECT_EQ(gyre_relay_all(lane.in[0], lane.out[1], 0, &done), 0);
    {
        GYRE_CANCELLABLE();
        gyre_context_cancel(gyre_context_current());
        EXPECT_EQ(gyre_relay_open(&relay, lane.in[0], lane.out[1]), -ECANCELED);
    }
    EXPECT_EQ(gyre_relay_open(&relay, lane.in[0], lane.out[1]), 0);
    EXPECT_EQ(gyre_relay_next(relay, 0), -EINVAL);
    EXPECT_EQ(gyre_write(lane.in[1], "abc", 3), 3);
    EXPECT_EQ(gyre_relay_next(relay, 2), 2);
    EXPECT_EQ(gyre_relay_next(relay, 2), 1);
    close_one(lane.in[1]);
    lane.in[1] = -1;
    EXPECT_EQ(gyre_relay_next(relay, 2), 0);
    EXPECT_EQ(gyre_relay_next(relay, 2), 0);
    gyre_relay_close(relay);
    gyre_relay_close(NULL);
    close_lane(&lane);
    return 0;
}
