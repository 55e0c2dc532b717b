/*
 * Transfers that go on until all is done, and say how far they came when they fail. All of one call
 * goes to one file: when the number is closed in the middle, and reused, the rest does not follow.
 */
#include "io/transfer.h"

#include <gyre/io.h>

#include <errno.h>

static ssize_t tell(size_t *done, size_t count, ssize_t error)
{
    if (done)
        *done = count;
    return error < 0 ? error : (ssize_t)count;
}

ssize_t gyre_write_all(int fd, const void *buffer, size_t size, size_t *done)
{
    struct operation operation = {0};
    size_t count = 0;
    ssize_t n;

    do {
        struct transfer transfer =
            transfer_bytes(TRANSFER_WRITE, (const char *)buffer + count, size - count);

        n = gyre_transfer("gyre_write_all", &operation, fd, &transfer);
        if (n == 0 && size)
            n = -EIO; /* a write of nothing would go on for ever */
        if (n > 0)
            count += (size_t)n;
    } while (n >= 0 && count < size);
    return tell(done, count, n);
}

ssize_t gyre_read_all(int fd, void *buffer, size_t size, size_t *done)
{
    struct operation operation = {0};
    size_t count = 0;
    ssize_t n;

    do {
        struct transfer transfer =
            transfer_bytes(TRANSFER_READ, (char *)buffer + count, size - count);

        n = gyre_transfer("gyre_read_all", &operation, fd, &transfer);
        if (n > 0)
            count += (size_t)n;
    } while (n > 0 && count < size);
    return tell(done, count, n);
}

/* The caller's pieces are not ours to change: a piece that was cut goes out on its own. */
ssize_t gyre_writev_all(int fd, const struct iovec *pieces, int count, size_t *done)
{
    static const char call[] = "gyre_writev_all";
    struct operation operation = {0};
    size_t total = 0, skip = 0;
    ssize_t n = gyre_transfer_pieces(call, &operation, fd, TRANSFER_WRITEV, pieces, count);

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
        if (skip) {
            struct transfer transfer = transfer_bytes(
                TRANSFER_WRITE, (char *)pieces->iov_base + skip, pieces->iov_len - skip);

            n = gyre_transfer(call, &operation, fd, &transfer);
        } else {
            n = gyre_transfer_pieces(call, &operation, fd, TRANSFER_WRITEV, pieces, count);
        }
        if (n == 0)
            n = -EIO; /* would go on for ever */
    }
    return tell(done, total, n);
}
