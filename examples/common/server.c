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

int server_count_init(struct server_count *count)
{
    atomic_init(&count->users, 1);
    count->empty = gyre_event_open(0, 0);
    return count->empty < 0 ? count->empty : 0;
}

void server_enter(struct server_count *count)
{
    /* Relaxed: it can't be at 0 meanwhile. */
    atomic_fetch_add_explicit(&count->users, 1, memory_order_relaxed);
}

void server_leave(struct server_count *count)
{
    /* Release what this user did; the last one acquires it all for whoever drains. */
    if (atomic_fetch_sub_explicit(&count->users, 1, memory_order_acq_rel) == 1)
        gyre_event_add(count->empty, 1); /* from 0 it can't fail */
}

int server_drain(struct server_count *count, int64_t grace)
{
    uint64_t value;

    server_leave(count);
    GYRE_TIMEOUT(grace);
    return gyre_event_take(count->empty, &value);
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
