/* Descriptors that came with a message. */
#ifndef GYRE_LIB_NET_DESCRIPTORS_H
#define GYRE_LIB_NET_DESCRIPTORS_H

#include <stddef.h>
#include <sys/socket.h>

/* Collects them from the ancillary data, which is no longer than fds has room for; others than
 * those that were passed are closed. Returns how many. */
size_t gyre_received_descriptors(struct msghdr *message, int *fds);
void gyre_close_received(const int *fds, size_t count);

#endif
