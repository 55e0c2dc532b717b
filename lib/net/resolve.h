/* Names, for the calls that take "host:port". */
#ifndef GYRE_LIB_NET_RESOLVE_H
#define GYRE_LIB_NET_RESOLVE_H

#include "net/address.h"

/*
 * gyre_address_parse, but a name is looked up: the first of its addresses, in the order in which
 * they should be tried. Parks where text is a name, and nowhere else. Panics outside a coroutine,
 * naming call. Returns 0; -EINVAL (not an address, not a name); what gyre_resolve returns.
 */
int gyre_address_resolve(const char *call, const char *text, struct address *address);

#endif
