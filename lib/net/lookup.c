/* Lookups by c-ares. */
#include "net/lookup.h"

#include "base/macros.h"
#include "io/poll.h"
#include "net/resolver.h"

#include <gyre/time.h>

#define CARES_NO_DEPRECATED
#include <ares.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

_Static_assert(LOOKUP_FDS == ARES_GETSOCK_MAXNUM, "all that it names");

enum { NAME_SIZE = 256, CLASS_IN = 1, HEADER_SIZE = 12, RECORD_LEAST = 12 };

/* --- errors ----------------------------------------------------------------------------------- */

static int error_of(const struct lookup *lookup, int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return 0;
    case ARES_ENODATA:
        return -ENODATA;
    case ARES_ENOTFOUND:
        return -ENOENT;
    case ARES_ETIMEOUT:
        return -ETIMEDOUT;
    case ARES_ENOMEM:
        return -ENOMEM;
    case ARES_EBADRESP:
        return -EBADMSG;
    case ARES_EBADNAME:
        return -EINVAL;
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
        return -ECANCELED;
    default: /* servers that fail, that refuse, that aren't there; or it could not even ask */
        return lookup->resolver->socket_error ? lookup->resolver->socket_error : -EAGAIN;
    }
}

/* What is not known tells more than what is known not to be. */
static int rank(int error)
{
    static const int order[] = {0, -ENOENT, -ENODATA, -EBADMSG, -EAGAIN, -ETIMEDOUT};

    for (int i = 0; i < (int)ARRAY_SIZE(order); i++)
        if (order[i] == error)
            return i;
    return ARRAY_SIZE(order);
}

static void note(struct lookup *lookup, int error)
{
    if (rank(error) > rank(lookup->error))
        lookup->error = error;
}

static bool found(const struct lookup *lookup)
{
    for (unsigned i = 0; i < lookup->count; i++)
        if (!lookup->answers[i].status)
            return true;
    return false;
}

int gyre_lookup_error(const struct lookup *lookup)
{
    return found(lookup) ? 0 : lookup->error;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* How many records the message says to have, or can have. */
static int record_count(const unsigned char *message, int size)
{
    int count = message[6] << 8 | message[7];

    return count < size / RECORD_LEAST ? count : size / RECORD_LEAST;
}

static int take_v4(struct answer *answer, const unsigned char *message, int size)
{
    int count = record_count(message, size), error = 0;
    struct ares_addrttl *records = calloc((size_t)count + 1, sizeof *records);
    int status;

    if (!records)
        return -ENOMEM;
    status = ares_parse_a_reply(message, size, NULL, records, &count);
    if (status != ARES_SUCCESS || !count)
        error = status == ARES_SUCCESS ? -ENODATA : error_of(answer->lookup, status);
    for (int i = 0; i < count && !error; i++)
        error = gyre_addresses_add(&answer->addresses, AF_INET, &records[i].ipaddr, 0,
                                   answer->lookup->question.port);
    free(records);
    return error;
}

static int take_v6(struct answer *answer, const unsigned char *message, int size)
{
    int count = record_count(message, size), error = 0;
    struct ares_addr6ttl *records = calloc((size_t)count + 1, sizeof *records);
    int status;

    if (!records)
        return -ENOMEM;
    status = ares_parse_aaaa_reply(message, size, NULL, records, &count);
    if (status != ARES_SUCCESS || !count)
        error = status == ARES_SUCCESS ? -ENODATA : error_of(answer->lookup, status);
    for (int i = 0; i < count && !error; i++)
        error = gyre_addresses_add(&answer->addresses, AF_INET6, &records[i].ip6addr, 0,
                                   answer->lookup->question.port);
    free(records);
    return error;
}

static int take_message(struct answer *answer, const unsigned char *message, int size)
{
    answer->message = malloc((size_t)size);
    if (!answer->message)
        return -ENOMEM;
    memcpy(answer->message, message, (size_t)size);
    answer->size = (size_t)size;
    return 0;
}

static int take(struct answer *answer, const unsigned char *message, int size)
{
    if (size < HEADER_SIZE)
        return -EBADMSG;
    if (answer->lookup->question.raw)
        return take_message(answer, message, size);
    return answer->type == TYPE_A ? take_v4(answer, message, size) : take_v6(answer, message, size);
}

static void answered(void *argument, int status, int timeouts, unsigned char *message, int size)
{
    struct answer *answer = argument;

    (void)timeouts;
    answer->status = error_of(answer->lookup, status);
    if (status == ARES_SUCCESS)
        answer->status = take(answer, message, size);
    if (answer->status == -ENOMEM) {
        free(answer->addresses.list); /* half of them */
        answer->addresses = (struct gyre_addresses){0};
    }
}

/* --- what to ask ------------------------------------------------------------------------------ */

static unsigned dots(const char *name)
{
    unsigned count = 0;

    for (; *name; name++)
        count += *name == '.';
    return count;
}

/* The n-th name to try; false: there is none. "" is one to pass over. */
static bool name_to_try(const struct lookup *lookup, unsigned n, char name[NAME_SIZE])
{
    const struct configuration *configuration = lookup->resolver->configuration;
    size_t length = strlen(lookup->name), more;
    bool absolute = lookup->question.absolute || lookup->name[length - 1] == '.';
    unsigned domains = absolute ? 0 : configuration->domain_count;
    unsigned as_it_is = dots(lookup->name) >= configuration->ndots ? 0 : domains;

    if (n > domains)
        return false;
    if (n == as_it_is || absolute) {
        memcpy(name, lookup->name, length + 1);
        return true;
    }
    n -= n > as_it_is;
    more = strlen(configuration->domains[n]);
    name[0] = 0;
    if (length + 1 + more < NAME_SIZE - 2) {
        memcpy(name, lookup->name, length);
        name[length] = '.';
        memcpy(name + length + 1, configuration->domains[n], more + 1);
    }
    return true;
}

static int family_of(int type)
{
    return type == TYPE_A ? AF_INET : AF_INET6;
}

static void ask_files(struct lookup *lookup)
{
    const struct configuration *configuration = lookup->resolver->configuration;
    const struct question *question = &lookup->question;

    if (!configuration->files || question->raw)
        return;
    for (unsigned i = 0; i < lookup->count; i++) {
        struct answer *answer = &lookup->answers[i];

        answer->status =
            gyre_hosts_find(&configuration->hosts, lookup->name, family_of(answer->type),
                            question->port, &answer->addresses);
        note(lookup, answer->status);
    }
}

/* A file that has the name, but none of the family asked for, is no reason not to ask further. */
static void ask_servers(struct lookup *lookup, const char *name)
{
    lookup->asking = true;
    for (unsigned i = 0; i < lookup->count; i++)
        lookup->answers[i].status = LOOKUP_PENDING;
    for (unsigned i = 0; i < lookup->count; i++)
        ares_query(lookup->resolver->channel, name, CLASS_IN, lookup->answers[i].type, answered,
                   &lookup->answers[i]);
}

static bool pending(const struct lookup *lookup)
{
    for (unsigned i = 0; i < lookup->count; i++)
        if (lookup->answers[i].status == LOOKUP_PENDING)
            return true;
    return false;
}

/* Whether another name of the search list may help. */
static bool may_go_on(const struct lookup *lookup)
{
    return rank(lookup->error) <= rank(-ENODATA) || lookup->error == -EAGAIN;
}

static void finish(struct lookup *lookup)
{
    if (!found(lookup) && lookup->resolver->configuration->dns_first)
        ask_files(lookup);
    lookup->over = true;
}

/* On to the next name, once this one's answers are in. */
static void advance(struct lookup *lookup)
{
    char name[NAME_SIZE];

    while (!lookup->over && !pending(lookup)) {
        if (lookup->asking)
            for (unsigned i = 0; i < lookup->count; i++)
                note(lookup, lookup->answers[i].status);
        lookup->asking = false;
        if (found(lookup) || !may_go_on(lookup) || !name_to_try(lookup, lookup->next++, name))
            finish(lookup);
        else if (*name)
            ask_servers(lookup, name);
    }
}

int gyre_lookup_begin(struct lookup *lookup, const char *name, const struct question *question)
{
    const struct configuration *configuration;
    int error;

    memset(lookup, 0, sizeof *lookup);
    error = gyre_resolver_get(&lookup->resolver);
    if (error)
        return error;
    configuration = lookup->resolver->configuration;
    lookup->name = name;
    lookup->question = *question;
    lookup->error = -ENOENT;
    for (unsigned i = 0; i < ARRAY_SIZE(question->types) && question->types[i]; i++)
        lookup->answers[lookup->count++] =
            (struct answer){.lookup = lookup, .type = question->types[i], .status = -ENOENT};
    if (!configuration->dns_first)
        ask_files(lookup);
    if (found(lookup) || (!configuration->dns && !question->raw))
        finish(lookup);
    advance(lookup);
    return 0;
}

/* --- waiting ---------------------------------------------------------------------------------- */

size_t gyre_lookup_wants(struct lookup *lookup, struct pollfd *fds, int64_t *timeout)
{
    ares_socket_t sockets[LOOKUP_FDS];
    struct timeval limit = {3600, 0}, time;
    size_t count = 0;
    unsigned wants;

    *timeout = -1;
    if (lookup->over)
        return 0;
    wants = (unsigned)ares_getsock(lookup->resolver->channel, sockets, LOOKUP_FDS);
    for (unsigned i = 0; i < LOOKUP_FDS; i++) {
        short events = 0;

        /* c-ares's macros for this shift into the sign. */
        if (wants & 1u << i)
            events |= POLLIN;
        if (wants & 1u << (i + ARES_GETSOCK_MAXNUM))
            events |= POLLOUT;
        if (events)
            fds[count++] = (struct pollfd){.fd = sockets[i], .events = events};
    }
    ares_timeout(lookup->resolver->channel, &limit, &time);
    /* It counts in milliseconds. */
    *timeout = time.tv_sec * GYRE_SECOND + time.tv_usec * GYRE_MICROSECOND + GYRE_MILLISECOND;
    return count;
}

void gyre_lookup_go_on(struct lookup *lookup, const struct pollfd *fds, size_t count)
{
    if (lookup->over)
        return;
    for (size_t i = 0; i < count; i++) {
        bool failed = fds[i].revents & (POLLERR | POLLHUP | POLLNVAL);
        bool in = fds[i].revents & POLLIN || (failed && fds[i].events & POLLIN);
        bool out = fds[i].revents & POLLOUT || (failed && fds[i].events & POLLOUT);

        if (in || out)
            ares_process_fd(lookup->resolver->channel, in ? fds[i].fd : ARES_SOCKET_BAD,
                            out ? fds[i].fd : ARES_SOCKET_BAD);
    }
    ares_process_fd(lookup->resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    advance(lookup);
}

void gyre_lookup_end(struct lookup *lookup)
{
    bool clean = !pending(lookup);

    if (!clean)
        ares_cancel(lookup->resolver->channel);
    for (unsigned i = 0; i < lookup->count; i++) {
        free(lookup->answers[i].addresses.list);
        free(lookup->answers[i].message);
    }
    gyre_resolver_put(lookup->resolver, clean);
}

int gyre_lookup_run(struct lookup *lookup)
{
    struct pollfd fds[LOOKUP_FDS];
    int64_t timeout;
    size_t count;
    int n;

    while (!gyre_lookup_done(lookup)) {
        count = gyre_lookup_wants(lookup, fds, &timeout);
        n = gyre_poll_many_real(fds, count, timeout);
        if (n < 0)
            return n;
        gyre_lookup_go_on(lookup, fds, count);
    }
    return gyre_lookup_error(lookup);
}

/* --- names of addresses ----------------------------------------------------------------------- */

static int put_name(const char *from, char *name, size_t size)
{
    size_t length = strlen(from);

    if (length >= size)
        return -ENOSPC;
    memcpy(name, from, length + 1);
    return (int)length;
}

int gyre_lookup_hosts_name(const struct sockaddr_storage *storage, char *name, size_t size)
{
    struct resolver *resolver;
    const char *host = NULL;
    int result = gyre_resolver_get(&resolver);

    if (result)
        return result;
    if (resolver->configuration->files)
        host = gyre_hosts_name(&resolver->configuration->hosts, storage);
    result = host ? put_name(host, name, size) : -ENOENT;
    gyre_resolver_put(resolver, true);
    return result;
}

int gyre_lookup_pointer(const struct answer *answer, const struct sockaddr_storage *storage,
                        char *name, size_t size)
{
    const void *bytes = storage->ss_family == AF_INET
                            ? (const void *)&((const struct sockaddr_in *)storage)->sin_addr
                            : &((const struct sockaddr_in6 *)storage)->sin6_addr;
    int status, result;
    struct hostent *host;

    status =
        ares_parse_ptr_reply(answer->message, (int)answer->size, bytes,
                             storage->ss_family == AF_INET ? 4 : 16, storage->ss_family, &host);
    if (status != ARES_SUCCESS)
        return error_of(answer->lookup, status);
    result = put_name(host->h_name, name, size);
    ares_free_hostent(host);
    return result;
}
