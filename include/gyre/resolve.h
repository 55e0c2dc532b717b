/*
 * gyre/resolve.h - names: looked up without a thread, with cancellation and timeouts.
 *
 * c-ares asks the servers, over gyre's polling. What /etc/resolv.conf says is respected (servers,
 * search or domain; of options ndots, timeout, attempts, rotate, use-vc and edns0), /etc/hosts, and
 * the order of files and dns in /etc/nsswitch.conf; LOCALDOMAIN and RES_OPTIONS go before the
 * files. They are read by a helper thread (gyre/blocking.h), and again when they have changed,
 * which is looked at once a second. GYRE_RESOLV_CONF, GYRE_HOSTS and GYRE_NSSWITCH name other
 * files, GYRE_RESOLV_PORT another port than the servers' 53; a program with raised privileges
 * ignores all variables. Other modules of nsswitch (mdns, ldap) are not asked: use getaddrinfo(3)
 * in gyre_blocking for these. Of the servers sixteen are listened to at a time: who lists more,
 * which resolv.conf(5) doesn't allow, hears none of those beyond while the first keep silent.
 *
 * Nothing is kept of the answers: a name server on the machine does that better. Lookups of the
 * same name at the same time are not joined. gyre_tcp_dial and its like resolve by themselves.
 *
 * A name is ASCII, of 253 characters at most, 63 a label (an international one comes in its "xn--"
 * form); of a host: letters, digits, '-', '_' and at least one letter. One with a final dot is
 * taken as it is; others go through the search list, where addresses of both families are always
 * of the same name. localhost and names that end in .localhost are 127.0.0.1, then ::1, and never
 * asked for, nor is .onion. Time is the real one, under a test's virtual clock too.
 *
 * All park, only from a coroutine. Errors: -ENOENT (no such name), -ENODATA (the name has no
 * addresses, or records, of that kind), -ETIMEDOUT (no server answered; or the context,
 * gyre_context_error() tells), -EAGAIN (servers fail: SERVFAIL, REFUSED, nobody there), -EBADMSG
 * (answers that make no sense), -EINVAL (not a name, an argument), -ECANCELED, -ENOMEM, -EMFILE,
 * -ENFILE; -EOPNOTSUPP: the library was built without c-ares, and then only literal addresses and
 * localhost are known, the hosts file is not. What is not known is told before what is known not to
 * be. On an error nothing that was passed in is touched.
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

/* The addresses of host (a name, or a literal address without brackets), each with the port.
 * *addresses has at least one on success; the caller frees it. A server that answers for one
 * family alone is enough, though the other is waited for. /etc/gai.conf isn't read. Go:
 * Resolver.LookupNetIP. */
GYRE_API int gyre_resolve(const char *host, uint16_t port, enum gyre_family family,
                          struct gyre_addresses *addresses);
/* NULL is fine. Never parks; from any thread. */
GYRE_API void gyre_addresses_free(struct gyre_addresses *addresses);

/* The name of an address, from the hosts file (if nsswitch names files, first whatever the order)
 * or PTR, into name (size bytes), without a final dot: its length without the NUL, -ENOSPC. The
 * port doesn't matter. -EBADMSG too where the answer is no host's name. Go: Resolver.LookupAddr. */
GYRE_API int gyre_resolve_address(const struct gyre_address *address, char *name, size_t size);

/*
 * A raw answer: the DNS message that answers for name (searched for like any other; '*' and the
 * root "." may be asked for too), type (1: A, 15: MX, 16: TXT, 33: SRV ...) and class IN, malloc'd:
 * the caller frees it. Servers alone are asked. For what has no call of its own; c-ares and others
 * parse it. Go: Resolver.LookupMX, LookupTXT, LookupSRV.
 */
GYRE_API int gyre_resolve_query(const char *name, int type, unsigned char **answer, size_t *size);

GYRE_END_DECLS

#endif
