/*
 * Races moving a stream's deadlines against its reads and writes.
 *
 * Hypothesis: a deadline that is moved, by whomever, ends what waits or leaves it alone, and never
 * costs a byte; it never reaches the same coroutine's other operations; no timer comes after close.
 *
 * Each cell is a pair of streams over a socket pair with small buffers, with a writer, a reader and
 * some movers, which set, move and remove both deadlines to moments about now. Byte p is a function
 * of p. Between the calls of the stream a coroutine makes calls of its own on another descriptor,
 * which nobody may cancel. At the end the reader's stream is closed while a coroutine waits in it,
 * the timers running. Windows aimed at: a timer on one worker against the completion on another;
 * the coroutine's next operation against a cancel under way; a callback that is late against close;
 * and, in a part of its own, a move between the begin of an operation and its park.
 */
#include "stress.h"

#include "sched/worker.h"

#include <gyre/stream.h>

#include <sys/socket.h>

enum { CELLS = 4, MOVERS = 3, LONGEST = 3000 };

static struct cell {
    struct gyre_stream *reader, *writer;
    uint64_t total;

    atomic_bool done;
    unsigned index;
} cells[CELLS];

static unsigned long bytes_a_cell;
static atomic_ulong calls, timeouts, moves, closed_in;

static uint8_t byte_at(uint64_t position)
{
    return (uint8_t)(position * 0x9e3779b97f4a7c15u >> 56);
}

/* An operation of the same coroutine's that is nobody's business. */
static void do_other(const int fds[2])
{
    char byte = 'x';

    CHECK_EQ(gyre_write(fds[1], &byte, 1), 1);
    CHECK_EQ(gyre_read(fds[0], &byte, 1), 1);
}

static void open_other(int fds[2])
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void close_other(const int fds[2])
{
    CHECK_EQ(gyre_close(fds[0]), 0);
    CHECK_EQ(gyre_close(fds[1]), 0);
}

static void count(ssize_t n)
{
    CHECK(n >= 0 || n == -ETIMEDOUT);
    CHECK_EQ(gyre_context_error(), 0);
    atomic_fetch_add(&calls, 1);
    if (n < 0)
        atomic_fetch_add(&timeouts, 1);
}

static int write_cell(void *arg)
{
    struct cell *cell = arg;
    struct random random = stress_random(10 * cell->index);
    char buffer[LONGEST];
    uint64_t position = 0;
    int other[2];

    open_other(other);
    while (position < cell->total || gyre_stream_unflushed(cell->writer)) {
        size_t size = 1 + random_below(&random, LONGEST), done = 0;
        ssize_t n;

        if (size > cell->total - position)
            size = (size_t)(cell->total - position);
        for (size_t i = 0; i < size; i++)
            buffer[i] = (char)byte_at(position + i);
        if (size && random_below(&random, 4)) {
            n = gyre_stream_write(cell->writer, buffer, size, &done);
            CHECK(n < 0 || (size_t)n == size);
            CHECK(done <= size);
            position += done;
        } else {
            n = gyre_stream_flush(cell->writer);
        }
        count(n);
        if (!random_below(&random, 4))
            do_other(other);
    }
    close_other(other);
    return 0;
}

/* One call of some kind; what came is checked. */
static uint64_t read_some(struct cell *cell, struct random *random, uint64_t position)
{
    char buffer[LONGEST];
    size_t size = 1 + random_below(random, LONGEST), done = 0;
    const char *data = buffer;
    const void *peeked;
    ssize_t n;

    if (size > cell->total - position)
        size = (size_t)(cell->total - position);
    switch (random_below(random, 4)) {
    case 0:
        n = gyre_stream_read(cell->reader, buffer, size);
        done = n > 0 ? (size_t)n : 0;
        break;
    case 1:
        n = gyre_stream_read_all(cell->reader, buffer, size, &done);
        break;
    case 2:
        n = gyre_stream_peek(cell->reader, &peeked, size);
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQ(((const uint8_t *)peeked)[i], byte_at(position + (uint64_t)i));
        break;
    default:
        n = gyre_stream_until(cell->reader, '\0', &data);
        done = n > 0 ? (size_t)n : 0;
        break;
    }
    count(n);
    for (size_t i = 0; i < done; i++)
        CHECK_EQ((uint8_t)data[i], byte_at(position + i));
    return position + done;
}

static int read_cell(void *arg)
{
    struct cell *cell = arg;
    struct random random = stress_random(10 * cell->index + 1);
    uint64_t position = 0;
    int other[2];

    open_other(other);
    while (position < cell->total) {
        position = read_some(cell, &random, position);
        if (!random_below(&random, 4))
            do_other(other);
    }
    close_other(other);
    CHECK_EQ(position, cell->total);
    atomic_store(&cell->done, true);
    return 0;
}

static int64_t some_moment(struct random *random)
{
    switch (random_below(random, 8)) {
    case 0:
        return gyre_now(); /* at once */
    case 1:
    case 2:
    case 3:
        return 0;
    case 4:
        return gyre_now() + random_below(random, 50 * 1000);
    default:
        return gyre_now() + random_below(random, 3 * 1000 * 1000);
    }
}

static int move_deadlines(void *arg)
{
    struct cell *cell = arg;
    struct random random = stress_random(10 * cell->index + 2 + (uint64_t)gyre_coro_id() * 1000);

    while (!atomic_load(&cell->done)) {
        int64_t when = some_moment(&random);

        switch (random_below(&random, 4)) {
        case 0:
            gyre_stream_set_read_deadline(cell->reader, when);
            break;
        case 1:
            gyre_stream_set_write_deadline(cell->writer, when);
            break;
        case 2:
            gyre_stream_set_deadline(cell->reader, when);
            break;
        default:
            gyre_stream_set_deadline(cell->writer, 0);
            break;
        }
        atomic_fetch_add(&moves, 1);
        for (uint32_t spins = random_below(&random, 64); spins; spins--)
            cpu_relax();
        gyre_yield();
    }
    return 0;
}

/* Waits in the stream until it is closed: no deadline is set any more. */
static int wait_in(void *arg)
{
    struct cell *cell = arg;
    char byte;

    CHECK_EQ(gyre_stream_read(cell->reader, &byte, 1), -EBADF);
    atomic_fetch_add(&closed_in, 1);
    return 0;
}

/* The read that waits is one that was there before; then the timer fires about now. */
static void close_cell(struct cell *cell, struct random *random)
{
    gyre_handle handle;
    bool waits = random_below(random, 2);

    gyre_stream_set_deadline(cell->reader, 0);
    if (waits) {
        CHECK_EQ(gyre_spawn(&handle, wait_in, cell), 0);
        while (atomic_load(&handle.coro->wait) != WAIT_OPERATION)
            gyre_yield();
    }
    gyre_stream_set_write_deadline(cell->reader, gyre_now() + random_below(random, 20 * 1000));
    gyre_stream_set_write_deadline(cell->writer, gyre_now() + random_below(random, 20 * 1000));
    for (uint32_t spins = random_below(random, 2000); spins; spins--)
        cpu_relax();
    CHECK_EQ(gyre_stream_close(cell->reader), 0);
    CHECK_EQ(gyre_stream_close(cell->writer), 0);
    if (waits)
        CHECK_EQ(gyre_join(handle, NULL), 0);
}

static int run_cell(void *arg)
{
    struct cell *cell = arg;
    struct random random = stress_random(10 * cell->index + 3);
    struct gyre_stream_options options = GYRE_STREAM_INIT;
    gyre_handle handles[2 + MOVERS];
    int fds[2], small = 2048;

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    CHECK_EQ(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    options.read_buffer = 1 + random_below(&random, 2000);
    options.write_buffer = 1 + random_below(&random, 2000);
    CHECK_EQ(gyre_stream_open(&cell->reader, fds[0], &options), 0);
    CHECK_EQ(gyre_stream_open(&cell->writer, fds[1], &options), 0);
    cell->total = bytes_a_cell;
    cell->done = false;
    CHECK_EQ(gyre_spawn(&handles[0], write_cell, cell), 0);
    CHECK_EQ(gyre_spawn(&handles[1], read_cell, cell), 0);
    for (int i = 0; i < MOVERS; i++)
        CHECK_EQ(gyre_spawn(&handles[2 + i], move_deadlines, cell), 0);
    for (int i = 0; i < 2 + MOVERS; i++)
        CHECK_EQ(gyre_join(handles[i], NULL), 0);
    close_cell(cell, &random);
    return 0;
}

static int run_cells(void *unused)
{
    gyre_handle handles[CELLS];

    (void)unused;
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < CELLS; i++) {
            cells[i].index = i + round * CELLS;
            CHECK_EQ(gyre_spawn(&handles[i], run_cell, &cells[i]), 0);
        }
        for (unsigned i = 0; i < CELLS; i++)
            CHECK_EQ(gyre_join(handles[i], NULL), 0);
    }
    return 0;
}

/* --- each of them counts -----------------------------------------------------------------------
 */

/* Nothing ever comes, and the deadline is moved once a read: if that is lost, the read hangs. */
static struct single {
    struct gyre_stream *stream;
    atomic_ulong begun, moved;
    unsigned index;
} singles[CELLS];

static unsigned long single_rounds;

static int read_nothing(void *arg)
{
    struct single *single = arg;
    char byte;

    for (unsigned long i = 1; i <= single_rounds; i++) {
        atomic_store(&single->begun, i);
        CHECK_EQ(gyre_stream_read(single->stream, &byte, 1), -ETIMEDOUT);
        while (atomic_load(&single->moved) != i)
            gyre_yield();
        gyre_stream_set_read_deadline(single->stream, 0);
    }
    return 0;
}

static int move_once(void *arg)
{
    struct single *single = arg;
    struct random random = stress_random(500 + single->index);

    for (unsigned long i = 1; i <= single_rounds; i++) {
        while (atomic_load(&single->begun) != i)
            gyre_yield();
        for (uint32_t spins = random_below(&random, 24); spins; spins--)
            cpu_relax();
        gyre_stream_set_read_deadline(single->stream, gyre_now());
        atomic_store(&single->moved, i);
    }
    return 0;
}

static int run_singles(void *unused)
{
    gyre_handle handles[2 * CELLS];
    int others[CELLS];

    (void)unused;
    for (unsigned i = 0; i < CELLS; i++) {
        struct single *single = &singles[i];
        int fds[2];

        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        others[i] = fds[1];
        single->begun = single->moved = 0;
        single->index = i;
        CHECK_EQ(gyre_stream_open(&single->stream, fds[0], NULL), 0);
        CHECK_EQ(gyre_spawn(&handles[2 * i], read_nothing, single), 0);
        CHECK_EQ(gyre_spawn(&handles[2 * i + 1], move_once, single), 0);
    }
    for (unsigned i = 0; i < 2 * CELLS; i++)
        CHECK_EQ(gyre_join(handles[i], NULL), 0);
    for (unsigned i = 0; i < CELLS; i++) {
        CHECK_EQ(gyre_stream_close(singles[i].stream), 0);
        CHECK_EQ(gyre_close(others[i]), 0);
    }
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    single_rounds = stress_rounds(4000);
    stress_run_each("one move a read", 0, run_singles);
    bytes_a_cell = stress_rounds(100 * 1000);
    stress_run_each("moving deadlines", 0, run_cells);
    printf("  %lu calls, %lu timed out, %lu moves, %lu closed while somebody waited\n", calls,
           timeouts, moves, closed_in);
    CHECK(timeouts > 0 && closed_in > 0);
    return 0;
}
