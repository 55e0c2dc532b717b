/* Transfers that go on until all is done, and say how far they came when they fail. */
#include "io/operation.h"

#include <gyre/io.h>

#include <errno.h>

static void tell(size_t *done, size_t count)
{
    if (done)
        *done = count;
}

ssize_t gyre_write_all(int fd, const void *buffer, size_t size, size_t *done)
{
    size_t count = 0;

    do {
        ssize_t n = gyre_write(fd, (const char *)buffer + count, size - count);

        if (n < 0 || (n == 0 && size)) {
            tell(done, count);
            return n < 0 ? n : -EIO; /* a write of nothing would go on for ever */
        }
        count += (size_t)n;
    } while (count < size);
    tell(done, count);
    return (ssize_t)count;
}

ssize_t gyre_read_all(int fd, void *buffer, size_t size, size_t *done)
{
    size_t count = 0;

    do {
        ssize_t n = gyre_read(fd, (char *)buffer + count, size - count);

        if (n < 0) {
            tell(done, count);
            return n;
        }
        if (n == 0)
            break;
        count += (size_t)n;
    } while (count < size);
    tell(done, count);
    return (ssize_t)count;
}

/* The caller's pieces are not ours to change: a piece that was cut goes out on its own. */
ssize_t gyre_writev_all(int fd, const struct iovec *pieces, int count, size_t *done)
{
    size_t total = 0, skip = 0;
    ssize_t n = gyre_writev(fd, pieces, count);

    while (n >= 0) {
        total += (size_t)n;
        skip += (size_t)n;
        while (count && skip >= pieces->iov_len) {
            skip -= pieces->iov_len;
            pieces++;
            count--;
        }
        if (!count)
            break;
        if (skip)
            n = gyre_write(fd, (char *)pieces->iov_base + skip, pieces->iov_len - skip);
        else
            n = gyre_writev(fd, pieces, count);
        if (n == 0)
            n = -EIO; /* would go on for ever */
    }
    tell(done, total);
    return n < 0 ? n : (ssize_t)total;
}
