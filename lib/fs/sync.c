/* What is written reaches the disk. */
#include "fs/run.h"

#include <gyre/file.h>

#include <limits.h>

int gyre_fsync(int fd)
{
    struct io_uring_sqe entry = {0};

    io_uring_prep_fsync(&entry, fd, 0);
    return gyre_file_run("gyre_fsync", fd, &entry, PLAIN(SYS_fsync, fd));
}

int gyre_fdatasync(int fd)
{
    struct io_uring_sqe entry = {0};

    io_uring_prep_fsync(&entry, fd, IORING_FSYNC_DATASYNC);
    return gyre_file_run("gyre_fdatasync", fd, &entry, PLAIN(SYS_fdatasync, fd));
}

int gyre_sync_file_range(int fd, off_t offset, off_t size, unsigned flags)
{
    static const char call[] = "gyre_sync_file_range";
    struct plain_call *plain = PLAIN(SYS_sync_file_range, fd, offset, size, flags);
    struct io_uring_sqe entry = {0};

    if (size < 0 || size > UINT_MAX) /* an entry has 32 bits for it */
        return gyre_file_plain(call, plain);
    io_uring_prep_sync_file_range(&entry, fd, (unsigned)size, (uint64_t)offset, (int)flags);
    return gyre_file_run(call, fd, &entry, plain);
}
