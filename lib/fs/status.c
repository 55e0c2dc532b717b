/* What kind of file, how large, whose, how old. */
#include "fs/run.h"

#include <gyre/blocking.h>
#include <gyre/file.h>

#include <sys/sysmacros.h>

static int run_statx(const char *call, int dirfd, const char *path, int flags, unsigned mask,
                     struct statx *status)
{
    struct io_uring_sqe entry = {0};

    io_uring_prep_statx(&entry, dirfd, path, flags, mask, status);
    return gyre_file_run(
        call, dirfd, &entry,
        PLAIN(SYS_statx, dirfd, address_of(path), flags, mask, address_of(status)));
}

static struct timespec time_of(const struct statx_timestamp *time)
{
    return (struct timespec){.tv_sec = time->tv_sec, .tv_nsec = time->tv_nsec};
}

static int run_stat(const char *call, int dirfd, const char *path, int flags, struct stat *status)
{
    struct statx x;
    int error = run_statx(call, dirfd, path, flags, STATX_BASIC_STATS, &x);

    if (error)
        return error;
    *status = (struct stat){
        .st_dev = makedev(x.stx_dev_major, x.stx_dev_minor),
        .st_ino = x.stx_ino,
        .st_mode = x.stx_mode,
        .st_nlink = x.stx_nlink,
        .st_uid = x.stx_uid,
        .st_gid = x.stx_gid,
        .st_rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor),
        .st_size = (off_t)x.stx_size,
        .st_blksize = (blksize_t)x.stx_blksize,
        .st_blocks = (blkcnt_t)x.stx_blocks,
        .st_atim = time_of(&x.stx_atime),
        .st_mtim = time_of(&x.stx_mtime),
        .st_ctim = time_of(&x.stx_ctime),
    };
    return 0;
}

int gyre_stat(const char *path, struct stat *status)
{
    return run_stat("gyre_stat", AT_FDCWD, path, 0, status);
}

int gyre_lstat(const char *path, struct stat *status)
{
    return run_stat("gyre_lstat", AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, status);
}

int gyre_fstat(int fd, struct stat *status)
{
    /* AT_FDCWD would tell of the current directory. */
    return run_stat("gyre_fstat", fd < 0 ? -1 : fd, "", AT_EMPTY_PATH, status);
}

int gyre_statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *status)
{
    struct statx copy;
    int error = run_statx("gyre_statx", dirfd, path, flags, mask, &copy);

    if (!error)
        *status = copy;
    return error;
}

/* --- changes, on a helper --------------------------------------------------------------------- */

struct mode_change {
    const char *path;
    int dirfd, flags;
    mode_t mode;
};

/* The C library's, which knows how to do without fchmodat2(2) where there are flags. */
static int change_mode(void *argument)
{
    const struct mode_change *change = argument;

    return fchmodat(change->dirfd, change->path, change->mode, change->flags) < 0 ? -errno : 0;
}

int gyre_fchmodat(int dirfd, const char *path, mode_t mode, int flags)
{
    struct mode_change change = {path, dirfd, flags, mode};

    coro_required("gyre_fchmodat");
    return gyre_blocking(change_mode, &change);
}

int gyre_chmod(const char *path, mode_t mode)
{
    return gyre_file_plain("gyre_chmod", PLAIN(SYS_fchmodat, AT_FDCWD, address_of(path), mode));
}

int gyre_fchownat(int dirfd, const char *path, uid_t owner, gid_t group, int flags)
{
    return gyre_file_plain("gyre_fchownat",
                           PLAIN(SYS_fchownat, dirfd, address_of(path), owner, group, flags));
}

int gyre_utimensat(int dirfd, const char *path, const struct timespec times[2], int flags)
{
    return gyre_file_plain("gyre_utimensat",
                           PLAIN(SYS_utimensat, dirfd, address_of(path), address_of(times), flags));
}
