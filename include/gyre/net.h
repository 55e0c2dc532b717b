/*
 * gyre/net.h - TCP: listen, accept, dial, and what belongs to a connection.
 *
 * A connection is a plain descriptor for gyre_read, gyre_write_all and gyre_close. Addresses are
 * written "host:port", the port a number, IPv6 in brackets ("[::1]:80"); ":80" means every address
 * of both families, where an IPv4 peer's has the form "[::ffff:192.0.2.1]:80" (gyre_address_host of
 * gyre/datagram.h gives the plain host, for logs and access lists). A host is a literal address
 * ("[fe80::1%eth0]:80" with a zone, if need be) or a name, looked up as gyre/resolve.h says, with
 * its errors. Only from a coroutine, but for what is said otherwise; -ECANCELED, -ETIMEDOUT (the
 * context's) and -ENOMEM as in gyre/io.h.
 */
#ifndef GYRE_NET_H
#define GYRE_NET_H

#include <gyre/base.h>

#include <sys/socket.h>

GYRE_BEGIN_DECLS

/* A listening socket and the connections accepted ahead of gyre_accept. */
struct gyre_listener;

enum {
    GYRE_LISTEN_REUSEPORT = 1 << 0,    /* several sockets, or processes, may share the port */
    GYRE_LISTEN_NO_REUSEADDR = 1 << 1, /* SO_REUSEADDR is on otherwise */
    GYRE_LISTEN_V6ONLY = 1 << 2,
    GYRE_LISTEN_DELAY = 1 << 3,    /* leave Nagle's algorithm on in accepted connections */
    GYRE_LISTEN_FAST_OPEN = 1 << 4 /* take data that comes with a SYN, where the system lets servers
                                      (net.ipv4.tcp_fastopen & 2): it may come twice */
};

/* Options of a listener; start from GYRE_LISTEN_INIT. Zero means the default. */
struct gyre_listen_options {
    size_t size;    /* sizeof (struct gyre_listen_options) */
    int backlog;    /* connections the kernel queues; 0: the most it allows */
    unsigned flags; /* GYRE_LISTEN_* */
    unsigned ahead; /* accepted ahead of gyre_accept; 0: 64. No more are taken while so many wait;
                       what the kernel holds at once may come on top, but below 16 it is exact */
};

#define GYRE_LISTEN_INIT                                                                           \
    {                                                                                              \
        sizeof(struct gyre_listen_options), 0, 0, 0                                                \
    }

/*
 * Listens on address; port 0 lets the kernel choose (gyre_local_address of gyre_listener_fd tells).
 * *listener is the caller's until gyre_listener_close. Of a name's addresses the first is taken, of
 * localhost 127.0.0.1. Parks only to look up a name. Returns 0, -EINVAL (not an address),
 * -EADDRNOTAVAIL, -EADDRINUSE, -EACCES, -EMFILE, -ENFILE, -ENOMEM, or why there is no address. Go:
 * net.Listen.
 */
GYRE_API int gyre_tcp_listen(struct gyre_listener **listener, const char *address);
GYRE_API int gyre_tcp_listen_options(struct gyre_listener **listener, const char *address,
                                     const struct gyre_listen_options *options);

/*
 * Takes a listening stream socket that exists already (inherited, or set up by hand); on success it
 * belongs to the listener. Never parks. Returns 0, -EINVAL (not a listening socket), -ENOMEM. Go:
 * net.FileListener.
 */
GYRE_API int gyre_listener_adopt(struct gyre_listener **listener, int fd,
                                 const struct gyre_listen_options *options);

/*
 * The next connection: a descriptor that is the caller's, close-on-exec, TCP_NODELAY set. Any
 * number of coroutines on any workers may call it at once. Parks.
 *
 * Transient failures are waited out: a connection that was reset before it was taken, and a want of
 * descriptors or memory (-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM: it tries again after a pause,
 * connections stay queued in the kernel). Returns the descriptor; -ECANCELED or -ETIMEDOUT
 * (context; a connection that had won is returned or left for the next call); -EBADF: the listener
 * was closed meanwhile; -ESHUTDOWN: it was stopped, and this was all; another -errno: the socket is
 * beyond repair. Go: Listener.Accept.
 */
GYRE_API int gyre_accept(struct gyre_listener *listener);

/*
 * Stops accepting and drops nothing: gyre_accept returns what was accepted ahead, then -ESHUTDOWN.
 * What connects from now on stays in the kernel's queue, for whoever has the same socket (a
 * successor: gyre_service_restart), until gyre_listener_close. Never parks, can't fail. Only from a
 * coroutine. Go: none.
 */
GYRE_API void gyre_listener_stop(struct gyre_listener *listener);

/*
 * Closes the socket and whatever was accepted and not taken; coroutines in gyre_accept get -EBADF:
 * it waits for them. So do those that call gyre_accept a little later: a closed listener's memory
 * stays until 1,024 more were closed, or the runtime ends. Only one may close it, and before the
 * main coroutine returns or in answer to its end. Parks, is never cancelled. NULL is fine. Returns
 * 0. Go: Listener.Close.
 */
GYRE_API int gyre_listener_close(struct gyre_listener *listener);

/* The listener's descriptor: for options and addresses only. Never fails. From any thread. */
GYRE_API int gyre_listener_fd(const struct gyre_listener *listener);

/*
 * Connects to address. Parks. Returns a descriptor that is the caller's (close-on-exec,
 * TCP_NODELAY set); -EINVAL (not an address), -EADDRNOTAVAIL, -ECONNREFUSED, -EHOSTUNREACH,
 * -ENETUNREACH, -EMFILE and others of connect(2), or why there is no address. -ETIMEDOUT may be
 * TCP's own, or the name servers': gyre_context_error() tells. Go: net.Dial("tcp", ...).
 *
 * A name's addresses are tried by Happy Eyeballs (RFC 8305): both families are asked for at once,
 * IPv4 waits 50 ms for the answer about IPv6, the next address is tried 250 ms after the last or as
 * soon as one fails, and the first that connects is it. Where none does, the first error that came
 * from outside this machine is returned. Of localhost 127.0.0.1 is tried before ::1.
 */
GYRE_API int gyre_tcp_dial(const char *address);

enum {
    GYRE_DIAL_DELAY = 1 << 0 /* leave Nagle's algorithm on */
};

/* Options of a dial; start from GYRE_DIAL_INIT. Zero means the default. */
struct gyre_dial_options {
    size_t size;       /* sizeof (struct gyre_dial_options) */
    unsigned flags;    /* GYRE_DIAL_* */
    const char *local; /* the address to come from, "host:0" for any port; NULL: the kernel's
                          choice */
    const void *data; /* is sent first, with the SYN where that is possible (TCP fast open): a round
                         trip less, but it may arrive twice; NULL: none */
    size_t data_size;
};

#define GYRE_DIAL_INIT                                                                             \
    {                                                                                              \
        sizeof(struct gyre_dial_options), 0, NULL, NULL, 0                                         \
    }

/*
 * As gyre_tcp_dial; returns when the connection stands, and all data is on its way. With options
 * only the first address of a name is tried. Errors besides: -EINVAL (the options; local is not an
 * address), -EAFNOSUPPORT (it is of the other family), -EADDRNOTAVAIL and -EADDRINUSE (local),
 * -ECONNRESET and -EPIPE (the peer took the connection and ended it before all data was on its
 * way). Go: net.Dialer.
 */
GYRE_API int gyre_tcp_dial_options(const char *address, const struct gyre_dial_options *options);

/*
 * The same for sockets made by hand: connects fd to address. Parks. Returns 0 or connect(2)'s
 * -errno. A connect that was cancelled leaves the socket unusable: close it. Go: none.
 */
GYRE_API int gyre_connect(int fd, const struct sockaddr *address, socklen_t length);

/*
 * Ends one or both directions: SHUT_WR sends FIN after what was written (half-close; the other
 * side's data can still be read), SHUT_RD, SHUT_RDWR. Never parks. Returns 0, -ENOTCONN, -EINVAL,
 * -ENOTSOCK. Go: TCPConn.CloseWrite.
 */
GYRE_API int gyre_shutdown(int fd, int how);

/*
 * recv(2) and send(2) with their flags (MSG_PEEK, MSG_WAITALL, MSG_OOB, MSG_MORE ...). Park.
 * MSG_NOSIGNAL is implied; MSG_DONTWAIT gives -EAGAIN instead of parking. -ENOTSOCK for others. Go:
 * none (unix.Recvfrom).
 */
GYRE_API ssize_t gyre_recv(int fd, void *buffer, size_t size, int flags);
GYRE_API ssize_t gyre_send(int fd, const void *buffer, size_t size, int flags);

/*
 * The address as text, "192.0.2.1:80" or "[2001:db8::1]:80": of the socket itself, of its peer.
 * text has room for size bytes, GYRE_ADDRESS_SIZE always suffice. Returns the length without the
 * final NUL, -ENOSPC (text untouched), -EBADF, -ENOTSOCK, -ENOTCONN, -EAFNOSUPPORT. Never parks;
 * from any thread. Go: Conn.LocalAddr, RemoteAddr.
 */
#define GYRE_ADDRESS_SIZE 64
GYRE_API int gyre_local_address(int fd, char *text, size_t size);
GYRE_API int gyre_peer_address(int fd, char *text, size_t size);

/* Common options; for others use setsockopt(2), which never blocks. Return 0 or -errno; never
 * park; from any thread. idle, interval: ns, rounded up to seconds; 0 leaves the system's value.
 * seconds of linger pass in the kernel: gyre_close returns before. Go: TCPConn.SetNoDelay,
 * SetKeepAliveConfig, SetReadBuffer and SetWriteBuffer, SetLinger. */
GYRE_API int gyre_set_nodelay(int fd, int on);
GYRE_API int gyre_set_keepalive(int fd, int on, int64_t idle, int64_t interval, int count);
GYRE_API int gyre_set_buffers(int fd, int receive, int send); /* bytes; 0 leaves it */
GYRE_API int gyre_set_linger(int fd, int on, int seconds);

GYRE_END_DECLS

#endif
