/*
 * What all connections of the server share: its settings, the two contexts that a connection
 * lives in, and how many connections there are.
 *
 * Waiting for a request happens in `accepting`, which the first signal cancels; all else
 * happens in `serving`, so that a request in flight is finished, until the grace is over.
 */
#ifndef EXAMPLES_HTTP_SERVER_H
#define EXAMPLES_HTTP_SERVER_H

#include "common/server.h"

#include <gyre.h>

#include <stdbool.h>

struct settings {
    long port, workers;
    const char *root;       /* of the files; NULL: none are served */
    int64_t idle_timeout;   /* between requests, and before the first */
    int64_t header_timeout; /* from a request's first byte to the end of its header */
    int64_t body_timeout;   /* from there to the end of its body */
    int64_t write_timeout;  /* for each piece of a response, 1 MiB of a file at most */
    int64_t grace;          /* for the requests in flight, once the server stops */
    long header_limit;      /* bytes; beyond it 431 */
    long body_limit;        /* bytes, all of them dropped; beyond it 413 */
};

struct server {
    struct settings settings;
    int root; /* a descriptor; -1: none */
    struct gyre_context *accepting, *serving;
    gyre_waitgroup connections;
};

static inline bool server_stopping(const struct server *server)
{
    return gyre_context_error_of(server->accepting) != 0;
}

/* What connection.c needs to be started; a copy of it is the coroutine's argument. */
struct connection_start {
    struct server *server;
    int fd; /* the coroutine's from now on */
};

/* The coroutine of a connection. */
int connection_run(void *start);

#endif
