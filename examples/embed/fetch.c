/* Straight on, with a timeout around all of it: no callback, no state machine, no thread. */
#include "embed/fetch.h"

#include <gyre.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool fetch_parse(struct fetch *fetch, size_t came)
{
    char *space;

    fetch->used += came;
    if (fetch->used && fetch->line[fetch->used - 1] != '\n' && fetch->used < sizeof fetch->line)
        return false;
    fetch->line[fetch->used ? fetch->used - 1 : 0] = 0;
    space = strchr(fetch->line, ' ');
    if (space)
        *space = 0;
    fetch->text = space ? space + 1 : "";
    return true;
}

static int talk(struct fetch *fetch, int fd)
{
    ssize_t n = gyre_write_all(fd, fetch->text, strlen(fetch->text), NULL);

    if (n >= 0)
        n = gyre_shutdown(fd, SHUT_WR);
    if (n < 0)
        return (int)n;
    do {
        n = gyre_read(fd, fetch->reply + fetch->size, sizeof fetch->reply - fetch->size);
        fetch->size += n > 0 ? (size_t)n : 0;
    } while (n > 0 && fetch->size < sizeof fetch->reply);
    return n < 0 ? (int)n : 0;
}

int fetch_run(void *arg)
{
    struct fetch *fetch = arg;
    int fd, result;

    GYRE_TIMEOUT(2 * GYRE_SECOND);
    fd = gyre_tcp_dial(fetch->line);
    if (fd < 0)
        return fd;
    result = talk(fetch, fd);
    gyre_close(fd);
    return result;
}

void fetch_explain(struct fetch *fetch, int result)
{
    if (result < 0)
        fetch->size =
            (size_t)snprintf(fetch->reply, sizeof fetch->reply, "error: %s\n", strerror(-result));
}
