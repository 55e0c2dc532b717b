/*
 * Reading and writing any descriptor. A socket is read with recv and written with send, which
 * are cheaper than read and write and don't raise SIGPIPE; what a number is, is learnt
 * from the kernel's answer (ENOTSOCK), never assumed.
 *
 * The kernel goes on by itself with what a file took only in part. When that fails (the disk is
 * full, a sector can't be read) it tells how much there was, but forgets to move the position, as
 * of Linux 6.18: the next write would go over what is there. So it is moved here.
 */
#include "io/transfer.h"

#include "io/unix_datagram.h"
#include "ring/tsan.h"

#include <gyre/io.h>

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool may_be_socket(const struct operation *operation)
{
    unsigned kind;

    if (!operation->descriptor)
        return true;
    kind = atomic_load_explicit(&operation->descriptor->kind, memory_order_relaxed);
    return kind != KIND_OTHER && kind != KIND_FILE;
}

/* Reading nothing returns at once with read(2), but waits for data with recv(2). */
static bool reads_nothing(const struct transfer *transfer)
{
    if (transfer->kind == TRANSFER_READ)
        return !transfer->size;
    if (transfer->kind != TRANSFER_READV)
        return false;
    for (size_t i = 0; i < transfer->message->msg_iovlen; i++)
        if (transfer->message->msg_iov[i].iov_len)
            return false;
    return true;
}

/* It is no socket. */
static void learn(struct operation *operation, int fd)
{
    uint8_t kind = lseek(fd, 0, SEEK_CUR) < 0 ? KIND_OTHER : KIND_FILE;

    if (operation->descriptor)
        atomic_store_explicit(&operation->descriptor->kind, kind, memory_order_relaxed);
}

/* --- the position of a file --------------------------------------------------------------------
 */

/* -1: it has none. */
static off_t position_of(const struct operation *operation, int fd)
{
    const struct descriptor *descriptor = operation->descriptor;

    if (!descriptor || atomic_load_explicit(&descriptor->kind, memory_order_relaxed) != KIND_FILE)
        return -1;
    return lseek(fd, 0, SEEK_CUR);
}

static bool is_short(const struct transfer *transfer, int result)
{
    size_t rest = (size_t)result;

    if (transfer->kind == TRANSFER_READ || transfer->kind == TRANSFER_WRITE)
        return rest < transfer->size;
    for (size_t i = 0; i < transfer->message->msg_iovlen; i++) {
        if (rest < transfer->message->msg_iov[i].iov_len)
            return true;
        rest -= transfer->message->msg_iov[i].iov_len;
    }
    return false;
}

/* The file was at before, and then size bytes were transferred. Some that are made up by the kernel
 * don't count; their size doesn't either. */
static void correct_position(const struct operation *operation, int fd, off_t before, int size)
{
    /* Acquire: pairs with the last store of gyre_close. */
    uint64_t users = atomic_load_explicit(&operation->descriptor->users, memory_order_acquire);
    struct stat status;

    if (users & DESCRIPTOR_CLOSING || descriptor_closings(users) != operation->closings ||
        lseek(fd, 0, SEEK_CUR) != before || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) ||
        status.st_size - size < before)
        return;
    lseek(fd, size, SEEK_CUR);
}

/* --- a transfer --------------------------------------------------------------------------------
 */

static void prepare(struct operation *operation, bool socket, int fd,
                    const struct transfer *transfer)
{
    struct io_uring_sqe *sqe = operation->sqe;

    switch (transfer->kind) {
    case TRANSFER_READ:
        if (socket)
            io_uring_prep_recv(sqe, fd, transfer->buffer, transfer->size, 0);
        else
            io_uring_prep_read(sqe, fd, transfer->buffer, (unsigned)transfer->size, (uint64_t)-1);
        break;
    case TRANSFER_WRITE:
        if (socket)
            io_uring_prep_send(sqe, fd, transfer->buffer, transfer->size, MSG_NOSIGNAL);
        else
            io_uring_prep_write(sqe, fd, transfer->buffer, (unsigned)transfer->size, (uint64_t)-1);
        break;
    case TRANSFER_READV:
        if (socket)
            io_uring_prep_recvmsg(sqe, fd, transfer->message, 0);
        else
            io_uring_prep_readv(sqe, fd, transfer->message->msg_iov,
                                (unsigned)transfer->message->msg_iovlen, (uint64_t)-1);
        break;
    case TRANSFER_WRITEV:
        if (socket)
            io_uring_prep_sendmsg(sqe, fd, transfer->message, MSG_NOSIGNAL);
        else
            io_uring_prep_writev(sqe, fd, transfer->message->msg_iov,
                                 (unsigned)transfer->message->msg_iovlen, (uint64_t)-1);
        break;
    }
}

static ssize_t send_unix_datagram(const char *call, struct operation *operation, int fd,
                                  const struct transfer *transfer)
{
    struct iovec piece = {transfer->buffer, transfer->size};
    const struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    return gyre_unix_datagram_send(
        call, operation, fd, transfer->kind == TRANSFER_WRITE ? &message : transfer->message, 0);
}

ssize_t gyre_transfer(const char *call, struct operation *operation, int fd,
                      const struct transfer *transfer)
{
    int result;

    if (fd < 0) {
        coro_required(call);
        return -EBADF;
    }
    if ((transfer->kind == TRANSFER_WRITE || transfer->kind == TRANSFER_WRITEV) &&
        unlikely(is_unix_datagram(fd)))
        return send_unix_datagram(call, operation, fd, transfer);
    do {
        bool socket;
        off_t position;
        int error = gyre_operation_begin(operation, call, fd, 0);

        if (unlikely(error))
            return error;
        socket = may_be_socket(operation) && likely(!reads_nothing(transfer));
        prepare(operation, socket, fd, transfer);
        position = position_of(operation, fd);
        if (transfer->kind == TRANSFER_WRITE || transfer->kind == TRANSFER_WRITEV)
            ring_tsan_sends();
        result = gyre_operation_wait(operation);
        if (transfer->kind == TRANSFER_READ || transfer->kind == TRANSFER_READV)
            ring_tsan_received();
        if (unlikely(socket && result == -ENOTSOCK)) {
            learn(operation, fd);
            result = OPERATION_AGAIN;
        }
        if (unlikely(!socket && result == -ESPIPE))
            result = -EINVAL;
        if (position >= 0 && result > 0 && unlikely(is_short(transfer, result)))
            correct_position(operation, fd, position, result);
    } while (unlikely(result == OPERATION_AGAIN));
    return result;
}

ssize_t gyre_transfer_pieces(const char *call, struct operation *operation, int fd,
                             enum transfer_kind kind, const struct iovec *pieces, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
    struct transfer transfer = {kind, NULL, 0, &message};

    if (count < 0 || count > IOV_MAX) {
        coro_required(call);
        return -EINVAL;
    }
    return gyre_transfer(call, operation, fd, &transfer);
}

ssize_t gyre_read(int fd, void *buffer, size_t size)
{
    struct transfer transfer = transfer_bytes(TRANSFER_READ, buffer, size);
    struct operation operation = {0};

    return gyre_transfer("gyre_read", &operation, fd, &transfer);
}

ssize_t gyre_write(int fd, const void *buffer, size_t size)
{
    struct transfer transfer = transfer_bytes(TRANSFER_WRITE, buffer, size);
    struct operation operation = {0};

    return gyre_transfer("gyre_write", &operation, fd, &transfer);
}

ssize_t gyre_readv(int fd, const struct iovec *pieces, int count)
{
    struct operation operation = {0};

    return gyre_transfer_pieces("gyre_readv", &operation, fd, TRANSFER_READV, pieces, count);
}

ssize_t gyre_writev(int fd, const struct iovec *pieces, int count)
{
    struct operation operation = {0};

    return gyre_transfer_pieces("gyre_writev", &operation, fd, TRANSFER_WRITEV, pieces, count);
}
