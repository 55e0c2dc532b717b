/*
 * What the raw servers share: options, one listening socket per thread (SO_REUSEPORT), one pinned
 * thread per CPU. They have no shutdown: a signal ends them.
 */
#ifndef GYRE_PERF_SERVER_H
#define GYRE_PERF_SERVER_H

#include <stdbool.h>

enum { BUFFER_SIZE = 4096, BACKLOG = 4096 };

struct server {
    int port;
    unsigned workers;
    const char *variant;
    unsigned entries; /* of a ring; epoll ignores both */
    unsigned buffers; /* of a buffer ring, a power of two */
};

/* Parses --port, --workers, --variant, --entries, --buffers; exits with a usage that names the
 * variants. */
void server_options(int argc, char **argv, const char *const *variants, struct server *server);

/* Runs worker(listener, server) on server->workers pinned threads; prints the port once all of
 * them listen. Never returns. */
void server_run(struct server *server, void (*worker)(int listener, const struct server *server));

/* Prints what failed and why, and exits. */
void server_die(const char *what, int error) __attribute__((noreturn));

#endif
