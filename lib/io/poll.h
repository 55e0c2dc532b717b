/* Waiting for a descriptor to be ready. */
#ifndef GYRE_LIB_IO_POLL_H
#define GYRE_LIB_IO_POLL_H

/*
 * What fd has of events (> 0), or -errno; used is the descriptor whose gyre_close ends the wait, or
 * -1. Parks.
 */
int gyre_poll_wait(const char *call, int fd, unsigned events, int used);

#endif
