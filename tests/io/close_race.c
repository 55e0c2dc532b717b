/*
 * Races gyre_close against operations on the same descriptor.
 *
 * Hypothesis: whoever is inside a call when its descriptor is closed comes back, with what it moved
 * or with -EBADF; exactly one closer succeeds; and a call that was begun on a number never moves a
 * byte of the number's next file.
 *
 * Part one: users call once, at any moment around the close; nobody reuses the number until all are
 * back. Windows aimed at: between the closing mark and the kernel's close, and a message that finds
 * the operation not yet submitted. Part two: users wait on the descriptor; it is closed and its
 * number is in use again at once, by a stream that carries another tag.
 */
#include "stress.h"

#include "sched/worker.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { CELLS = 6, USERS = 4, FIRST_NUMBER = 600 };

struct cell;

struct user {
    struct cell *cell;
    int kind;
};

struct cell {
    struct random random;
    int fd;
    char tag;
    struct user users[USERS];
    unsigned random_spins[USERS];
};

static struct cell cells[CELLS];
static unsigned long rounds;
static char block[1 << 16];
static atomic_ulong total_moved, total_failed;

static ssize_t use(int kind, int fd, char *bytes, size_t size)
{
    struct iovec piece = {bytes, size};

    switch (kind) {
    case 0:
        return gyre_read(fd, bytes, size);
    case 1:
        return gyre_readv(fd, &piece, 1);
    case 2:
        return gyre_read_all(fd, bytes, 1, NULL);
    case 3:
        return gyre_recv(fd, bytes, size, 0);
    case 4:
        return gyre_write_all(fd, block, sizeof block, NULL);
    default:
        return gyre_send(fd, block, 1, 0);
    }
}

static int use_once(void *arg)
{
    struct user *user = arg;
    struct cell *cell = user->cell;
    int number = (int)(user - cell->users);
    char bytes[8];
    ssize_t n;

    for (unsigned spins = cell->random_spins[number]; spins; spins--)
        cpu_relax();
    n = use(user->kind, cell->fd, bytes, sizeof bytes);
    CHECK(n >= 0 || n == -EBADF);
    if (user->kind < 4)
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQ(bytes[i], cell->tag);
    atomic_fetch_add(n < 0 ? &total_failed : &total_moved, 1);
    return 0;
}

static int close_once(void *arg)
{
    struct cell *cell = arg;

    for (unsigned spins = cell->random_spins[0]; spins; spins--)
        cpu_relax();
    return gyre_close(cell->fd);
}

/* The first end gets a number that is the cell's: the kernel gives it to nobody else. */
static void make_pair(const struct cell *cell, int fds[2])
{
    int small = 2048, number = FIRST_NUMBER + (int)(cell - cells);

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    CHECK_EQ(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    CHECK_EQ(dup3(fds[0], number, O_CLOEXEC), number);
    CHECK_EQ(gyre_close(fds[0]), 0);
    fds[0] = number;
}

/* --- part one ----------------------------------------------------------------------------------
 */

static void race_one(struct cell *cell)
{
    gyre_handle users[USERS], closers[2];
    int fds[2], results[2], feed;

    make_pair(cell, fds);
    cell->fd = fds[0];
    cell->tag = 't';
    feed = (int)random_below(&cell->random, 3);
    for (int i = 0; i < USERS; i++) {
        cell->users[i] = (struct user){cell, (int)random_below(&cell->random, 6)};
        cell->random_spins[i] = random_below(&cell->random, 100);
        CHECK_EQ(gyre_spawn(&users[i], use_once, &cell->users[i]), 0);
    }
    if (feed)
        CHECK_EQ(gyre_write(fds[1], "ttt", (size_t)feed), feed);
    for (unsigned n = random_below(&cell->random, 3); n; n--)
        gyre_yield();
    CHECK_EQ(gyre_spawn(&closers[0], close_once, cell), 0);
    CHECK_EQ(gyre_spawn(&closers[1], close_once, cell), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(gyre_join(closers[i], &results[i]), 0);
        CHECK(results[i] == 0 || results[i] == -EALREADY || results[i] == -EBADF);
    }
    CHECK((results[0] == 0) + (results[1] == 0) == 1);
    for (int i = 0; i < USERS; i++)
        CHECK_EQ(gyre_join(users[i], NULL), 0);
    CHECK_EQ(gyre_close(fds[1]), 0);
}

/* --- part two ----------------------------------------------------------------------------------
 */

static bool waits(gyre_handle handle)
{
    return atomic_load(&handle.coro->wait) == WAIT_OPERATION;
}

static void race_reuse(struct cell *cell)
{
    gyre_handle users[USERS];
    char bytes[8];
    int fds[2], next[2];

    make_pair(cell, fds);
    cell->fd = fds[0];
    cell->tag = 'a';
    for (int i = 0; i < USERS; i++) {
        cell->users[i] = (struct user){cell, (int)random_below(&cell->random, 4)};
        cell->random_spins[i] = 0;
        CHECK_EQ(gyre_spawn(&users[i], use_once, &cell->users[i]), 0);
    }
    for (int i = 0; i < USERS; i++)
        while (!waits(users[i]))
            gyre_yield();
    if (random_below(&cell->random, 2))
        CHECK_EQ(gyre_write(fds[1], "a", 1), 1); /* one of them may be back before, or win */
    CHECK_EQ(gyre_close(fds[0]), 0);
    make_pair(cell, next);
    CHECK_EQ(next[0], cell->fd);
    CHECK_EQ(gyre_write(next[1], "bbbb", 4), 4);
    CHECK_EQ(gyre_read_all(next[0], bytes, 4, NULL), 4);
    CHECK(!memcmp(bytes, "bbbb", 4));
    for (int i = 0; i < USERS; i++)
        CHECK_EQ(gyre_join(users[i], NULL), 0);
    CHECK_EQ(gyre_close(next[0]), 0);
    CHECK_EQ(gyre_close(next[1]), 0);
    CHECK_EQ(gyre_close(fds[1]), 0);
}

static int run_cell(void *arg)
{
    struct cell *cell = arg;

    for (unsigned long i = 0; i < rounds; i++)
        race_one(cell);
    return 0;
}

static int run_reuse(void *arg)
{
    struct cell *cell = arg;

    for (unsigned long i = 0; i < rounds; i++)
        race_reuse(cell);
    return 0;
}

static int run_cells(gyre_fn fn)
{
    gyre_handle handles[CELLS];

    for (int i = 0; i < CELLS; i++) {
        cells[i].random = stress_random((uint64_t)i);
        CHECK_EQ(gyre_spawn_at(GYRE_SITE("cell"), &handles[i], fn, &cells[i], NULL), 0);
    }
    for (int i = 0; i < CELLS; i++)
        CHECK_EQ(gyre_join(handles[i], NULL), 0);
    return 0;
}

static int part_one(void *unused)
{
    (void)unused;
    return run_cells(run_cell);
}

static int part_two(void *unused)
{
    (void)unused;
    return run_cells(run_reuse);
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    rounds = stress_rounds(1000);
    stress_run_each("close against calls", 0, part_one);
    stress_run_each("close and reuse", 0, part_two);
    stress_run_each("close against calls, tiny ring", 4, part_one);
    printf("%lu calls moved bytes, %lu found it closed\n", total_moved, total_failed);
    return 0;
}
