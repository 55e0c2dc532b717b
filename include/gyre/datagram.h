/*
 * gyre/datagram.h - UDP, and messages with addresses and ancillary data on any socket.
 *
 * Sockets are plain descriptors, close-on-exec; addresses as in gyre/net.h, names included. Only
 * from a coroutine, but for what is said otherwise; all that send and receive park, with the errors
 * of gyre/io.h. MSG_NOSIGNAL is implied; MSG_DONTWAIT gives -EAGAIN instead of parking.
 */
#ifndef GYRE_DATAGRAM_H
#define GYRE_DATAGRAM_H

#include <gyre/base.h>

#include <sys/socket.h>

GYRE_BEGIN_DECLS

enum {
    GYRE_UDP_REUSEPORT = 1 << 0, /* several sockets, or processes, share the port */
    GYRE_UDP_V6ONLY = 1 << 1,
    GYRE_UDP_BROADCAST = 1 << 2,
    GYRE_UDP_GRO = 1 << 3, /* the kernel may join datagrams of a flow: see gyre_recv_segments */
    GYRE_UDP_PACKET_INFO = 1 << 4 /* the address each was sent to comes as ancillary data */
};

/* A socket bound to address ("host:port", ":port" for all of both families; of a name's addresses
 * the first). flags: GYRE_UDP_*. Parks only to look up a name. Returns the descriptor, the
 * caller's; -EINVAL (not an address, a flag), -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -EMFILE,
 * -ENFILE, or why there is no address. Go: net.ListenPacket. */
GYRE_API int gyre_udp_bind(const char *address, unsigned flags);
/* A socket that sends to, and receives from, address alone: for gyre_read and gyre_write, which
 * give -ECONNREFUSED when the peer's kernel says so. Parks and returns as gyre_udp_bind;
 * -ENETUNREACH, -EHOSTUNREACH too. Go: net.Dial("udp", ...). */
GYRE_API int gyre_udp_dial(const char *address);

/* A peer's address, as the kernel has it. */
struct gyre_address {
    struct sockaddr_storage storage;
    socklen_t length;
};

/* From text, and back ("192.0.2.1:53", "[::1]:53"; a Unix socket's is its path, with a '/' in it,
 * or '@' and an abstract name). No host names: -EADDRNOTAVAIL. from returns 0, -EINVAL; text the
 * length without the final NUL, 0 for a Unix socket that has no name, -ENOSPC, -EAFNOSUPPORT. Never
 * park; from any thread. Go: netip.ParseAddrPort, AddrPort.String. */
GYRE_API int gyre_address_from(struct gyre_address *address, const char *text);
GYRE_API int gyre_address_text(const struct gyre_address *address, char *text, size_t size);
/* The host alone, without brackets and port, for a log or a limit by client: an IPv4 address mapped
 * to IPv6 as IPv4. The length without the final NUL, -ENOSPC, -EAFNOSUPPORT (no host: a Unix
 * socket's). Never parks; from any thread. Go: Addr.Unmap().String. */
GYRE_API int gyre_address_host(const struct gyre_address *address, char *text, size_t size);
/* Of the socket fd, and of its peer. 0, -EBADF, -ENOTSOCK, -ENOTCONN. Never park; from any thread.
 * Go: Conn.LocalAddr, RemoteAddr. */
GYRE_API int gyre_address_local(int fd, struct gyre_address *address);
GYRE_API int gyre_address_peer(int fd, struct gyre_address *address);
/* Whether they are the same host and port (or path): nonzero. An IPv4 address and the same one
 * mapped to IPv6, as a socket of both families shows it, are. Never parks; from any thread. Go: ==
 * of netip.AddrPort, after Unmap. */
GYRE_API int gyre_address_equal(const struct gyre_address *a, const struct gyre_address *b);

/*
 * sendto(2): one datagram of size bytes; size, or -errno (-EMSGSIZE); to may be NULL where the
 * socket has a peer. recvfrom(2): the next one, up to size bytes: its length (of what fitted, with
 * MSG_TRUNC its whole length); from may be NULL, its length is 0 where the sender has no address.
 * -ECONNREFUSED: an earlier datagram to the socket's only peer was. Go: PacketConn.WriteTo,
 * ReadFrom.
 */
GYRE_API ssize_t gyre_sendto(int fd, const void *buffer, size_t size, int flags,
                             const struct gyre_address *to);
GYRE_API ssize_t gyre_recvfrom(int fd, void *buffer, size_t size, int flags,
                               struct gyre_address *from);

/*
 * sendmsg(2) and recvmsg(2), with pieces, addresses, ancillary data and flags as there; the message
 * is untouched on failure. Of a stream less than all may be sent, as by gyre_write. Descriptors
 * that come (SCM_RIGHTS) are close-on-exec and the caller's. With MSG_WAITALL and room for
 * ancillary data a receive ends where some comes. With MSG_ERRQUEUE it waits for an error to be
 * there. Go: UDPConn.WriteMsgUDP, ReadMsgUDP, and UnixConn's.
 */
GYRE_API ssize_t gyre_sendmsg(int fd, const struct msghdr *message, int flags);
GYRE_API ssize_t gyre_recvmsg(int fd, struct msghdr *message, int flags);

/*
 * Several datagrams of one flow in one call, on a UDP socket: buffer holds size bytes that go out
 * in segments of segment bytes each (the last may be shorter), at most 64 of them (-EINVAL):
 * UDP_SEGMENT (GSO). Where the kernel, the device or the socket's options don't allow it, one by
 * one. Returns size, less if a later one of those failed, or -errno. Go: none.
 */
GYRE_API ssize_t gyre_send_segments(int fd, const void *buffer, size_t size, unsigned segment,
                                    const struct gyre_address *to);
/* On a GYRE_UDP_GRO socket: several datagrams of one flow at once, up to 64 KiB; *segment is the
 * length of each (the last may be shorter), the whole length where it was only one. What exceeds
 * size is lost, as with gyre_recvfrom. Returns how many bytes came, or -errno. Go: none. */
GYRE_API ssize_t gyre_recv_segments(int fd, void *buffer, size_t size, unsigned *segment,
                                    struct gyre_address *from);

/*
 * Sends from the caller's memory without a copy in the kernel (SEND_ZC), all of it, and returns
 * once the kernel has let go of it, which for TCP is when the peer has acknowledged. Worth it above
 * some 20 KiB (docs/decisions.md); below 32 KiB, and where it is not supported (Unix sockets, what
 * is no socket), plain writes. Returns size or -errno, *done as gyre_write_all. *copied (may be
 * NULL): nonzero if some of it was copied all the same, by a plain write or by the kernel
 * (loopback). Parks.
 *
 * When the context ends, or gyre_close is called, while the kernel holds the memory of a TCP
 * connection, that is reset: nothing else makes the kernel let go. Then *done tells what was taken,
 * not what arrived. Go: none.
 */
GYRE_API ssize_t gyre_send_zero_copy(int fd, const void *buffer, size_t size, size_t *done,
                                     int *copied);

GYRE_END_DECLS

#endif
