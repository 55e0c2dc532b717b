/* UDP sockets: bound, or with one peer. What waits is the look-up of a name. */
#include "net/resolve.h"
#include "sched/park.h"

#include <gyre/datagram.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static int set_on(int fd, int level, int option, int on)
{
    return setsockopt(fd, level, option, &on, sizeof on) < 0 ? -errno : 0;
}

static int set_options(int fd, int family, unsigned flags)
{
    int error = 0;

    if (flags & GYRE_UDP_REUSEPORT)
        error = set_on(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (!error && flags & GYRE_UDP_BROADCAST)
        error = set_on(fd, SOL_SOCKET, SO_BROADCAST, 1);
    if (!error && family == AF_INET6)
        error = set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY, (flags & GYRE_UDP_V6ONLY) != 0);
    /* On a socket of both families IPv6's shows IPv4's addresses too, mapped. */
    if (!error && flags & GYRE_UDP_PACKET_INFO)
        error = family == AF_INET6 ? set_on(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                                   : set_on(fd, IPPROTO_IP, IP_PKTINFO, 1);
    /* Where the kernel can't, it joins nothing. */
    if (!error && flags & GYRE_UDP_GRO)
        set_on(fd, IPPROTO_UDP, UDP_GRO, 1);
    return error;
}

static int open_socket(const struct address *address, unsigned flags)
{
    const struct sockaddr *name = (const struct sockaddr *)&address->storage;
    int fd = socket(name->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int error;

    if (fd < 0)
        return -errno;
    error = set_options(fd, name->sa_family, flags);
    if (!error && bind(fd, name, address->length) < 0)
        error = -errno;
    if (!error)
        return fd;
    close(fd);
    return error;
}

int gyre_udp_bind(const char *text, unsigned flags)
{
    const unsigned known = GYRE_UDP_REUSEPORT | GYRE_UDP_V6ONLY | GYRE_UDP_BROADCAST |
                           GYRE_UDP_GRO | GYRE_UDP_PACKET_INFO;
    struct gyre_coro *self = coro_required("gyre_udp_bind");
    struct address address;
    int fd, error = coro_error(self);

    if (!error && flags & ~known)
        error = -EINVAL;
    if (!error)
        error = gyre_address_resolve("gyre_udp_bind", text, &address);
    if (error)
        return error;
    fd = open_socket(&address, flags);
    if (fd == -EAFNOSUPPORT && address.any) {
        gyre_address_any_v4(&address); /* no IPv6 here */
        fd = open_socket(&address, flags);
    }
    return fd;
}

int gyre_udp_dial(const char *text)
{
    struct gyre_coro *self = coro_required("gyre_udp_dial");
    struct address address;
    int fd, error = coro_error(self);

    if (!error)
        error = gyre_address_resolve("gyre_udp_dial", text, &address);
    if (error)
        return error;
    if (address.any)
        gyre_address_loopback(&address); /* as gyre_tcp_dial */
    fd = socket(address.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (!connect(fd, (struct sockaddr *)&address.storage, address.length))
        return fd;
    error = -errno;
    close(fd);
    return error;
}
