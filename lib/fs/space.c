/* How much a file occupies, and what the kernel is told about its use. */
#include "fs/run.h"

#include <gyre/file.h>

#include <limits.h>

int gyre_fallocate(int fd, int mode, off_t offset, off_t size)
{
    struct io_uring_sqe entry = {0};

    io_uring_prep_fallocate(&entry, fd, mode, offset, size);
    return gyre_file_run("gyre_fallocate", fd, &entry,
                         PLAIN(SYS_fallocate, fd, mode, offset, size));
}

int gyre_ftruncate(int fd, off_t size)
{
    struct io_uring_sqe entry = {0};

    io_uring_prep_rw(ABI_OP_FTRUNCATE, &entry, fd, NULL, 0, (uint64_t)size);
    return gyre_file_run("gyre_ftruncate", fd, &entry, PLAIN(SYS_ftruncate, fd, size));
}

int gyre_truncate(const char *path, off_t size)
{
    return gyre_file_plain("gyre_truncate", PLAIN(SYS_truncate, address_of(path), size));
}

int gyre_fadvise(int fd, off_t offset, off_t size, int advice)
{
    static const char call[] = "gyre_fadvise";
    struct plain_call *plain = PLAIN(SYS_fadvise64, fd, offset, size, advice);
    struct io_uring_sqe entry = {0};

    if (size < 0 || size > UINT_MAX) /* kernels before 6.10 have 32 bits for it */
        return gyre_file_plain(call, plain);
    io_uring_prep_fadvise(&entry, fd, (uint64_t)offset, size, advice);
    return gyre_file_run(call, fd, &entry, plain);
}

int gyre_madvise(void *address, size_t size, int advice)
{
    static const char call[] = "gyre_madvise";
    struct plain_call *plain = PLAIN(SYS_madvise, address_of(address), (long)size, advice);
    struct io_uring_sqe entry = {0};

    if (size > UINT_MAX)
        return gyre_file_plain(call, plain);
    io_uring_prep_madvise(&entry, address, (off_t)size, advice);
    return gyre_file_run(call, -1, &entry, plain);
}
