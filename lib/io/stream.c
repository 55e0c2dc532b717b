/* Opening and closing streams. */
#include "io/stream.h"

#include "base/grow.h"

#include <gyre/io.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

/* What version 0.1 had. */
#define OPTIONS_LEAST (offsetof(struct gyre_stream_options, whole_lines) + sizeof(int))

static int take_options(struct gyre_stream_options *options,
                        const struct gyre_stream_options *asked)
{
    const struct gyre_stream_options defaults = GYRE_STREAM_INIT;

    if (!asked)
        asked = &defaults;
    if (grow_copy(options, sizeof *options, OPTIONS_LEAST, asked, asked->size))
        return -EINVAL;
    if (!options->write_buffer)
        options->write_buffer = STREAM_BUFFER;
    if (!options->limit)
        options->limit = options->read_buffer > STREAM_LIMIT ? options->read_buffer : STREAM_LIMIT;
    if (!options->read_buffer)
        options->read_buffer = STREAM_BUFFER;
    /* What lies in the buffer in one piece is never longer than the limit. */
    if (options->read_buffer > options->limit)
        options->read_buffer = options->limit;
    /* Sizes are returned as ssize_t and doubled. */
    if (options->limit > SSIZE_MAX / 2 || options->write_buffer > SSIZE_MAX / 2)
        return -EINVAL;
    return 0;
}

int gyre_stream_open(struct gyre_stream **stream, int fd, const struct gyre_stream_options *options)
{
    struct gyre_stream_options taken;
    struct gyre_stream *made;
    int error = take_options(&taken, options);

    if (error)
        return error;
    if (fd < 0)
        return -EBADF;
    made = aligned_alloc(_Alignof(struct gyre_stream), sizeof *made);
    if (!made)
        return -ENOMEM;
    memset(made, 0, sizeof *made);
    made->fd = fd;
    made->keep_fd = taken.keep_fd;
    made->whole_lines = taken.whole_lines;
    made->limit = taken.limit;
    made->read_size = taken.read_buffer;
    made->write_size = taken.write_buffer;
    gyre_stream_deadline_init(&made->read);
    gyre_stream_deadline_init(&made->write);
    *stream = made;
    return 0;
}

static int close_descriptor(const struct gyre_stream *stream)
{
    int fd = stream->fd;

    if (stream->keep_fd)
        return 0;
    if (gyre_operation_lost(&stream->read.operation, fd) ||
        gyre_operation_lost(&stream->write.operation, fd))
        return -EBADF;
    return gyre_close(fd);
}

int gyre_stream_close(struct gyre_stream *stream)
{
    static const char call[] = "gyre_stream_close";
    int error = 0, closed;

    coro_required(call);
    if (!stream)
        return 0;
    gyre_stream_deadline_close(&stream->read);
    gyre_stream_deadline_close(&stream->write);
    if (buffer_used(&stream->out)) {
        error = stream_enter(&stream->write, call);
        if (!error)
            error = gyre_stream_drain(stream, call);
        stream_leave(&stream->write);
    }
    gyre_stream_deadline_end(&stream->read);
    gyre_stream_deadline_end(&stream->write);
    closed = close_descriptor(stream);
    free(stream->in.memory);
    free(stream->out.memory);
    free(stream);
    return error ? error : closed;
}

int gyre_stream_fd(const struct gyre_stream *stream)
{
    return stream->fd;
}

size_t gyre_stream_buffered(const struct gyre_stream *stream)
{
    return buffer_used(&stream->in);
}

size_t gyre_stream_unflushed(const struct gyre_stream *stream)
{
    return buffer_used(&stream->out);
}
