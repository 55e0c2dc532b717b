/*
 * Parsing and printing of addresses; literal ones only. Of a Unix socket's address the length
 * counts, for the kernel does not end it where it fills its room, and an abstract name may have
 * any bytes.
 */
#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

static int parse_port(const char *text)
{
    unsigned port = 0;

    if (!*text)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        port = port * 10 + (unsigned)(*text - '0');
        if (port > 65535)
            return -EINVAL;
    }
    return (int)port;
}

static void set_v4(struct address *address, struct in_addr host, int port)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&address->storage;

    *in = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = host};
    address->length = sizeof *in;
}

static void set_v6(struct address *address, struct in6_addr host, int port, unsigned scope)
{
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)&address->storage;

    *in = (struct sockaddr_in6){.sin6_family = AF_INET6,
                                .sin6_port = htons((uint16_t)port),
                                .sin6_addr = host,
                                .sin6_scope_id = scope};
    address->length = sizeof *in;
}

static bool parse_index(const char *text, unsigned *index)
{
    uint64_t value = 0;

    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (unsigned)(*text - '0');
        if (value > UINT32_MAX)
            return false;
    }
    *index = (unsigned)value;
    return true;
}

static int parse_v6(char *host, int port, struct address *address)
{
    char *zone = strchr(host, '%');
    struct in6_addr v6;
    unsigned scope = 0;

    if (zone) {
        *zone++ = 0;
        scope = if_nametoindex(zone);
        if (!scope && !parse_index(zone, &scope))
            return -EINVAL;
    }
    if (inet_pton(AF_INET6, host, &v6) != 1)
        return -EINVAL;
    set_v6(address, v6, port, scope);
    return 0;
}

static bool name_like(const char *host)
{
    bool letter = false;

    for (; *host; host++) {
        if ((*host >= 'a' && *host <= 'z') || (*host >= 'A' && *host <= 'Z'))
            letter = true;
        else if (!(*host >= '0' && *host <= '9') && *host != '-' && *host != '.' && *host != '_')
            return false;
    }
    return letter;
}

int gyre_address_split(const char *text, char host[GYRE_HOST_SIZE])
{
    const char *colon = text ? strrchr(text, ':') : NULL;
    int port = colon ? parse_port(colon + 1) : -EINVAL;
    size_t length;

    if (port < 0)
        return -EINVAL;
    length = (size_t)(colon - text);
    if (length >= GYRE_HOST_SIZE)
        return -EINVAL;
    memcpy(host, text, length);
    host[length] = 0;
    return port;
}

static int parse_v4(const char *host, int port, struct address *address)
{
    struct in_addr v4;

    if (inet_pton(AF_INET, host, &v4) != 1)
        return name_like(host) ? -EADDRNOTAVAIL : -EINVAL;
    set_v4(address, v4, port);
    return 0;
}

int gyre_address_of_host(const char *host, int port, struct address *address)
{
    char copy[GYRE_HOST_SIZE];

    memset(address, 0, sizeof *address);
    if (!strchr(host, ':'))
        return parse_v4(host, port, address);
    if (strlen(host) >= sizeof copy)
        return -EINVAL;
    return parse_v6(strcpy(copy, host), port, address);
}

int gyre_address_parse(const char *text, struct address *address)
{
    char host[GYRE_HOST_SIZE];
    int port = gyre_address_split(text, host);
    size_t length;

    if (port < 0)
        return port;
    memset(address, 0, sizeof *address);
    length = strlen(host);
    if (!length) {
        address->any = true;
        set_v6(address, in6addr_any, port, 0);
        return 0;
    }
    if (host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = 0;
        return parse_v6(host + 1, port, address);
    }
    return parse_v4(strcmp(host, "localhost") ? host : "127.0.0.1", port, address);
}

static void change_host(struct address *address, in_addr_t host)
{
    /* The port lies at the same place in both families. */
    int port = ntohs(((struct sockaddr_in6 *)&address->storage)->sin6_port);

    set_v4(address, (struct in_addr){htonl(host)}, port);
}

void gyre_address_any_v4(struct address *address)
{
    change_host(address, INADDR_ANY);
}

void gyre_address_loopback(struct address *address)
{
    change_host(address, INADDR_LOOPBACK);
}

int gyre_address_format(const struct sockaddr_storage *storage, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN], zone[IF_NAMESIZE + 1] = "", line[128];
    int n;

    if (storage->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)storage;

        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        n = snprintf(line, sizeof line, "%s:%u", host, ntohs(in->sin_port));
    } else if (storage->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)storage;

        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        if (in->sin6_scope_id)
            snprintf(zone, sizeof zone, "%%%u", in->sin6_scope_id);
        n = snprintf(line, sizeof line, "[%s%s]:%u", host, zone, ntohs(in->sin6_port));
    } else {
        return -EAFNOSUPPORT;
    }
    if ((size_t)n >= size)
        return -ENOSPC;
    memcpy(text, line, (size_t)n + 1);
    return n;
}

/* --- gyre/datagram.h -------------------------------------------------------------------------- */

int gyre_address_unix(struct gyre_address *address, const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t length = path ? strlen(path) : 0;

    if (!length || (path[0] == '@' && length == 1))
        return -EINVAL;
    if (length >= sizeof un.sun_path)
        return -ENAMETOOLONG;
    memcpy(un.sun_path, path, length + 1);
    if (path[0] == '@')
        un.sun_path[0] = 0;
    else
        length++;
    memset(address, 0, sizeof *address);
    memcpy(&address->storage, &un, sizeof un);
    address->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return 0;
}

int gyre_address_from(struct gyre_address *address, const char *text)
{
    struct address parsed;
    int error;

    if (!text)
        return -EINVAL;
    if (text[0] == '@' || strchr(text, '/'))
        return gyre_address_unix(address, text) ? -EINVAL : 0;
    error = gyre_address_parse(text, &parsed);
    if (error)
        return error;
    address->storage = parsed.storage;
    address->length = parsed.length;
    return 0;
}

/* The bytes of a Unix address; abstract: without the NUL that says so. */
static size_t unix_name(const struct gyre_address *address, const char **name, bool *abstract)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&address->storage;
    const size_t before = offsetof(struct sockaddr_un, sun_path);
    size_t length = address->length > before ? address->length - before : 0;

    if (length > sizeof un->sun_path)
        length = sizeof un->sun_path;
    *abstract = length && !un->sun_path[0];
    *name = un->sun_path + *abstract;
    return *abstract ? length - 1 : strnlen(un->sun_path, length);
}

static int unix_text(const struct gyre_address *address, char *text, size_t size)
{
    const char *name;
    bool abstract;
    size_t length = unix_name(address, &name, &abstract);

    if (length + abstract >= size)
        return -ENOSPC;
    if (abstract)
        *text++ = '@';
    for (size_t i = 0; i < length; i++)
        text[i] = name[i] ? name[i] : '@';
    text[length] = 0;
    return (int)(length + abstract);
}

int gyre_address_text(const struct gyre_address *address, char *text, size_t size)
{
    if (address->length < sizeof(sa_family_t))
        return -EAFNOSUPPORT;
    if (address->storage.ss_family == AF_UNIX)
        return unix_text(address, text, size);
    return gyre_address_format(&address->storage, text, size);
}

int gyre_address_host(const struct gyre_address *address, char *text, size_t size)
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->storage;
    struct gyre_address plain = *address;
    struct sockaddr_in *in = (struct sockaddr_in *)&plain.storage;
    char line[GYRE_ADDRESS_SIZE], *host = line, *end;
    int n;

    if (address->length >= sizeof *in6 && address->storage.ss_family == AF_INET6 &&
        IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        in->sin_family = AF_INET;
        memcpy(&in->sin_addr, in6->sin6_addr.s6_addr + 12, 4);
    }
    if (address->length < sizeof(sa_family_t))
        return -EAFNOSUPPORT;
    n = gyre_address_format(&plain.storage, line, sizeof line);
    if (n < 0)
        return n;
    end = strrchr(line, ':');
    if (*host == '[') {
        host++;
        end--;
    }
    *end = 0;
    n = (int)(end - host);
    if ((size_t)n >= size)
        return -ENOSPC;
    memcpy(text, host, (size_t)n + 1);
    return n;
}

static int address_of(int (*ask)(int, struct sockaddr *, socklen_t *), int fd,
                      struct gyre_address *address)
{
    struct gyre_address found = {.length = sizeof found.storage};

    if (ask(fd, (struct sockaddr *)&found.storage, &found.length) < 0)
        return -errno;
    *address = found;
    return 0;
}

int gyre_address_local(int fd, struct gyre_address *address)
{
    return address_of(getsockname, fd, address);
}

int gyre_address_peer(int fd, struct gyre_address *address)
{
    return address_of(getpeername, fd, address);
}

static bool unix_equal(const struct gyre_address *a, const struct gyre_address *b)
{
    const char *one, *other;
    bool abstract_one, abstract_other;
    size_t length = unix_name(a, &one, &abstract_one);

    return length == unix_name(b, &other, &abstract_other) && abstract_one == abstract_other &&
           (length || abstract_one) && !memcmp(one, other, length);
}

/* In the form of IPv6. False: of another family. */
static bool widen(const struct gyre_address *address, struct sockaddr_in6 *wide)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&address->storage;

    if (address->length >= sizeof *wide && address->storage.ss_family == AF_INET6) {
        memcpy(wide, &address->storage, sizeof *wide);
        return true;
    }
    if (address->length < sizeof *in || in->sin_family != AF_INET)
        return false;
    memset(wide, 0, sizeof *wide);
    wide->sin6_port = in->sin_port;
    memset(wide->sin6_addr.s6_addr + 10, 0xff, 2);
    memcpy(wide->sin6_addr.s6_addr + 12, &in->sin_addr, 4);
    return true;
}

int gyre_address_equal(const struct gyre_address *a, const struct gyre_address *b)
{
    struct sockaddr_in6 one, other;

    if (a->length < sizeof(sa_family_t) || b->length < sizeof(sa_family_t))
        return 0;
    if (a->storage.ss_family == AF_UNIX && b->storage.ss_family == AF_UNIX)
        return unix_equal(a, b);
    return widen(a, &one) && widen(b, &other) && one.sin6_port == other.sin6_port &&
           one.sin6_scope_id == other.sin6_scope_id &&
           !memcmp(&one.sin6_addr, &other.sin6_addr, sizeof one.sin6_addr);
}
