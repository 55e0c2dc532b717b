/*
 * gyre/resolve.h - names: looked up without a thread, with cancellation and timeouts.
 *
 * The work is done by c-ares over gyre's polling; /etc/hosts, /etc/resolv.conf (servers, search
 * domains, ndots, timeout, attempts) and /etc/nsswitch.conf's order of files and dns are respected,
 * and read again when they have changed. GYRE_RESOLV_CONF names another file. Other modules of
 * nsswitch (mdns, ldap) are not asked: use getaddrinfo(3) in gyre_blocking for these. gyre_tcp_dial
 * and its like resolve by themselves.
 *
 * All park, only from a coroutine. Errors: -ENOENT (no such name), -ENODATA (the name has no
 * addresses of that kind), -ETIMEDOUT (no server answered; or the context, gyre_context_error()
 * tells), -EAGAIN (servers fail: SERVFAIL, REFUSED), -EBADMSG (answers that make no sense), -EINVAL
 * (not a name), -ECANCELED, -ENOMEM, -EMFILE; -EOPNOTSUPP: the library was built without c-ares.
 */
#ifndef GYRE_RESOLVE_H
#define GYRE_RESOLVE_H

#include <gyre/base.h>
#include <gyre/datagram.h>

GYRE_BEGIN_DECLS

/* Addresses, in the order in which they should be tried (RFC 6724). */
struct gyre_addresses {
    size_t count;
    struct gyre_address *list; /* the caller's: gyre_addresses_free */
};

enum gyre_family { GYRE_FAMILY_ANY = 0, GYRE_FAMILY_V4 = 4, GYRE_FAMILY_V6 = 6 };

/* The addresses of host (a name, or a literal address), each with the port. Go:
 * Resolver.LookupNetIP. */
GYRE_API int gyre_resolve(const char *host, uint16_t port, enum gyre_family family,
                          struct gyre_addresses *addresses);
GYRE_API void gyre_addresses_free(struct gyre_addresses *addresses);

/* The name of an address (PTR, or /etc/hosts), into name (size bytes): its length, -ENOSPC. Go:
 * Resolver.LookupAddr. */
GYRE_API int gyre_resolve_address(const struct gyre_address *address, char *name, size_t size);

/*
 * A raw answer: the DNS message that answers for name, type (1: A, 15: MX, 16: TXT, 33: SRV ...)
 * and class IN, malloc'd. For what has no call of its own; c-ares and others parse it.
 */
GYRE_API int gyre_resolve_query(const char *name, int type, unsigned char **answer, size_t *size);

GYRE_END_DECLS

#endif
