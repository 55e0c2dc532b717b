/*
 * What the raw servers share: options, one listening socket per thread (SO_REUSEPORT), one pinned
 * thread per CPU. They have no shutdown: a signal ends them.
 */
#ifndef GYRE_PERF_SERVER_H
#define GYRE_PERF_SERVER_H

#include <stdbool.h>
#include <stddef.h>

enum { BUFFER_SIZE = 4096, BACKLOG = 4096 };

struct server {
    int port;
    unsigned workers;
    const char *variant;
    unsigned entries; /* of a ring; epoll ignores both */
    unsigned buffers; /* of a buffer ring, a power of two */
    bool http;        /* see server_reply */
};

/* Parses --port, --workers, --variant, --entries, --buffers, --http; exits with a usage that names
 * the variants. */
void server_options(int argc, char **argv, const char *const *variants, struct server *server);

/* Runs worker(listener, server) on server->workers pinned threads; prints the port once all of
 * them listen. Never returns. */
void server_run(struct server *server, void (*worker)(int listener, const struct server *server));

/*
 * Turns the n bytes received at the start of a buffer of BUFFER_SIZE into the answer, and returns
 * its size. Echo leaves them; with --http it is a fixed response to whatever came in one receive,
 * unparsed: the floor under any HTTP server, not one.
 */
size_t server_reply(const struct server *server, char *buffer, size_t n);

/* Prints what failed and why, and exits. */
void server_die(const char *what, int error) __attribute__((noreturn));

#endif
