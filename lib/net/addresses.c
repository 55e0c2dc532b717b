/*
 * The order of addresses: RFC 6724, section 6, with the default policy table. Left out are rules 3,
 * 4 and 7, for which the kernel would have to be asked over netlink; rule 9 counts for IPv6 alone,
 * as elsewhere: among IPv4 addresses it would undo a server's rotation. /etc/gai.conf isn't read.
 *
 * What source address the kernel would take is asked by connecting a UDP socket, which sends
 * nothing.
 */
#include "net/addresses.h"

#include "base/macros.h"

#include <gyre/coro.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ASKED_AT_ONCE = 64, SCOPE_LINK = 2, SCOPE_SITE = 5, SCOPE_GLOBAL = 14 };

struct policy {
    uint8_t prefix[16];
    uint8_t bits, precedence, label;
};

/* Longest prefix first. */
static const struct policy policies[] = {
    {{[15] = 1}, 128, 50, 0},                /* ::1 */
    {{[10] = 0xff, [11] = 0xff}, 96, 35, 4}, /* ::ffff:0:0/96, which is IPv4 */
    {{0}, 96, 1, 3},
    {{0x20, 0x01}, 32, 5, 5},  /* Teredo */
    {{0x20, 0x02}, 16, 30, 2}, /* 6to4 */
    {{0x3f, 0xfe}, 16, 1, 12}, /* 6bone */
    {{0xfe, 0xc0}, 10, 1, 11}, /* site-local */
    {{0xfc}, 7, 3, 13},        /* unique local */
    {{0}, 0, 40, 1},
};

struct candidate {
    struct gyre_address address;
    size_t index;
    bool usable, scope_matches, label_matches;
    uint8_t precedence, scope, common; /* common: leading bits, of an IPv6 address and its source */
};

int gyre_addresses_add(struct gyre_addresses *addresses, int family, const void *bytes,
                       unsigned scope, uint16_t port)
{
    size_t count = addresses->count;
    struct gyre_address *list = addresses->list, *added;

    /* The list grows where its length is a power of two. */
    if (!(count & (count - 1))) {
        list = realloc(list, (count ? 2 * count : 1) * sizeof *list);
        if (!list)
            return -ENOMEM;
        addresses->list = list;
    }
    added = &list[count];
    memset(added, 0, sizeof *added);
    if (family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)&added->storage;

        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        memcpy(&in->sin_addr, bytes, sizeof in->sin_addr);
        added->length = sizeof *in;
    } else {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)&added->storage;

        in->sin6_family = AF_INET6;
        in->sin6_port = htons(port);
        in->sin6_scope_id = scope;
        memcpy(&in->sin6_addr, bytes, sizeof in->sin6_addr);
        added->length = sizeof *in;
    }
    addresses->count++;
    return 0;
}

/* An IPv4 address in its form of IPv6. */
static void widen(const struct sockaddr_storage *storage, uint8_t bytes[16])
{
    if (storage->ss_family == AF_INET6) {
        memcpy(bytes, &((const struct sockaddr_in6 *)storage)->sin6_addr, 16);
        return;
    }
    memset(bytes, 0, 10);
    memset(bytes + 10, 0xff, 2);
    memcpy(bytes + 12, &((const struct sockaddr_in *)storage)->sin_addr, 4);
}

static unsigned common_bits(const uint8_t a[16], const uint8_t b[16])
{
    unsigned bits = 0;

    while (bits < 128 && !((a[bits / 8] ^ b[bits / 8]) & (0x80 >> bits % 8)))
        bits++;
    return bits;
}

static const struct policy *policy_of(const uint8_t bytes[16])
{
    const struct policy *policy = policies;

    while (common_bits(policy->prefix, bytes) < policy->bits)
        policy++;
    return policy;
}

static uint8_t scope_of(const uint8_t bytes[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    const uint8_t *v4 = bytes + 12;

    if (!memcmp(bytes, mapped, sizeof mapped))
        return v4[0] == 127 || (v4[0] == 169 && v4[1] == 254) ? SCOPE_LINK : SCOPE_GLOBAL;
    if (bytes[0] == 0xff)
        return bytes[1] & 0x0f;
    if (policy_of(bytes) == &policies[0] || (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80))
        return SCOPE_LINK;
    if (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0xc0)
        return SCOPE_SITE;
    return SCOPE_GLOBAL;
}

/* What the kernel would send from; fd is a UDP socket of that family. */
static bool source_of(int fd, const struct gyre_address *to, struct sockaddr_storage *source)
{
    static const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    socklen_t length = sizeof *source;

    if (fd < 0 || connect(fd, (const struct sockaddr *)&to->storage, to->length) < 0)
        return false;
    if (getsockname(fd, (struct sockaddr *)source, &length) < 0)
        return false;
    (void)connect(fd, &nowhere, sizeof nowhere); /* else it would be kept for the next */
    return true;
}

static void look(struct candidate *candidate, int fd)
{
    struct sockaddr_storage source = {0};
    uint8_t to[16], from[16];
    unsigned common;

    widen(&candidate->address.storage, to);
    candidate->precedence = policy_of(to)->precedence;
    candidate->scope = scope_of(to);
    candidate->usable = source_of(fd, &candidate->address, &source);
    if (!candidate->usable)
        return;
    widen(&source, from);
    candidate->scope_matches = candidate->scope == scope_of(from);
    candidate->label_matches = policy_of(to)->label == policy_of(from)->label;
    common = common_bits(to, from);
    if (candidate->address.storage.ss_family == AF_INET6)
        candidate->common = (uint8_t)(common > 64 ? 64 : common); /* beyond lies the interface */
}

static int compare(const void *one, const void *other)
{
    const struct candidate *a = one, *b = other;

    if (a->usable != b->usable)
        return b->usable - a->usable;
    if (a->scope_matches != b->scope_matches)
        return b->scope_matches - a->scope_matches;
    if (a->label_matches != b->label_matches)
        return b->label_matches - a->label_matches;
    if (a->precedence != b->precedence)
        return b->precedence - a->precedence;
    if (a->scope != b->scope)
        return a->scope - b->scope;
    if (a->common != b->common && a->address.storage.ss_family == b->address.storage.ss_family)
        return b->common - a->common;
    return a->index < b->index ? -1 : 1;
}

void gyre_addresses_sort(struct gyre_addresses *addresses)
{
    size_t count = addresses->count;
    struct candidate *candidates = count > 1 ? calloc(count, sizeof *candidates) : NULL;
    int v4, v6;

    if (!candidates)
        return;
    v4 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    v6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (size_t i = 0; i < count; i++) {
        candidates[i].address = addresses->list[i];
        candidates[i].index = i;
        look(&candidates[i], addresses->list[i].storage.ss_family == AF_INET6 ? v6 : v4);
        if (i % ASKED_AT_ONCE == ASKED_AT_ONCE - 1)
            gyre_yield();
    }
    if (v4 >= 0)
        close(v4);
    if (v6 >= 0)
        close(v6);
    qsort(candidates, count, sizeof *candidates, compare);
    for (size_t i = 0; i < count; i++)
        addresses->list[i] = candidates[i].address;
    free(candidates);
}
