/*
 * gyre/stream.h - buffers and deadlines on top of a descriptor: read by lines or to a delimiter,
 * peek, batch writes.
 *
 * A stream reads and writes one descriptor of any kind. One coroutine may read while another
 * writes; two that read at once, or write at once, panic. Only from a coroutine, but for what is
 * said otherwise. Calls park, and return -ECANCELED, -ETIMEDOUT, -EBADF, -ENOMEM and the
 * descriptor's own errors as gyre/io.h says.
 *
 * Deadlines are Go's SetDeadline: a moment after which reads (or writes) return -ETIMEDOUT until it
 * is moved; one that is in progress as well, and any coroutine may move it, earlier too. The
 * context still counts besides (gyre_context_error() tells which it was: 0 for the deadline).
 * A deadline is about waiting for the descriptor: what is in the read buffer is given, and what
 * fits into the write buffer is taken, after it too. Nothing is lost: what was read stays in the
 * buffer, what was not written stays too, and a call that failed may be made again.
 *
 * A stream belongs to the file that its number stands for at its first read, and write: once
 * gyre_close has closed that behind its back, it returns -EBADF, though the number is in use again.
 */
#ifndef GYRE_STREAM_H
#define GYRE_STREAM_H

#include <gyre/base.h>

#include <sys/uio.h>

GYRE_BEGIN_DECLS

struct gyre_stream;

struct gyre_stream_options {
    size_t size;         /* sizeof (struct gyre_stream_options) */
    size_t read_buffer;  /* bytes it starts with; 0: 4 KiB; allocated by the first read; grows up to
                            the limit where it has to, to 32 KiB where reads fill it */
    size_t write_buffer; /* bytes; 0: 4 KiB; allocated by the first write */
    size_t limit;        /* the most bytes that peek, line (with its end) and until hold; the read
                            buffer is never larger; 0: 64 KiB, or read_buffer where that is more */
    int keep_fd;         /* nonzero: gyre_stream_close leaves the descriptor open */
    int whole_lines; /* nonzero: at the end line and until leave what has no delimiter yet where it
                        is and return 0; called again, when a file has grown, they go on */
};

#define GYRE_STREAM_INIT                                                                           \
    {                                                                                              \
        sizeof(struct gyre_stream_options), 0, 0, 0, 0, 0                                          \
    }

/*
 * Makes a stream of fd, which belongs to it from now on. options may be NULL. Returns 0, -EINVAL,
 * -EBADF (fd < 0), -ENOMEM: fd is still the caller's. Never parks. From any thread. Go:
 * bufio.NewReader, bufio.NewWriter.
 */
GYRE_API int gyre_stream_open(struct gyre_stream **stream, int fd,
                              const struct gyre_stream_options *options);

/*
 * Flushes, closes the descriptor (gyre_close) and frees. A coroutine that waits in a read or write
 * of the stream gets -EBADF there, and close waits until it has returned (what was buffered
 * before is flushed); no other call may be begun or in progress, nor a deadline moved. The flush
 * honours the context and the deadline. Returns 0 or the first error; the stream is gone in any
 * case. NULL is fine. Parks. Go: Writer.Flush, Conn.Close.
 */
GYRE_API int gyre_stream_close(struct gyre_stream *stream);

/* The descriptor: for options and addresses. Reading from it directly passes the buffer by. Never
 * parks, never fails; from any thread. */
GYRE_API int gyre_stream_fd(const struct gyre_stream *stream);

/* Up to size bytes, at least one: what is in the buffer, else from the descriptor (straight into
 * the caller's memory where size is large). 0 at the end. Go: Reader.Read. */
GYRE_API ssize_t gyre_stream_read(struct gyre_stream *stream, void *buffer, size_t size);
/* All size bytes; less at the end (0: right at the start); on an error *done (may be NULL) tells
 * how many came, and they are consumed. Go: io.ReadFull. */
GYRE_API ssize_t gyre_stream_read_all(struct gyre_stream *stream, void *buffer, size_t size,
                                      size_t *done);

/*
 * At least size bytes without consuming them: *data points into the buffer until the next call that
 * reads. Returns how many there are, more than size too; less than size at the end; -ENOBUFS: size
 * is above the limit. size 0: what is there now. Go: Reader.Peek.
 */
GYRE_API ssize_t gyre_stream_peek(struct gyre_stream *stream, const void **data, size_t size);
/* Consumes size bytes, reading and dropping what is not in the buffer. Returns how many; less at
 * the end; on an error *done (may be NULL) tells how many are gone. Go: Reader.Discard. */
GYRE_API ssize_t gyre_stream_skip(struct gyre_stream *stream, size_t size, size_t *done);

/*
 * Up to and including the next delimiter: *data points into the buffer until the next call that
 * reads. Returns the length with the delimiter; at the end of the stream what is left without one
 * (0: nothing, or whole_lines is set; a later call reads on); -ENOBUFS: limit bytes and no
 * delimiter: nothing is consumed. Go: Reader.ReadSlice.
 */
GYRE_API ssize_t gyre_stream_until(struct gyre_stream *stream, char delimiter, const char **data);
/*
 * The next line, without its "\n" or "\r\n", NUL-terminated in place: 1 and *line, *length (may be
 * NULL); 0 at the end (a last line without "\n" counts as one, unless whole_lines is set; a later
 * call reads on); -ENOBUFS: longer than the limit: nothing is consumed (gyre_stream_skip goes on).
 * Go: Scanner.Scan.
 */
GYRE_API int gyre_stream_line(struct gyre_stream *stream, char **line, size_t *length);

/*
 * Buffers; what does not fit goes out, together with the buffer, in one writev. Returns size or
 * -errno; after an error *done bytes of these (may be NULL) are in the buffer or out, and the next
 * write goes on where this one stopped. Go: Writer.Write.
 */
GYRE_API ssize_t gyre_stream_write(struct gyre_stream *stream, const void *buffer, size_t size,
                                   size_t *done);
/* printf into the buffer: the length or -errno (-ENOBUFS: longer than the write buffer; -EINVAL:
 * the format can't be printed); on an error nothing of it was written. Go: fmt.Fprintf. */
GYRE_API ssize_t gyre_stream_printf(struct gyre_stream *stream, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Writes out what is buffered: 0 or -errno. Go: Writer.Flush. */
GYRE_API int gyre_stream_flush(struct gyre_stream *stream);

/* How many bytes are buffered: read and not consumed, written and not flushed. Never park. For the
 * coroutine that reads, or writes. Go: Reader.Buffered, Writer.Buffered. */
GYRE_API size_t gyre_stream_buffered(const struct gyre_stream *stream);
GYRE_API size_t gyre_stream_unflushed(const struct gyre_stream *stream);

/*
 * Moves the deadline (gyre_now()'s clock; 0: none; one that has passed: at once) of reads, of
 * writes, of both. Never park, never fail. From any coroutine, on any worker. Go:
 * Conn.SetReadDeadline, SetWriteDeadline, SetDeadline.
 */
GYRE_API void gyre_stream_set_read_deadline(struct gyre_stream *stream, int64_t when);
GYRE_API void gyre_stream_set_write_deadline(struct gyre_stream *stream, int64_t when);
GYRE_API void gyre_stream_set_deadline(struct gyre_stream *stream, int64_t when);

GYRE_END_DECLS

#endif
