/*
 * Races a watch's edges against its waiter's timeouts and its close.
 *
 * Hypothesis: a reader that reads until there is nothing more, and only then waits for the next
 * edge, gets every byte, however often its waits are cut short; a close at any moment ends the
 * waiter with -EBADF or an edge, and nothing is used after it was freed.
 *
 * The tiny ring makes the poll end (the kernel's queue overflows) and be armed again.
 */
#include "stress.h"

#include "sched/coro.h"

#include <poll.h>
#include <sys/socket.h>

enum { CELLS = 8 };

static unsigned long rounds;

struct cell {
    struct gyre_watch *watch;
    struct random random;
    int fds[2];
    unsigned long bytes, cut;
};

static int write_on(void *arg)
{
    struct cell *cell = arg;
    struct random random = stress_random((uint64_t)cell->fds[1] + 1000);

    for (unsigned long i = 0; i < rounds; i++) {
        while (write(cell->fds[1], "x", 1) != 1) {
            CHECK_EQ(errno, EAGAIN);
            gyre_yield();
        }
        if (random_below(&random, 2))
            gyre_yield();
        else if (!random_below(&random, 20))
            gyre_sleep(random_below(&random, 100) * GYRE_MICROSECOND);
    }
    return 0;
}

static void drain(struct cell *cell)
{
    char buffer[7];
    ssize_t got;

    while ((got = read(cell->fds[0], buffer, sizeof buffer)) > 0)
        cell->bytes += (unsigned long)got;
    CHECK(got < 0 && errno == EAGAIN);
}

static int read_on(void *arg)
{
    struct cell *cell = arg;

    while (cell->bytes < rounds) {
        int result;
        {
            GYRE_TIMEOUT(random_below(&cell->random, 3)
                             ? GYRE_HOUR
                             : random_below(&cell->random, 200) * GYRE_MICROSECOND);
            result = gyre_watch_next(cell->watch);
        }
        CHECK(result == -ETIMEDOUT || result & POLLIN);
        if (result > 0)
            drain(cell);
        else
            cell->cut++;
    }
    return 0;
}

static int run_cell(void *arg)
{
    struct cell *cell = arg;
    gyre_handle reader, writer;

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, cell->fds), 0);
    CHECK_EQ(gyre_watch_open(&cell->watch, cell->fds[0], POLLIN), 0);
    CHECK_EQ(gyre_spawn(&reader, read_on, cell), 0);
    CHECK_EQ(gyre_spawn(&writer, write_on, cell), 0);
    CHECK_EQ(gyre_join(writer, NULL), 0);
    CHECK_EQ(gyre_join(reader, NULL), 0);
    CHECK_EQ(cell->bytes, rounds);
    gyre_watch_close(cell->watch);
    close(cell->fds[0]);
    close(cell->fds[1]);
    return 0;
}

static int run_cells(void *unused)
{
    static struct cell cells[CELLS];
    gyre_handle handles[CELLS];
    unsigned long cut = 0;

    (void)unused;
    for (unsigned i = 0; i < CELLS; i++) {
        cells[i] = (struct cell){.random = stress_random(i)};
        CHECK_EQ(gyre_spawn(&handles[i], run_cell, &cells[i]), 0);
    }
    for (unsigned i = 0; i < CELLS; i++) {
        CHECK_EQ(gyre_join(handles[i], NULL), 0);
        cut += cells[i].cut;
    }
    printf("  %lu waits cut short\n", cut);
    return 0;
}

/* --- close -------------------------------------------------------------------------------------
 */

static int wait_for_close(void *watch)
{
    int result = gyre_watch_next(watch);

    CHECK(result == -EBADF || result == POLLIN);
    return result;
}

static int write_one(void *fd)
{
    CHECK_EQ(write(*(int *)fd, "x", 1), 1);
    return 0;
}

static void await_parked(gyre_handle handle)
{
    do
        gyre_yield();
    while (atomic_load(&handle.coro->wait) != WAIT_OBJECT);
}

static int run_closes(void *unused)
{
    unsigned long edges = 0;
    int fds[2];

    (void)unused;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    for (unsigned long i = 0; i < rounds; i++) {
        struct gyre_watch *watch;
        gyre_handle waiter, writer;
        char byte;
        int result;

        CHECK_EQ(gyre_watch_open(&watch, fds[0], POLLIN), 0);
        CHECK_EQ(gyre_spawn(&waiter, wait_for_close, watch), 0);
        await_parked(waiter);
        CHECK_EQ(gyre_spawn(&writer, write_one, &fds[1]), 0);
        if (i % 3)
            gyre_yield();
        gyre_watch_close(watch);
        CHECK_EQ(gyre_join(waiter, &result), 0);
        CHECK_EQ(gyre_join(writer, NULL), 0);
        CHECK_EQ(read(fds[0], &byte, 1), 1);
        edges += result > 0;
    }
    printf("  %lu closes, %lu edges came before\n", rounds, edges);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    rounds = stress_rounds(3000);
    stress_run_each("edges", 0, run_cells);
    stress_run_each("edges, tiny ring", 4, run_cells);
    stress_run_each("closes", 0, run_closes);
    return 0;
}
