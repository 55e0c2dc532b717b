/*
 * Descriptors passed over Unix sockets. Whatever the kernel installs is given to the caller or
 * closed: there is always room for the most that a message can carry, so that none is left to the
 * table's limits, and what the socket's options bring along (a pidfd) is closed too.
 */
#include "io/transfer.h"
#include "net/descriptors.h"
#include "net/message.h"

#include <gyre/io.h>
#include <gyre/unix.h>

#include <errno.h>
#include <string.h>

#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

enum { FDS_MAX = 253, OTHERS = 512 };

ssize_t gyre_send_fds(int fd, const void *buffer, size_t size, const int *fds, size_t count)
{
    union {
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec piece = {(void *)buffer, size < TRANSFER_MAX ? size : TRANSFER_MAX};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    struct operation operation = {0};

    coro_required("gyre_send_fds");
    if (!size || count > FDS_MAX || (count && !fds))
        return -EINVAL;
    if (count) {
        struct cmsghdr *header = &control.align;

        memset(control.bytes, 0, CMSG_SPACE(count * sizeof *fds));
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof *fds);
        memcpy(CMSG_DATA(header), fds, count * sizeof *fds);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof *fds);
    }
    return gyre_message_send("gyre_send_fds", &operation, fd, &message, 0);
}

size_t gyre_received_descriptors(struct msghdr *message, int *fds)
{
    size_t count = 0;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        size_t size = header->cmsg_len - CMSG_LEN(0);
        int fd;

        if (header->cmsg_level != SOL_SOCKET)
            continue;
        if (header->cmsg_type == SCM_RIGHTS) {
            memcpy(fds + count, CMSG_DATA(header), size);
            count += size / sizeof *fds;
        } else if (header->cmsg_type == SCM_PIDFD && size == sizeof fd) {
            memcpy(&fd, CMSG_DATA(header), sizeof fd);
            if (fd >= 0)
                gyre_close(fd);
        }
    }
    return count;
}

void gyre_close_received(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        gyre_close(fds[i]);
}

ssize_t gyre_recv_fds(int fd, void *buffer, size_t size, int *fds, size_t *count)
{
    union {
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int)) + OTHERS];
        struct cmsghdr align;
    } control;
    struct iovec piece = {buffer, size < TRANSFER_MAX ? size : TRANSFER_MAX};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct operation operation = {0};
    int came[sizeof control.bytes / sizeof(int)];
    ssize_t n = gyre_message_receive("gyre_recv_fds", &operation, fd, &message, 0);
    size_t found;

    if (n < 0)
        return n;
    found = gyre_received_descriptors(&message, came);
    if (found <= *count && !(message.msg_flags & MSG_CTRUNC)) {
        for (size_t i = 0; i < found; i++)
            fds[i] = came[i];
        *count = found;
        return n;
    }
    gyre_close_received(came, found);
    /* There was room here for all: the process could not have more. */
    return message.msg_flags & MSG_CTRUNC ? -EMFILE : -EMSGSIZE;
}
