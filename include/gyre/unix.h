/*
 * gyre/unix.h - Unix sockets: stream, datagram and seqpacket; passing descriptors; who the peer is.
 *
 * Addresses are paths, at most 107 bytes; one that begins with '@' is in the abstract namespace. A
 * path that is left of a process that has died is taken over; one in use, or that is no socket, is
 * -EADDRINUSE. A socket in use is told from one that is left by a connect: who listens there sees a
 * client that sends nothing and is gone (0 from the first read), which is no error. Only from a
 * coroutine; park where it says so; errors of gyre/io.h besides those named.
 */
#ifndef GYRE_UNIX_H
#define GYRE_UNIX_H

#include <gyre/base.h>

#include <sys/socket.h>

GYRE_BEGIN_DECLS

struct gyre_listener;

/*
 * Listens for connections of type SOCK_STREAM or SOCK_SEQPACKET on path; mode (up to 0777; 0: as
 * the umask says, the only one for an abstract name) are its permissions, never more, from the
 * moment that it is there. gyre_accept and gyre_listener_close of gyre/net.h do the rest; the close
 * removes the path, if it is still the one that was made. Of several starters at once one gets a
 * path. Parks only while another starter is at it in the same folder (whose lock, flock(2), it
 * takes where it may read the folder). Returns 0, -EINVAL, -ENAMETOOLONG, -EADDRINUSE, -EACCES,
 * -ENOENT ... Go: net.Listen("unix", ...).
 */
GYRE_API int gyre_unix_listen(struct gyre_listener **listener, const char *path, int type,
                              mode_t mode);
/* Connects: SOCK_STREAM, SOCK_SEQPACKET, or SOCK_DGRAM. Parks while the listener's queue is full,
 * and looks again after pauses of up to 10 ms. Returns a descriptor, -ENOENT, -ECONNREFUSED,
 * -EPROTOTYPE (it is of another type) ... Go: net.Dial("unix", ...). */
GYRE_API int gyre_unix_dial(const char *path, int type);
/* A datagram socket bound to path (NULL: to an abstract name of the kernel's choice). mode, parking
 * and errors as gyre_unix_listen; the path is the caller's to unlink. Returns a descriptor. Go:
 * net.ListenUnixgram. */
GYRE_API int gyre_unix_bind(const char *path, mode_t mode);
/* Two connected to each other, of any type. Never parks. Returns 0 or -errno. Go: none. */
GYRE_API int gyre_unix_pair(int fds[2], int type);

/*
 * Sends size bytes (at least 1) together with count descriptors (at most 253), which stay the
 * sender's. Returns how many bytes went out (the descriptors go with the first), or -errno:
 * -EINVAL, -EBADF (one of them as well), -ETOOMANYREFS (too many are on their way). Parks. Go:
 * UnixConn.WriteMsgUnix.
 */
GYRE_API ssize_t gyre_send_fds(int fd, const void *buffer, size_t size, const int *fds,
                               size_t count);
/*
 * Receives bytes and whatever descriptors came with them: close-on-exec, the caller's. *count is
 * room in fds before and how many came after. Where there is not enough, the bytes are lost, all
 * the descriptors are closed, and the call returns -EMSGSIZE; -EMFILE where the process may not
 * have so many. 0 at the end of the stream. Parks. Go: UnixConn.ReadMsgUnix.
 */
GYRE_API ssize_t gyre_recv_fds(int fd, void *buffer, size_t size, int *fds, size_t *count);

/* Who connected (SO_PEERCRED), as of the connect or listen. Never parks; from any thread. Returns
 * 0, -ENOTCONN (also: no Unix socket), -ENOTSOCK, -EBADF. */
struct gyre_credentials {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};
GYRE_API int gyre_peer_credentials(int fd, struct gyre_credentials *credentials);
/*
 * With each message, checked by the kernel: sets SO_PASSCRED on fd, which should be set from the
 * start (on a listener's descriptor it counts for those accepted): what was sent before has pid 0
 * and the overflow ids (65534). So has a sender in another pid or user namespace. At the end of the
 * stream returns 0, with all three -1. Descriptors that come along are closed. Parks. Returns the
 * bytes received or -errno.
 */
GYRE_API ssize_t gyre_recv_credentials(int fd, void *buffer, size_t size,
                                       struct gyre_credentials *credentials);

GYRE_END_DECLS

#endif
