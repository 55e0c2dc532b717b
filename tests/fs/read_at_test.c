/* Positional reads and writes. */
#include "files.h"

#include <limits.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

BOTH_WAYS(read_at, the_position_stays)
{
    struct place place;
    char buffer[16] = {0};
    int fd;

    make_place(&place);
    fd = make_unnamed(&place, 0);
    EXPECT_EQ(gyre_pwrite(fd, "hello", 5, 3), 5);
    EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 0);
    EXPECT_EQ(gyre_pread(fd, buffer, sizeof buffer, 1), 7);
    EXPECT(!memcmp(buffer, "\0\0hello", 7));
    EXPECT_EQ(gyre_pread(fd, buffer, sizeof buffer, 8), 0);
    EXPECT_EQ(gyre_pread(fd, buffer, sizeof buffer, 1000), 0);
    EXPECT_EQ(gyre_pread(fd, buffer, 0, 0), 0);
    EXPECT_EQ(gyre_pread(fd, NULL, 4, 3), -EFAULT);
    EXPECT_EQ(gyre_pread(fd, buffer, 4, -1), -EINVAL);
    EXPECT_EQ(gyre_pwrite(fd, buffer, 4, -1), -EINVAL);
    EXPECT_EQ(gyre_pread(fd, buffer, 4, INT64_MAX), -EINVAL);
    EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 0);
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_pread(fd, buffer, 4, 0), -ETIMEDOUT);
        EXPECT_EQ(gyre_pwrite(fd, buffer, 4, 0), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_pread(fd, buffer, 4, 0), -EBADF);
    EXPECT_EQ(gyre_pread(-1, buffer, 4, 0), -EBADF);
    EXPECT_EQ(gyre_pread(INT_MAX, buffer, 4, 0), -EBADF);
    remove_place(&place);
    return 0;
}

INSIDE(read_at, pieces_are_scattered_and_gathered)
{
    struct place place;
    char one[3], two[4];
    struct iovec out[2] = {{"abc", 3}, {"defg", 4}}, in[2] = {{one, 3}, {two, 4}};
    struct iovec many[1] = {{one, 1}};
    int fd;

    make_place(&place);
    fd = make_unnamed(&place, 0);
    EXPECT_EQ(gyre_pwritev(fd, out, 2, 10, 0), 7);
    EXPECT_EQ(gyre_preadv(fd, in, 2, 10, 0), 7);
    EXPECT(!memcmp(one, "abc", 3) && !memcmp(two, "defg", 4));
    EXPECT_EQ(gyre_pwritev(fd, out, 2, 0, RWF_APPEND | RWF_DSYNC), 7);
    EXPECT_EQ(lseek(fd, 0, SEEK_END), 24);
    EXPECT_EQ(gyre_preadv(fd, in, 2, 20, RWF_HIPRI), 4);
    EXPECT_EQ(gyre_preadv(fd, in, 2, 0, 1 << 30), -EOPNOTSUPP);
    EXPECT_EQ(gyre_preadv(fd, in, 0, 0, 0), 0);
    EXPECT_EQ(gyre_preadv(fd, many, IOV_MAX + 1, 0, 0), -EINVAL);
    EXPECT_EQ(gyre_preadv(fd, many, -1, 0, 0), -EINVAL);
    EXPECT_EQ(gyre_preadv(fd, many, 1, -1, 0), -EINVAL);
    EXPECT_EQ(gyre_pwritev(-1, many, 1, 0, 0), -EBADF);
    EXPECT_EQ(gyre_close(fd), 0);
    remove_place(&place);
    return 0;
}

INSIDE(read_at, what_has_no_position_is_refused)
{
    int pipes[2], sockets[2], terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct iovec piece = {"x", 1};
    char byte;

    make_pipe(pipes);
    make_stream_pair(sockets);
    EXPECT_EQ(gyre_write(pipes[1], "x", 1), 1); /* known as no socket now */
    EXPECT_EQ(gyre_pread(pipes[0], &byte, 1, 0), -ESPIPE);
    EXPECT_EQ(gyre_pwrite(pipes[1], "x", 1, 0), -ESPIPE);
    EXPECT_EQ(gyre_pread(sockets[0], &byte, 1, 0), -ESPIPE);
    EXPECT_EQ(close(sockets[1]), 0);
    EXPECT_EQ(gyre_pwrite(sockets[0], "x", 1, 0), -ESPIPE); /* and no SIGPIPE */
    EXPECT_EQ(gyre_pwritev(sockets[0], &piece, 1, 0, 0), -ESPIPE);
    if (terminal >= 0) {
        EXPECT_EQ(gyre_pread(terminal, &byte, 1, 0), -ESPIPE);
        EXPECT_EQ(gyre_close(terminal), 0);
    }
    EXPECT_EQ(gyre_close(sockets[0]), 0);
    EXPECT_EQ(gyre_close(pipes[0]), 0);
    EXPECT_EQ(gyre_close(pipes[1]), 0);
    return 0;
}

INSIDE(read_at, all_goes_on_until_the_end)
{
    enum { SIZE = 3 << 20 };
    struct place place;
    char *data = malloc(SIZE), *copy = malloc(SIZE);
    size_t done = 7;
    int fd, full = open("/dev/full", O_RDWR | O_CLOEXEC);

    make_place(&place);
    for (int i = 0; i < SIZE; i++)
        data[i] = (char)(i * 7 + i / 4096);
    fd = make_unnamed(&place, 0);
    EXPECT_EQ(gyre_pwrite_all(fd, data, SIZE, 100, &done), SIZE);
    EXPECT_EQ(done, SIZE);
    EXPECT_EQ(gyre_pread_all(fd, copy, SIZE, 100, NULL), SIZE);
    EXPECT(!memcmp(data, copy, SIZE));
    EXPECT_EQ(gyre_pread_all(fd, copy, SIZE, 200, &done), SIZE - 100);
    EXPECT_EQ(done, SIZE - 100);
    EXPECT_EQ(gyre_pread_all(fd, copy, SIZE, SIZE + 100, &done), 0);
    EXPECT_EQ(done, 0);
    EXPECT_EQ(gyre_pwrite_all(fd, data, 0, 0, &done), 0);
    EXPECT_EQ(gyre_pwrite_all(full, data, 10, 0, &done), -ENOSPC);
    EXPECT_EQ(done, 0);
    EXPECT_EQ(gyre_pread_all(-1, copy, 1, 0, &done), -EBADF);
    EXPECT_EQ(gyre_close(full), 0);
    EXPECT_EQ(gyre_close(fd), 0);
    free(data);
    free(copy);
    remove_place(&place);
    return 0;
}

INSIDE(read_at, direct_io_reads_what_was_written)
{
    struct place place;
    char *block = aligned_alloc(4096, 8192);
    int fd;

    make_place(&place);
    fd = openat(place.fd, "unnamed", O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        memset(block, 'd', 8192);
        EXPECT_EQ(gyre_pwrite(fd, block, 8192, 0), 8192);
        memset(block, 0, 8192);
        EXPECT_EQ(gyre_pread(fd, block, 8192, 4096), 4096);
        EXPECT_EQ(block[4095], 'd');
        EXPECT_EQ(gyre_pread(fd, block, 4096, 7), -EINVAL);
        EXPECT_EQ(gyre_close(fd), 0);
        EXPECT_EQ(gyre_unlinkat(place.fd, "unnamed", 0), 0);
    } else {
        fprintf(stderr, "no O_DIRECT here\n");
    }
    free(block);
    remove_place(&place);
    return 0;
}
