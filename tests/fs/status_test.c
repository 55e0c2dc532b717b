/* Status, mode, owner, times; by operations and by helpers. */
#include "files.h"

#include <sys/sysmacros.h>

static void expect_same(const struct stat *got, const struct stat *wanted)
{
    EXPECT_EQ(got->st_dev, wanted->st_dev);
    EXPECT_EQ(got->st_ino, wanted->st_ino);
    EXPECT_EQ(got->st_mode, wanted->st_mode);
    EXPECT_EQ(got->st_nlink, wanted->st_nlink);
    EXPECT_EQ(got->st_uid, wanted->st_uid);
    EXPECT_EQ(got->st_gid, wanted->st_gid);
    EXPECT_EQ(got->st_rdev, wanted->st_rdev);
    EXPECT_EQ(got->st_size, wanted->st_size);
    EXPECT_EQ(got->st_blksize, wanted->st_blksize);
    EXPECT_EQ(got->st_blocks, wanted->st_blocks);
    EXPECT(!memcmp(&got->st_atim, &wanted->st_atim, sizeof got->st_atim));
    EXPECT(!memcmp(&got->st_mtim, &wanted->st_mtim, sizeof got->st_mtim));
    EXPECT(!memcmp(&got->st_ctim, &wanted->st_ctim, sizeof got->st_ctim));
}

BOTH_WAYS(status, stat_says_what_the_system_call_says)
{
    static const char *const paths[] = {"/etc/passwd", "/dev/null", "/etc", "/proc/self/exe"};
    struct stat got, wanted;

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int fd = open(paths[i], O_PATH | O_CLOEXEC);

        EXPECT_EQ(stat(paths[i], &wanted), 0);
        EXPECT_EQ(gyre_stat(paths[i], &got), 0);
        expect_same(&got, &wanted);
        EXPECT_EQ(gyre_fstat(fd, &got), 0);
        expect_same(&got, &wanted);
        EXPECT_EQ(lstat(paths[i], &wanted), 0);
        EXPECT_EQ(gyre_lstat(paths[i], &got), 0);
        EXPECT_EQ(got.st_mode, wanted.st_mode);
        EXPECT_EQ(close(fd), 0);
    }
    return 0;
}

BOTH_WAYS(status, what_is_not_there_leaves_the_output_alone)
{
    struct stat status, copy;
    struct statx extended, extended_copy;

    memset(&status, 0x55, sizeof status);
    memset(&extended, 0x55, sizeof extended);
    copy = status;
    extended_copy = extended;
    EXPECT_EQ(gyre_stat("/none", &status), -ENOENT);
    EXPECT_EQ(gyre_lstat("/etc/passwd/x", &status), -ENOTDIR);
    EXPECT_EQ(gyre_fstat(-1, &status), -EBADF);
    EXPECT_EQ(gyre_fstat(AT_FDCWD, &status), -EBADF);
    EXPECT_EQ(gyre_fstat(1000000, &status), -EBADF);
    EXPECT_EQ(gyre_statx(AT_FDCWD, "/none", 0, STATX_SIZE, &extended), -ENOENT);
    EXPECT_EQ(gyre_statx(AT_FDCWD, "/etc", 0x40000000, STATX_SIZE, &extended), -EINVAL);
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_stat("/etc", &status), -ETIMEDOUT);
    }
    EXPECT(!memcmp(&status, &copy, sizeof copy));
    EXPECT(!memcmp(&extended, &extended_copy, sizeof extended));
    return 0;
}

BOTH_WAYS(status, statx_gives_what_was_asked_for)
{
    struct statx status;
    int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

    EXPECT_EQ(gyre_statx(AT_FDCWD, "/etc/passwd", 0, STATX_BASIC_STATS, &status), 0);
    EXPECT(S_ISREG(status.stx_mode));
    EXPECT_EQ(gyre_statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &status), 0);
    EXPECT(status.stx_size > 0);
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

INSIDE(status, mode_owner_and_times_change)
{
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000, .tv_nsec = 5}};
    struct place place;
    struct path path;
    struct stat status;

    make_place(&place);
    path = path_in(&place, "file");
    EXPECT_EQ(close(open(path.text, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
    EXPECT_EQ(gyre_chmod(path.text, 0640), 0);
    EXPECT_EQ(stat(path.text, &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0640);
    EXPECT_EQ(gyre_fchmodat(place.fd, "file", 0600, 0), 0);
    EXPECT_EQ(gyre_fchmodat(place.fd, "file", 0604, AT_SYMLINK_NOFOLLOW), 0);
    EXPECT_EQ(gyre_fchownat(place.fd, "file", getuid(), getgid(), 0), 0);
    EXPECT_EQ(gyre_utimensat(place.fd, "file", times, 0), 0);
    EXPECT_EQ(stat(path.text, &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0604);
    EXPECT_EQ(status.st_atim.tv_sec, 1000);
    EXPECT_EQ(status.st_mtim.tv_sec, 2000);
    EXPECT_EQ(status.st_mtim.tv_nsec, 5);
    EXPECT_EQ(gyre_chmod("/none", 0600), -ENOENT);
    EXPECT_EQ(gyre_fchmodat(AT_FDCWD, "/none", 0600, 0), -ENOENT);
    EXPECT_EQ(gyre_fchownat(AT_FDCWD, "/none", 0, 0, 0), -ENOENT);
    EXPECT_EQ(gyre_utimensat(AT_FDCWD, "/none", NULL, 0), -ENOENT);
    EXPECT_EQ(unlink(path.text), 0);
    remove_place(&place);
    return 0;
}
