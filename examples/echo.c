/*
 * A TCP echo server: what comes in goes back, a coroutine a connection. SIGINT and SIGTERM end it:
 * they cancel the context that the accept loop and all connections live in.
 */
#include "common/options.h"
#include "common/server.h"

static long port = 7777, workers;

static int serve(void *arg)
{
    int fd = *(int *)arg;
    char buf[4096];
    ssize_t n;

    while ((n = gyre_read(fd, buf, sizeof buf)) > 0)
        if ((n = gyre_write_all(fd, buf, (size_t)n, NULL)) < 0)
            break;
    gyre_close(fd);
    return (int)n;
}

static int start(void *arg)
{
    struct gyre_listener *listener;
    int fd, error;

    (void)arg;
    GYRE_CANCELLABLE();
    if ((error = gyre_signal_cancels(SIGINT, SIGTERM)) || (error = server_listen(&listener, port)))
        return error;
    while ((fd = gyre_accept(listener)) >= 0)
        if (gyre_go_copy(serve, &fd, sizeof fd) < 0)
            gyre_close(fd);
    gyre_listener_close(listener);
    return fd;
}

int main(int argc, char **argv)
{
    const struct option_entry options[] = {OPTION_PORT(&port), OPTION_WORKERS(&workers)};

    options_parse(argc, argv, "Sends back what it receives.", options, 2);
    return server_run(start, NULL, workers);
}
