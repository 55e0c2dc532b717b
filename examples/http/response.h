/*
 * Responses on their way out.
 *
 * Short ones are gathered and go out together, so pipelined requests that came in one segment are
 * answered by one. The first error stays: everything after it is dropped, and the connection
 * asks once, at the end.
 */
#ifndef EXAMPLES_HTTP_RESPONSE_H
#define EXAMPLES_HTTP_RESPONSE_H

#include "http/server.h"

#include <sys/uio.h>
#include <time.h>

struct output {
    struct server *server;
    int fd;
    int error; /* 0 or -errno; nothing goes out any more */
    unsigned used;
    char bytes[1024];
};

struct response {
    int status;
    const char *type; /* NULL: no body, and no Content-Type */
    uint64_t length;
    time_t modified;   /* 0: not said */
    const char *extra; /* whole header lines; NULL: none */
    bool http10;       /* keep-alive must be said */
    bool close;        /* after this response */
};

/* Sends a response's head, and the body where that is given: it must be short (256 bytes). For
 * HEAD the body is NULL and its length told. */
void output_response(struct output *output, const struct response *response, const char *body);

/* An error's response: its reason as text. */
void output_error(struct output *output, const struct response *response, bool head);

/* "HTTP/1.1 100 Continue", at once. */
void output_continue(struct output *output);

/* Sends what was gathered, and then body; 0 or the error. Parks. */
int output_flush(struct output *output, const void *body, size_t size);

/* Sends what was gathered, and then size bytes of file from offset, by gyre_sendfile_all; 0 or the
 * error, which a file that has become shorter is too. Parks. */
int output_file(struct output *output, int file, uint64_t offset, uint64_t size);

/* "Sun, 06 Nov 1994 08:49:37 GMT", 29 bytes and a NUL. */
void format_date(char text[30], time_t when);

#endif
