/*
 * gyre/unix.h - Unix sockets: stream, datagram and seqpacket; passing descriptors; who the peer is.
 *
 * Addresses are paths, at most 107 bytes; one that begins with '@' is in the abstract namespace. A
 * listening path that is left of a process that has died is taken over; one in use is -EADDRINUSE.
 * Only from a coroutine; park where it says so; errors of gyre/io.h besides those named.
 */
#ifndef GYRE_UNIX_H
#define GYRE_UNIX_H

#include <gyre/base.h>

#include <sys/socket.h>

GYRE_BEGIN_DECLS

struct gyre_listener;

/*
 * Listens for connections of type SOCK_STREAM or SOCK_SEQPACKET on path; mode (0: as the umask
 * says) are its permissions. gyre_accept and gyre_listener_close of gyre/net.h do the rest; the
 * close removes the path it made. Does not park. Returns 0, -EINVAL, -ENAMETOOLONG, -EADDRINUSE,
 * -EACCES, -ENOENT ... Go: net.Listen("unix", ...).
 */
GYRE_API int gyre_unix_listen(struct gyre_listener **listener, const char *path, int type,
                              mode_t mode);
/* Connects: SOCK_STREAM, SOCK_SEQPACKET, or SOCK_DGRAM. Parks. Returns a descriptor, -ENOENT,
 * -ECONNREFUSED ... Go: net.Dial("unix", ...). */
GYRE_API int gyre_unix_dial(const char *path, int type);
/* A datagram socket bound to path (NULL: one without a name of its own choice, abstract). The path
 * is the caller's to unlink. Returns a descriptor. Go: net.ListenUnixgram. */
GYRE_API int gyre_unix_bind(const char *path, mode_t mode);
/* Two connected to each other. Never parks. Go: none. */
GYRE_API int gyre_unix_pair(int fds[2], int type);

/*
 * Sends size bytes (at least 1) together with count descriptors (at most 253), which stay the
 * sender's. Returns how many bytes went out (the descriptors go with the first), or -errno. Parks.
 */
GYRE_API ssize_t gyre_send_fds(int fd, const void *buffer, size_t size, const int *fds,
                               size_t count);
/*
 * Receives bytes and whatever descriptors came with them: close-on-exec, the caller's. *count is
 * room in fds before and how many came after; those there was no room for are closed, and the call
 * returns -EMSGSIZE with the others closed too. 0 at the end of the stream. Parks.
 */
GYRE_API ssize_t gyre_recv_fds(int fd, void *buffer, size_t size, int *fds, size_t *count);

/* Who connected (SO_PEERCRED), as of the connect. Never parks. Returns 0 or -errno. */
struct gyre_credentials {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};
GYRE_API int gyre_peer_credentials(int fd, struct gyre_credentials *credentials);
/* With each message, checked by the kernel (SO_PASSCRED on the receiver). Parks. */
GYRE_API ssize_t gyre_recv_credentials(int fd, void *buffer, size_t size,
                                       struct gyre_credentials *credentials);

GYRE_END_DECLS

#endif
