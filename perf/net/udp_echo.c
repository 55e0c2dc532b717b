/*
 * UDP echo with gyre: a socket a worker (SO_REUSEPORT), and so many coroutines on each that a batch
 * of answers goes out in one enter.
 *
 * feed: they take pieces from the socket's feed. recvfrom: each receives into its own
 * buffer.
 */
#include <gyre.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COROUTINES = 32, BUFFER = 2048 };

static unsigned workers = 1;
static const char *port = "0";
static bool with_feed = true;

struct shared {
    int fd;
    struct gyre_feed *feed;
};

static int serve_recvfrom(void *arg)
{
    struct shared *shared = arg;
    struct gyre_address from;
    char buffer[BUFFER];
    ssize_t n;

    while ((n = gyre_recvfrom(shared->fd, buffer, sizeof buffer, 0, &from)) >= 0)
        gyre_sendto(shared->fd, buffer, (size_t)n, 0, &from);
    return (int)n;
}

static int serve_feed(void *arg)
{
    struct shared *shared = arg;
    struct gyre_piece piece;
    int n;

    while ((n = gyre_feed_next(shared->feed, &piece)) == 1) {
        gyre_sendto(shared->fd, piece.data, piece.size, 0, &piece.from);
        gyre_feed_return(&piece);
    }
    return n;
}

static int start(void *arg)
{
    char address[GYRE_ADDRESS_SIZE], text[GYRE_ADDRESS_SIZE];
    struct shared *all = calloc(workers, sizeof *all);

    (void)arg;
    if (!all)
        return -ENOMEM;
    snprintf(address, sizeof address, "127.0.0.1:%s", port);
    for (unsigned i = 0; i < workers; i++) {
        struct gyre_feed_options options = GYRE_FEED_INIT;

        options.flags = GYRE_FEED_ADDRESSES;
        all[i].fd = gyre_udp_bind(address, GYRE_UDP_REUSEPORT);
        if (all[i].fd < 0 || gyre_local_address(all[i].fd, address, sizeof address) < 0)
            return all[i].fd;
        if (with_feed) {
            int error = gyre_feed_open(&all[i].feed, all[i].fd, &options);

            if (error)
                return error;
        }
        for (int j = 0; j < COROUTINES; j++)
            gyre_go(with_feed ? serve_feed : serve_recvfrom, &all[i]);
    }
    snprintf(text, sizeof text, "%s", address);
    printf("listening on %s\n", text);
    fflush(stdout);
    return gyre_sleep(INT64_MAX);
}

int main(int argc, char **argv)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--workers"))
            workers = (unsigned)atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--port"))
            port = argv[i + 1];
        else if (!strcmp(argv[i], "--variant"))
            with_feed = !strcmp(argv[i + 1], "feed");
    }
    options.workers = workers;
    return gyre_run_options(start, NULL, &options) < 0;
}
