/*
 * A file to anything that can be written. Long ones go to a TCP connection by splice(2) through a
 * pipe, which copies nothing; the rest is read into a buffer and written, which for short ones is
 * faster (docs/decisions.md). The first of these chunks goes by plain system calls that don't wait,
 * if it can.
 *
 * A splice to a socket in blocking mode waits in a kernel worker until all of it has found room,
 * and there are few of these for many slow peers. So no more is spliced than the socket says that
 * it has room for.
 */
#include "fs/read_at.h"
#include "fs/run.h"
#include "io/socket.h"
#include "io/transfer.h"
#include "ring/tsan.h"

#include <gyre/file.h>
#include <gyre/io.h>

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    CHUNK = 64 << 10,
    SPLICE_LEAST = 128 << 10,
    PIPE_SIZE = 1 << 20,
    PIPE_LEAST = 256 << 10, /* with less, for want of rights, a buffer is as good */
    ROOM_LEAST = 64 << 10,
};

static const char call[] = "gyre_sendfile_all";

struct sending {
    int out, in;
    off_t offset;
    size_t size, done;
    struct operation to, from; /* bound to the files that the numbers mean at first */
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* --- at once ---------------------------------------------------------------------------------- */

/* Whether a read with RWF_NOWAIT is from the page cache alone: without it, it would wait. */
static bool is_cached_kind(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && !(flags & O_DIRECT);
}

/*
 * What can be had without waiting: the first chunk from the page cache to a socket that has room.
 * Through the ring all coroutines' reads would come first and their sends after, each from a buffer
 * that the others have driven out of the CPU's cache. Errors are left to the ring.
 */
static void send_now(struct sending *sending, char *buffer)
{
    const struct iovec piece = {buffer, least(sending->size, CHUNK)};
    ssize_t n = -1;

    if (sending->offset < 0 || gyre_context_error() || !is_cached_kind(sending->in))
        return;
    n = preadv2(sending->in, &piece, 1, sending->offset, RWF_NOWAIT);
    ring_tsan_sends();
    if (n > 0)
        n = send(sending->out, buffer, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0)
        sending->done = (size_t)n;
}

/* --- by a buffer ------------------------------------------------------------------------------ */

/* Returns > 0 or -errno. */
static ssize_t write_chunk(struct sending *sending, const char *buffer, size_t size)
{
    while (size) {
        struct transfer transfer = transfer_bytes(TRANSFER_WRITE, buffer, size);
        ssize_t n = gyre_transfer(call, &sending->to, sending->out, &transfer);

        if (n <= 0)
            return n ? n : -EIO;
        sending->done += (size_t)n;
        buffer += n;
        size -= (size_t)n;
    }
    return 1;
}

static ssize_t send_chunks(struct sending *sending)
{
    char *buffer = malloc(least(sending->size - sending->done, CHUNK) + 1);
    ssize_t n = buffer ? 1 : -ENOMEM;

    if (buffer && !sending->done)
        send_now(sending, buffer);
    while (n > 0 && sending->done < sending->size) {
        struct access access = {.kind = ACCESS_READ,
                                .buffer = buffer,
                                .size = least(sending->size - sending->done, CHUNK),
                                .offset = sending->offset + (off_t)sending->done};

        n = gyre_access(call, &sending->from, sending->in, &access);
        if (n > 0)
            n = write_chunk(sending, buffer, (size_t)n);
    }
    free(buffer);
    return n;
}

/* --- by a pipe -------------------------------------------------------------------------------- */

/* What the pipe holds. Returns > 0 or -errno. */
static ssize_t drain(struct sending *sending, int pipe, size_t size)
{
    struct operation ours = {0}, *const operations[2] = {&ours, &sending->to};

    while (size) {
        size_t room = socket_room(sending->out);
        ssize_t n;

        if (room < ROOM_LEAST) {
            n = gyre_operation_poll(&sending->to, call, sending->out, POLLOUT);
            if (n < 0)
                return n;
            room = socket_room(sending->out) |
                   4096; /* a page at least, for it says that it has room */
        }
        n = gyre_file_splice(operations, call, pipe, NULL, sending->out, NULL, least(size, room),
                             0);
        if (n <= 0)
            return n ? n : -EIO;
        size -= (size_t)n;
        sending->done += (size_t)n;
    }
    return 1;
}

/* As send_chunks; -EINVAL: the file can't be spliced, or nothing was tried. */
static ssize_t send_by_pipe(struct sending *sending)
{
    struct operation ours = {0}, *const operations[2] = {&sending->from, &ours};
    int pipe[2], size;
    ssize_t n;

    if (gyre_pipe(pipe))
        return -EINVAL;
    size = fcntl(pipe[1], F_SETPIPE_SZ, PIPE_SIZE);
    n = size < PIPE_LEAST ? -EINVAL : 1;

    while (n > 0 && sending->done < sending->size) {
        off_t offset = sending->offset + (off_t)sending->done;

        n = gyre_file_splice(operations, call, sending->in, &offset, pipe[1], NULL,
                             least(sending->size - sending->done, (size_t)size), 0);
        if (n > 0)
            n = drain(sending, pipe[0], (size_t)n);
    }
    close(pipe[0]); /* no operation is in flight on them */
    close(pipe[1]);
    return n;
}

ssize_t gyre_sendfile_all(int out, int in, off_t offset, size_t size, size_t *done)
{
    struct sending sending = {.out = out, .in = in, .offset = offset, .size = size};
    ssize_t result = -EINVAL;

    coro_required(call);
    gyre_operation_bind(&sending.to, out);
    gyre_operation_bind(&sending.from, in);
    if (offset >= 0 && size >= SPLICE_LEAST && socket_is_tcp(out))
        result = send_by_pipe(&sending);
    if (result == -EINVAL)
        result = send_chunks(&sending);
    if (done)
        *done = sending.done;
    return result < 0 ? result : (ssize_t)sending.done;
}
