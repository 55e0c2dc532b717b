/*
 * Each operation that the library uses where the kernel has it, masked alone: the calls that rest
 * on it, and no others, go another way, with the same results, or say that they can't.
 */
#include "files.h"

#include "ring/abi.h"

#include <gyre/blocking.h>
#include <gyre/datagram.h>
#include <gyre/feed.h>
#include <gyre/poll.h>
#include <gyre/unix.h>

#include <liburing.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/xattr.h>

static struct place place;
static int file, pipes[2], pair[2];
static char bytes[64 << 10];
static struct gyre_buffers *buffers;

enum way {
    HELPER, /* by a helper thread */
    RING,   /* by other operations: no helper */
    REFUSED /* -EOPNOTSUPP */
};

static int opened(int fd)
{
    return fd >= 0 ? close(fd) : fd;
}

static struct path existing(void)
{
    return path_in(&place, "file");
}

static struct path absent(void)
{
    return path_in(&place, "new");
}

#define CALL(name, expression)                                                                     \
    static long call_##name(void)                                                                  \
    {                                                                                              \
        return (expression);                                                                       \
    }

CALL(fsync, gyre_fsync(file))
CALL(fdatasync, gyre_fdatasync(file))
CALL(sync_file_range, gyre_sync_file_range(file, 0, 4096, SYNC_FILE_RANGE_WRITE))
CALL(fallocate, gyre_fallocate(file, 0, 0, 4096))
CALL(ftruncate, gyre_ftruncate(file, 4096))
CALL(fadvise, gyre_fadvise(file, 0, 4096, POSIX_FADV_NORMAL))
CALL(madvise, gyre_madvise(gyre_buffers_at(buffers, 0), 4096, MADV_NORMAL))
CALL(openat, opened(gyre_open(existing().text, O_RDONLY, 0)))
CALL(openat2, opened(gyre_openat2(AT_FDCWD, existing().text, &(struct open_how){.flags = O_RDONLY},
                                  sizeof(struct open_how))))
CALL(stat, gyre_stat(existing().text, &(struct stat){0}))
CALL(fstat, gyre_fstat(file, &(struct stat){0}))
CALL(statx, gyre_statx(AT_FDCWD, existing().text, 0, STATX_ALL, &(struct statx){0}))
CALL(getxattr, gyre_getxattr(existing().text, "user.key", bytes, sizeof bytes))
CALL(fgetxattr, gyre_fgetxattr(file, "user.key", bytes, sizeof bytes))
CALL(setxattr, gyre_setxattr(existing().text, "user.key", "value", 5, 0))
CALL(fsetxattr, gyre_fsetxattr(file, "user.key", "value", 5, 0))
CALL(tee, gyre_tee(pipes[0], pipes[1], 1, SPLICE_F_NONBLOCK))
CALL(pread, gyre_pread_buffer(file, buffers, 0, 4096, 0))
CALL(pwrite, gyre_pwrite_buffer(file, buffers, 0, 4096, 0))
CALL(futex, gyre_futex_wait(&(uint32_t){1}, 0, 0))

static long call_splice(void)
{
    off_t offset = 0;
    long n = gyre_splice(file, &offset, pipes[1], NULL, 4, 0);

    EXPECT_EQ(read(pipes[0], bytes, 4), 4);
    return n;
}

static long call_rename(void)
{
    int error = gyre_rename(existing().text, absent().text);

    EXPECT_EQ(rename(absent().text, existing().text), 0);
    return error;
}

static long call_unlink(void)
{
    EXPECT_EQ(link(existing().text, absent().text), 0);
    return gyre_unlink(absent().text);
}

static long undone(int error)
{
    EXPECT_EQ(remove(absent().text), 0);
    return error;
}

CALL(link, undone(gyre_link(existing().text, absent().text)))
CALL(symlink, undone(gyre_symlink("file", absent().text)))
CALL(mkdir, undone(gyre_mkdir(absent().text, 0700)))

static long received(ssize_t n)
{
    EXPECT(n > 0);
    EXPECT_EQ(recv(pair[1], bytes, sizeof bytes, MSG_DONTWAIT), n);
    return (long)n;
}

static long call_sendto(void)
{
    static const char call[] = "datagram";
    char text[GYRE_ADDRESS_SIZE];
    struct gyre_address to;
    int receiver = gyre_udp_bind("127.0.0.1:0", 0), sender = gyre_udp_bind("127.0.0.1:0", 0);
    long n;

    EXPECT(gyre_local_address(receiver, text, sizeof text) > 0);
    EXPECT_EQ(gyre_address_from(&to, text), 0);
    n = gyre_sendto(sender, call, sizeof call, 0, &to);
    EXPECT_EQ(gyre_recvfrom(receiver, bytes, sizeof bytes, 0, NULL), sizeof call);
    EXPECT_EQ(close(receiver) | close(sender), 0);
    return n;
}

/* What is sent without a copy is below the socket's limit: it waits for nobody. */
CALL(zero_copy, received(gyre_send_zero_copy(pair[0], bytes, 32 << 10, NULL, NULL)))

static long call_feed(void)
{
    struct gyre_feed *feed;
    struct gyre_piece piece;
    int result = gyre_feed_open(&feed, pair[1], NULL);

    if (result)
        return result;
    EXPECT_EQ(gyre_write(pair[0], "a", 1), 1);
    result = gyre_feed_next(feed, &piece);
    gyre_feed_return(&piece);
    gyre_feed_close(feed);
    return result;
}

static const struct row {
    const char *name;
    unsigned operation;
    enum way way;
    long (*call)(void);
} rows[] = {
    {"fsync", IORING_OP_FSYNC, HELPER, call_fsync},
    {"fdatasync", IORING_OP_FSYNC, HELPER, call_fdatasync},
    {"sync_file_range", IORING_OP_SYNC_FILE_RANGE, HELPER, call_sync_file_range},
    {"fallocate", IORING_OP_FALLOCATE, HELPER, call_fallocate},
    {"ftruncate", ABI_OP_FTRUNCATE, HELPER, call_ftruncate},
    {"fadvise", IORING_OP_FADVISE, HELPER, call_fadvise},
    {"madvise", IORING_OP_MADVISE, HELPER, call_madvise},
    {"open", IORING_OP_OPENAT, HELPER, call_openat},
    {"openat2", IORING_OP_OPENAT2, HELPER, call_openat2},
    {"stat", IORING_OP_STATX, HELPER, call_stat},
    {"fstat", IORING_OP_STATX, HELPER, call_fstat},
    {"statx", IORING_OP_STATX, HELPER, call_statx},
    {"setxattr", IORING_OP_SETXATTR, HELPER, call_setxattr},
    {"fsetxattr", IORING_OP_FSETXATTR, HELPER, call_fsetxattr},
    {"getxattr", IORING_OP_GETXATTR, HELPER, call_getxattr},
    {"fgetxattr", IORING_OP_FGETXATTR, HELPER, call_fgetxattr},
    {"splice", IORING_OP_SPLICE, HELPER, call_splice},
    {"tee", IORING_OP_TEE, HELPER, call_tee},
    {"rename", IORING_OP_RENAMEAT, HELPER, call_rename},
    {"unlink", IORING_OP_UNLINKAT, HELPER, call_unlink},
    {"link", IORING_OP_LINKAT, HELPER, call_link},
    {"symlink", IORING_OP_SYMLINKAT, HELPER, call_symlink},
    {"mkdir", IORING_OP_MKDIRAT, HELPER, call_mkdir},
    {"pread_buffer", IORING_OP_READ_FIXED, RING, call_pread},
    {"pwrite_buffer", IORING_OP_WRITE_FIXED, RING, call_pwrite},
    {"sendto", IORING_OP_SENDMSG_ZC, RING, call_sendto},
    {"send_zero_copy", IORING_OP_SEND_ZC, RING, call_zero_copy},
    {"feed", IORING_OP_PROVIDE_BUFFERS, REFUSED, call_feed},
    {"futex_wait", ABI_OP_FUTEX_WAIT, REFUSED, call_futex},
};

enum { ROWS = sizeof rows / sizeof *rows };

static long whole[ROWS]; /* what each returns on the whole kernel */
static unsigned masked;  /* the operation; 0: none */

static uint64_t helped(void)
{
    struct gyre_blocking_counts counts = {.size = sizeof counts};

    EXPECT_EQ(gyre_blocking_count(&counts), 0);
    return counts.calls;
}

static void check(int i)
{
    bool without = masked && rows[i].operation == masked;
    uint64_t before = helped();
    long result = rows[i].call();
    uint64_t calls = helped() - before;
    int failed = failed_expectations;

    if (!masked)
        whole[i] = result;
    EXPECT_EQ(calls, without && rows[i].way == HELPER ? 1 : 0);
    EXPECT_EQ(result, without && rows[i].way == REFUSED ? -EOPNOTSUPP : whole[i]);
    if (failed != failed_expectations)
        fprintf(stderr, "%s, without operation %u\n", rows[i].name, masked);
}

static int all(void *unused)
{
    (void)unused;
    make_place(&place);
    file = open(existing().text, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    EXPECT(file >= 0);
    EXPECT_EQ(write(file, bytes, 4096), 4096);
    make_pipe(pipes);
    make_stream_pair(pair);
    EXPECT_EQ(gyre_buffers_create(&buffers, 1, 4096), 0);
    /* Only what this kernel has can be without. */
    for (int i = 0; i < ROWS; i++)
        if (rows[i].operation == masked || gyre_ring_supports(rows[i].operation))
            check(i);
    gyre_buffers_destroy(buffers);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(close(pipes[i]) | close(pair[i]), 0);
    EXPECT_EQ(close(file), 0);
    EXPECT_EQ(unlink(existing().text), 0);
    remove_place(&place);
    return 0;
}

Test(masked, each_operation_alone)
{
    cr_assert_eq(run_with_workers(1, all, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
    for (int i = 0; i < ROWS; i++) {
        if (rows[i].operation == masked)
            continue; /* of several calls */
        masked = rows[i].operation;
        memset(gyre_ring_masked, 0, sizeof gyre_ring_masked);
        gyre_ring_masked[masked / 64] = (uint64_t)1 << masked % 64;
        cr_assert_eq(run_with_workers(1, all, NULL), 0);
        cr_assert_eq(failed_expectations, 0, "without %s", rows[i].name);
    }
}
