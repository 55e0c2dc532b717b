/*
 * A file to anything that can be written: read into a buffer, write the buffer. docs/decisions.md
 * says what it was measured against.
 */
#include "fs/read_at.h"

#include <gyre/file.h>
#include <gyre/io.h>

#include <errno.h>
#include <stdlib.h>

enum { CHUNK = 64 << 10 };

static ssize_t send_chunks(int out, int in, off_t offset, size_t size, char *buffer, size_t *count)
{
    struct operation operation = {0};

    while (*count < size) {
        struct access access = {.kind = ACCESS_READ,
                                .buffer = buffer,
                                .size = size - *count < CHUNK ? size - *count : CHUNK,
                                .offset = offset + (off_t)*count};
        size_t written = 0;
        ssize_t n = gyre_access("gyre_sendfile_all", &operation, in, &access);

        if (n <= 0)
            return n;
        n = gyre_write_all(out, buffer, (size_t)n, &written);
        *count += written;
        if (n < 0)
            return n;
    }
    return 0;
}

ssize_t gyre_sendfile_all(int out, int in, off_t offset, size_t size, size_t *done)
{
    size_t count = 0;
    char *buffer;
    ssize_t result;

    coro_required("gyre_sendfile_all");
    buffer = malloc(size < CHUNK ? size + 1 : CHUNK);
    result = buffer ? send_chunks(out, in, offset, size, buffer, &count) : -ENOMEM;
    free(buffer);
    if (done)
        *done = count;
    return result < 0 ? result : (ssize_t)count;
}
