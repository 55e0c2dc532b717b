/*
 * Races cancellation against completion, on every operation that moves bytes.
 *
 * Hypothesis: a call that returns an error has moved nothing but what it tells, a call that returns
 * bytes has moved exactly those, and the kernel never touches a buffer once the call has returned.
 *
 * Each cell is a stream (socket pair, pipe, TCP) with a writer and a reader, whose calls are ended
 * at random moments by timeouts and by a canceller on another worker. Byte p of a stream is a
 * function of p, so that a byte lost, doubled or moved shows at once. Each buffer lies between
 * canaries and is looked at after the call and again some calls later. Between the calls that may
 * be cancelled are calls in a context that lives: a cancel that comes late must not hit them.
 * Window aimed at: the completion of an operation, and its coroutine's next one, against the
 * message that asks to cancel it.
 */
#include "canary.h"
#include "stress.h"

#include "sched/worker.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { CELLS = 8, LONGEST = 700 };

enum stream_kind { STREAM_SOCKETPAIR, STREAM_PIPE, STREAM_TCP, STREAM_KINDS };

static const char *const kind_names[] = {"socket pair", "pipe", "TCP"};

/* One side's calls that may be cancelled: published for the canceller. */
struct side {
    _Atomic(struct gyre_context *) target;
    struct random random;
    struct canary_ring buffers;
    uint64_t position; /* bytes moved so far */
    unsigned long calls, ended, won;
    bool reads;
    int fd;
};

static struct cell {
    struct side writer, reader;
    atomic_int running; /* sides */
    atomic_bool done;
    _Atomic(uint64_t) written; /* once the writer has ended: TSan sees no order in what is read */
} cells[CELLS];

static enum stream_kind kind;
static unsigned long calls_a_side;
static bool with_signals;
static atomic_ulong total_calls, total_ended, total_won, total_cancels;

static uint8_t byte_at(uint64_t position)
{
    return (uint8_t)(position * 0x9e3779b97f4a7c15u >> 56);
}

/* --- one call -----------------------------------------------------------------------------------
 */

static ssize_t move_whole(struct side *side, char *buffer, size_t size, size_t *moved)
{
    ssize_t n;

    if (side->reads) {
        n = gyre_read_all(side->fd, buffer, size, moved);
    } else if (random_below(&side->random, 2)) {
        n = gyre_write_all(side->fd, buffer, size, moved);
    } else {
        struct iovec pieces[3] = {
            {buffer, size / 3}, {NULL, 0}, {buffer + size / 3, size - size / 3}};

        n = gyre_writev_all(side->fd, pieces, 3, moved);
    }
    CHECK(n < 0 || (size_t)n == *moved);
    return n;
}

static ssize_t move_once(struct side *side, char *buffer, size_t size)
{
    struct iovec pieces[2] = {{buffer, size / 2}, {buffer + size / 2, size - size / 2}};
    unsigned way = random_below(&side->random, 4);

    if (kind == STREAM_PIPE)
        way %= 2;
    switch (way) {
    case 0:
        return side->reads ? gyre_read(side->fd, buffer, size) : gyre_write(side->fd, buffer, size);
    case 1:
        return side->reads ? gyre_readv(side->fd, pieces, 2) : gyre_writev(side->fd, pieces, 2);
    case 2:
        return side->reads ? gyre_recv(side->fd, buffer, size, 0)
                           : gyre_send(side->fd, buffer, size, 0);
    default:
        return side->reads ? gyre_recv(side->fd, buffer, size, MSG_WAITALL)
                           : gyre_send(side->fd, buffer, size, MSG_WAITALL);
    }
}

/* Returns what the call did; the bytes are checked and counted. */
static ssize_t move(struct side *side)
{
    size_t size = 1 + random_below(&side->random, LONGEST), moved = 0;
    char *buffer = canary_take(&side->buffers, size);
    ssize_t n;

    if (!side->reads)
        for (size_t i = 0; i < size; i++)
            buffer[i] = (char)byte_at(side->position + i);
    if (random_below(&side->random, 4)) {
        n = move_once(side, buffer, size);
        moved = n > 0 ? (size_t)n : 0;
    } else {
        n = move_whole(side, buffer, size, &moved);
    }
    CHECK(moved <= size);
    if (side->reads)
        for (size_t i = 0; i < moved; i++)
            CHECK_EQ((uint8_t)buffer[i], byte_at(side->position + i));
    side->position += moved;
    canary_give(&side->buffers, side->reads ? moved : size);
    return n;
}

/* In a scope that somebody may end. */
static ssize_t move_racing(struct side *side)
{
    struct gyre_context *context;
    ssize_t n;

    if (random_below(&side->random, 2)) {
        GYRE_TIMEOUT(random_below(&side->random, 60 * 1000));
        n = move(side);
    } else {
        GYRE_CANCELLABLE();
        atomic_store(&side->target, gyre_context_current());
        n = move(side);
        context = atomic_exchange(&side->target, NULL);
        gyre_context_release(context);
        if (gyre_context_error()) {
            side->ended++;
            side->won += n >= 0;
        }
    }
    CHECK(n >= 0 || n == -ECANCELED || n == -ETIMEDOUT);
    return n;
}

/* --- the coroutines ------------------------------------------------------------------------------
 */

static void leave(struct cell *cell, struct side *side)
{
    canary_check_all(&side->buffers);
    atomic_fetch_add(&total_calls, side->calls);
    atomic_fetch_add(&total_ended, side->ended);
    atomic_fetch_add(&total_won, side->won);
    if (atomic_fetch_sub(&cell->running, 1) == 1)
        atomic_store(&cell->done, true);
}

static int write_stream(void *arg)
{
    struct cell *cell = arg;
    struct side *side = &cell->writer;

    while (side->calls++ < calls_a_side) {
        ssize_t n = random_below(&side->random, 8) ? move_racing(side) : move(side);

        CHECK(n > 0 || n == -ECANCELED || n == -ETIMEDOUT);
    }
    atomic_store(&cell->written, side->position);
    CHECK_EQ(gyre_close(side->fd), 0);
    leave(cell, side);
    return 0;
}

static int read_stream(void *arg)
{
    struct cell *cell = arg;
    struct side *side = &cell->reader;
    ssize_t n;

    for (;;) {
        side->calls++;
        if (random_below(&side->random, 8)) {
            n = move_racing(side);
        } else {
            n = move(side); /* nobody cancels this one */
            CHECK(n >= 0);
        }
        if (n == 0)
            break;
    }
    CHECK_EQ(side->position, atomic_load(&cell->written));
    CHECK_EQ(gyre_close(side->fd), 0);
    leave(cell, side);
    return 0;
}

/* Cancels what it finds, a random while after it was begun. */
static int cancel_calls(void *arg)
{
    struct cell *cell = arg;
    struct random random = stress_random(1000 + (uint64_t)(cell - cells));
    unsigned long count = 0;

    while (!atomic_load(&cell->done)) {
        struct side *side = random_below(&random, 2) ? &cell->writer : &cell->reader;
        struct gyre_context *context;

        for (uint32_t spins = random_below(&random, 16); spins; spins--)
            cpu_relax();
        context = atomic_exchange(&side->target, NULL);
        if (context) {
            for (uint32_t spins = random_below(&random, 16); spins; spins--)
                cpu_relax();
            gyre_context_cancel(context);
            gyre_context_release(context);
            count++;
        }
        gyre_yield();
    }
    atomic_fetch_add(&total_cancels, count);
    return 0;
}

/* --- setting up
 * ----------------------------------------------------------------------------------- */

static void make_tcp(int fds[2])
{
    struct gyre_listener *listener;
    char address[GYRE_ADDRESS_SIZE];

    CHECK_EQ(gyre_tcp_listen(&listener, "127.0.0.1:0"), 0);
    CHECK(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) > 0);
    fds[1] = gyre_tcp_dial(address);
    CHECK(fds[1] >= 0);
    fds[0] = gyre_accept(listener);
    CHECK(fds[0] >= 0);
    CHECK_EQ(gyre_listener_close(listener), 0);
}

static void make_stream(int fds[2])
{
    int small = 2048;

    switch (kind) {
    case STREAM_SOCKETPAIR:
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        break;
    case STREAM_PIPE:
        CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
        CHECK(fcntl(fds[1], F_SETPIPE_SZ, 4096) >= 0);
        return;
    default:
        make_tcp(fds); /* smaller buffers would only bring TCP's own timers into play */
        return;
    }
    /* Full often, so that writers wait as well. */
    CHECK_EQ(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    CHECK_EQ(setsockopt(fds[0], SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
}

static void noop(int signal_number)
{
    (void)signal_number;
}

static atomic_bool stop_signals;

static void *send_signals(void *arg)
{
    struct gyre_runtime *runtime = arg;
    struct random random = stress_random(77);

    while (!atomic_load(&stop_signals)) {
        pthread_kill(runtime->workers[random_below(&random, runtime->worker_count)].thread,
                     SIGUSR1);
        usleep(random_below(&random, 300));
    }
    return NULL;
}

static int run_cells(void *unused)
{
    gyre_handle handles[3 * CELLS];
    pthread_t signals;
    int count = 0;

    (void)unused;
    atomic_store(&stop_signals, false);
    if (with_signals)
        CHECK_EQ(pthread_create(&signals, NULL, send_signals, gyre_runtime_current()), 0);
    for (unsigned i = 0; i < CELLS; i++) {
        struct cell *cell = &cells[i];
        int fds[2];

        make_stream(fds);
        memset(cell, 0, sizeof *cell);
        cell->running = 2;
        cell->reader.reads = true;
        cell->reader.fd = fds[0];
        cell->writer.fd = fds[1];
        cell->reader.random = stress_random(2 * i);
        cell->writer.random = stress_random(2 * i + 1);
        CHECK_EQ(gyre_spawn(&handles[count++], write_stream, cell), 0);
        CHECK_EQ(gyre_spawn(&handles[count++], read_stream, cell), 0);
        CHECK_EQ(gyre_spawn(&handles[count++], cancel_calls, cell), 0);
    }
    while (count)
        CHECK_EQ(gyre_join(handles[--count], NULL), 0);
    if (with_signals) {
        atomic_store(&stop_signals, true);
        pthread_join(signals, NULL);
    }
    return 0;
}

static void report(int64_t start)
{
    double seconds = (double)(gyre_now() - start) / 1e9;

    printf(
        "  %lu calls, %lu cancels, of which %lu came in time and lost %lu races; %.0f cancels/s\n",
        total_calls, total_cancels, total_ended, total_won, (double)total_cancels / seconds);
    total_calls = total_cancels = total_ended = total_won = 0;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = noop}; /* no SA_RESTART */
    int64_t start;

    stress_begin(argc, argv);
    sigaction(SIGUSR1, &action, NULL);
    calls_a_side = stress_rounds(2000);
    for (kind = 0; kind < STREAM_KINDS; kind++) {
        with_signals = kind == STREAM_SOCKETPAIR;
        start = gyre_now();
        stress_run_each(kind_names[kind], 0, run_cells);
        report(start);
    }
    kind = STREAM_SOCKETPAIR;
    start = gyre_now();
    stress_run_each("tiny ring", 4, run_cells);
    report(start);
    return 0;
}
