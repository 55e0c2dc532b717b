/*
 * Writing a stream. What the kernel took is known exactly, by the result of the operation that gave
 * it; the rest stays where it was, in the buffer or with the caller.
 */
#include "io/stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* The buffer, made by the first write, with room for all its free bytes in one piece. */
static int prepare(struct gyre_stream *stream)
{
    struct stream_buffer *out = &stream->out;

    if (likely(out->memory))
        return 0;
    out->memory = malloc(stream->write_size + 1);
    if (!out->memory)
        return -ENOMEM;
    out->capacity = stream->write_size;
    return 0;
}

static bool fits(const struct stream_buffer *out, size_t size)
{
    return size <= out->capacity - buffer_used(out);
}

static void append(struct stream_buffer *out, const void *data, size_t size)
{
    if (size > out->capacity - out->end)
        buffer_compact(out);
    if (size)
        memcpy(out->memory + out->end, data, size);
    out->end += size;
}

/* One write of what is buffered and of size bytes of data: how many of these, or -errno. */
static ssize_t write_out(struct gyre_stream *stream, const char *call, const void *data,
                         size_t size)
{
    struct stream_buffer *out = &stream->out;
    size_t used = buffer_used(out);
    struct iovec pieces[2] = {{out->memory + out->begin, used}, {(void *)data, size}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    struct transfer transfer;
    ssize_t n;

    if (!size)
        transfer = transfer_bytes(TRANSFER_WRITE, pieces[0].iov_base, used);
    else if (!used)
        transfer = transfer_bytes(TRANSFER_WRITE, data, size);
    else
        transfer = (struct transfer){TRANSFER_WRITEV, NULL, 0, &message};
    n = gyre_stream_transfer(&stream->write, call, stream->fd, &transfer);
    if (n <= 0)
        return n ? n : -EIO; /* nothing, and no error: would go on for ever */
    if ((size_t)n <= used) {
        buffer_consume(out, (size_t)n);
        return 0;
    }
    buffer_consume(out, used);
    return n - (ssize_t)used;
}

int gyre_stream_drain(struct gyre_stream *stream, const char *call)
{
    while (buffer_used(&stream->out)) {
        ssize_t n = write_out(stream, call, NULL, 0);

        if (n < 0)
            return (int)n;
    }
    return 0;
}

ssize_t gyre_stream_write(struct gyre_stream *stream, const void *buffer, size_t size, size_t *done)
{
    static const char call[] = "gyre_stream_write";
    const char *data = buffer;
    ssize_t n = stream_enter(&stream->write, call);
    size_t count = 0;

    if (likely(!n))
        n = prepare(stream);
    while (n >= 0 && !fits(&stream->out, size - count)) {
        n = write_out(stream, call, data + count, size - count);
        if (n > 0)
            count += (size_t)n;
    }
    if (likely(n >= 0)) {
        append(&stream->out, data + count, size - count);
        count = size;
    }
    stream_leave(&stream->write);
    if (done)
        *done = count;
    return n < 0 ? n : (ssize_t)count;
}

/* Formats into the free room: the length, which may be more than there was room for. */
static int format_into(struct stream_buffer *out, const char *format, va_list values)
{
    return vsnprintf(out->memory + out->end, out->capacity - out->end + 1, format, values);
}

ssize_t gyre_stream_printf(struct gyre_stream *stream, const char *format, ...)
{
    static const char call[] = "gyre_stream_printf";
    struct stream_buffer *out = &stream->out;
    ssize_t n = stream_enter(&stream->write, call);
    va_list values;

    if (likely(!n))
        n = prepare(stream);
    /* Once more when it did not fit: with what was buffered moved out of the way, or out. */
    for (bool again = false; n >= 0; again = true) {
        va_start(values, format);
        n = format_into(out, format, values);
        va_end(values);
        if (unlikely(n < 0))
            n = -EINVAL;
        else if (likely((size_t)n <= out->capacity - out->end))
            out->end += (size_t)n;
        else if (again || (size_t)n > out->capacity)
            n = -ENOBUFS;
        else {
            int error = 0;

            if (fits(out, (size_t)n))
                buffer_compact(out);
            else
                error = gyre_stream_drain(stream, call);
            n = error;
            continue;
        }
        break;
    }
    stream_leave(&stream->write);
    return n;
}

int gyre_stream_flush(struct gyre_stream *stream)
{
    static const char call[] = "gyre_stream_flush";
    int error = stream_enter(&stream->write, call);

    if (likely(!error))
        error = gyre_stream_drain(stream, call);
    stream_leave(&stream->write);
    return error;
}
