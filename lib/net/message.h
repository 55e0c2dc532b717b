/*
 * Messages through the ring, for the calls of several names. fd < 0 gives -EBADF. The operation,
 * zeroed at first, binds several of one call to one file: see io/operation.h.
 */
#ifndef GYRE_LIB_NET_MESSAGE_H
#define GYRE_LIB_NET_MESSAGE_H

#include "io/operation.h"

#include <gyre/datagram.h>

#include <sys/socket.h>
#include <sys/types.h>

ssize_t gyre_message_send(const char *call, struct operation *operation, int fd,
                          const struct msghdr *message, int flags);
/* What descriptors come are close-on-exec. */
ssize_t gyre_message_receive(const char *call, struct operation *operation, int fd,
                             struct msghdr *message, int flags);

/*
 * Waits a little and a little longer each time (*pause, ns, 0 at first), counted as a use of fd:
 * for what the kernel can only tell by trying again. Returns 0, why the context has ended, -EBADF.
 */
int gyre_message_pause(const char *call, struct operation *operation, int fd, int64_t *pause);

#endif
