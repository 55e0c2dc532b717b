/* The path of a bound Unix socket: taken over where it is stale, removed when its socket goes. */
#ifndef GYRE_LIB_NET_UNIX_PATH_H
#define GYRE_LIB_NET_UNIX_PATH_H

#include <gyre/datagram.h>

#include <sys/types.h>

struct unix_path;

/*
 * Binds fd, a socket of type, to address; where backlog >= 0, it listens too before another starter
 * may look. Parks only while another one is at it in the same folder. Returns 0 or -errno; *made
 * (may be NULL) is what gyre_unix_path_remove takes, NULL for an abstract name.
 */
int gyre_unix_path_bind(int fd, int type, const struct gyre_address *address, mode_t mode,
                        int backlog, struct unix_path **made);

/* Removes it from the folder, if it is still there, and frees it. Before its socket is closed: so
 * long nobody takes it for stale, and the kernel does not reuse its inode's number. NULL is fine.
 */
void gyre_unix_path_remove(struct unix_path *path);

/* Frees it, and leaves it in the folder: another process listens there. NULL is fine. */
void gyre_unix_path_leave(struct unix_path *path);

#endif
