/* UDP and messages on any socket: every call, and every way it ends. */
#include "../io/harness.h"

#include "ring/ring.h"

#include <netinet/udp.h>
#include <sys/stat.h>
#include <sys/un.h>

static struct gyre_address address_of(int fd)
{
    struct gyre_address address = {.length = sizeof address.storage};

    EXPECT_EQ(getsockname(fd, (struct sockaddr *)&address.storage, &address.length), 0);
    return address;
}

static int bind_on(const char *where, unsigned flags, struct gyre_address *address)
{
    int fd = gyre_udp_bind(where, flags);

    EXPECT(fd >= 0);
    *address = address_of(fd);
    return fd;
}

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        EXPECT_EQ(gyre_close(fds[i]), 0);
}

static bool has_ipv6(void)
{
    int fd = gyre_udp_bind("[::1]:0", 0);

    if (fd < 0)
        return false;
    gyre_close(fd);
    return true;
}

/* --- sockets ---------------------------------------------------------------------------------- */

static void exchange(const char *one, const char *other)
{
    struct gyre_address a, b, from;
    int fds[2] = {bind_on(one, 0, &a), bind_on(other, 0, &b)};
    char buffer[16];

    EXPECT_EQ(gyre_sendto(fds[0], "question", 8, 0, &b), 8);
    EXPECT_EQ(gyre_recvfrom(fds[1], buffer, sizeof buffer, 0, &from), 8);
    EXPECT(!memcmp(buffer, "question", 8) && gyre_address_equal(&from, &a));
    EXPECT_EQ(gyre_sendto(fds[1], "answer", 6, 0, &from), 6);
    EXPECT_EQ(gyre_recvfrom(fds[0], buffer, sizeof buffer, 0, NULL), 6);
    EXPECT_EQ(gyre_sendto(fds[0], "", 0, 0, &b), 0);
    EXPECT_EQ(gyre_recvfrom(fds[1], buffer, sizeof buffer, 0, &from), 0);
    EXPECT(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    close_all(fds, 2);
}

INSIDE(udp, datagrams_carry_their_sender)
{
    exchange("127.0.0.1:0", "127.0.0.1:0");
    if (has_ipv6())
        exchange("[::1]:0", "[::1]:0");
    return 0;
}

INSIDE(udp, a_socket_of_both_families_hears_both)
{
    struct gyre_address both, to, from, a4, a6;
    char text[GYRE_ADDRESS_SIZE], buffer[8];
    int fds[3];

    if (!has_ipv6())
        return 0;
    fds[0] = bind_on(":0", 0, &both);
    fds[1] = bind_on("127.0.0.1:0", 0, &a4);
    fds[2] = bind_on("[::1]:0", 0, &a6);
    for (int i = 1; i < 3; i++) {
        EXPECT_EQ(gyre_address_from(&to, i == 1 ? "127.0.0.1:0" : "[::1]:0"), 0);
        if (i == 1)
            ((struct sockaddr_in *)&to.storage)->sin_port =
                ((struct sockaddr_in6 *)&both.storage)->sin6_port;
        else
            ((struct sockaddr_in6 *)&to.storage)->sin6_port =
                ((struct sockaddr_in6 *)&both.storage)->sin6_port;
        EXPECT_EQ(gyre_sendto(fds[i], "x", 1, 0, &to), 1);
        EXPECT_EQ(gyre_recvfrom(fds[0], buffer, sizeof buffer, 0, &from), 1);
        EXPECT(gyre_address_equal(&from, i == 1 ? &a4 : &a6));
        EXPECT(gyre_address_text(&from, text, sizeof text) > 0);
        EXPECT(i == 2 || !strncmp(text, "[::ffff:127.0.0.1]:", 19));
        EXPECT_EQ(gyre_sendto(fds[0], "y", 1, 0, &from), 1);
        EXPECT_EQ(gyre_recvfrom(fds[i], buffer, sizeof buffer, 0, NULL), 1);
    }
    close_all(fds, 3);
    return 0;
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;

    EXPECT_EQ(getsockopt(fd, level, name, &value, &length), 0);
    return value;
}

INSIDE(udp, flags_reach_the_socket)
{
    struct gyre_address address;
    char text[GYRE_ADDRESS_SIZE];
    int fds[2] = {bind_on("127.0.0.1:0", GYRE_UDP_REUSEPORT | GYRE_UDP_BROADCAST, &address), -1};

    EXPECT_EQ(option(fds[0], SOL_SOCKET, SO_BROADCAST), 1);
    EXPECT(gyre_address_text(&address, text, sizeof text) > 0);
    EXPECT_EQ(gyre_udp_bind(text, 0), -EADDRINUSE);
    fds[1] = gyre_udp_bind(text, GYRE_UDP_REUSEPORT);
    EXPECT(fds[1] >= 0);
    close_all(fds, 2);
    if (!has_ipv6())
        return 0;
    fds[0] = bind_on(":0", GYRE_UDP_V6ONLY, &address);
    EXPECT_EQ(option(fds[0], IPPROTO_IPV6, IPV6_V6ONLY), 1);
    close_all(fds, 1);
    return 0;
}

INSIDE(udp, opening_fails_with_the_reason)
{
    EXPECT_EQ(gyre_udp_bind("nonsense", 0), -EINVAL);
    EXPECT_EQ(gyre_udp_bind(NULL, 0), -EINVAL);
    EXPECT_EQ(gyre_udp_bind("127.0.0.1:0", 1 << 20), -EINVAL);
    EXPECT_EQ(gyre_udp_bind("192.0.2.1:0", 0), -EADDRNOTAVAIL);
    EXPECT_EQ(gyre_udp_dial("nonsense"), -EINVAL);
    EXPECT_EQ(gyre_udp_dial(NULL), -EINVAL);
    EXPECT_EQ(gyre_udp_dial("255.255.255.255:9"), -EACCES);
    {
        GYRE_TIMEOUT(-1);
        EXPECT_EQ(gyre_udp_bind("127.0.0.1:0", 0), -ETIMEDOUT);
        EXPECT_EQ(gyre_udp_dial("127.0.0.1:9"), -ETIMEDOUT);
    }
    return 0;
}

INSIDE(udp, a_dialled_socket_has_one_peer_and_hears_of_its_absence)
{
    struct gyre_address address, from;
    char text[GYRE_ADDRESS_SIZE], byte;
    int fds[2] = {bind_on("127.0.0.1:0", 0, &address), -1};

    EXPECT(gyre_address_text(&address, text, sizeof text) > 0);
    fds[1] = gyre_udp_dial(text);
    EXPECT(fds[1] >= 0);
    EXPECT_EQ(gyre_write(fds[1], "x", 1), 1);
    EXPECT_EQ(gyre_recvfrom(fds[0], &byte, 1, 0, &from), 1);
    EXPECT_EQ(gyre_sendto(fds[0], "y", 1, 0, &from), 1);
    EXPECT_EQ(gyre_read(fds[1], &byte, 1), 1);
    EXPECT_EQ(gyre_sendto(fds[1], "z", 1, 0, NULL), 1);
    EXPECT_EQ(gyre_recvfrom(fds[0], &byte, 1, 0, NULL), 1);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_write(fds[1], "x", 1), 1);
    EXPECT_EQ(gyre_read(fds[1], &byte, 1), -ECONNREFUSED);
    EXPECT_EQ(gyre_write(fds[1], "x", 1), 1);
    EXPECT_EQ(gyre_recvfrom(fds[1], &byte, 1, 0, &from), -ECONNREFUSED);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    return 0;
}

/* --- errors, truncation, flags ---------------------------------------------------------------- */

INSIDE(datagram, errors)
{
    static char large[70000];
    struct gyre_address address, untouched, wrong = {.length = 4000};
    struct iovec piece = {large, 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    int fds[3] = {bind_on("127.0.0.1:0", 0, &address)};
    unsigned segment = 77;

    make_pipe(fds + 1);
    memset(&untouched, 0x5a, sizeof untouched);
    EXPECT_EQ(gyre_sendto(fds[0], large, sizeof large, 0, &address), -EMSGSIZE);
    EXPECT_EQ(gyre_sendto(fds[0], large, 1, 0, NULL), -EDESTADDRREQ);
    EXPECT_EQ(gyre_sendto(fds[0], large, 1, 0, &wrong), -EINVAL);
    EXPECT_EQ(gyre_sendto(fds[1], large, 1, 0, NULL), -ENOTSOCK);
    EXPECT_EQ(gyre_sendto(-1, large, 1, 0, &address), -EBADF);
    EXPECT_EQ(gyre_sendto(999, large, 1, 0, &address), -EBADF);
    EXPECT_EQ(gyre_sendmsg(fds[0], &message, 0), -EDESTADDRREQ);
    EXPECT_EQ(gyre_sendmsg(fds[1], &message, 0), -ENOTSOCK);
    EXPECT_EQ(gyre_sendmsg(-1, &message, 0), -EBADF);
    EXPECT_EQ(gyre_recvfrom(fds[1], large, 1, 0, &untouched), -ENOTSOCK);
    EXPECT_EQ(gyre_recvfrom(-1, large, 1, 0, &untouched), -EBADF);
    EXPECT_EQ(gyre_recvfrom(fds[0], large, 1, MSG_DONTWAIT, &untouched), -EAGAIN);
    EXPECT_EQ(gyre_recvmsg(-1, &message, 0), -EBADF);
    EXPECT_EQ(gyre_recvmsg(fds[1], &message, 0), -ENOTSOCK);
    EXPECT_EQ(gyre_recvmsg(fds[0], &message, MSG_DONTWAIT), -EAGAIN);
    EXPECT_EQ(gyre_send_segments(fds[0], large, 65, 1, &address), -EINVAL);
    EXPECT_EQ(gyre_send_segments(fds[0], large, 10, 0, &address), -EINVAL);
    EXPECT_EQ(gyre_send_segments(fds[0], large, 70000, 70000, &address), -EMSGSIZE);
    EXPECT_EQ(gyre_send_segments(fds[0], large, 10, 5, NULL), -EDESTADDRREQ);
    EXPECT_EQ(gyre_send_segments(-1, large, 10, 5, NULL), -EBADF);
    EXPECT_EQ(gyre_recv_segments(-1, large, 10, &segment, &untouched), -EBADF);
    EXPECT_EQ(segment, 77);
    for (size_t i = 0; i < sizeof untouched; i++)
        EXPECT_EQ(((unsigned char *)&untouched)[i], 0x5a);
    close_all(fds, 3);
    return 0;
}

INSIDE(datagram, what_does_not_fit_is_cut)
{
    struct gyre_address address;
    char buffer[8], control[64];
    struct iovec pieces[2] = {{buffer, 2}, {buffer + 2, 2}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    int fd = bind_on("127.0.0.1:0", 0, &address);

    for (int i = 0; i < 4; i++)
        EXPECT_EQ(gyre_sendto(fd, "12345678", 8, 0, &address), 8);
    EXPECT_EQ(gyre_recvfrom(fd, buffer, 4, 0, NULL), 4);
    EXPECT_EQ(gyre_recvfrom(fd, buffer, 4, MSG_TRUNC, NULL), 8);
    EXPECT_EQ(gyre_recvfrom(fd, buffer, 4, MSG_PEEK | MSG_TRUNC, NULL), 8);
    EXPECT_EQ(gyre_recvmsg(fd, &message, 0), 4);
    EXPECT_EQ(message.msg_flags, MSG_TRUNC);
    EXPECT(!memcmp(buffer, "1234", 4));
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    message.msg_flags = 0;
    /* A datagram is never joined with the next. */
    EXPECT_EQ(gyre_sendto(fd, "abc", 3, 0, &address), 3);
    EXPECT_EQ(gyre_recvmsg(fd, &message, MSG_WAITALL | MSG_CMSG_CLOEXEC), 4);
    EXPECT_EQ(message.msg_flags, MSG_TRUNC | MSG_CMSG_CLOEXEC);
    EXPECT_EQ(message.msg_controllen, 0);
    message.msg_controllen = sizeof control;
    EXPECT_EQ(gyre_recvmsg(fd, &message, MSG_WAITALL), 3);
    EXPECT_EQ(message.msg_flags, 0);
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

/* With room for ancillary data, which makes it another way. */
static int receive_whole(void *arg)
{
    char buffer[9], control[64];
    struct iovec pieces[3] = {{buffer, 2}, {buffer + 2, 0}, {buffer + 2, 7}};
    struct msghdr message = {.msg_iov = pieces,
                             .msg_iovlen = 3,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    ssize_t n = gyre_recvmsg(*(int *)arg, &message, MSG_WAITALL);

    EXPECT_EQ(message.msg_controllen, 0);
    EXPECT(n != 9 || !memcmp(buffer, "123456789", 9));
    return (int)n;
}

INSIDE(datagram, waitall_fills_all_the_pieces_of_a_stream)
{
    gyre_handle reader;
    int fds[2], result;

    make_stream_pair(fds);
    EXPECT_EQ(gyre_spawn(&reader, receive_whole, &fds[0]), 0);
    for (const char *text = "123456789"; *text; text++) {
        await_parked(reader);
        EXPECT_EQ(gyre_write(fds[1], text, 1), 1);
    }
    EXPECT_EQ(gyre_join(reader, &result), 0);
    EXPECT_EQ(result, 9);
    EXPECT_EQ(gyre_spawn(&reader, receive_whole, &fds[0]), 0);
    EXPECT_EQ(gyre_write(fds[1], "1234", 4), 4);
    await_parked(reader);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(gyre_join(reader, &result), 0);
    EXPECT_EQ(result, 4); /* the end */
    EXPECT_EQ(gyre_close(fds[0]), 0);
    return 0;
}

INSIDE(datagram, waitall_keeps_what_had_come_when_it_is_cancelled)
{
    int fds[2];

    make_stream_pair(fds);
    EXPECT_EQ(gyre_write(fds[1], "1234", 4), 4);
    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(receive_whole(&fds[0]), 4);
    }
    close_all(fds, 2);
    return 0;
}

INSIDE(datagram, no_call_raises_sigpipe)
{
    struct iovec piece = {"x", 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    int fds[2];

    make_stream_pair(fds);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(gyre_sendmsg(fds[0], &message, 0), -EPIPE);
    EXPECT_EQ(gyre_sendmsg(fds[0], &message, MSG_DONTWAIT), -EPIPE);
    EXPECT_EQ(gyre_sendto(fds[0], "x", 1, 0, NULL), -EPIPE);
    EXPECT_EQ(gyre_send_fds(fds[0], "x", 1, fds, 1), -EPIPE);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    return 0;
}

/* The address an answer must come from, for a socket bound to all of them. */
static void packet_info(const char *bound, const char *sent_to)
{
    struct gyre_address here, to;
    char control[256], byte;
    struct iovec piece = {&byte, 1};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    int fd = bind_on(bound, GYRE_UDP_PACKET_INFO, &here);
    bool found = false;

    EXPECT_EQ(gyre_address_from(&to, sent_to), 0);
    memcpy((char *)&to.storage + 2, (char *)&here.storage + 2, 2); /* the port, in any family */
    EXPECT_EQ(gyre_sendto(fd, "x", 1, 0, &to), 1);
    EXPECT_EQ(gyre_recvmsg(fd, &message, 0), 1);
    EXPECT(message.msg_controllen > 0 && message.msg_controllen < sizeof control);
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;

            memcpy(&info, CMSG_DATA(header), sizeof info);
            found = info.ipi_addr.s_addr == ((struct sockaddr_in *)&to.storage)->sin_addr.s_addr;
        } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            struct gyre_address came = here;

            memcpy(&info, CMSG_DATA(header), sizeof info);
            ((struct sockaddr_in6 *)&came.storage)->sin6_addr = info.ipi6_addr;
            found = gyre_address_equal(&came, &to);
        }
    }
    EXPECT(found);
    EXPECT_EQ(gyre_close(fd), 0);
}

INSIDE(datagram, packet_info_tells_where_it_was_sent)
{
    packet_info("0.0.0.0:0", "127.0.0.2:0");
    if (!has_ipv6())
        return 0;
    packet_info(":0", "[::1]:0");
    packet_info(":0", "127.0.0.3:0");
    return 0;
}

static int masked_exchange(void *unused)
{
    (void)unused;
    EXPECT(!gyre_ring_supports(IORING_OP_SENDMSG_ZC));
    exchange("127.0.0.1:0", "127.0.0.1:0");
    return 0;
}

Test(datagram, sendto_by_message_where_the_kernel_is_older)
{
    gyre_ring_masked[IORING_OP_SENDMSG_ZC / 64] |= (uint64_t)1 << (IORING_OP_SENDMSG_ZC % 64);
    run_on_each(masked_exchange);
}

/* --- segments --------------------------------------------------------------------------------- */

enum { SEGMENTS = 64, SEGMENT = 700 };

static char sent[SEGMENTS * SEGMENT];

static void fill(void)
{
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)(i * 7 + i / SEGMENT);
}

INSIDE(segments, arrive_as_datagrams)
{
    struct gyre_address address, from;
    char buffer[2 * SEGMENT];
    int fd = bind_on("127.0.0.1:0", 0, &address);

    fill();
    EXPECT_EQ(gyre_set_buffers(fd, 1 << 20, 0), 0);
    EXPECT_EQ(gyre_send_segments(fd, sent, sizeof sent, SEGMENT, &address), sizeof sent);
    for (int i = 0; i < SEGMENTS; i++) {
        EXPECT_EQ(gyre_recvfrom(fd, buffer, sizeof buffer, 0, &from), SEGMENT);
        EXPECT(!memcmp(buffer, sent + i * SEGMENT, SEGMENT));
    }
    EXPECT_EQ(gyre_send_segments(fd, sent, 2 * SEGMENT + 1, SEGMENT, &address), 2 * SEGMENT + 1);
    EXPECT_EQ(gyre_recvfrom(fd, buffer, sizeof buffer, 0, NULL), SEGMENT);
    EXPECT_EQ(gyre_recvfrom(fd, buffer, sizeof buffer, 0, NULL), SEGMENT);
    EXPECT_EQ(gyre_recvfrom(fd, buffer, sizeof buffer, 0, NULL), 1);
    EXPECT_EQ(gyre_send_segments(fd, sent, 5, SEGMENT, &address), 5);
    EXPECT_EQ(gyre_recvfrom(fd, buffer, sizeof buffer, 0, NULL), 5);
    EXPECT_EQ(gyre_send_segments(fd, sent, 0, SEGMENT, &address), 0);
    EXPECT_EQ(gyre_recvfrom(fd, buffer, sizeof buffer, 0, NULL), 0);
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

/* Where the socket can't do it in one (here: it wants no checksums). */
INSIDE(segments, go_one_by_one_where_they_must)
{
    struct gyre_address address;
    char buffer[2 * SEGMENT];
    int fd = bind_on("127.0.0.1:0", 0, &address), on = 1;

    fill();
    EXPECT_EQ(setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);
    EXPECT_EQ(gyre_set_buffers(fd, 1 << 20, 0), 0);
    EXPECT_EQ(gyre_send_segments(fd, sent, sizeof sent - 1, SEGMENT, &address), sizeof sent - 1);
    for (int i = 0; i < SEGMENTS; i++) {
        EXPECT_EQ(gyre_recvfrom(fd, buffer, sizeof buffer, 0, NULL),
                  i < SEGMENTS - 1 ? SEGMENT : SEGMENT - 1);
        EXPECT(!memcmp(buffer, sent + i * SEGMENT, SEGMENT - 1));
    }
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

INSIDE(segments, are_received_joined)
{
    static char buffer[1 << 16];
    struct gyre_address address, from;
    int fd = bind_on("127.0.0.1:0", GYRE_UDP_GRO | GYRE_UDP_PACKET_INFO, &address);
    unsigned segment = 0;
    size_t count = 0;

    fill();
    EXPECT_EQ(gyre_send_segments(fd, sent, sizeof sent, SEGMENT, &address), sizeof sent);
    while (count < sizeof sent) {
        ssize_t n = gyre_recv_segments(fd, buffer, sizeof buffer, &segment, &from);

        EXPECT(n > 0);
        if (n <= 0)
            break;
        EXPECT_EQ(segment, SEGMENT);
        EXPECT(!memcmp(buffer, sent + count, (size_t)n) && gyre_address_equal(&from, &address));
        count += (size_t)n;
    }
    EXPECT_EQ(count, sizeof sent);
    EXPECT_EQ(gyre_sendto(fd, "single", 6, 0, &address), 6);
    EXPECT_EQ(gyre_recv_segments(fd, buffer, sizeof buffer, &segment, NULL), 6);
    EXPECT_EQ(segment, 6);
    EXPECT_EQ(gyre_sendto(fd, "", 0, 0, &address), 0);
    EXPECT_EQ(gyre_recv_segments(fd, buffer, sizeof buffer, &segment, NULL), 0);
    EXPECT_EQ(segment, 0);
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

/* --- cancellation, closing -------------------------------------------------------------------- */

static ssize_t wait_by(int kind, int fd)
{
    char buffer[64];
    struct iovec piece = {buffer, 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    struct gyre_credentials who;
    struct gyre_address from;
    unsigned segment;
    size_t none = 0;

    switch (kind) {
    case 0:
        return gyre_recvfrom(fd, buffer, 1, 0, &from);
    case 1:
        return gyre_recvmsg(fd, &message, 0);
    case 2:
        return gyre_recv_segments(fd, buffer, 1, &segment, NULL);
    case 3:
        return gyre_recv_fds(fd, buffer, 1, NULL, &none);
    default:
        return gyre_recv_credentials(fd, buffer, 1, &who);
    }
}

enum { KINDS = 5 };

struct waiting {
    int kind, fd;
};

static int wait_for_one(void *arg)
{
    struct waiting *waiting = arg;

    return (int)wait_by(waiting->kind, waiting->fd);
}

INSIDE(datagram, receiving_is_cancelled_before_and_during)
{
    for (int kind = 0; kind < KINDS; kind++) {
        int fds[2];

        EXPECT_EQ(gyre_unix_pair(fds, SOCK_DGRAM), 0);
        EXPECT_EQ(gyre_write(fds[1], "x", 1), 1);
        {
            GYRE_TIMEOUT(-1);
            EXPECT_EQ(wait_by(kind, fds[0]), -ETIMEDOUT);
        }
        EXPECT_EQ(wait_by(kind, fds[0]), 1);
        {
            GYRE_TIMEOUT(2 * GYRE_MILLISECOND);
            EXPECT_EQ(wait_by(kind, fds[0]), -ETIMEDOUT);
        }
        EXPECT_EQ(gyre_write(fds[1], "x", 1), 1);
        EXPECT_EQ(wait_by(kind, fds[0]), 1);
        close_all(fds, 2);
    }
    return 0;
}

INSIDE(datagram, closing_ends_who_receives)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct waiting waiting = {.kind = kind};
        gyre_handle reader;
        int fds[2], result;

        EXPECT_EQ(gyre_unix_pair(fds, SOCK_DGRAM), 0);
        waiting.fd = fds[0];
        EXPECT_EQ(gyre_spawn(&reader, wait_for_one, &waiting), 0);
        await_parked(reader);
        EXPECT_EQ(gyre_close(fds[0]), 0);
        EXPECT_EQ(gyre_join(reader, &result), 0);
        EXPECT_EQ(result, -EBADF);
        EXPECT_EQ(gyre_close(fds[1]), 0);
    }
    return 0;
}

/* --- a Unix receiver whose queue is full ------------------------------------------------------ */

static int threads(void)
{
    struct stat status;

    EXPECT_EQ(stat("/proc/self/task", &status), 0);
    return (int)status.st_nlink - 2;
}

static void fill_queue(int fd, const struct gyre_address *to)
{
    while (gyre_sendto(fd, "x", 1, MSG_DONTWAIT, to) == 1)
        ;
}

struct sending {
    int fd;
    const struct gyre_address *to;
};

static int send_one(void *arg)
{
    struct sending *sending = arg;

    return (int)gyre_sendto(sending->fd, "y", 1, 0, sending->to);
}

INSIDE(datagram, many_senders_to_a_full_unix_receiver_take_no_thread)
{
    enum { SENDERS = 50 };
    struct gyre_address to;
    gyre_handle senders[SENDERS];
    struct sending sending = {.to = &to};
    int before, result, count = 0, receiver = gyre_unix_bind(NULL, 0);
    char byte = 0;

    to = address_of(receiver);
    sending.fd = gyre_unix_bind(NULL, 0);
    fill_queue(sending.fd, &to);
    before = threads();
    {
        GYRE_TIMEOUT(3 * GYRE_MILLISECOND);
        EXPECT_EQ(send_one(&sending), -ETIMEDOUT);
    }
    for (int i = 0; i < SENDERS; i++)
        EXPECT_EQ(gyre_spawn(&senders[i], send_one, &sending), 0);
    for (int i = 0; i < SENDERS; i++)
        await_parked(senders[i]);
    EXPECT_EQ(threads(), before);
    while (count < SENDERS) {
        EXPECT_EQ(gyre_read(receiver, &byte, 1), 1);
        count += byte == 'y';
    }
    for (int i = 0; i < SENDERS; i++) {
        EXPECT_EQ(gyre_join(senders[i], &result), 0);
        EXPECT_EQ(result, 1);
    }
    fill_queue(sending.fd, &to);
    EXPECT_EQ(gyre_spawn(&senders[0], send_one, &sending), 0);
    await_parked(senders[0]);
    EXPECT_EQ(gyre_close(sending.fd), 0);
    EXPECT_EQ(gyre_join(senders[0], &result), 0);
    EXPECT_EQ(result, -EBADF);
    EXPECT_EQ(gyre_close(receiver), 0);
    return 0;
}

/* --- many ------------------------------------------------------------------------------------- */

enum { CLIENTS = 20, ROUNDS = 50 };

static int ask_often(void *arg)
{
    const struct gyre_address *to = arg;
    struct gyre_address mine, from;
    int fd = bind_on("127.0.0.1:0", 0, &mine);

    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t back = 0;

        EXPECT_EQ(gyre_sendto(fd, &i, sizeof i, 0, to), sizeof i);
        EXPECT_EQ(gyre_recvfrom(fd, &back, sizeof back, 0, &from), sizeof back);
        EXPECT(back == i && gyre_address_equal(&from, to));
    }
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

static int answer_all(void *arg)
{
    struct gyre_address from;
    char buffer[64];
    int fd = *(int *)arg;
    ssize_t n;

    while ((n = gyre_recvfrom(fd, buffer, sizeof buffer, 0, &from)) >= 0)
        EXPECT_EQ(gyre_sendto(fd, buffer, (size_t)n, 0, &from), n);
    return (int)n;
}

INSIDE(datagram, many_clients_share_a_server_of_several_coroutines)
{
    gyre_handle clients[CLIENTS], servers[3];
    struct gyre_address address;
    int result, fd = bind_on("127.0.0.1:0", 0, &address);

    for (int i = 0; i < 3; i++)
        EXPECT_EQ(gyre_spawn(&servers[i], answer_all, &fd), 0);
    for (int i = 0; i < CLIENTS; i++)
        EXPECT_EQ(gyre_spawn(&clients[i], ask_often, &address), 0);
    for (int i = 0; i < CLIENTS; i++)
        EXPECT_EQ(gyre_join(clients[i], NULL), 0);
    EXPECT_EQ(gyre_close(fd), 0);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(gyre_join(servers[i], &result), 0);
        EXPECT_EQ(result, -EBADF);
    }
    return 0;
}
