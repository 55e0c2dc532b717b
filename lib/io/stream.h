/*
 * A stream: two halves that share nothing but the descriptor, since one coroutine may read while
 * another writes.
 */
#ifndef GYRE_LIB_IO_STREAM_H
#define GYRE_LIB_IO_STREAM_H

#include "io/transfer.h"

#include <gyre/stream.h>

enum { STREAM_BUFFER = 4096, STREAM_LIMIT = 65536 };

/* When a half's operations end; see stream_deadline.c. */
struct stream_deadline {
    struct spinlock lock;
    bool closing;
    bool armed;               /* the timer was started, and neither stopped nor seen to fire */
    unsigned loose;           /* callbacks under way whose timer was stopped */
    int64_t when;             /* 0: none */
    struct gyre_coro *waiter; /* is in, or about to begin, an operation of this half */
    struct timer timer;
    _Atomic(bool) busy;         /* a coroutine is in a call of this half */
    struct operation operation; /* binds all of them to the file that the number was at first */
};

/* Bytes begin .. end of memory are there. */
struct stream_buffer {
    char *memory; /* of capacity and one more, for a NUL */
    size_t capacity, begin, end;
};

struct gyre_stream {
    int fd;
    bool keep_fd, whole_lines;
    size_t limit, read_size, write_size;
    _Alignas(CACHE_LINE) struct stream_buffer in;
    bool filled; /* the last read took all the room there was */
    struct stream_deadline read;
    _Alignas(CACHE_LINE) struct stream_buffer out;
    struct stream_deadline write;
};

void gyre_stream_deadline_init(struct stream_deadline *deadline);
/*
 * Whoever waits in this half is made to return -EBADF, and has returned. Afterwards the half works
 * for the caller alone.
 */
void gyre_stream_deadline_close(struct stream_deadline *deadline);
/* The last use: no callback is under way any more. */
void gyre_stream_deadline_end(struct stream_deadline *deadline);

/* gyre_transfer that the deadline and close end as well. */
ssize_t gyre_stream_transfer(struct stream_deadline *deadline, const char *call, int fd,
                             const struct transfer *transfer);

_Noreturn void gyre_stream_misused(const char *call) __attribute__((cold));

/*
 * Round each call that uses a half. 0, or why the context has ended; then, too, leave follows. The
 * mark is not exact between two that enter in the same moment, but is against one that waits.
 */
static inline int stream_enter(struct stream_deadline *deadline, const char *call)
{
    struct gyre_coro *self = coro_required(call);

    if (unlikely(atomic_load_explicit(&deadline->busy, memory_order_relaxed)))
        gyre_stream_misused(call);
    atomic_store_explicit(&deadline->busy, true, memory_order_relaxed);
    return coro_error(self);
}

static inline void stream_leave(struct stream_deadline *deadline)
{
    /* Release: the last touch of the stream; pairs with the acquire in close. */
    atomic_store_explicit(&deadline->busy, false, memory_order_release);
}

static inline size_t buffer_used(const struct stream_buffer *buffer)
{
    return buffer->end - buffer->begin;
}

static inline void buffer_consume(struct stream_buffer *buffer, size_t size)
{
    buffer->begin += size;
    if (buffer->begin == buffer->end)
        buffer->begin = buffer->end = 0;
}

/* What is buffered goes to the front. */
static inline void buffer_compact(struct stream_buffer *buffer)
{
    size_t used = buffer_used(buffer);

    if (buffer->begin) {
        memmove(buffer->memory, buffer->memory + buffer->begin, used);
        buffer->begin = 0;
        buffer->end = used;
    }
}

/* Writes out what is buffered: 0 or -errno. Between enter and leave. */
int gyre_stream_drain(struct gyre_stream *stream, const char *call);

#endif
