/*
 * A TCP proxy: what a client sends goes to the upstream server, and back.
 *
 * Two coroutines a connection, one a direction. The end of a stream is passed on as an end of
 * that direction alone (half-close). A stream that was cut, by an error, a timeout, the end of the
 * proxy, is passed on as a reset on both sides, lest it be taken for a whole one.
 */
#include "common/options.h"
#include "common/server.h"

#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { BUFFER_SIZE = 16 * 1024 };

static struct {
    long port, workers;
    const char *upstream;
    int64_t idle_timeout, connect_timeout, grace;
    char address[GYRE_ADDRESS_SIZE]; /* upstream's, resolved */
    gyre_waitgroup connections;
} proxy = {
    .port = 7778,
    .idle_timeout = 5 * GYRE_MINUTE,
    .connect_timeout = 5 * GYRE_SECOND,
};

struct pair {
    _Atomic(int64_t) active;      /* when bytes last moved, in either direction */
    struct gyre_context *context; /* of both directions */
};

struct direction {
    struct pair *pair;
    int from, to;
};

/* Relaxed: a point in time, nothing hangs on it. */
static int64_t idle_deadline(const struct pair *pair)
{
    return atomic_load_explicit(&pair->active, memory_order_relaxed) + proxy.idle_timeout;
}

static void set_active(struct pair *pair)
{
    atomic_store_explicit(&pair->active, gyre_now(), memory_order_relaxed);
}

/*
 * Reads, or writes size bytes, while the connection isn't idle: a direction may rest for as long
 * as the other one moves.
 */
static ssize_t move(struct direction *direction, char *buffer, size_t size)
{
    struct pair *pair = direction->pair;
    size_t sent = 0, done;
    int64_t deadline;
    bool late;
    ssize_t n;

    do {
        deadline = idle_deadline(pair);
        GYRE_DEADLINE(deadline);
        if (size == 0) {
            n = gyre_read(direction->from, buffer, BUFFER_SIZE);
        } else {
            n = gyre_write_all(direction->to, buffer + sent, size - sent, &done);
            sent += done;
            if (done)
                set_active(pair);
        }
        late = n == -ETIMEDOUT && gyre_context_error(); /* else the timeout is TCP's own */
    } while (late && idle_deadline(pair) > deadline);
    if (n > 0)
        set_active(pair);
    return n;
}

static int pump(void *arg)
{
    struct direction *direction = arg;
    char buffer[BUFFER_SIZE];
    ssize_t n;

    while ((n = move(direction, buffer, 0)) > 0)
        if ((n = move(direction, buffer, (size_t)n)) < 0)
            break;
    if (n == 0)
        n = gyre_shutdown(direction->to, SHUT_WR);
    if (n < 0)
        gyre_context_cancel(direction->pair->context); /* the other direction ends too */
    return (int)n;
}

/* Moves bytes until both directions have ended; 0, or the error that cut one of them. */
static int join_sockets(int client, int upstream)
{
    struct pair pair;
    struct direction forth = {&pair, client, upstream}, back = {&pair, upstream, client};
    gyre_handle handle;
    int error, other = 0;

    GYRE_CANCELLABLE();
    pair.context = gyre_context_current();
    set_active(&pair);
    error = gyre_spawn(&handle, pump, &back);
    if (!error) {
        error = pump(&forth);
        GYRE_SHIELD(); /* `back` and `pair` are its own until it has ended */
        gyre_join(handle, &other);
    }
    gyre_context_release(pair.context);
    return error ? error : other;
}

static int dial(void)
{
    GYRE_TIMEOUT(proxy.connect_timeout);
    return gyre_tcp_dial(proxy.address);
}

static void end(int fd, int error)
{
    if (error)
        gyre_set_linger(fd, 1, 0);
    gyre_close(fd);
}

static int serve(void *arg)
{
    int client = *(int *)arg, upstream = dial(), error = upstream;

    if (upstream >= 0) {
        error = join_sockets(client, upstream);
        end(upstream, error);
    }
    end(client, error);
    gyre_waitgroup_done(&proxy.connections);
    return error;
}

static int accept_all(void)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    struct gyre_listener *listener;
    int fd, error;

    GYRE_CANCELLABLE();
    if ((error = gyre_signal_cancels(SIGINT, SIGTERM)) ||
        (error = server_listen(&listener, proxy.port)))
        return error;
    /* What a signal cancels is the accepting; connections have the grace to end. */
    options.flags = GYRE_SPAWN_OUTSIDE_CONTEXT;
    options.copy = &fd;
    options.copy_size = sizeof fd;
    while ((fd = gyre_accept(listener)) >= 0) {
        gyre_waitgroup_add(&proxy.connections, 1);
        if (gyre_go_options(serve, NULL, &options) < 0) {
            gyre_close(fd);
            gyre_waitgroup_done(&proxy.connections);
        }
    }
    gyre_listener_close(listener);
    return fd;
}

static int start(void *arg)
{
    int error = accept_all();

    (void)arg;
    GYRE_TIMEOUT(proxy.grace);
    gyre_waitgroup_wait(&proxy.connections);
    return error; /* and so the connections that are left are cancelled */
}

/* Before the runtime starts, so a name may be looked up by a call that blocks. */
static int resolve(const char *upstream)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(upstream, ':');
    char host[256], port[16];
    struct addrinfo *found;
    size_t length;
    int error;

    if (!colon || (length = (size_t)(colon - upstream)) == 0 || length >= sizeof host)
        return EAI_NONAME;
    if (upstream[0] == '[' && upstream[length - 1] == ']') {
        upstream++;
        length -= 2;
    }
    memcpy(host, upstream, length);
    host[length] = '\0';
    if ((error = getaddrinfo(host, colon + 1, &hints, &found)))
        return error;
    error = getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, port, sizeof port,
                        NI_NUMERICHOST | NI_NUMERICSERV);
    if (!error)
        snprintf(proxy.address, sizeof proxy.address,
                 found->ai_family == AF_INET6 ? "[%.45s]:%.5s" : "%.45s:%.5s", host, port);
    freeaddrinfo(found);
    return error;
}

int main(int argc, char **argv)
{
    const struct option_entry options[] = {
        OPTION_PORT(&proxy.port),
        OPTION_WORKERS(&proxy.workers),
        {"upstream", "HOST:PORT", "where connections go (required)", OPTION_TEXT, 0, 0,
         &proxy.upstream},
        {"idle-timeout", NULL, "without a byte in either direction (300)", OPTION_SECONDS, 0, 0,
         &proxy.idle_timeout},
        {"connect-timeout", NULL, "for upstream to answer (5)", OPTION_SECONDS, 0, 0,
         &proxy.connect_timeout},
        {"grace", NULL, "for connections to end after a signal (0)", OPTION_SECONDS, 0, 0,
         &proxy.grace},
    };
    int error;

    options_parse(argc, argv, "Passes TCP connections on.", options,
                  sizeof options / sizeof *options);
    if (!proxy.upstream) {
        fprintf(stderr, "proxy: --upstream HOST:PORT is required; try proxy --help\n");
        return 2;
    }
    if ((error = resolve(proxy.upstream))) {
        fprintf(stderr, "proxy: --upstream %s: %s\n", proxy.upstream, gai_strerror(error));
        return 2;
    }
    return server_run(start, NULL, proxy.workers);
}
