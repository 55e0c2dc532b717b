/* Configurations and channels: who has which, and when the files are looked at. */
#include "net/resolver.h"

#include "base/clock.h"
#include "base/spinlock.h"
#include "net/configuration.h"

#include <gyre/blocking.h>
#include <gyre/time.h>

#define CARES_NO_DEPRECATED
#include <ares.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { IDLE_MOST = 64 };

static struct {
    struct spinlock lock;
    struct configuration *current; /* held */
    int64_t look_at;               /* the files, from then on: real time */
} state;

/* One at a time reads the files and initialises c-ares, whose own start is not thread-safe. */
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

/* --- sockets: close-on-exec from the start, and never SIGPIPE --------------------------------- */

static ares_socket_t open_socket(int family, int type, int protocol, void *user)
{
    struct resolver *resolver = user;
    int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);

    /* Not that a server can't be reached from here, without IPv6 say: the others are asked. */
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
        resolver->socket_error = errno == ENOBUFS ? -ENOMEM : -errno;
    return fd;
}

/* No operation is in flight on it: a lookup polls only while c-ares isn't called. */
static int close_socket(ares_socket_t fd, void *user)
{
    (void)user;
    return close(fd);
}

static int connect_socket(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t length,
                          void *user)
{
    (void)user;
    return connect(fd, address, length);
}

static ares_ssize_t receive(ares_socket_t fd, void *buffer, size_t size, int flags,
                            struct sockaddr *from, ares_socklen_t *length, void *user)
{
    (void)user;
    return recvfrom(fd, buffer, size, flags, from, length);
}

/*
 * A refusal is of what was sent before, maybe for another question; told here it would end this one
 * alone, and the other would wait for its timeout. So it is sent once more, and the refusal of that
 * is read, which ends them all.
 */
static ares_ssize_t send_pieces(ares_socket_t fd, const struct iovec *pieces, int count, void *user)
{
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
    ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);

    (void)user;
    return n < 0 && errno == ECONNREFUSED ? sendmsg(fd, &message, MSG_NOSIGNAL) : n;
}

static const struct ares_socket_functions sockets = {open_socket, close_socket, connect_socket,
                                                     receive, send_pieces};

/* --- channels --------------------------------------------------------------------------------- */

static int make_channel(struct resolver *resolver)
{
    const struct configuration *configuration = resolver->configuration;
    struct ares_options options = {0};
    char lookups[] = "b";
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_UDP_PORT |
               ARES_OPT_TCP_PORT | ARES_OPT_LOOKUPS | ARES_OPT_RESOLVCONF;
    int status;

    options.flags = ARES_FLAG_NOALIASES | (configuration->tcp ? ARES_FLAG_USEVC : 0) |
                    (configuration->edns ? ARES_FLAG_EDNS : 0);
    options.timeout = configuration->timeout;
    options.tries = configuration->attempts;
    options.udp_port = options.tcp_port = configuration->port;
    options.lookups = lookups;
    options.resolvconf_path = (char *)gyre_configuration_servers(configuration);
#ifdef ARES_OPT_QUERY_CACHE
    mask |= ARES_OPT_QUERY_CACHE; /* none */
#endif
    status = ares_init_options(&resolver->channel, &options, mask);
    if (status != ARES_SUCCESS)
        return status == ARES_ENOMEM ? -ENOMEM : -EAGAIN;
    ares_set_socket_functions(resolver->channel, &sockets, resolver);
    return 0;
}

static void destroy(struct resolver *resolver)
{
    if (resolver->channel)
        ares_destroy(resolver->channel);
    free(resolver);
}

static void release(struct configuration *configuration)
{
    struct resolver *resolver;

    /* Acquire and release: the last one finds what the others did. */
    if (!configuration ||
        atomic_fetch_sub_explicit(&configuration->holders, 1, memory_order_acq_rel) > 1)
        return;
    while ((resolver = configuration->idle)) {
        configuration->idle = resolver->next;
        destroy(resolver);
    }
    gyre_configuration_free(configuration);
}

/* --- on a helper ------------------------------------------------------------------------------ */

struct request {
    bool look; /* whether the files have changed */
    struct resolver *resolver;
};

/* With `making`: the current configuration, held. */
static int renew(bool look, struct configuration **held)
{
    struct configuration *configuration = state.current, *old;
    int error;

    if (!configuration || (look && gyre_configuration_stale(configuration))) {
        error = configuration ? 0 : ares_library_init(ARES_LIB_INIT_ALL);
        if (error)
            return -ENOMEM;
        error = gyre_configuration_read(&configuration);
        if (error)
            return error;
        atomic_store_explicit(&configuration->holders, 1, memory_order_relaxed);
        spin_lock(&state.lock);
        old = state.current;
        state.current = configuration;
        spin_unlock(&state.lock);
        release(old);
    }
    atomic_fetch_add_explicit(&configuration->holders, 1, memory_order_relaxed);
    *held = configuration;
    return 0;
}

static int make(void *argument)
{
    struct request *request = argument;
    struct resolver *resolver = calloc(1, sizeof *resolver);
    int error;

    if (!resolver)
        return -ENOMEM;
    pthread_mutex_lock(&making);
    error = renew(request->look, &resolver->configuration);
    pthread_mutex_unlock(&making);
    if (!error)
        error = make_channel(resolver);
    if (error) {
        release(resolver->configuration);
        destroy(resolver);
        return error;
    }
    request->resolver = resolver;
    return 0;
}

/* Who asked has given up meanwhile. */
static void drop(void *copy, int result)
{
    struct request *request = copy;

    if (!result)
        gyre_resolver_put(request->resolver, true);
}

/* --- for lookups ------------------------------------------------------------------------------ */

int gyre_resolver_get(struct resolver **got)
{
    struct request request = {0};
    struct resolver *resolver = NULL;
    int64_t now = clock_real();
    int error;

    spin_lock(&state.lock);
    if (now >= state.look_at) {
        state.look_at = now + GYRE_SECOND;
        request.look = true;
    } else if (state.current && state.current->idle) {
        resolver = state.current->idle;
        state.current->idle = resolver->next;
        state.current->idle_count--;
        atomic_fetch_add_explicit(&state.current->holders, 1, memory_order_relaxed);
    }
    spin_unlock(&state.lock);
    if (!resolver) {
        error = gyre_blocking_detached(make, &request, sizeof request, drop);
        if (error)
            return error;
        resolver = request.resolver;
    }
    resolver->socket_error = 0;
    *got = resolver;
    return 0;
}

void gyre_resolver_put(struct resolver *resolver, bool clean)
{
    struct configuration *configuration = resolver->configuration;
    bool kept = false;

    spin_lock(&state.lock);
    if (clean && configuration->idle_count < IDLE_MOST) {
        resolver->next = configuration->idle;
        configuration->idle = resolver;
        configuration->idle_count++;
        kept = true;
    }
    spin_unlock(&state.lock);
    if (!kept)
        destroy(resolver);
    release(configuration);
}

void gyre_resolver_look(void)
{
    spin_lock(&state.lock);
    state.look_at = 0;
    spin_unlock(&state.lock);
}
