/*
 * The watching coroutine lives outside the context that it cancels; the descriptor of the signals
 * is read through the ring like any other. A handler would run on a worker in the middle of
 * anything and could do next to nothing.
 */
#include "common/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct watch {
    int signals;
    struct gyre_context *context; /* held */
};

int server_setup(void)
{
    struct rlimit limit;
    sigset_t set;
    int fd;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit); /* one that stays low is only a smaller server */
    }
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    fd = signalfd(-1, &set, SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int watch(void *arg)
{
    struct watch *watch = arg;
    struct signalfd_siginfo info;

    if (gyre_read(watch->signals, &info, sizeof info) == sizeof info) {
        gyre_context_cancel(watch->context);
        if (gyre_read(watch->signals, &info, sizeof info) == sizeof info)
            _exit(128 + (int)info.ssi_signo);
    }
    gyre_context_release(watch->context);
    return gyre_close(watch->signals);
}

int server_cancel_on_signal(int signals)
{
    struct watch arg = {signals, gyre_context_current()};
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    int error;

    /* Outside the context that it cancels, so that it can see a second signal; the end of
     * gyre_run ends it. */
    options.flags = GYRE_SPAWN_OUTSIDE_CONTEXT;
    options.copy = &arg;
    options.copy_size = sizeof arg;
    error = gyre_go_options(watch, NULL, &options);
    if (error)
        gyre_context_release(arg.context);
    return error;
}

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
    count->empty = eventfd(0, EFD_CLOEXEC);
    return count->empty < 0 ? -errno : 0;
}

void server_enter(struct server_count *count)
{
    /* Relaxed: it can't be at 0 meanwhile. */
    atomic_fetch_add_explicit(&count->users, 1, memory_order_relaxed);
}

void server_leave(struct server_count *count)
{
    static const uint64_t one = 1;

    /* Release what this user did; the last one acquires it all for whoever drains. */
    if (atomic_fetch_sub_explicit(&count->users, 1, memory_order_acq_rel) == 1)
        (void)!write(count->empty, &one, sizeof one); /* an eventfd at 0 doesn't block */
}

int server_drain(struct server_count *count, int64_t grace)
{
    uint64_t value;
    ssize_t n;

    server_leave(count);
    GYRE_TIMEOUT(grace);
    n = gyre_read(count->empty, &value, sizeof value);
    return n < 0 ? (int)n : 0;
}

int server_run(gyre_fn fn, void *arg, long workers)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    int error;

    options.workers = (unsigned)workers;
    error = gyre_run_options(fn, arg, &options);
    return error && error != -ECANCELED;
}
