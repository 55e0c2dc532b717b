/* splice, tee and pipes: what moves, what waits, and on whose thread. */
#include "files.h"

#include <sys/uio.h>

struct moving {
    int in, out;
    off_t *in_offset, *out_offset;
    size_t size;
    ssize_t result;
};

static int splice_one(void *argument)
{
    struct moving *moving = argument;

    moving->result = gyre_splice(moving->in, moving->in_offset, moving->out, moving->out_offset,
                                 moving->size, 0);
    return moving->result < 0 ? (int)moving->result : 0;
}

static int tee_one(void *argument)
{
    struct moving *moving = argument;

    moving->result = gyre_tee(moving->in, moving->out, moving->size, 0);
    return moving->result < 0 ? (int)moving->result : 0;
}

static void close_both(const int fds[2])
{
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
}

static void expect_bytes(int fd, const char *text)
{
    char buffer[16];
    size_t size = strlen(text);

    EXPECT_EQ(gyre_read(fd, buffer, sizeof buffer), size);
    EXPECT(!memcmp(buffer, text, size));
}

BOTH_WAYS(splice, a_pipe_is_made)
{
    int fds[2];

    EXPECT_EQ(gyre_pipe(fds), 0);
    EXPECT_EQ(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(fcntl(fds[1], F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(gyre_write(fds[1], "abc", 3), 3);
    expect_bytes(fds[0], "abc");
    close_both(fds);
    return 0;
}

BOTH_WAYS(splice, a_file_goes_through_a_pipe_to_a_socket)
{
    struct place place;
    int file, pipes[2], sockets[2];
    off_t offset = 2, negative = -1;

    make_place(&place);
    make_stream_pair(sockets);
    EXPECT_EQ(gyre_pipe(pipes), 0);
    file = make_unnamed(&place, 0);
    EXPECT_EQ(gyre_pwrite(file, "0123456789", 10, 0), 10);
    EXPECT_EQ(gyre_splice(file, &offset, pipes[1], NULL, 5, 0), 5);
    EXPECT_EQ(offset, 7);
    EXPECT_EQ(lseek(file, 0, SEEK_CUR), 0);
    EXPECT_EQ(gyre_splice(pipes[0], NULL, sockets[0], NULL, 100, 0), 5);
    expect_bytes(sockets[1], "23456");
    EXPECT_EQ(gyre_splice(file, NULL, pipes[1], NULL, SIZE_MAX, 0), 10);
    EXPECT_EQ(lseek(file, 0, SEEK_CUR), 10);
    EXPECT_EQ(gyre_splice(file, NULL, pipes[1], NULL, 10, 0), 0); /* the end */
    offset = 100; /* not over what the pipe refers to */
    EXPECT_EQ(gyre_splice(pipes[0], NULL, file, &offset, 4, 0), 4);
    EXPECT_EQ(offset, 104);
    expect_bytes(pipes[0], "456789");
    EXPECT_EQ(gyre_splice(file, &negative, pipes[1], NULL, 4, 0), -EINVAL);
    EXPECT_EQ(gyre_splice(pipes[0], &offset, file, NULL, 4, SPLICE_F_NONBLOCK), -ESPIPE);
    EXPECT_EQ(gyre_splice(file, NULL, sockets[0], NULL, 4, 0), -EINVAL); /* no pipe */
    EXPECT_EQ(gyre_splice(-1, NULL, pipes[1], NULL, 4, 0), -EBADF);
    EXPECT_EQ(gyre_splice(pipes[0], NULL, -1, NULL, 4, 0), -EBADF);
    EXPECT_EQ(gyre_splice(pipes[0], NULL, 1000000, NULL, 4, SPLICE_F_NONBLOCK), -EBADF);
    close_both(pipes);
    close_both(sockets);
    EXPECT_EQ(gyre_close(file), 0);
    remove_place(&place);
    return 0;
}

BOTH_WAYS(splice, tee_copies_and_takes_nothing)
{
    int one[2], two[2];

    EXPECT_EQ(gyre_pipe(one), 0);
    EXPECT_EQ(gyre_pipe(two), 0);
    EXPECT_EQ(gyre_tee(one[0], two[1], 10, SPLICE_F_NONBLOCK), -EAGAIN);
    EXPECT_EQ(gyre_write(one[1], "abc", 3), 3);
    EXPECT_EQ(gyre_tee(one[0], two[1], 2, 0), 2);
    expect_bytes(two[0], "ab");
    expect_bytes(one[0], "abc");
    EXPECT_EQ(gyre_tee(one[0], one[1], 2, SPLICE_F_NONBLOCK), -EINVAL);
    close_both(one);
    close_both(two);
    return 0;
}

BOTH_WAYS(splice, a_peer_that_has_gone_raises_no_signal)
{
    int pipes[2], sockets[2];

    EXPECT_EQ(gyre_pipe(pipes), 0);
    make_stream_pair(sockets);
    EXPECT_EQ(gyre_close(sockets[0]), 0);
    EXPECT_EQ(gyre_write(pipes[1], "abc", 3), 3);
    EXPECT_EQ(gyre_splice(pipes[0], NULL, sockets[1], NULL, 3, 0), -EPIPE);
    EXPECT_EQ(gyre_close(sockets[1]), 0);
    close_both(pipes);
    return 0;
}

BOTH_WAYS(splice, waits_for_input_and_for_room)
{
    int one[2], two[2], size;
    struct moving moving;
    gyre_handle handle;
    char *block;

    EXPECT_EQ(gyre_pipe(one), 0);
    EXPECT_EQ(gyre_pipe(two), 0);
    moving = (struct moving){.in = one[0], .out = two[1], .size = 4};
    EXPECT_EQ(gyre_spawn(&handle, splice_one, &moving), 0);
    await_parked(handle);
    EXPECT_EQ(gyre_write(one[1], "abcd", 4), 4);
    EXPECT_EQ(result_of(handle), 0);
    EXPECT_EQ(moving.result, 4);
    expect_bytes(two[0], "abcd");

    size = fcntl(two[1], F_SETPIPE_SZ, 4096);
    block = calloc(1, (size_t)size);
    EXPECT_EQ(gyre_write(two[1], block, (size_t)size), size);
    EXPECT_EQ(gyre_write(one[1], "efgh", 4), 4);
    EXPECT_EQ(gyre_splice(one[0], NULL, two[1], NULL, 4, SPLICE_F_NONBLOCK), -EAGAIN);
    EXPECT_EQ(gyre_spawn(&handle, tee_one, &moving), 0);
    await_parked(handle);
    EXPECT_EQ(gyre_read_all(two[0], block, (size_t)size, NULL), size);
    EXPECT_EQ(result_of(handle), 0);
    EXPECT_EQ(moving.result, 4);
    expect_bytes(two[0], "efgh");
    free(block);
    close_both(one);
    close_both(two);
    return 0;
}

BOTH_WAYS(splice, a_wait_ends_with_the_context_the_descriptor_or_the_writer)
{
    int one[2], two[2];
    struct moving moving;
    gyre_handle handle;

    EXPECT_EQ(gyre_pipe(one), 0);
    EXPECT_EQ(gyre_pipe(two), 0);
    moving = (struct moving){.in = one[0], .out = two[1], .size = 4};
    {
        GYRE_TIMEOUT(2 * GYRE_MILLISECOND);
        EXPECT_EQ(splice_one(&moving), -ETIMEDOUT);
        EXPECT_EQ(tee_one(&moving), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_spawn(&handle, splice_one, &moving), 0);
    await_parked(handle);
    EXPECT_EQ(gyre_close(one[0]), 0);
    EXPECT_EQ(result_of(handle), -EBADF);
    EXPECT_EQ(gyre_close(one[1]), 0);

    EXPECT_EQ(gyre_pipe(one), 0);
    moving.in = one[0];
    EXPECT_EQ(gyre_spawn(&handle, splice_one, &moving), 0);
    await_parked(handle);
    EXPECT_EQ(gyre_close(one[1]), 0);
    EXPECT_EQ(result_of(handle), 0);
    EXPECT_EQ(moving.result, 0);
    EXPECT_EQ(gyre_close(one[0]), 0);
    close_both(two);
    return 0;
}

enum { MANY = 64 };

INSIDE(splice, many_idle_pipes_hold_no_thread)
{
    int one[MANY][2], two[2], threads;
    struct moving moving[MANY];
    gyre_handle handles[MANY];

    EXPECT_EQ(gyre_pipe(two), 0);
    threads = count_threads();
    for (int i = 0; i < MANY; i++) {
        EXPECT_EQ(gyre_pipe(one[i]), 0);
        moving[i] = (struct moving){.in = one[i][0], .out = two[1], .size = 1};
        EXPECT_EQ(gyre_spawn(&handles[i], splice_one, &moving[i]), 0);
    }
    for (int i = 0; i < MANY; i++)
        await_parked(handles[i]);
    EXPECT_EQ(count_threads(), threads);
    for (int i = 0; i < MANY; i++) {
        EXPECT_EQ(gyre_write(one[i][1], "x", 1), 1);
        EXPECT_EQ(result_of(handles[i]), 0);
        expect_bytes(two[0], "x");
        close_both(one[i]);
    }
    close_both(two);
    return 0;
}

INSIDE(splice, reading_many_idle_pipes_and_terminals_holds_no_thread)
{
    int threads = count_threads();

    for (int i = 0; i < 3; i++) {
        GYRE_TIMEOUT(2 * GYRE_MILLISECOND);
        int fds[2];
        char byte;

        EXPECT_EQ(gyre_pipe(fds), 0);
        EXPECT_EQ(gyre_read(fds[0], &byte, 1), -ETIMEDOUT);
        EXPECT_EQ(count_threads(), threads);
        close_both(fds);
    }
    return 0;
}

/* out is waited for; in, which is not, is closed meanwhile, and its number given to another pipe.
 */
static void reuse_input(int (*move)(void *moving))
{
    int one[2], two[2], other[2], size;
    struct moving moving;
    gyre_handle handle;
    char *block;

    EXPECT_EQ(gyre_pipe(one), 0);
    EXPECT_EQ(gyre_pipe(two), 0);
    EXPECT_EQ(gyre_pipe(other), 0);
    EXPECT_EQ(gyre_write(one[1], "old", 3), 3);
    EXPECT_EQ(gyre_write(other[1], "new", 3), 3);
    size = fcntl(two[1], F_SETPIPE_SZ, 4096);
    block = calloc(1, (size_t)size);
    EXPECT_EQ(gyre_write(two[1], block, (size_t)size), size);
    moving = (struct moving){.in = one[0], .out = two[1], .size = 3};
    EXPECT_EQ(gyre_spawn(&handle, move, &moving), 0);
    await_parked(handle);
    EXPECT_EQ(gyre_close(one[0]), 0);
    EXPECT_EQ(dup3(other[0], one[0], O_CLOEXEC), one[0]);
    EXPECT_EQ(gyre_read_all(two[0], block, (size_t)size, NULL), size);
    EXPECT_EQ(result_of(handle), -EBADF);
    EXPECT_EQ(gyre_write(other[1], "er", 2), 2);
    expect_bytes(one[0], "newer");
    EXPECT_EQ(gyre_close(two[1]), 0);
    EXPECT_EQ(gyre_read(two[0], block, 1), 0);
    EXPECT_EQ(gyre_close(two[0]), 0);
    free(block);
    close_both(one);
    close_both(other);
}

BOTH_WAYS(splice, goes_on_with_no_other_pipe_of_the_same_number)
{
    reuse_input(splice_one);
    reuse_input(tee_one);
    return 0;
}
