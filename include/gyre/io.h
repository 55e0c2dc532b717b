/*
 * gyre/io.h - reading, writing and closing any descriptor.
 *
 * Descriptors are plain ints, of any kind. A call that has to wait parks the coroutine; the
 * operation goes through the worker's io_uring. When the ambient context ends the operation is
 * cancelled, and the call returns -ECANCELED or -ETIMEDOUT only after the kernel has let go of
 * the buffer; a result that was faster than the cancellation is returned.
 *
 * Common to all: only from a coroutine (elsewhere they panic). Errors besides those of the POSIX
 * call of the same name: -ECANCELED, -ETIMEDOUT (context), -EBADF (also: the descriptor was closed
 * by gyre_close meanwhile), -ENOMEM. No call raises SIGPIPE for a socket: -EPIPE is returned.
 * -EINTR is not. What can be polled is waited for in non-blocking mode too: the mode makes no
 * difference to these calls.
 */
#ifndef GYRE_IO_H
#define GYRE_IO_H

#include <gyre/base.h>

#include <sys/uio.h>

GYRE_BEGIN_DECLS

/*
 * gyre_read reads up to size bytes at the current position: the number read, 0 at the end (of
 * file or stream), or -errno. gyre_write writes up to size bytes and may write less. gyre_readv
 * and gyre_writev do so for count pieces (at most 1,024: -EINVAL). The buffers belong to the caller
 * and are the kernel's until the call returns. Park. read(2), write(2), readv(2). Go: Conn.Read,
 * File.Read.
 */
GYRE_API ssize_t gyre_read(int fd, void *buffer, size_t size);
GYRE_API ssize_t gyre_write(int fd, const void *buffer, size_t size);
GYRE_API ssize_t gyre_readv(int fd, const struct iovec *pieces, int count);
GYRE_API ssize_t gyre_writev(int fd, const struct iovec *pieces, int count);

/*
 * Writes all of it. Returns size or -errno; *done (may be NULL) tells in both cases how many
 * bytes went out. Parks. Go: Conn.Write, which has this contract.
 */
GYRE_API ssize_t gyre_write_all(int fd, const void *buffer, size_t size, size_t *done);

/* The same for pieces: returns their whole length or -errno. At most 1,024 pieces. */
GYRE_API ssize_t gyre_writev_all(int fd, const struct iovec *pieces, int count, size_t *done);

/*
 * Reads until size bytes are there. Returns size; less at the end of the stream (0: right at
 * the start); -errno, with *done (may be NULL) telling how many bytes had come. Parks.
 * Go: io.ReadFull.
 */
GYRE_API ssize_t gyre_read_all(int fd, void *buffer, size_t size, size_t *done);

/*
 * Closes fd: operations of other coroutines on it are cancelled first (they return -EBADF), and
 * awaited, on whichever worker they are; only then is the number free for reuse. Parks, but is
 * itself never cancelled: it works inside an ended context.
 * Returns 0 or -errno; the descriptor is gone unless it is -EBADF, or -EALREADY: somebody else
 * is closing it. Go: Conn.Close.
 */
GYRE_API int gyre_close(int fd);

GYRE_END_DECLS

#endif
