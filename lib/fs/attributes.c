/* Extended attributes. */
#include "fs/run.h"

#include <gyre/file.h>

#include <limits.h>

/* An entry has 32 bits for it; the kernel's own limit is far below. */
static unsigned clamp_size(size_t size)
{
    return size < UINT_MAX ? (unsigned)size : UINT_MAX;
}

ssize_t gyre_getxattr(const char *path, const char *name, void *value, size_t size)
{
    struct io_uring_sqe entry = {0};

    io_uring_prep_getxattr(&entry, name, value, path, clamp_size(size));
    return gyre_file_run(
        "gyre_getxattr", -1, &entry,
        PLAIN(SYS_getxattr, address_of(path), address_of(name), address_of(value), (long)size));
}

ssize_t gyre_fgetxattr(int fd, const char *name, void *value, size_t size)
{
    struct io_uring_sqe entry = {0};

    io_uring_prep_fgetxattr(&entry, fd, name, value, clamp_size(size));
    return gyre_file_run("gyre_fgetxattr", fd, &entry,
                         PLAIN(SYS_fgetxattr, fd, address_of(name), address_of(value), (long)size));
}

int gyre_setxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
    struct io_uring_sqe entry = {0};

    io_uring_prep_setxattr(&entry, name, value, path, flags, clamp_size(size));
    return gyre_file_run("gyre_setxattr", -1, &entry,
                         PLAIN(SYS_setxattr, address_of(path), address_of(name), address_of(value),
                               (long)size, flags));
}

int gyre_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
    struct io_uring_sqe entry = {0};

    io_uring_prep_fsetxattr(&entry, fd, name, value, flags, clamp_size(size));
    return gyre_file_run(
        "gyre_fsetxattr", fd, &entry,
        PLAIN(SYS_fsetxattr, fd, address_of(name), address_of(value), (long)size, flags));
}

ssize_t gyre_listxattr(const char *path, char *list, size_t size)
{
    return gyre_file_plain("gyre_listxattr",
                           PLAIN(SYS_listxattr, address_of(path), address_of(list), (long)size));
}

int gyre_removexattr(const char *path, const char *name)
{
    return gyre_file_plain("gyre_removexattr",
                           PLAIN(SYS_removexattr, address_of(path), address_of(name)));
}
