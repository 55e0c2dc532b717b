/* Lists of addresses, and the order in which they should be tried. */
#ifndef GYRE_LIB_NET_ADDRESSES_H
#define GYRE_LIB_NET_ADDRESSES_H

#include <gyre/resolve.h>

#include <stdint.h>
#include <sys/socket.h>

/* Appends one: bytes is an in_addr or in6_addr. Returns 0 or -ENOMEM (the list as it was). */
int gyre_addresses_add(struct gyre_addresses *addresses, int family, const void *bytes,
                       unsigned scope, uint16_t port);

/*
 * Sorts by RFC 6724, stably: what this machine has a route and a fitting source address for comes
 * first. Asks the kernel for the source addresses, without sending anything; parks at times where
 * the list is long. Without memory or descriptors the order stays.
 */
void gyre_addresses_sort(struct gyre_addresses *addresses);

#endif
