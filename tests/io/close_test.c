/* gyre_close: what becomes of those who use the descriptor meanwhile, and of the number. */
#include "harness.h"

#include <sys/eventfd.h>

static char block[1 << 20];

/* --- an operation of each kind, parked -------------------------------------------------------- */

struct user {
    int fd;
    int wanted;
    int (*use)(int fd);
    atomic_int *ended;
};

static int use_descriptor(void *arg)
{
    struct user *user = arg;

    EXPECT_EQ(user->use(user->fd), user->wanted);
    atomic_fetch_add(user->ended, 1);
    return 0;
}

static int use_read(int fd)
{
    char byte;

    return (int)gyre_read(fd, &byte, 1);
}

static int use_readv(int fd)
{
    char byte;
    struct iovec piece = {&byte, 1};

    return (int)gyre_readv(fd, &piece, 1);
}

static int use_read_all(int fd)
{
    char bytes[2];

    return (int)gyre_read_all(fd, bytes, 2, NULL);
}

static int use_recv(int fd)
{
    char byte;

    return (int)gyre_recv(fd, &byte, 1, 0);
}

static int use_write_all(int fd)
{
    return (int)gyre_write_all(fd, block, sizeof block, NULL);
}

static int use_writev_all(int fd)
{
    struct iovec pieces[2] = {{block, sizeof block / 2}, {block, sizeof block / 2}};

    return (int)gyre_writev_all(fd, pieces, 2, NULL);
}

static int use_send_again_and_again(int fd)
{
    ssize_t n;

    while ((n = gyre_send(fd, block, sizeof block, 0)) > 0)
        ;
    return (int)n;
}

static void expect_all_end(int fd, int (*const *uses)(int), unsigned count)
{
    atomic_int ended = 0;
    gyre_handle handles[16];
    struct user users[16];

    for (unsigned i = 0; i < count; i++) {
        users[i] = (struct user){fd, -EBADF, uses[i], &ended};
        EXPECT_EQ(gyre_spawn(&handles[i], use_descriptor, &users[i]), 0);
    }
    for (unsigned i = 0; i < count; i++)
        await_parked(handles[i]);
    EXPECT_EQ(atomic_load(&ended), 0);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(fcntl(fd, F_GETFD), -1);
    for (unsigned i = 0; i < count; i++)
        EXPECT_EQ(gyre_join(handles[i], NULL), 0);
    EXPECT_EQ(gyre_close(fd), -EBADF);
}

INSIDE(close, who_waits_on_a_socket_gets_ebadf)
{
    static int (*const uses[])(int) = {use_read,
                                       use_readv,
                                       use_read_all,
                                       use_recv,
                                       use_write_all,
                                       use_writev_all,
                                       use_send_again_and_again};
    int fds[2];

    make_stream_pair(fds);
    expect_all_end(fds[0], uses, sizeof uses / sizeof *uses);
    /* Nothing holds the file any more: the other side sees the end behind what was written. */
    {
        GYRE_TIMEOUT(5 * GYRE_SECOND);
        ssize_t n;

        while ((n = gyre_read(fds[1], block, sizeof block)) > 0)
            ;
        EXPECT_EQ(n, 0);
    }
    EXPECT_EQ(gyre_close(fds[1]), 0);
    return 0;
}

INSIDE(close, who_waits_on_a_pipe_gets_ebadf)
{
    static int (*const readers[])(int) = {use_read, use_readv, use_read_all};
    static int (*const writers[])(int) = {use_write_all, use_writev_all};
    int fds[2];

    make_pipe(fds);
    expect_all_end(fds[0], readers, 3);
    EXPECT_EQ(gyre_write(fds[1], "x", 1), -EPIPE);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    make_pipe(fds);
    expect_all_end(fds[1], writers, 2);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    return 0;
}

static struct deaf deaf;

static int use_connect(int fd)
{
    return gyre_connect(fd, (struct sockaddr *)&deaf.address, sizeof deaf.address);
}

INSIDE(close, who_connects_gets_ebadf)
{
    static int (*const uses[])(int) = {use_connect};

    make_deaf(&deaf);
    expect_all_end(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), uses, 1);
    close_deaf(&deaf);
    return 0;
}

/* --- the number, afterwards ------------------------------------------------------------------- */

INSIDE(close, a_reader_that_was_cancelled_does_not_touch_the_next_file)
{
    for (int round = 0; round < 200; round++) {
        static int (*const uses[])(int) = {use_read, use_recv, use_read_all, use_readv};
        atomic_int ended = 0;
        gyre_handle handles[4];
        struct user users[4];
        char buffer[8];
        int fds[2], next[2], spare;

        make_stream_pair(fds);
        for (int i = 0; i < 4; i++) {
            users[i] = (struct user){fds[0], -EBADF, uses[i], &ended};
            EXPECT_EQ(gyre_spawn(&handles[i], use_descriptor, &users[i]), 0);
        }
        for (int i = 0; i < 4; i++)
            await_parked(handles[i]);
        EXPECT_EQ(gyre_close(fds[0]), 0);
        make_stream_pair(next); /* the number is in use again, before the readers have run */
        EXPECT_EQ(next[0], fds[0]);
        EXPECT_EQ(gyre_write(next[1], "private", 7), 7);
        for (int i = 0; i < 4; i++)
            EXPECT_EQ(ended < 4 ? gyre_yield() : 0, 0);
        EXPECT_EQ(gyre_read(next[0], buffer, 7), 7);
        for (int i = 0; i < 4; i++)
            EXPECT_EQ(gyre_join(handles[i], NULL), 0);
        spare = fds[1];
        EXPECT_EQ(gyre_close(spare), 0);
        EXPECT_EQ(gyre_close(next[0]), 0);
        EXPECT_EQ(gyre_close(next[1]), 0);
    }
    return 0;
}

static int write_all_ebadf(void *arg)
{
    size_t done;

    EXPECT_EQ(gyre_write_all(*(int *)arg, block, sizeof block, &done), -EBADF);
    EXPECT(done < sizeof block);
    return 0;
}

/* The rest of a write that was under way must not end up in somebody else's connection. */
INSIDE(close, the_rest_of_a_write_does_not_go_to_the_next_file)
{
    static char taken[sizeof block / 4];

    for (int round = 0; round < 50; round++) {
        gyre_handle writer;
        int fds[2], next[2];
        char byte;

        make_stream_pair(fds);
        EXPECT_EQ(gyre_spawn(&writer, write_all_ebadf, &fds[0]), 0);
        await_parked(writer);
        /* Room for more, so that the write completes in part; then close at once. Not for all: the
         * writer may be refilling what is being read. */
        EXPECT(gyre_read(fds[1], taken, sizeof taken) > 0);
        EXPECT_EQ(gyre_close(fds[0]), 0);
        make_stream_pair(next);
        EXPECT_EQ(next[0], fds[0]);
        EXPECT_EQ(gyre_join(writer, NULL), 0);
        EXPECT_EQ(gyre_recv(next[1], &byte, 1, MSG_DONTWAIT), -EAGAIN);
        EXPECT_EQ(gyre_close(fds[1]), 0);
        EXPECT_EQ(gyre_close(next[0]), 0);
        EXPECT_EQ(gyre_close(next[1]), 0);
    }
    return 0;
}

/* --- twice ------------------------------------------------------------------------------------ */

static int close_it(void *arg)
{
    return gyre_close(*(int *)arg);
}

INSIDE(close, only_one_of_several_closers_succeeds)
{
    for (int round = 0; round < 300; round++) {
        gyre_handle handles[4];
        int fds[2], succeeded = 0;

        make_stream_pair(fds);
        for (int i = 0; i < 4; i++)
            EXPECT_EQ(gyre_spawn(&handles[i], close_it, &fds[0]), 0);
        for (int i = 0; i < 4; i++) {
            int result;

            EXPECT_EQ(gyre_join(handles[i], &result), 0);
            EXPECT(result == 0 || result == -EALREADY || result == -EBADF);
            succeeded += result == 0;
        }
        EXPECT_EQ(succeeded, 1);
        EXPECT_EQ(gyre_close(fds[1]), 0);
    }
    return 0;
}

/* --- dup -------------------------------------------------------------------------------------- */

static int read_one(void *arg)
{
    char byte = 0;
    ssize_t n = gyre_read(*(int *)arg, &byte, 1);

    return n == 1 ? byte : (int)n;
}

INSIDE(close, a_reader_of_a_duplicate_is_not_disturbed)
{
    for (int round = 0; round < 50; round++) {
        gyre_handle original, duplicate;
        int fds[2], other, result;

        make_stream_pair(fds);
        other = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
        EXPECT_EQ(gyre_spawn(&original, read_one, &fds[0]), 0);
        EXPECT_EQ(gyre_spawn(&duplicate, read_one, &other), 0);
        await_parked(original);
        if (round % 2)
            await_parked(duplicate);
        EXPECT_EQ(gyre_close(fds[0]), 0);
        EXPECT_EQ(gyre_join(original, &result), 0);
        EXPECT_EQ(result, -EBADF);
        await_parked(duplicate);
        EXPECT_EQ(gyre_write(fds[1], "d", 1), 1);
        EXPECT_EQ(gyre_join(duplicate, &result), 0);
        EXPECT_EQ(result, 'd');
        EXPECT_EQ(gyre_close(fds[1]), 0);
        EXPECT_EQ(gyre_close(other), 0);
    }
    return 0;
}

static int connect_it(void *arg)
{
    return use_connect(*(int *)arg);
}

/* Submitted once more, a connect says EALREADY, which is not its result. */
INSIDE(close, a_connect_through_a_duplicate_is_not_disturbed)
{
    gyre_handle connecting;
    int result, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int other = fcntl(fd, F_DUPFD_CLOEXEC, 0), served[2];

    make_deaf(&deaf);
    EXPECT_EQ(gyre_spawn(&connecting, connect_it, &fd), 0);
    await_parked(connecting);
    EXPECT_EQ(gyre_close(other), 0); /* cancels what uses the file; not ours to fail */
    gyre_sleep(2 * GYRE_MILLISECOND);
    served[0] = accept(deaf.fds[0], NULL, NULL);
    served[1] = accept(deaf.fds[0], NULL, NULL);
    EXPECT_EQ(gyre_join(connecting, &result), 0); /* the SYN is sent again after a second */
    EXPECT_EQ(result, 0);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(close(served[0]), 0);
    EXPECT_EQ(close(served[1]), 0);
    close_deaf(&deaf);
    return 0;
}

/* --- behind gyre's back ----------------------------------------------------------------------- */

/* A number that was closed by close(2) while somebody read it, and reused: closing the new file
 * must not wait for the old one's reader. */
INSIDE(close, a_reader_left_behind_by_close_2_does_not_hold_up_the_next_user)
{
    gyre_handle reader;
    int fds[2], next[2], result;

    make_stream_pair(fds);
    EXPECT_EQ(gyre_spawn(&reader, read_one, &fds[0]), 0);
    await_parked(reader);
    EXPECT_EQ(close(fds[0]), 0);
    make_stream_pair(next);
    EXPECT_EQ(next[0], fds[0]);
    EXPECT_EQ(gyre_close(next[0]), 0);
    EXPECT_EQ(gyre_join(reader, &result), 0);
    EXPECT_EQ(result, -EBADF);
    EXPECT_EQ(gyre_close(next[1]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    return 0;
}

INSIDE(close, a_number_closed_behind_our_back_gives_ebadf)
{
    gyre_handle reader;
    int fds[2], result;

    make_stream_pair(fds);
    EXPECT_EQ(gyre_spawn(&reader, read_one, &fds[0]), 0);
    await_parked(reader);
    EXPECT_EQ(close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[0]), -EBADF);
    EXPECT_EQ(gyre_join(reader, &result), 0);
    EXPECT_EQ(result, -EBADF);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    return 0;
}

/* --- never cancelled -------------------------------------------------------------------------- */

INSIDE(close, works_inside_an_ended_context)
{
    gyre_handle reader;
    int fds[2], result;

    make_stream_pair(fds);
    EXPECT_EQ(gyre_spawn(&reader, read_one, &fds[0]), 0);
    await_parked(reader);
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_context_error(), -ETIMEDOUT);
        EXPECT_EQ(gyre_close(fds[0]), 0);
        EXPECT_EQ(gyre_close(fds[1]), 0);
        EXPECT_EQ(gyre_close(fds[1]), -EBADF);
    }
    EXPECT_EQ(gyre_join(reader, &result), 0);
    EXPECT_EQ(result, -EBADF);
    return 0;
}

INSIDE(close, takes_high_numbers_and_numbers_never_used)
{
    int fd = eventfd(0, EFD_CLOEXEC), high = fcntl(fd, F_DUPFD_CLOEXEC, 900);

    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_close(high), 0);
    EXPECT_EQ(gyre_close(high), -EBADF);
    EXPECT_EQ(gyre_close(5000), -EBADF);
    return 0;
}
