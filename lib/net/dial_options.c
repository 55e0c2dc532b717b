/*
 * Dialling from an address, and with data that goes out with the SYN (TCP fast open).
 *
 * TCP_FASTOPEN_CONNECT: where the kernel has the server's cookie, connect returns at once and the
 * first send carries the data; else it connects as ever, and asks for a cookie. Either way the call
 * returns only once the connection stands, so that who dials learns of a refusal here.
 */
#include "base/grow.h"
#include "io/operation.h"
#include "net/resolve.h"

#include <gyre/io.h>
#include <gyre/net.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

/* What version 0.1 had. */
#define OPTIONS_LEAST (offsetof(struct gyre_dial_options, data_size) + sizeof(size_t))

static int await_connected(int fd)
{
    struct operation operation = {0};
    int result = gyre_operation_poll(&operation, "gyre_tcp_dial_options", fd, POLLOUT);
    socklen_t length = sizeof(int);
    int error = 0;

    if (result < 0)
        return result;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? -errno : -error;
}

static int send_first(int fd, const struct gyre_dial_options *options)
{
    size_t done = 0;
    ssize_t n = gyre_write_all(fd, options->data, options->data_size, &done);
    int error;

    if (n < 0 && n != -EINPROGRESS)
        return (int)n;
    error = await_connected(fd);
    if (error || n >= 0)
        return error;
    /* The cookie has gone in between: that send only connected. */
    n = gyre_write_all(fd, (const char *)options->data + done, options->data_size - done, NULL);
    return n < 0 ? (int)n : 0;
}

static int bind_local(int fd, const char *text)
{
    struct address local;
    const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)&local.storage;
    struct sockaddr_storage mine = {0};
    socklen_t length = sizeof mine;
    int on = 1, error = gyre_address_parse(text, &local);

    if (error)
        return error;
    if (getsockname(fd, (struct sockaddr *)&mine, &length) < 0)
        return -errno;
    if (local.any && mine.ss_family == AF_INET)
        gyre_address_any_v4(&local);
    /* The kernel's bind gives one error for IPv4 and another for IPv6. */
    if (local.storage.ss_family != mine.ss_family)
        return -EAFNOSUPPORT;
    /* A port left open is chosen when the peer is known, so that many may share one; a given one
     * may be in TIME_WAIT. It is at the same place in both families. */
    if (in->sin6_port)
        error = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    else
        error = setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (error < 0)
        return -errno;
    return bind(fd, (struct sockaddr *)&local.storage, local.length) < 0 ? -errno : 0;
}

static int set_up(int fd, const struct gyre_dial_options *options)
{
    int on = 1;

    if (!(options->flags & GYRE_DIAL_DELAY))
        gyre_set_nodelay(fd, 1);
    /* Where it is switched off, the data follows the connect. */
    if (options->data_size)
        setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on);
    return options->local ? bind_local(fd, options->local) : 0;
}

static int take_options(struct gyre_dial_options *options, const struct gyre_dial_options *asked)
{
    const struct gyre_dial_options defaults = GYRE_DIAL_INIT;

    if (!asked)
        asked = &defaults;
    if (grow_copy(options, sizeof *options, OPTIONS_LEAST, asked, asked->size) ||
        options->flags & ~(unsigned)GYRE_DIAL_DELAY || (options->data_size && !options->data))
        return -EINVAL;
    return 0;
}

int gyre_tcp_dial_options(const char *text, const struct gyre_dial_options *asked)
{
    struct gyre_coro *self = coro_required("gyre_tcp_dial_options");
    struct gyre_dial_options options;
    struct address address;
    int fd, error = coro_error(self);

    if (!error)
        error = take_options(&options, asked);
    if (error)
        return error;
    if (!options.flags && !options.local && !options.data_size)
        return gyre_tcp_dial(text);
    error = gyre_address_resolve("gyre_tcp_dial_options", text, &address);
    if (error)
        return error;
    if (address.any)
        gyre_address_loopback(&address);
    fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    error = set_up(fd, &options);
    if (!error)
        error = gyre_connect(fd, (struct sockaddr *)&address.storage, address.length);
    if (!error && options.data_size)
        error = send_first(fd, &options);
    if (!error)
        return fd;
    gyre_close(fd);
    return error;
}
