/*
 * Reading and writing at an offset. What has no position (a pipe, a socket, a terminal) is refused
 * with ESPIPE as pread(2) does: the ring would ignore the offset, and a write to a socket raise
 * SIGPIPE. One lseek(2) tells, the first time that a number is used so.
 */
#include "fs/read_at.h"

#include "fs/buffers.h"

#include <gyre/file.h>

#include <errno.h>
#include <limits.h>
#include <unistd.h>

static bool has_position(int fd)
{
    struct descriptor *descriptor = gyre_descriptor_get(fd);

    if (unlikely(!descriptor))
        return true; /* begin tells why */
    if (likely(atomic_load_explicit(&descriptor->kind, memory_order_relaxed) == KIND_FILE))
        return true;
    if (lseek(fd, 0, SEEK_CUR) < 0)
        return errno != ESPIPE;
    atomic_store_explicit(&descriptor->kind, KIND_FILE, memory_order_relaxed);
    return true;
}

static void prepare(struct io_uring_sqe *sqe, struct worker *worker, int fd,
                    const struct access *access)
{
    const uint64_t offset = (uint64_t)access->offset;
    const unsigned size = (unsigned)(access->size < ACCESS_MAX ? access->size : ACCESS_MAX);
    int slot = access->buffers ? gyre_buffers_slot(access->buffers, access->index, worker) : -1;

    switch (access->kind) {
    case ACCESS_READ:
        if (slot >= 0)
            io_uring_prep_read_fixed(sqe, fd, access->buffer, size, offset, slot);
        else
            io_uring_prep_read(sqe, fd, access->buffer, size, offset);
        break;
    case ACCESS_WRITE:
        if (slot >= 0)
            io_uring_prep_write_fixed(sqe, fd, access->buffer, size, offset, slot);
        else
            io_uring_prep_write(sqe, fd, access->buffer, size, offset);
        break;
    case ACCESS_READV:
        io_uring_prep_readv2(sqe, fd, access->buffer, size, offset, access->flags);
        break;
    case ACCESS_WRITEV:
        io_uring_prep_writev2(sqe, fd, access->buffer, size, offset, access->flags);
        break;
    }
}

ssize_t gyre_access(const char *call, struct operation *operation, int fd,
                    const struct access *access)
{
    int result;

    if (unlikely(fd < 0 || access->offset < 0 || !has_position(fd))) {
        coro_required(call);
        return fd < 0 ? -EBADF : access->offset < 0 ? -EINVAL : -ESPIPE;
    }
    do {
        result = gyre_operation_begin(operation, call, fd, 0);
        if (unlikely(result))
            return result;
        prepare(operation->sqe, operation->worker, fd, access);
        result = gyre_operation_wait(operation);
    } while (unlikely(result == OPERATION_AGAIN));
    return result;
}

static ssize_t access_all(const char *call, int fd, struct access access, size_t *done)
{
    struct operation operation = {0};
    size_t count = 0;
    const size_t size = access.size;
    ssize_t n;

    do {
        n = gyre_access(call, &operation, fd, &access);
        if (n == 0 && access.kind == ACCESS_WRITE && size)
            n = -EIO; /* would go on for ever */
        if (n <= 0)
            break;
        count += (size_t)n;
        access.buffer = (char *)access.buffer + n;
        access.size -= (size_t)n;
        access.offset += n;
    } while (count < size);
    if (done)
        *done = count;
    return n < 0 ? n : (ssize_t)count;
}

static ssize_t access_once(const char *call, int fd, const struct access *access)
{
    struct operation operation = {0};

    return gyre_access(call, &operation, fd, access);
}

static ssize_t access_pieces(const char *call, int fd, enum access_kind kind,
                             const struct iovec *pieces, int count, off_t offset, int flags)
{
    if (count < 0 || count > IOV_MAX) {
        coro_required(call);
        return -EINVAL;
    }
    return access_once(call, fd,
                       &(struct access){.kind = kind,
                                        .buffer = (void *)pieces,
                                        .size = (size_t)count,
                                        .offset = offset,
                                        /* A hint, which only a polling ring takes. */
                                        .flags = flags & ~RWF_HIPRI});
}

ssize_t gyre_pread(int fd, void *buffer, size_t size, off_t offset)
{
    return access_once("gyre_pread", fd, &(struct access){ACCESS_READ, buffer, size, offset});
}

ssize_t gyre_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    return access_once("gyre_pwrite", fd,
                       &(struct access){ACCESS_WRITE, (void *)buffer, size, offset});
}

ssize_t gyre_preadv(int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
    return access_pieces("gyre_preadv", fd, ACCESS_READV, pieces, count, offset, flags);
}

ssize_t gyre_pwritev(int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
    return access_pieces("gyre_pwritev", fd, ACCESS_WRITEV, pieces, count, offset, flags);
}

ssize_t gyre_pread_all(int fd, void *buffer, size_t size, off_t offset, size_t *done)
{
    return access_all("gyre_pread_all", fd, (struct access){ACCESS_READ, buffer, size, offset},
                      done);
}

ssize_t gyre_pwrite_all(int fd, const void *buffer, size_t size, off_t offset, size_t *done)
{
    return access_all("gyre_pwrite_all", fd,
                      (struct access){ACCESS_WRITE, (void *)buffer, size, offset}, done);
}
