/*
 * Requests out of a stream of bytes, parsed by libhttp-parser.
 *
 * Bytes are fed as they come and are not kept: of a request only what the server acts on is stored,
 * so a connection needs no buffer for a whole header. Bodies are counted and dropped.
 */
#ifndef EXAMPLES_HTTP_REQUEST_H
#define EXAMPLES_HTTP_REQUEST_H

#include <http_parser.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum request_stage {
    REQUEST_NONE, /* nothing of the next one has come */
    REQUEST_HEADER,
    REQUEST_BODY,
    REQUEST_DONE,   /* all of it is there */
    REQUEST_REFUSED /* status tells why; what follows it in the stream means nothing */
};

/* Of a header, what a comparison needs: longer ones are not among those we know. */
struct request_word {
    unsigned char length; /* more than fits: it was too long */
    char text[39];
};

struct request {
    http_parser parser;
    const struct settings *settings;
    enum request_stage stage;
    int status; /* of a refusal */
    bool keep_alive;
    bool wants_continue; /* "Expect: 100-continue" */
    bool in_value;       /* of the header at hand */
    unsigned hosts;
    uint64_t body;
    struct request_word field, value; /* the header at hand */
    struct request_word modified_since, range, if_range;
    size_t target_length;
    char *long_target; /* NULL: short_target holds it */
    size_t long_size;
    char short_target[128];
};

/* From main, before any parsing: the limit is the library's own and one for the process. */
void request_set_header_limit(long bytes);

void request_init(struct request *request, const struct settings *settings);

/*
 * Takes bytes up to the end of one request at most; returns how many. Look at the stage then;
 * after REQUEST_DONE, request_next makes ready for the following one.
 */
size_t request_feed(struct request *request, const char *bytes, size_t size);
void request_next(struct request *request);
void request_destroy(struct request *request);

/* The target as it was sent, with a final NUL (which it can't contain). */
const char *request_target(const struct request *request);

#endif
