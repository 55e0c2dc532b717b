#include "common/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

int server_listen(struct gyre_listener **listener, long port)
{
    char address[GYRE_ADDRESS_SIZE];
    int error;

    snprintf(address, sizeof address, "127.0.0.1:%ld", port);
    error = gyre_tcp_listen(listener, address);
    if (error) {
        fprintf(stderr, "can't listen on %s: %s\n", address, strerror(-error));
        return error;
    }
    gyre_local_address(gyre_listener_fd(*listener), address, sizeof address);
    printf("listening on %s\n", address);
    fflush(stdout);
    return 0;
}

int server_run(gyre_fn fn, void *arg, long workers)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    struct rlimit limit;
    int error;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit); /* one that stays low is only a smaller server */
    }
    options.workers = (unsigned)workers;
    error = gyre_run_options(fn, arg, &options);
    return error && error != -ECANCELED;
}
