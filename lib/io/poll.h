/* Waiting for a descriptor to be ready. */
#ifndef GYRE_LIB_IO_POLL_H
#define GYRE_LIB_IO_POLL_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What fd has of events (> 0), or -errno; used is the descriptor whose gyre_close ends the wait, or
 * -1. Parks.
 */
int gyre_poll_wait(const char *call, int fd, unsigned events, int used);

/* gyre_poll_many, whose timeout is of real time under a test's clock too: there a wait for the
 * kernel stops the clock, and so would never time out. count is at most POLL_REAL_MOST. */
enum { POLL_REAL_MOST = 63 };
int gyre_poll_many_real(struct pollfd *fds, size_t count, int64_t timeout);

#endif
