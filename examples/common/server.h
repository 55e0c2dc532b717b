/* What servers of the examples do around their work. */
#ifndef EXAMPLES_COMMON_SERVER_H
#define EXAMPLES_COMMON_SERVER_H

#include <gyre.h>

/* Listens on 127.0.0.1:port and prints where, in one line that is flushed. Returns 0 or -errno,
 * after a message. */
int server_listen(struct gyre_listener **listener, long port);

/* gyre_run on that many workers, with as many descriptors as the hard limit allows; the program's
 * exit status. A cancelled fn is a clean end. */
int server_run(gyre_fn fn, void *arg, long workers);

#endif
