/*
 * Several datagrams of one flow in one call. What a device, a route or the socket's options don't
 * allow in one goes out datagram by datagram, and then the kernel's answer to the single ones is
 * the call's.
 */
#include "io/transfer.h"
#include "net/message.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { SEGMENTS_MAX = 64, DATAGRAM_MAX = 65535 };

struct segments {
    int fd;
    const void *buffer;
    size_t size;
    unsigned segment;
    const struct gyre_address *to;
};

static ssize_t send_piece(struct operation *operation, const struct segments *segments,
                          size_t begin, size_t size, uint16_t segment)
{
    union {
        char bytes[CMSG_SPACE(sizeof segment)];
        struct cmsghdr align;
    } control = {{0}};
    const struct gyre_address *to = segments->to;
    struct iovec piece = {(char *)segments->buffer + begin, size};
    struct msghdr message = {.msg_name = to ? (void *)&to->storage : NULL,
                             .msg_namelen = to ? to->length : 0,
                             .msg_iov = &piece,
                             .msg_iovlen = 1};

    if (segment) {
        struct cmsghdr *header;

        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = IPPROTO_UDP;
        header->cmsg_type = UDP_SEGMENT;
        header->cmsg_len = CMSG_LEN(sizeof segment);
        memcpy(CMSG_DATA(header), &segment, sizeof segment);
    }
    return gyre_message_send("gyre_send_segments", operation, segments->fd, &message, 0);
}

static ssize_t send_one_by_one(struct operation *operation, const struct segments *segments)
{
    size_t count = 0;

    while (count < segments->size) {
        size_t left = segments->size - count;
        size_t size = left < segments->segment ? left : segments->segment;
        ssize_t n = send_piece(operation, segments, count, size, 0);

        if (n < 0)
            return count ? (ssize_t)count : n;
        count += (size_t)n;
    }
    return (ssize_t)count;
}

/* -EIO: no checksums by the device, or transformed on the way; -EINVAL: none wanted by the socket;
 * -EMSGSIZE (once -EINVAL): a segment that needs fragments. */
static bool one_by_one_may(ssize_t error)
{
    return error == -EIO || error == -EINVAL || error == -EMSGSIZE || error == -EOPNOTSUPP ||
           error == -ENOPROTOOPT;
}

ssize_t gyre_send_segments(int fd, const void *buffer, size_t size, unsigned segment,
                           const struct gyre_address *to)
{
    struct segments segments = {fd, buffer, size, segment, to};
    struct operation operation = {0};
    ssize_t n;

    coro_required("gyre_send_segments");
    if (!segment || size > (size_t)segment * SEGMENTS_MAX ||
        (to && to->length > sizeof to->storage))
        return -EINVAL;
    if (size > DATAGRAM_MAX || segment > DATAGRAM_MAX)
        return size > segment ? send_one_by_one(&operation, &segments) : -EMSGSIZE;
    if (size <= segment)
        return send_piece(&operation, &segments, 0, size, 0);
    n = send_piece(&operation, &segments, 0, size, (uint16_t)segment);
    return one_by_one_may(n) ? send_one_by_one(&operation, &segments) : n;
}

ssize_t gyre_recv_segments(int fd, void *buffer, size_t size, unsigned *segment,
                           struct gyre_address *from)
{
    union {
        char bytes[512]; /* room for what else the socket's options may bring */
        struct cmsghdr align;
    } control;
    struct iovec piece = {buffer, size < TRANSFER_MAX ? size : TRANSFER_MAX};
    struct msghdr message = {.msg_name = from ? &from->storage : NULL,
                             .msg_namelen = from ? sizeof from->storage : 0,
                             .msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct operation operation = {0};
    ssize_t n = gyre_message_receive("gyre_recv_segments", &operation, fd, &message, 0);
    int found = 0;

    if (n < 0)
        return n;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header))
        if (header->cmsg_level == IPPROTO_UDP && header->cmsg_type == UDP_GRO)
            memcpy(&found, CMSG_DATA(header), sizeof found);
    *segment = found > 0 && found < n ? (unsigned)found : (unsigned)n;
    if (from)
        from->length = message.msg_namelen;
    return n;
}
