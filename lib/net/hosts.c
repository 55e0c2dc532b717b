/* Hosts files. */
#include "net/hosts.h"

#include "net/address.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { READ_STEP = 1 << 16, SIZE_MAX_READ = 1 << 28 };

/* The whole file and a NUL, malloc'd; "" for one that can't be read; NULL: no memory. */
static char *read_text(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0, capacity = 0;
    char *text = NULL, *more;
    ssize_t n = 1;

    do {
        if (capacity - used < READ_STEP) {
            capacity = capacity * 2 + READ_STEP;
            more = realloc(text, capacity + 1);
            if (!more) {
                free(text);
                text = NULL;
                break;
            }
            text = more;
        }
        n = fd < 0 ? 0 : read(fd, text + used, capacity - used);
        if (n > 0)
            used += (size_t)n;
    } while ((n > 0 && used < SIZE_MAX_READ) || (n < 0 && errno == EINTR));
    if (fd >= 0)
        close(fd);
    if (text)
        text[used] = 0;
    return text;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Without a last dot. */
static size_t name_length(const char *name)
{
    size_t length = strlen(name);

    return length > 1 && name[length - 1] == '.' ? length - 1 : length;
}

static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261;
    size_t length = name_length(name);

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)lower(name[i])) * 16777619;
    return hash ^ hash >> 16;
}

static bool same_name(const char *a, const char *b)
{
    size_t length = name_length(a);

    return length == name_length(b) && !strncasecmp(a, b, length);
}

static int add(struct hosts *hosts, const struct host *host)
{
    if (hosts->count == hosts->capacity) {
        size_t capacity = hosts->capacity ? 2 * hosts->capacity : 16;
        struct host *list = realloc(hosts->list, capacity * sizeof *list);

        if (!list)
            return -ENOMEM;
        hosts->list = list;
        hosts->capacity = capacity;
    }
    hosts->list[hosts->count++] = *host;
    return 0;
}

static void set_address(struct host *host, const struct sockaddr_storage *storage)
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)storage;

    host->family = (uint8_t)storage->ss_family;
    if (storage->ss_family == AF_INET) {
        memcpy(host->bytes, &((const struct sockaddr_in *)storage)->sin_addr, 4);
        return;
    }
    memcpy(host->bytes, &in6->sin6_addr, sizeof host->bytes);
    host->scope = in6->sin6_scope_id;
}

static int add_line(struct hosts *hosts, char *line)
{
    struct host host = {0};
    struct address address;
    char *rest, *word;
    int error = 0;

    line[strcspn(line, "#")] = 0;
    word = strtok_r(line, " \t\r", &rest);
    if (!word || gyre_address_of_host(word, 0, &address))
        return 0;
    set_address(&host, &address.storage);
    while (!error && (word = strtok_r(NULL, " \t\r", &rest))) {
        host.name = word;
        error = add(hosts, &host);
    }
    return error;
}

static int make_index(struct hosts *hosts)
{
    size_t size = 16;

    while (size < 2 * hosts->count)
        size *= 2;
    hosts->first = calloc(size, sizeof *hosts->first);
    if (!hosts->first)
        return -ENOMEM;
    hosts->mask = size - 1;
    /* From the end, so that each chain has the order of the file. */
    for (size_t i = hosts->count; i-- > 0;) {
        uint32_t *first = &hosts->first[hash_of(hosts->list[i].name) & hosts->mask];

        hosts->list[i].next = *first;
        *first = (uint32_t)i + 1;
    }
    return 0;
}

int gyre_hosts_read(struct hosts *hosts, const char *path)
{
    char *at, *line;
    int error = 0;

    memset(hosts, 0, sizeof *hosts);
    hosts->text = read_text(path);
    if (!hosts->text)
        return -ENOMEM;
    at = hosts->text;
    while (!error && (line = strsep(&at, "\n")))
        error = add_line(hosts, line);
    if (!error)
        error = make_index(hosts);
    if (error)
        gyre_hosts_free(hosts);
    return error;
}

void gyre_hosts_free(struct hosts *hosts)
{
    free(hosts->text);
    free(hosts->list);
    free(hosts->first);
    memset(hosts, 0, sizeof *hosts);
}

int gyre_hosts_find(const struct hosts *hosts, const char *name, int family, uint16_t port,
                    struct gyre_addresses *addresses)
{
    int error = -ENOENT;

    for (uint32_t i = hosts->first[hash_of(name) & hosts->mask]; i; i = hosts->list[i - 1].next) {
        const struct host *host = &hosts->list[i - 1];

        if (!same_name(host->name, name))
            continue;
        if (family != AF_UNSPEC && family != host->family) {
            error = error == -ENOENT ? -ENODATA : error;
            continue;
        }
        error = gyre_addresses_add(addresses, host->family, host->bytes, host->scope, port);
        if (error)
            return error;
    }
    return error;
}

const char *gyre_hosts_name(const struct hosts *hosts, const struct sockaddr_storage *storage)
{
    struct host wanted = {0};

    set_address(&wanted, storage);
    for (size_t i = 0; i < hosts->count; i++)
        if (hosts->list[i].family == wanted.family &&
            !memcmp(hosts->list[i].bytes, wanted.bytes, sizeof wanted.bytes))
            return hosts->list[i].name;
    return NULL;
}
