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
    for (int i = 0; i < 2; i++) {
        struct sending sending;
        gyre_handle handle;

        if (i) {
            make_pipe(fds);
        } else {
            make_stream_pair(fds);
        }
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

INSIDE(sendfile, a_deadline_tells_how_far_it_came)
{
    struct place place;
    char *data = malloc(SIZE), *copy = malloc(SIZE);
    struct sending sending;
    int fds[2], in;

    make_place(&place);
    make_pipe(fds);
    in = make_pattern(&place, data);
    sending = (struct sending){fds[1], in, 0, SIZE, 0, 0};
    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(send_one(&sending), 0);
    }
    EXPECT_EQ(sending.result, -ETIMEDOUT);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(gyre_read_all(fds[0], copy, SIZE, NULL), sending.done);
    EXPECT(sending.done < SIZE && !memcmp(data, copy, sending.done));
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(in), 0);
    free(data);
    free(copy);
    remove_place(&place);
    return 0;
}
