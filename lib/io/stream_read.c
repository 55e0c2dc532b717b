/*
 * Reading a stream.
 *
 * Whatever arrives is put into the buffer, or straight into the caller's memory, by the same
 * operation that says how much it was: nothing is lost by an error, the end of the context or of
 * the deadline. What is buffered is given without a look at the deadline, which is about waiting
 * for the descriptor.
 *
 * The buffer starts small and grows up to the limit for what must lie in it in one piece. Where a
 * read fills it, as from a file, it grows up to STREAM_BULK as well, for then each byte costs less;
 * beyond that nothing is gained (perf/io/stream.c).
 */
#include "io/stream.h"

#include <errno.h>
#include <stdlib.h>

enum { STREAM_BULK = 32768 };

static size_t at_most(size_t size, size_t limit)
{
    return size < limit ? size : limit;
}

/* Room for size bytes in one piece from what is buffered on. 0, -ENOMEM. */
static int enlarge(struct stream_buffer *in, size_t capacity)
{
    size_t used = buffer_used(in);
    char *memory = malloc(capacity + 1);

    if (!memory)
        return -ENOMEM;
    if (in->memory)
        memcpy(memory, in->memory + in->begin, used);
    free(in->memory);
    in->memory = memory;
    in->capacity = capacity;
    in->begin = 0;
    in->end = used;
    return 0;
}

/* Some room behind what is buffered. 0, -ENOMEM, -ENOBUFS: the limit is reached. */
static int make_room(struct gyre_stream *stream)
{
    struct stream_buffer *in = &stream->in;
    bool grows = stream->filled && in->capacity < STREAM_BULK && !buffer_used(in);

    if (unlikely(!in->memory))
        return enlarge(in, stream->read_size);
    if (unlikely(grows)) /* where it can't, it works as well */
        enlarge(in, at_most(in->capacity * 2, stream->limit));
    buffer_compact(in);
    if (in->end < in->capacity)
        return 0;
    if (in->capacity >= stream->limit)
        return -ENOBUFS;
    return enlarge(in, at_most(in->capacity * 2, stream->limit));
}

/* Reads what comes into the buffer: how much, 0 at the end, -errno, -ENOBUFS. */
static ssize_t fill(struct gyre_stream *stream, const char *call)
{
    struct stream_buffer *in = &stream->in;
    struct transfer transfer;
    ssize_t n = make_room(stream);
    size_t room;

    if (unlikely(n))
        return n;
    room = in->capacity - in->end;
    transfer = transfer_bytes(TRANSFER_READ, in->memory + in->end, room);
    n = gyre_stream_transfer(&stream->read, call, stream->fd, &transfer);
    if (likely(n > 0)) {
        in->end += (size_t)n;
        stream->filled = (size_t)n == room;
    }
    return n;
}

static size_t take(struct stream_buffer *in, void *buffer, size_t size)
{
    size_t count = at_most(size, buffer_used(in));

    if (count) {
        memcpy(buffer, in->memory + in->begin, count);
        buffer_consume(in, count);
    }
    return count;
}

/* Some bytes, as read does. */
static ssize_t read_some(struct gyre_stream *stream, const char *call, void *buffer, size_t size)
{
    struct stream_buffer *in = &stream->in;

    if (!buffer_used(in)) {
        ssize_t n;

        if (size >= (in->memory ? in->capacity : stream->read_size)) {
            struct transfer transfer = transfer_bytes(TRANSFER_READ, buffer, size);

            return gyre_stream_transfer(&stream->read, call, stream->fd, &transfer);
        }
        n = fill(stream, call);
        if (n <= 0)
            return n;
    }
    return (ssize_t)take(in, buffer, size);
}

ssize_t gyre_stream_read(struct gyre_stream *stream, void *buffer, size_t size)
{
    static const char call[] = "gyre_stream_read";
    ssize_t n = stream_enter(&stream->read, call);

    if (likely(!n && size))
        n = read_some(stream, call, buffer, size);
    stream_leave(&stream->read);
    return n;
}

ssize_t gyre_stream_read_all(struct gyre_stream *stream, void *buffer, size_t size, size_t *done)
{
    static const char call[] = "gyre_stream_read_all";
    ssize_t n = stream_enter(&stream->read, call);
    bool ended = n < 0;
    size_t count = 0;

    while (!ended && count < size) {
        n = read_some(stream, call, (char *)buffer + count, size - count);
        ended = n <= 0;
        if (!ended)
            count += (size_t)n;
    }
    stream_leave(&stream->read);
    if (done)
        *done = count;
    return n < 0 ? n : (ssize_t)count;
}

ssize_t gyre_stream_peek(struct gyre_stream *stream, const void **data, size_t size)
{
    static const char call[] = "gyre_stream_peek";
    struct stream_buffer *in = &stream->in;
    ssize_t n = stream_enter(&stream->read, call);

    if (!n && size > stream->limit)
        n = -ENOBUFS;
    if (!n)
        n = 1;
    while (n > 0 && buffer_used(in) < size)
        n = fill(stream, call);
    if (n >= 0) {
        *data = in->memory + in->begin;
        n = (ssize_t)buffer_used(in);
    }
    stream_leave(&stream->read);
    return n;
}

ssize_t gyre_stream_skip(struct gyre_stream *stream, size_t size, size_t *done)
{
    static const char call[] = "gyre_stream_skip";
    struct stream_buffer *in = &stream->in;
    ssize_t n = stream_enter(&stream->read, call);
    bool ended = n < 0;
    size_t count = 0;

    while (!ended) {
        size_t step = at_most(size - count, buffer_used(in));

        buffer_consume(in, step);
        count += step;
        if (count == size)
            break;
        n = fill(stream, call);
        ended = n <= 0;
    }
    stream_leave(&stream->read);
    if (done)
        *done = count;
    return n < 0 ? n : (ssize_t)count;
}

/*
 * How long what is buffered is up to and with the delimiter, or all of it at the end of the stream,
 * unless only whole lines count; 0: nothing is left. Each byte is looked at once.
 */
static inline ssize_t find(struct gyre_stream *stream, const char *call, char delimiter)
{
    struct stream_buffer *in = &stream->in;
    size_t seen = 0;

    for (;;) {
        size_t used = buffer_used(in);
        ssize_t n;

        if (used > seen) {
            const char *from = in->memory + in->begin;
            const char *at = memchr(from + seen, delimiter, used - seen);

            if (at)
                return at - from + 1;
        }
        seen = used;
        n = fill(stream, call);
        if (n <= 0)
            return n || stream->whole_lines ? n : (ssize_t)used;
    }
}

ssize_t gyre_stream_until(struct gyre_stream *stream, char delimiter, const char **data)
{
    static const char call[] = "gyre_stream_until";
    ssize_t length = stream_enter(&stream->read, call);

    if (likely(!length))
        length = find(stream, call, delimiter);
    if (length > 0) {
        *data = stream->in.memory + stream->in.begin;
        buffer_consume(&stream->in, (size_t)length);
    }
    stream_leave(&stream->read);
    return length;
}

int gyre_stream_line(struct gyre_stream *stream, char **line, size_t *length)
{
    static const char call[] = "gyre_stream_line";
    ssize_t found = stream_enter(&stream->read, call);

    if (likely(!found))
        found = find(stream, call, '\n');
    if (likely(found > 0)) {
        char *start = stream->in.memory + stream->in.begin;
        size_t size = (size_t)found;

        buffer_consume(&stream->in, size);
        if (likely(start[size - 1] == '\n')) {
            size--;
            if (size && start[size - 1] == '\r')
                size--;
        }
        start[size] = '\0';
        *line = start;
        if (length)
            *length = size;
    }
    stream_leave(&stream->read);
    return found > 0 ? 1 : (int)found;
}
