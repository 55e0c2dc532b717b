/* Addresses as text and as the kernel has them. */
#ifndef GYRE_LIB_NET_ADDRESS_H
#define GYRE_LIB_NET_ADDRESS_H

#include <gyre/datagram.h>
#include <gyre/net.h>

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct address {
    struct sockaddr_storage storage;
    socklen_t length;
    bool any; /* the host was empty: every address, of either family */
};

/* "192.0.2.1:80", "[2001:db8::1%eth0]:80", "localhost:80", ":80". Returns 0, -EINVAL (not an
 * address), -EADDRNOTAVAIL (a name). */
int gyre_address_parse(const char *text, struct address *address);

/* The host alone, an IPv6 address without brackets. Returns 0, -EINVAL (neither an address nor a
 * name), -EADDRNOTAVAIL (a name). */
int gyre_address_of_host(const char *host, int port, struct address *address);

/* The two parts of "host:port", brackets kept; text is shorter than GYRE_HOST_SIZE up to the colon.
 * Returns the port, -EINVAL. */
enum { GYRE_HOST_SIZE = 256 };
int gyre_address_split(const char *text, char host[GYRE_HOST_SIZE]);

/* The same port on every IPv4 address; on 127.0.0.1. */
void gyre_address_any_v4(struct address *address);
void gyre_address_loopback(struct address *address);

/* Of the internet families: the length without the NUL, -ENOSPC, -EAFNOSUPPORT. */
int gyre_address_format(const struct sockaddr_storage *storage, char *text, size_t size);

/* A path, or '@' and an abstract name. Returns 0, -EINVAL (no name), -ENAMETOOLONG. */
int gyre_address_unix(struct gyre_address *address, const char *path);

#endif
