/*
 * What the two programs beside this file have done by gyre: a request to a backend and its reply,
 * in two seconds or not at all. A loop of callbacks starts it (gyre_submit) and hears of its end.
 *
 * A client of theirs sends one line, "ADDRESS TEXT"; TEXT goes to the backend at ADDRESS, and what
 * that answers goes back to the client.
 */
#ifndef EXAMPLES_EMBED_FETCH_H
#define EXAMPLES_EMBED_FETCH_H

#include <stdbool.h>
#include <stddef.h>

struct fetch {
    char line[512]; /* the address, NUL, and the text */
    size_t used;
    const char *text;
    char reply[4096];
    size_t size;
};

/* Takes what has come from the client into account: true once the line is there. */
bool fetch_parse(struct fetch *fetch, size_t came);

/* The coroutine's function. reply has what came. */
int fetch_run(void *arg);

/* Where it failed, what to tell the client. */
void fetch_explain(struct fetch *fetch, int result);

#endif
