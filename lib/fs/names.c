/* Names in directories: made, moved, removed, read. */
#include "fs/run.h"

#include <gyre/file.h>

#include <limits.h>

/* Of the descriptors of two directories one can count as used: the one that is changed. */
static int run_rename(const char *call, int from_dirfd, const char *from, int to_dirfd,
                      const char *to, unsigned flags)
{
    struct io_uring_sqe entry = {0};

    io_uring_prep_renameat(&entry, from_dirfd, from, to_dirfd, to, flags);
    return gyre_file_run(
        call, from_dirfd, &entry,
        PLAIN(SYS_renameat2, from_dirfd, address_of(from), to_dirfd, address_of(to), flags));
}

int gyre_rename(const char *from, const char *to)
{
    return run_rename("gyre_rename", AT_FDCWD, from, AT_FDCWD, to, 0);
}

int gyre_renameat2(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags)
{
    return run_rename("gyre_renameat2", from_dirfd, from, to_dirfd, to, flags);
}

static int run_unlink(const char *call, int dirfd, const char *path, int flags)
{
    struct io_uring_sqe entry = {0};

    io_uring_prep_unlinkat(&entry, dirfd, path, flags);
    return gyre_file_run(call, dirfd, &entry, PLAIN(SYS_unlinkat, dirfd, address_of(path), flags));
}

int gyre_unlink(const char *path)
{
    return run_unlink("gyre_unlink", AT_FDCWD, path, 0);
}

int gyre_rmdir(const char *path)
{
    return run_unlink("gyre_rmdir", AT_FDCWD, path, AT_REMOVEDIR);
}

int gyre_unlinkat(int dirfd, const char *path, int flags)
{
    return run_unlink("gyre_unlinkat", dirfd, path, flags);
}

static int run_link(const char *call, int from_dirfd, const char *from, int to_dirfd,
                    const char *to, int flags)
{
    struct io_uring_sqe entry = {0};

    io_uring_prep_linkat(&entry, from_dirfd, from, to_dirfd, to, flags);
    return gyre_file_run(
        call, to_dirfd, &entry,
        PLAIN(SYS_linkat, from_dirfd, address_of(from), to_dirfd, address_of(to), flags));
}

int gyre_link(const char *from, const char *to)
{
    return run_link("gyre_link", AT_FDCWD, from, AT_FDCWD, to, 0);
}

int gyre_linkat(int from_dirfd, const char *from, int to_dirfd, const char *to, int flags)
{
    return run_link("gyre_linkat", from_dirfd, from, to_dirfd, to, flags);
}

static int run_symlink(const char *call, const char *target, int dirfd, const char *path)
{
    struct io_uring_sqe entry = {0};

    io_uring_prep_symlinkat(&entry, target, dirfd, path);
    return gyre_file_run(call, dirfd, &entry,
                         PLAIN(SYS_symlinkat, address_of(target), dirfd, address_of(path)));
}

int gyre_symlink(const char *target, const char *path)
{
    return run_symlink("gyre_symlink", target, AT_FDCWD, path);
}

int gyre_symlinkat(const char *target, int dirfd, const char *path)
{
    return run_symlink("gyre_symlinkat", target, dirfd, path);
}

static int run_mkdir(const char *call, int dirfd, const char *path, mode_t mode)
{
    struct io_uring_sqe entry = {0};

    io_uring_prep_mkdirat(&entry, dirfd, path, mode);
    return gyre_file_run(call, dirfd, &entry, PLAIN(SYS_mkdirat, dirfd, address_of(path), mode));
}

int gyre_mkdir(const char *path, mode_t mode)
{
    return run_mkdir("gyre_mkdir", AT_FDCWD, path, mode);
}

int gyre_mkdirat(int dirfd, const char *path, mode_t mode)
{
    return run_mkdir("gyre_mkdirat", dirfd, path, mode);
}

ssize_t gyre_readlinkat(int dirfd, const char *path, char *text, size_t size)
{
    const long room = size < INT_MAX ? (long)size : INT_MAX; /* an int to the kernel */

    return gyre_file_plain("gyre_readlinkat",
                           PLAIN(SYS_readlinkat, dirfd, address_of(path), address_of(text), room));
}
