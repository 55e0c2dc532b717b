/* A file sent to a socket, a pipe, another file. */
#include "files.h"

enum { SIZE = 300000 };

struct sending {
    int out, in;
    off_t offset;
    size_t size, done;
    ssize_t result;
};

static int send_one(void *argument)
{
    struct sending *sending = argument;

    sending->result = gyre_sendfile_all(sending->out, sending->in, sending->offset, sending->size,
                                        &sending->done);
    return 0;
}

/* Of a connection; [1] sends. */
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
        make_stream_pair(fds);
    else if (kind == 1)
        make_pipe(fds);
    else
        make_tcp_pair(fds);
}

static int make_pattern(const struct place *place, char *data)
{
    int fd = make_unnamed(place, 0);

    for (int i = 0; i < SIZE; i++)
        data[i] = (char)(i * 7 + i / 4096);
    EXPECT_EQ(gyre_pwrite_all(fd, data, SIZE, 0, NULL), SIZE);
    return fd;
}

BOTH_WAYS(sendfile, all_arrives_though_there_is_room_for_a_part_only)
{
    struct place place;
    char *data = malloc(SIZE), *copy = malloc(SIZE);
    int fds[2], in;

    make_place(&place);
    in = make_pattern(&place, data);
    for (int i = 0; i < 3; i++) {
        struct sending sending;
        gyre_handle handle;

        make_pair(i, fds);
        sending = (struct sending){fds[1], in, 100, SIZE, 0, 0};
        EXPECT_EQ(gyre_spawn(&handle, send_one, &sending), 0);
        EXPECT_EQ(gyre_read_all(fds[0], copy, SIZE - 100, NULL), SIZE - 100);
        EXPECT_EQ(result_of(handle), 0);
        EXPECT_EQ(sending.result, SIZE - 100); /* the end of the file */
        EXPECT_EQ(sending.done, SIZE - 100);
        EXPECT(!memcmp(data + 100, copy, SIZE - 100));
        EXPECT_EQ(lseek(in, 0, SEEK_CUR), 0);
        EXPECT_EQ(gyre_close(fds[0]), 0);
        EXPECT_EQ(gyre_close(fds[1]), 0);
    }
    EXPECT_EQ(gyre_close(in), 0);
    free(data);
    free(copy);
    remove_place(&place);
    return 0;
}

INSIDE(sendfile, nothing_and_errors)
{
    struct place place;
    char *data = malloc(SIZE);
    size_t done = 7;
    int fds[2], in;

    make_place(&place);
    make_stream_pair(fds);
    in = make_pattern(&place, data);
    EXPECT_EQ(gyre_sendfile_all(fds[1], in, 0, 0, &done), 0);
    EXPECT_EQ(done, 0);
    EXPECT_EQ(gyre_sendfile_all(fds[1], in, SIZE, 10, NULL), 0);
    EXPECT_EQ(gyre_sendfile_all(fds[1], in, -1, 10, NULL), -EINVAL);
    EXPECT_EQ(gyre_sendfile_all(fds[1], -1, 0, 10, NULL), -EBADF);
    EXPECT_EQ(gyre_sendfile_all(-1, in, 0, 10, &done), -EBADF);
    EXPECT_EQ(done, 0);
    EXPECT_EQ(gyre_sendfile_all(fds[1], fds[0], 0, 10, NULL), -ESPIPE);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_sendfile_all(fds[1], in, 0, 10, NULL), -EPIPE);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(gyre_close(in), 0);
    free(data);
    remove_place(&place);
    return 0;
}

/* What is tried without waiting is as good as the rest: short, refused, not begun. */
INSIDE(sendfile, the_first_chunk)
{
    struct place place;
    char *data = malloc(SIZE), *copy = malloc(SIZE);
    int fds[2], in, small = 4096;
    struct sending sending;
    gyre_handle handle;

    make_place(&place);
    in = make_pattern(&place, data);
    make_stream_pair(fds);
    EXPECT_EQ(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    {
        GYRE_TIMEOUT(-1);
        EXPECT_EQ(gyre_sendfile_all(fds[1], in, 0, 10, &sending.done), -ETIMEDOUT);
        EXPECT_EQ(sending.done, 0);
    }
    EXPECT_EQ(recv(fds[0], copy, 1, MSG_DONTWAIT), -1);
    sending = (struct sending){fds[1], in, 7, 50000, 0, 0};
    EXPECT_EQ(gyre_spawn(&handle, send_one, &sending), 0);
    EXPECT_EQ(gyre_read_all(fds[0], copy, 50000, NULL), 50000);
    EXPECT_EQ(result_of(handle), 0);
    EXPECT_EQ(sending.result, 50000);
    EXPECT(!memcmp(data + 7, copy, 50000));
    EXPECT_EQ(lseek(in, 0, SEEK_CUR), 0);
    EXPECT_EQ(gyre_sendfile_all(fds[1], in, -1, 10, NULL), -EINVAL);
    EXPECT_EQ(lseek(in, 0, SEEK_CUR), 0);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(gyre_close(in), 0);
    free(data);
    free(copy);
    remove_place(&place);
    return 0;
}

/* Closed while the file is read from the disk (where it has to be), and the number given away. */
static int give_the_number_away(void *unused)
{
    struct place place;
    char *data = malloc(SIZE), byte;
    int fds[2], others[2], in;

    (void)unused;
    make_place(&place);
    in = make_pattern(&place, data);
    for (int i = 0; i < 3; i++) {
        struct sending sending;
        gyre_handle handle;

        make_pair(i, fds);
        EXPECT_EQ(fsync(in), 0);
        EXPECT_EQ(posix_fadvise(in, 0, 0, POSIX_FADV_DONTNEED), 0);
        sending = (struct sending){fds[1], in, 0, 10000, 0, 0};
        EXPECT_EQ(gyre_spawn(&handle, send_one, &sending), 0);
        EXPECT_EQ(gyre_yield(), 0);
        EXPECT_EQ(gyre_close(fds[1]), 0);
        make_stream_pair(others);
        EXPECT_EQ(result_of(handle), 0);
        EXPECT(sending.result == 10000 || sending.result == -EBADF);
        EXPECT(others[0] == fds[1] || others[1] == fds[1]);
        for (int j = 0; j < 2; j++)
            EXPECT_EQ(recv(others[j], &byte, 1, MSG_DONTWAIT), -1);
        EXPECT_EQ(gyre_close(fds[0]), 0);
        EXPECT_EQ(gyre_close(others[0]), 0);
        EXPECT_EQ(gyre_close(others[1]), 0);
    }
    EXPECT_EQ(gyre_close(in), 0);
    free(data);
    remove_place(&place);
    return 0;
}

/* By one worker, so that it has begun when the yield returns. */
Test(sendfile, nothing_goes_to_the_number_s_next_owner)
{
    cr_assert_eq(run_with_workers(1, give_the_number_away, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}

enum { LARGE = 64 << 20 }; /* sparse; more than any connection holds */

BOTH_WAYS(sendfile, a_deadline_tells_how_far_it_came)
{
    struct place place;
    char *copy = malloc(LARGE);
    int fds[2], in;

    make_place(&place);
    in = make_unnamed(&place, 0);
    EXPECT_EQ(ftruncate(in, LARGE), 0);
    for (int i = 0; i < 3; i++) {
        struct sending sending;

        make_pair(i, fds);
        sending = (struct sending){fds[1], in, 0, LARGE, 0, 0};
        {
            GYRE_TIMEOUT(20 * GYRE_MILLISECOND);
            EXPECT_EQ(send_one(&sending), 0);
        }
        EXPECT_EQ(sending.result, -ETIMEDOUT);
        EXPECT_EQ(gyre_close(fds[1]), 0);
        EXPECT_EQ(gyre_read_all(fds[0], copy, LARGE, NULL), sending.done);
        EXPECT(sending.done < LARGE);
        EXPECT_EQ(gyre_close(fds[0]), 0);
    }
    EXPECT_EQ(gyre_close(in), 0);
    free(copy);
    remove_place(&place);
    return 0;
}

enum { MANY = 40 };

static void expect_byte(int fd)
{
    char byte;

    EXPECT_EQ(gyre_read(fd, &byte, 1), 1);
}

INSIDE(sendfile, many_peers_that_do_not_read_hold_nobody_up)
{
    struct place place;
    struct sending sendings[MANY];
    gyre_handle handles[MANY];
    const int small = 4096;
    int fds[MANY][2], one[2], two[2], in;

    make_place(&place);
    in = make_unnamed(&place, 0);
    make_pipe(one);
    make_pipe(two);
    EXPECT_EQ(ftruncate(in, LARGE), 0);
    {
        GYRE_CANCELLABLE();

        for (int i = 0; i < MANY; i++) {
            make_tcp_pair(fds[i]);
            EXPECT_EQ(setsockopt(fds[i][1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
            EXPECT_EQ(setsockopt(fds[i][0], SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
            sendings[i] = (struct sending){fds[i][1], in, 0, LARGE, 0, 0};
            EXPECT_EQ(gyre_spawn(&handles[i], send_one, &sendings[i]), 0);
        }
        for (int i = 0; i < MANY; i++)
            await_parked(handles[i]);
        /* What they need kernel workers for goes on for others. */
        for (int i = 0; i < 500; i++) {
            EXPECT_EQ(gyre_write(one[1], "x", 1), 1);
            EXPECT_EQ(gyre_splice(one[0], NULL, two[1], NULL, 1, 0), 1);
            expect_byte(two[0]);
        }
        gyre_context_cancel(gyre_context_current());
    }
    for (int i = 0; i < MANY; i++) {
        EXPECT_EQ(result_of(handles[i]), 0);
        EXPECT_EQ(sendings[i].result, -ECANCELED);
        EXPECT_EQ(gyre_close(fds[i][0]), 0);
        EXPECT_EQ(gyre_close(fds[i][1]), 0);
    }
    EXPECT_EQ(gyre_close(in), 0);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(gyre_close(one[i]), 0);
        EXPECT_EQ(gyre_close(two[i]), 0);
    }
    remove_place(&place);
    return 0;
}

/* --- a number that is reused meanwhile ---------------------------------------------------------
 */

struct reused {
    int out, in, peer;
    atomic_bool begun;
};

static int send_until_closed(void *argument)
{
    struct reused *reused = argument;
    int out = reused->out;
    ssize_t n;

    n = gyre_sendfile_all(out, reused->in, 0, SIZE, NULL);
    EXPECT(n == SIZE || n == -EBADF || n == -EPIPE || n == -ECONNRESET);
    return 0;
}

static int read_to_the_end(void *argument)
{
    struct reused *reused = argument;
    char nothing[4096];

    while (gyre_read(reused->peer, nothing, sizeof nothing) > 0)
        atomic_store(&reused->begun, true);
    return 0;
}

/* The connection is closed, and its number becomes another's, who must get nothing of the file. */
static void close_and_reuse(int kind, int in, int64_t after)
{
    struct reused reused = {.in = in};
    gyre_handle sender, reader;
    int fds[2], others[2], taken = -1;

    make_pair(kind, fds);
    reused.out = fds[1];
    reused.peer = fds[0];
    EXPECT_EQ(gyre_spawn(&reader, read_to_the_end, &reused), 0);
    EXPECT_EQ(gyre_spawn(&sender, send_until_closed, &reused), 0);
    while (!atomic_load(&reused.begun))
        gyre_yield();
    gyre_sleep(after);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    make_stream_pair(others);
    for (int i = 0; i < 2; i++)
        if (others[i] == fds[1])
            taken = others[!i];
    result_of(sender);
    result_of(reader);
    if (taken >= 0) {
        char byte;

        EXPECT_EQ(recv(taken, &byte, 1, MSG_DONTWAIT), -1);
    }
    gyre_close(others[0]);
    gyre_close(others[1]);
    gyre_close(fds[0]);
}

INSIDE(sendfile, goes_to_one_connection_only)
{
    struct place place;
    char *data = malloc(SIZE);
    int in;

    make_place(&place);
    in = make_pattern(&place, data);
    for (int i = 0; i < 50; i++) {
        close_and_reuse(0, in, i % 10 * 20 * GYRE_MICROSECOND);
        close_and_reuse(2, in, i % 10 * 20 * GYRE_MICROSECOND);
    }
    EXPECT_EQ(gyre_close(in), 0);
    free(data);
    remove_place(&place);
    return 0;
}
