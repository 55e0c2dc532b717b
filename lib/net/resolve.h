/* Names, for the calls that take "host:port". */
#ifndef GYRE_LIB_NET_RESOLVE_H
#define GYRE_LIB_NET_RESOLVE_H

#include "net/address.h"
#include "net/addresses.h"
#include "net/lookup.h"

/*
 * gyre_address_parse, but a name is looked up: the first of its addresses, in the order in which
 * they should be tried. Parks where text is a name, and nowhere else. Panics outside a coroutine,
 * naming call. Returns 0; -EINVAL (not an address, not a name); what gyre_resolve returns.
 */
int gyre_address_resolve(const char *call, const char *text, struct address *address);

/*
 * What of host needs no lookup: a literal address, or this machine by its name. Appends its
 * addresses. Returns 0; -EADDRNOTAVAIL: it is a name to look up; -EINVAL: it is neither; -ENODATA
 * (of another family only); -ENOMEM.
 */
int gyre_resolve_locally(const char *host, uint16_t port, int family,
                         struct gyre_addresses *addresses);

#endif
