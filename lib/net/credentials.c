/* Who the peer is, as the kernel knows it. */
#include "io/socket.h"
#include "io/transfer.h"
#include "net/descriptors.h"
#include "net/message.h"

#include <gyre/unix.h>

#include <errno.h>
#include <string.h>

enum { ROOM = 2048 }; /* also for the most descriptors that a message can carry */

int gyre_peer_credentials(int fd, struct gyre_credentials *credentials)
{
    struct ucred peer;
    socklen_t length = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
        return -errno;
    if (!peer.pid && peer.uid == (uid_t)-1)
        return -ENOTCONN;
    *credentials = (struct gyre_credentials){peer.pid, peer.uid, peer.gid};
    return 0;
}

static bool find_credentials(struct msghdr *message, struct gyre_credentials *credentials)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        struct ucred sender;

        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_CREDENTIALS)
            continue;
        memcpy(&sender, CMSG_DATA(header), sizeof sender);
        *credentials = (struct gyre_credentials){sender.pid, sender.uid, sender.gid};
        return true;
    }
    return false;
}

static bool is_stream(int fd)
{
    int type = socket_option(fd, SO_TYPE);

    return type < 0 || type == SOCK_STREAM;
}

ssize_t gyre_recv_credentials(int fd, void *buffer, size_t size,
                              struct gyre_credentials *credentials)
{
    union {
        char bytes[ROOM];
        struct cmsghdr align;
    } control;
    struct iovec piece = {buffer, size < TRANSFER_MAX ? size : TRANSFER_MAX};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct operation operation = {0};
    int unwanted[ROOM / sizeof(int)], on = 1;
    ssize_t n;

    coro_required("gyre_recv_credentials");
    if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
        return -errno;
    n = gyre_message_receive("gyre_recv_credentials", &operation, fd, &message, 0);
    if (n < 0)
        return n;
    gyre_close_received(unwanted, gyre_received_descriptors(&message, unwanted));
    /* At a stream's end the kernel tells of nobody by zeros, which is root. */
    if ((!n && is_stream(fd)) || !find_credentials(&message, credentials))
        *credentials = (struct gyre_credentials){-1, (uid_t)-1, (gid_t)-1};
    return n;
}
