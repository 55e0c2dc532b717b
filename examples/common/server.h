/* What servers of the examples do around their work. */
#ifndef EXAMPLES_COMMON_SERVER_H
#define EXAMPLES_COMMON_SERVER_H

#include <gyre.h>

#include <stdatomic.h>

/* Listens on 127.0.0.1:port and prints where, in one line that is flushed. Returns 0 or -errno,
 * after a message. */
int server_listen(struct gyre_listener **listener, long port);

/*
 * Counts the coroutines that are waited for at the end, and itself as one until server_drain. The
 * last one to leave adds to an event counter. server_count_init: from main; 0 or -errno.
 */
struct server_count {
    atomic_long users;
    int empty;
};

int server_count_init(struct server_count *count);
void server_enter(struct server_count *count); /* by whoever is counted already */
void server_leave(struct server_count *count); /* the caller's last word */

/* Waits until all have left, grace ns at most. Parks. 0, -ETIMEDOUT or another -errno. */
int server_drain(struct server_count *count, int64_t grace);

/* gyre_run on that many workers, with as many descriptors as the hard limit allows; the program's
 * exit status. A cancelled fn is a clean end. */
int server_run(gyre_fn fn, void *arg, long workers);

#endif
