/*
 * Names: what the calls of gyre/resolve.h check, and what they make of a lookup's answers.
 *
 * localhost, and whatever ends in .localhost, is never asked for (RFC 6761): 127.0.0.1 and then
 * ::1, in this order because a listener on localhost is on the former. Nor is .onion (RFC 7686).
 */
#include "net/resolve.h"

#include "base/macros.h"
#include "sched/park.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_MOST = 253, LABEL_MOST = 63, POINTER_SIZE = 80 };

/* --- names ------------------------------------------------------------------------------------ */

/* Printable ASCII in labels of 1 to 63, in all 253, a last dot not counted; host: of a host. */
static bool name_valid(const char *name, bool host)
{
    size_t length = strlen(name), label = 0;

    if (length && name[length - 1] == '.')
        length--;
    if (!length || length > NAME_MOST)
        return !length && !host && *name == '.'; /* the root */
    for (size_t i = 0; i < length; i++) {
        char c = name[i];

        if (c == '.') {
            if (!label)
                return false;
            label = 0;
            continue;
        }
        if (++label > LABEL_MOST || c <= ' ' || c > '~' || c == '\\')
            return false;
        if (host && !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", c))
            return false;
    }
    return label;
}

static bool ends_in(const char *name, const char *last)
{
    size_t length = strlen(name), least = strlen(last);

    if (length && name[length - 1] == '.')
        length--;
    if (length < least || strncasecmp(name + length - least, last, least))
        return false;
    return length == least || name[length - least - 1] == '.';
}

static int add_loopback(struct gyre_addresses *addresses, int family, uint16_t port)
{
    struct in_addr v4 = {htonl(INADDR_LOOPBACK)};
    int error = 0;

    if (family != AF_INET6)
        error = gyre_addresses_add(addresses, AF_INET, &v4, 0, port);
    if (!error && family != AF_INET)
        error = gyre_addresses_add(addresses, AF_INET6, &in6addr_loopback, 0, port);
    return error;
}

int gyre_resolve_locally(const char *host, uint16_t port, int family,
                         struct gyre_addresses *addresses)
{
    struct address address;
    int error = gyre_address_of_host(host, port, &address);
    const struct sockaddr_in *in = (const struct sockaddr_in *)&address.storage;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address.storage;

    if (error == -EADDRNOTAVAIL && !name_valid(host, true))
        return -EINVAL;
    if (error == -EADDRNOTAVAIL && ends_in(host, "localhost"))
        return add_loopback(addresses, family, port);
    if (error == -EADDRNOTAVAIL && ends_in(host, "onion"))
        return -ENOENT;
    if (error)
        return error;
    if (family != AF_UNSPEC && family != address.storage.ss_family)
        return -ENODATA;
    if (address.storage.ss_family == AF_INET)
        return gyre_addresses_add(addresses, AF_INET, &in->sin_addr, 0, port);
    return gyre_addresses_add(addresses, AF_INET6, &in6->sin6_addr, in6->sin6_scope_id, port);
}

/* --- addresses -------------------------------------------------------------------------------- */

/* What all the answers have, appended. */
static int collect(struct lookup *lookup, struct gyre_addresses *addresses)
{
    for (unsigned i = 0; i < lookup->count; i++) {
        struct gyre_addresses *from = &lookup->answers[i].addresses;
        struct gyre_address *list;

        if (!from->count)
            continue;
        list = realloc(addresses->list, (addresses->count + from->count) * sizeof *list);
        if (!list)
            return -ENOMEM;
        memcpy(list + addresses->count, from->list, from->count * sizeof *list);
        addresses->list = list;
        addresses->count += from->count;
    }
    return 0;
}

static int look_up(const char *host, uint16_t port, int family, struct gyre_addresses *addresses)
{
    struct question question = {.types = {TYPE_AAAA, TYPE_A}, .port = port};
    struct lookup lookup;
    int error;

    if (family != AF_UNSPEC) {
        question.types[0] = family == AF_INET ? TYPE_A : TYPE_AAAA;
        question.types[1] = 0;
    }
    error = gyre_lookup_begin(&lookup, host, &question);
    if (error)
        return error;
    error = gyre_lookup_run(&lookup);
    if (!error)
        error = collect(&lookup, addresses);
    gyre_lookup_end(&lookup);
    if (!error)
        gyre_addresses_sort(addresses);
    return error;
}

static int resolve(const char *host, uint16_t port, int family, struct gyre_addresses *addresses)
{
    struct gyre_addresses made = {0};
    int error = gyre_resolve_locally(host, port, family, &made);

    if (error == -EADDRNOTAVAIL)
        error = look_up(host, port, family, &made);
    if (error)
        free(made.list);
    else
        *addresses = made;
    return error;
}

int gyre_resolve(const char *host, uint16_t port, enum gyre_family family,
                 struct gyre_addresses *addresses)
{
    static const int families[] = {
        [GYRE_FAMILY_ANY] = AF_UNSPEC, [GYRE_FAMILY_V4] = AF_INET, [GYRE_FAMILY_V6] = AF_INET6};
    int error = coro_error(coro_required("gyre_resolve"));

    if (error)
        return error;
    if (!host || !addresses ||
        (family != GYRE_FAMILY_ANY && family != GYRE_FAMILY_V4 && family != GYRE_FAMILY_V6))
        return -EINVAL;
    return resolve(host, port, families[family], addresses);
}

void gyre_addresses_free(struct gyre_addresses *addresses)
{
    if (!addresses)
        return;
    free(addresses->list);
    *addresses = (struct gyre_addresses){0};
}

int gyre_address_resolve(const char *call, const char *text, struct address *address)
{
    struct gyre_coro *self = coro_required(call);
    struct gyre_addresses addresses;
    char host[GYRE_HOST_SIZE];
    int port, error = gyre_address_parse(text, address);

    if (error != -EADDRNOTAVAIL)
        return error;
    error = coro_error(self);
    if (error)
        return error;
    port = gyre_address_split(text, host);
    error = resolve(host, (uint16_t)port, AF_UNSPEC, &addresses);
    if (error)
        return error;
    memset(address, 0, sizeof *address);
    address->storage = addresses.list[0].storage;
    address->length = addresses.list[0].length;
    gyre_addresses_free(&addresses);
    return 0;
}

/* --- names of addresses, and raw answers ------------------------------------------------------ */

/* The name under which an address's name is found (RFC 1035, 3596). */
static void pointer_of(const struct sockaddr_storage *storage, char name[POINTER_SIZE])
{
    const uint8_t *bytes;

    if (storage->ss_family == AF_INET) {
        bytes = (const uint8_t *)&((const struct sockaddr_in *)storage)->sin_addr;
        snprintf(name, POINTER_SIZE, "%u.%u.%u.%u.in-addr.arpa", bytes[3], bytes[2], bytes[1],
                 bytes[0]);
        return;
    }
    bytes = ((const struct sockaddr_in6 *)storage)->sin6_addr.s6_addr;
    for (int i = 15; i >= 0; i--, name += 4)
        sprintf(name, "%x.%x.", bytes[i] & 0x0f, bytes[i] >> 4);
    strcpy(name, "ip6.arpa");
}

static int ask_pointer(const struct sockaddr_storage *storage, char *name, size_t size)
{
    struct question question = {.types = {TYPE_PTR}, .raw = true, .absolute = true};
    char pointer[POINTER_SIZE], found[NAME_MOST + 3];
    struct lookup lookup;
    int result;

    pointer_of(storage, pointer);
    result = gyre_lookup_begin(&lookup, pointer, &question);
    if (result)
        return result;
    result = gyre_lookup_run(&lookup);
    if (!result)
        result = gyre_lookup_pointer(&lookup.answers[0], storage, found, sizeof found);
    gyre_lookup_end(&lookup);
    if (result == -ENOSPC || (result >= 0 && !name_valid(found, true)))
        return -EBADMSG;
    if (result < 0)
        return result;
    if ((size_t)result >= size)
        return -ENOSPC;
    memcpy(name, found, (size_t)result + 1);
    return result;
}

int gyre_resolve_address(const struct gyre_address *address, char *name, size_t size)
{
    int result = coro_error(coro_required("gyre_resolve_address"));
    struct gyre_address widened;

    if (result)
        return result;
    if (!address || (!name && size) ||
        (address->storage.ss_family != AF_INET && address->storage.ss_family != AF_INET6))
        return -EINVAL;
    /* An IPv4 peer of a socket that takes both families. */
    if (address->storage.ss_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)&address->storage)->sin6_addr;

        if (IN6_IS_ADDR_V4MAPPED(v6)) {
            struct sockaddr_in *in = (struct sockaddr_in *)&widened.storage;

            widened = (struct gyre_address){.length = sizeof *in};
            in->sin_family = AF_INET;
            memcpy(&in->sin_addr, v6->s6_addr + 12, sizeof in->sin_addr);
            address = &widened;
        }
    }
    result = gyre_lookup_hosts_name(&address->storage, name, size);
    return result == -ENOENT ? ask_pointer(&address->storage, name, size) : result;
}

int gyre_resolve_query(const char *name, int type, unsigned char **answer, size_t *size)
{
    struct question question = {.types = {type}, .raw = true};
    int error = coro_error(coro_required("gyre_resolve_query"));
    struct lookup lookup;

    if (error)
        return error;
    if (!name || !name_valid(name, false) || type < 1 || type > UINT16_MAX || !answer || !size)
        return -EINVAL;
    error = gyre_lookup_begin(&lookup, name, &question);
    if (error)
        return error;
    error = gyre_lookup_run(&lookup);
    if (!error) {
        *answer = lookup.answers[0].message;
        *size = lookup.answers[0].size;
        lookup.answers[0].message = NULL;
    }
    gyre_lookup_end(&lookup);
    return error;
}
