/* Reading and writing every kind of descriptor: what comes back in each case. */
#include "harness.h"

#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

static int make_file(void)
{
    return memfd_create("test", MFD_CLOEXEC);
}

INSIDE(read_write, a_stream_socket_carries_bytes_both_ways)
{
    char buffer[16];
    int fds[2];

    make_stream_pair(fds);
    EXPECT_EQ(gyre_write(fds[0], "hello", 5), 5);
    EXPECT_EQ(gyre_read(fds[1], buffer, sizeof buffer), 5);
    EXPECT(!memcmp(buffer, "hello", 5));
    EXPECT_EQ(gyre_send(fds[1], "you", 3, 0), 3);
    EXPECT_EQ(gyre_recv(fds[0], buffer, sizeof buffer, MSG_PEEK), 3);
    EXPECT_EQ(gyre_recv(fds[0], buffer, sizeof buffer, 0), 3);
    EXPECT_EQ(gyre_recv(fds[0], buffer, sizeof buffer, MSG_DONTWAIT), -EAGAIN);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_read(fds[1], buffer, sizeof buffer), 0);
    EXPECT_EQ(gyre_write(fds[1], "x", 1), -EPIPE);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    return 0;
}

INSIDE(read_write, a_pipe_carries_bytes_one_way)
{
    char buffer[16];
    int fds[2];

    make_pipe(fds);
    EXPECT_EQ(gyre_write(fds[1], "hello", 5), 5);
    EXPECT_EQ(gyre_read(fds[0], buffer, 3), 3);
    EXPECT_EQ(gyre_read(fds[0], buffer, sizeof buffer), 2);
    EXPECT_EQ(gyre_read(fds[1], buffer, 1), -EBADF);
    EXPECT_EQ(gyre_write(fds[0], buffer, 1), -EBADF);
    EXPECT_EQ(gyre_recv(fds[0], buffer, 1, 0), -ENOTSOCK);
    EXPECT_EQ(gyre_send(fds[1], buffer, 1, 0), -ENOTSOCK);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(gyre_read(fds[0], buffer, sizeof buffer), 0);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    return 0;
}

INSIDE(read_write, a_file_moves_its_position)
{
    char buffer[16] = {0};
    int fd = make_file();

    EXPECT_EQ(gyre_write(fd, "abcdef", 6), 6);
    EXPECT_EQ(gyre_write(fd, "gh", 2), 2);
    EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 8);
    EXPECT_EQ(lseek(fd, 2, SEEK_SET), 2);
    EXPECT_EQ(gyre_read(fd, buffer, 3), 3);
    EXPECT(!memcmp(buffer, "cde", 3));
    EXPECT_EQ(gyre_read(fd, buffer, sizeof buffer), 3);
    EXPECT_EQ(gyre_read(fd, buffer, sizeof buffer), 0);
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

INSIDE(read_write, a_file_on_disk_works_too)
{
    char name[] = "/tmp/gyre-test-XXXXXX", *block = malloc(1 << 20), *copy = malloc(1 << 20);
    size_t done = 0;
    int fd = mkstemp(name);

    memset(block, 'x', 1 << 20);
    EXPECT_EQ(unlink(name), 0);
    EXPECT_EQ(gyre_write_all(fd, block, 1 << 20, &done), 1 << 20);
    EXPECT_EQ(done, 1 << 20);
    EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
    EXPECT_EQ(gyre_read_all(fd, copy, 1 << 20, &done), 1 << 20);
    EXPECT(!memcmp(block, copy, 1 << 20));
    EXPECT_EQ(gyre_close(fd), 0);
    free(block);
    free(copy);
    return 0;
}

/* The kernel tries the rest by itself, fails, and forgets to move the position (read_write.c). */
enum how { READ, WRITE, READV, WRITEV };

static void expect_cut_short(int fd, enum how how, char *memory, size_t size, size_t wanted)
{
    struct iovec pieces[] = {{memory, 1}, {memory + 1, size - 1}};
    off_t before = lseek(fd, 0, SEEK_CUR);
    ssize_t n = how == READ    ? gyre_read(fd, memory, size)
                : how == WRITE ? gyre_write(fd, memory, size)
                : how == READV ? gyre_readv(fd, pieces, 2)
                               : gyre_writev(fd, pieces, 2);

    EXPECT_EQ(n, wanted);
    EXPECT_EQ(lseek(fd, 0, SEEK_CUR), before + (off_t)wanted);
}

INSIDE(read_write, what_fails_half_way_moves_the_position)
{
    enum { PAGE = 4096 };
    char *memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char name[] = "/tmp/gyre-test-XXXXXX";
    int fd = mkstemp(name);

    EXPECT_EQ(unlink(name), 0);
    EXPECT_EQ(munmap(memory + PAGE, PAGE), 0);
    expect_cut_short(fd, WRITE, memory, 2 * PAGE, PAGE);
    expect_cut_short(fd, WRITEV, memory, 2 * PAGE, PAGE);
    expect_cut_short(fd, WRITE, memory + 10, PAGE - 10, PAGE - 10);
    EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
    expect_cut_short(fd, READ, memory, 2 * PAGE, PAGE);
    expect_cut_short(fd, READV, memory + 1, 2 * PAGE, PAGE - 1);
    EXPECT_EQ(lseek(fd, -1, SEEK_END), 3 * PAGE - 11);
    expect_cut_short(fd, READ, memory, PAGE, 1); /* the end */
    expect_cut_short(fd, READ, memory, PAGE, 0);
    EXPECT_EQ(gyre_close(fd), 0);
    munmap(memory, PAGE);
    return 0;
}

static void limit_files(rlim_t size)
{
    struct rlimit limit;

    EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, size == RLIM_INFINITY ? SIG_DFL : SIG_IGN);
}

INSIDE(read_write, what_has_no_room_is_an_error)
{
    enum { ROOM = 1 << 20 };
    char name[] = "/tmp/gyre-test-XXXXXX", *data = calloc(1, 2 * ROOM);
    struct iovec pieces[] = {{data, 10}, {data, 2 * ROOM - 10}};
    size_t done = 0;
    int fd = mkstemp(name);

    EXPECT_EQ(unlink(name), 0);
    limit_files(ROOM);
    EXPECT_EQ(gyre_write_all(fd, data, 2 * ROOM, &done), -EFBIG);
    EXPECT_EQ(done, ROOM);
    EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
    EXPECT_EQ(gyre_writev_all(fd, pieces, 2, &done), -EFBIG);
    EXPECT_EQ(done, ROOM);
    limit_files(RLIM_INFINITY);
    EXPECT_EQ(gyre_close(fd), 0);
    free(data);
    return 0;
}

INSIDE(read_write, an_eventfd_counts)
{
    uint64_t value = 3;
    int fd = eventfd(0, EFD_CLOEXEC);

    EXPECT_EQ(gyre_write(fd, &value, sizeof value), 8);
    value = 4;
    EXPECT_EQ(gyre_write(fd, &value, sizeof value), 8);
    EXPECT_EQ(gyre_read(fd, &value, 7), -EINVAL);
    EXPECT_EQ(gyre_read(fd, &value, sizeof value), 8);
    EXPECT_EQ(value, 7);
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

INSIDE(read_write, a_terminal_gives_lines)
{
    char buffer[64];
    int slave, master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (master < 0 || grantpt(master) || unlockpt(master)) {
        fprintf(stderr, "no pseudo terminals here\n");
        return 0;
    }
    slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT_EQ(gyre_write(master, "line\n", 5), 5);
    EXPECT_EQ(gyre_read(slave, buffer, sizeof buffer), 5);
    EXPECT(!memcmp(buffer, "line\n", 5));
    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_read(slave, buffer, sizeof buffer), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_write(master, "again\n", 6), 6);
    EXPECT_EQ(gyre_read(slave, buffer, sizeof buffer), 6);
    EXPECT_EQ(gyre_close(slave), 0);
    EXPECT_EQ(gyre_close(master), 0);
    return 0;
}

INSIDE(read_write, special_files_behave_as_with_read)
{
    char buffer[16];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC),
        zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC), folder = open("/", O_RDONLY | O_CLOEXEC);
    int path = open("/", O_PATH | O_CLOEXEC),
        proc = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

    EXPECT_EQ(gyre_read(null, buffer, sizeof buffer), 0);
    EXPECT_EQ(gyre_write(null, buffer, sizeof buffer), sizeof buffer);
    EXPECT_EQ(gyre_read(zero, buffer, sizeof buffer), sizeof buffer);
    EXPECT_EQ(gyre_write(full, buffer, sizeof buffer), -ENOSPC);
    EXPECT_EQ(gyre_read(folder, buffer, sizeof buffer), -EISDIR);
    EXPECT_EQ(gyre_read(path, buffer, sizeof buffer), -EBADF);
    EXPECT_EQ(gyre_read(proc, buffer, 5), 5);
    EXPECT(!memcmp(buffer, "Name:", 5));
    EXPECT_EQ(gyre_close(null), 0);
    EXPECT_EQ(gyre_close(zero), 0);
    EXPECT_EQ(gyre_close(full), 0);
    EXPECT_EQ(gyre_close(folder), 0);
    EXPECT_EQ(gyre_close(path), 0);
    EXPECT_EQ(gyre_close(proc), 0);
    return 0;
}

/* --- sizes ------------------------------------------------------------------------------------ */

INSIDE(read_write, reading_nothing_returns_at_once)
{
    struct iovec none = {NULL, 0};
    size_t done = 7;
    char byte;
    int fds[2], pipes[2];

    make_stream_pair(fds);
    make_pipe(pipes);
    {
        GYRE_TIMEOUT(GYRE_SECOND);
        EXPECT_EQ(gyre_read(fds[0], &byte, 0), 0);
        EXPECT_EQ(gyre_read(fds[0], NULL, 0), 0);
        EXPECT_EQ(gyre_readv(fds[0], &none, 1), 0);
        EXPECT_EQ(gyre_readv(fds[0], NULL, 0), 0);
        EXPECT_EQ(gyre_read_all(fds[0], &byte, 0, &done), 0);
        EXPECT_EQ(done, 0);
        EXPECT_EQ(gyre_read(pipes[0], &byte, 0), 0);
        EXPECT_EQ(gyre_readv(pipes[0], &none, 1), 0);
        EXPECT_EQ(gyre_read_all(pipes[0], &byte, 0, &done), 0);
    }
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(gyre_close(pipes[0]), 0);
    EXPECT_EQ(gyre_close(pipes[1]), 0);
    EXPECT_EQ(gyre_read(fds[0], &byte, 0), -EBADF);
    EXPECT_EQ(gyre_read(-1, &byte, 0), -EBADF);
    return 0;
}

INSIDE(read_write, writing_nothing_returns_at_once)
{
    struct iovec none[2] = {{NULL, 0}, {NULL, 0}};
    size_t done = 7;
    int fds[2], pipes[2];

    make_stream_pair(fds);
    make_pipe(pipes);
    EXPECT_EQ(gyre_write(fds[0], NULL, 0), 0);
    EXPECT_EQ(gyre_writev(fds[0], none, 2), 0);
    EXPECT_EQ(gyre_writev(fds[0], NULL, 0), 0);
    EXPECT_EQ(gyre_write_all(fds[0], NULL, 0, &done), 0);
    EXPECT_EQ(done, 0);
    done = 7;
    EXPECT_EQ(gyre_writev_all(fds[0], none, 2, &done), 0);
    EXPECT_EQ(done, 0);
    EXPECT_EQ(gyre_writev_all(fds[0], NULL, 0, NULL), 0);
    EXPECT_EQ(gyre_write(pipes[1], NULL, 0), 0);
    EXPECT_EQ(gyre_writev_all(pipes[1], none, 2, &done), 0);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(gyre_close(pipes[0]), 0);
    EXPECT_EQ(gyre_close(pipes[1]), 0);
    return 0;
}

INSIDE(read_write, datagrams_keep_their_borders)
{
    char buffer[16];
    int fds[2];

    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    EXPECT_EQ(gyre_write(fds[0], "one", 3), 3);
    EXPECT_EQ(gyre_write(fds[0], "two", 3), 3);
    EXPECT_EQ(gyre_read(fds[1], buffer, 2), 2);
    EXPECT_EQ(gyre_read(fds[1], buffer, sizeof buffer), 3);
    EXPECT(!memcmp(buffer, "two", 3));
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    return 0;
}

/* Sizes that don't fit the submission entry's 32 bits are cut, never wrapped. */
INSIDE(read_write, huge_sizes_are_cut_short)
{
    size_t size = (size_t)5 << 30;
    char *huge = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int fds[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (huge == MAP_FAILED) {
        EXPECT_EQ(close(null), 0);
        return 0;
    }
    make_stream_pair(fds);
    for (unsigned shift = 31; shift <= 32; shift++) {
        EXPECT_EQ(gyre_write(fds[0], "abc", 3), 3);
        EXPECT_EQ(gyre_recv(fds[1], huge, (size_t)1 << shift, 0), 3);
        EXPECT_EQ(gyre_write(fds[0], "abc", 3), 3);
        EXPECT_EQ(gyre_read(fds[1], huge, (size_t)1 << shift), 3);
        EXPECT_EQ(gyre_write(null, huge, (size_t)1 << shift), 0x7ffff000);
        {
            /* Nobody reads: what fits the socket's buffer goes out. */
            GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
            EXPECT(gyre_send(fds[0], huge, (size_t)1 << shift, 0) > 0);
        }
        while (gyre_recv(fds[1], huge, 1 << 20, MSG_DONTWAIT) > 0)
            ;
    }
    EXPECT_EQ(munmap(huge, size), 0);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(gyre_close(null), 0);
    return 0;
}

/* --- errors ----------------------------------------------------------------------------------- */

static void expect_all_bad(int fd)
{
    struct iovec piece = {&piece, 1};
    struct sockaddr_storage address = {.ss_family = AF_INET};
    size_t done;
    char byte = 0;

    EXPECT_EQ(gyre_read(fd, &byte, 1), -EBADF);
    EXPECT_EQ(gyre_write(fd, &byte, 1), -EBADF);
    EXPECT_EQ(gyre_readv(fd, &piece, 1), -EBADF);
    EXPECT_EQ(gyre_writev(fd, &piece, 1), -EBADF);
    done = 9;
    EXPECT_EQ(gyre_read_all(fd, &byte, 1, &done), -EBADF);
    EXPECT_EQ(done, 0);
    done = 9;
    EXPECT_EQ(gyre_write_all(fd, &byte, 1, &done), -EBADF);
    EXPECT_EQ(done, 0);
    done = 9;
    EXPECT_EQ(gyre_writev_all(fd, &piece, 1, &done), -EBADF);
    EXPECT_EQ(done, 0);
    EXPECT_EQ(gyre_recv(fd, &byte, 1, 0), -EBADF);
    EXPECT_EQ(gyre_recv(fd, &byte, 1, MSG_DONTWAIT), -EBADF);
    EXPECT_EQ(gyre_send(fd, &byte, 1, 0), -EBADF);
    EXPECT_EQ(gyre_send(fd, &byte, 1, MSG_DONTWAIT), -EBADF);
    EXPECT_EQ(gyre_connect(fd, (struct sockaddr *)&address, sizeof address), -EBADF);
    EXPECT_EQ(gyre_shutdown(fd, SHUT_RDWR), -EBADF);
    EXPECT_EQ(gyre_close(fd), -EBADF);
}

INSIDE(read_write, numbers_that_are_no_descriptors_give_ebadf)
{
    int fds[2];

    make_pipe(fds);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    expect_all_bad(fds[1]);
    expect_all_bad(-1);
    expect_all_bad(-2);
    expect_all_bad(INT32_MIN);
    expect_all_bad(INT32_MAX);
    expect_all_bad(1023);
    expect_all_bad(1 << 20);
    expect_all_bad(1024 * 16384 - 1); /* the last one of the table */
    expect_all_bad(1024 * 16384);     /* and behind it */
    return 0;
}

INSIDE(read_write, bad_memory_gives_efault)
{
    struct iovec piece = {(void *)8, 4};
    char byte;
    int fds[2], pipes[2];

    make_stream_pair(fds);
    make_pipe(pipes);
    EXPECT_EQ(gyre_write(fds[0], (void *)8, 4), -EFAULT);
    EXPECT_EQ(gyre_writev(fds[0], &piece, 1), -EFAULT);
    EXPECT_EQ(gyre_writev(fds[0], (void *)8, 1), -EFAULT);
    EXPECT_EQ(gyre_write(fds[0], "abcd", 4), 4);
    EXPECT_EQ(gyre_read(fds[1], (void *)8, 4), -EFAULT);
    EXPECT_EQ(gyre_readv(fds[1], &piece, 1), -EFAULT);
    EXPECT_EQ(gyre_read(fds[1], &byte, 1), 1);
    EXPECT_EQ(gyre_write(pipes[1], (void *)8, 4), -EFAULT);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(gyre_close(pipes[0]), 0);
    EXPECT_EQ(gyre_close(pipes[1]), 0);
    return 0;
}

INSIDE(read_write, pieces_are_counted_first)
{
    struct iovec *many = calloc(1025, sizeof *many);
    size_t done = 5;
    int fds[2];

    make_stream_pair(fds);
    for (int i = 0; i < 1025; i++)
        many[i] = (struct iovec){"x", 1};
    EXPECT_EQ(gyre_writev(fds[0], many, 1025), -EINVAL);
    EXPECT_EQ(gyre_writev(fds[0], many, -1), -EINVAL);
    EXPECT_EQ(gyre_readv(fds[0], many, 1025), -EINVAL);
    EXPECT_EQ(gyre_readv(fds[0], many, -1), -EINVAL);
    EXPECT_EQ(gyre_writev_all(fds[0], many, 1025, &done), -EINVAL);
    EXPECT_EQ(done, 0);
    EXPECT_EQ(gyre_writev_all(fds[0], many, -1, &done), -EINVAL);
    EXPECT_EQ(gyre_writev_all(fds[0], many, 1024, &done), 1024);
    EXPECT_EQ(done, 1024);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    free(many);
    return 0;
}

/* A call that parks blocks nobody: the kernel's rings wait on descriptors in either mode. */
INSIDE(read_write, descriptors_in_non_blocking_mode_are_waited_for_as_well)
{
    char byte;
    int fds[2], pipes[2];

    EXPECT_EQ(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    {
        GYRE_TIMEOUT(3 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_read(pipes[0], &byte, 1), -ETIMEDOUT);
    }
    {
        GYRE_TIMEOUT(3 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_read(fds[0], &byte, 1), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_write(pipes[1], "x", 1), 1);
    EXPECT_EQ(gyre_read(pipes[0], &byte, 1), 1);
    EXPECT_EQ(gyre_write(fds[1], "x", 1), 1);
    EXPECT_EQ(gyre_read(fds[0], &byte, 1), 1);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(gyre_close(pipes[0]), 0);
    EXPECT_EQ(gyre_close(pipes[1]), 0);
    return 0;
}

/* --- whole transfers -------------------------------------------------------------------------- */

struct transfer_args {
    int fd;
    size_t size;
};

static int drain_slowly(void *arg)
{
    struct transfer_args *a = arg;
    char buffer[3001];
    size_t total = 0;
    ssize_t n;

    while ((n = gyre_read(a->fd, buffer, sizeof buffer)) > 0) {
        for (ssize_t i = 0; i < n; i++, total++)
            if (buffer[i] != (char)(total * 7)) {
                EXPECT_EQ(buffer[i], (char)(total * 7));
                return -EIO;
            }
    }
    EXPECT_EQ(n, 0);
    EXPECT_EQ(total, a->size);
    return 0;
}

static void expect_pieces_arrive(int out, int in, size_t size)
{
    struct transfer_args args = {in, size};
    struct iovec pieces[40];
    gyre_handle reader;
    char *data = malloc(size), *at = data;
    size_t done = 0, left = size;
    int count = 0;

    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 7);
    EXPECT_EQ(gyre_spawn(&reader, drain_slowly, &args), 0);
    while (left && count < 39) {
        size_t length = count % 3 == 1 ? 0 : (size_t)count * 4001 + 1;

        if (length > left || count == 38)
            length = left;
        pieces[count++] = (struct iovec){at, length};
        at += length;
        left -= length;
    }
    pieces[count++] = (struct iovec){NULL, 0};
    EXPECT_EQ(gyre_writev_all(out, pieces, count, &done), size);
    EXPECT_EQ(done, size);
    EXPECT_EQ(gyre_close(out), 0);
    EXPECT_EQ(gyre_join(reader, NULL), 0);
    EXPECT_EQ(gyre_close(in), 0);
    free(data);
}

INSIDE(read_write, pieces_go_out_whole_and_in_order)
{
    int fds[2];

    make_stream_pair(fds);
    expect_pieces_arrive(fds[0], fds[1], 3 << 20);
    make_pipe(fds);
    expect_pieces_arrive(fds[1], fds[0], 1 << 20);
    return 0;
}

INSIDE(read_write, write_all_tells_how_much_went_out)
{
    size_t size = 8 << 20, done = 0, got = 0;
    char *data = calloc(1, size);
    ssize_t n;
    int fds[2];

    make_stream_pair(fds);
    {
        GYRE_TIMEOUT(10 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_write_all(fds[0], data, size, &done), -ETIMEDOUT);
    }
    EXPECT(done > 0 && done < size);
    EXPECT_EQ(gyre_shutdown(fds[0], SHUT_WR), 0);
    while ((n = gyre_read(fds[1], data, size)) > 0)
        got += (size_t)n;
    EXPECT_EQ(got, done);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    free(data);
    return 0;
}

INSIDE(read_write, read_all_tells_how_much_had_come)
{
    char buffer[10];
    size_t done = 0;
    int fds[2];

    make_stream_pair(fds);
    EXPECT_EQ(gyre_write(fds[0], "abc", 3), 3);
    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_read_all(fds[1], buffer, sizeof buffer, &done), -ETIMEDOUT);
    }
    EXPECT_EQ(done, 3);
    EXPECT_EQ(gyre_write(fds[0], "defg", 4), 4);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_read_all(fds[1], buffer, sizeof buffer, &done), 4);
    EXPECT_EQ(done, 4);
    EXPECT_EQ(gyre_read_all(fds[1], buffer, sizeof buffer, &done), 0);
    EXPECT_EQ(done, 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    return 0;
}

INSIDE(read_write, waitall_returns_what_had_come_when_the_context_ends)
{
    char buffer[10];
    int fds[2];

    make_stream_pair(fds);
    EXPECT_EQ(gyre_write(fds[0], "abc", 3), 3);
    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_recv(fds[1], buffer, sizeof buffer, MSG_WAITALL), 3);
        EXPECT_EQ(gyre_context_error(), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    return 0;
}

/* --- kinds that go stale ---------------------------------------------------------------------- */

/* The number is learnt as one kind, closed behind gyre's back, and becomes another. */
INSIDE(read_write, a_number_reused_behind_our_back_is_learnt_anew)
{
    char buffer[8];
    int fds[2], pair[2], number;

    for (int round = 0; round < 50; round++) {
        make_pipe(fds);
        number = fds[0];
        EXPECT_EQ(gyre_write(fds[1], "p", 1), 1);
        EXPECT_EQ(gyre_read(number, buffer, 8), 1);
        EXPECT_EQ(close(fds[0]), 0);
        EXPECT_EQ(close(fds[1]), 0);
        make_stream_pair(pair);
        EXPECT_EQ(pair[0], number);
        EXPECT_EQ(gyre_write(pair[1], "s", 1), 1);
        EXPECT_EQ(gyre_read(number, buffer, 8), 1);
        EXPECT_EQ(buffer[0], 's');
        EXPECT_EQ(gyre_write(number, "t", 1), 1);
        EXPECT_EQ(close(pair[1]), 0);
        EXPECT_EQ(gyre_write(number, "t", 1), -EPIPE);
        EXPECT_EQ(close(number), 0);
        make_pipe(fds);
        EXPECT_EQ(fds[0], number);
        EXPECT_EQ(gyre_write(fds[1], "q", 1), 1);
        EXPECT_EQ(gyre_read(number, buffer, 8), 1);
        EXPECT_EQ(buffer[0], 'q');
        EXPECT_EQ(gyre_close(fds[0]), 0);
        EXPECT_EQ(gyre_close(fds[1]), 0);
    }
    return 0;
}
