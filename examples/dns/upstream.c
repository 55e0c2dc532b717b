/*
 * Every question goes out from a socket of its own, so from a port that the kernel picks at random,
 * with a random number, and connected, so that only the server's datagrams come in. What doesn't
 * repeat number and question is no answer, and the wait for that goes on.
 */
#include "upstream.h"

#include <gyre.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { UPSTREAMS_MAX = 16, ROUNDS = 2 };

static struct {
    const char *addresses[UPSTREAMS_MAX];
    unsigned count;
    int64_t timeout;
    atomic_uint first; /* who answered last: one that is down is not asked before */
} upstream;

int upstream_setup(char *list, int64_t timeout)
{
    struct gyre_address address;
    char *rest = NULL;

    upstream.timeout = timeout;
    for (char *text = strtok_r(list, ",", &rest); text; text = strtok_r(NULL, ",", &rest)) {
        if (gyre_address_from(&address, text) || upstream.count == UPSTREAMS_MAX) {
            fprintf(stderr, "dns_proxy: --upstream takes up to %d of ADDRESS:PORT, not '%s'\n",
                    UPSTREAMS_MAX, text);
            return -EINVAL;
        }
        upstream.addresses[upstream.count++] = text;
    }
    if (!upstream.count)
        fprintf(stderr, "dns_proxy: --upstream says whom to ask; try --help\n");
    return upstream.count ? 0 : -EINVAL;
}

static int random_id(uint16_t *id)
{
    return getrandom(id, sizeof *id, GRND_NONBLOCK) == sizeof *id ? 0 : -EAGAIN;
}

static int exchange_datagrams(int fd, const struct key *key, bool edns, struct answer **answer)
{
    unsigned char query[QUERY_MAX], reply[UDP_SIZE_MAX];
    uint16_t id;
    ssize_t n = random_id(&id);

    if (!n)
        n = gyre_send(fd, query, query_write(key, id, edns, query), 0);
    while (n >= 0) {
        n = gyre_recv(fd, reply, sizeof reply, 0);
        if (n >= 0) {
            int error = answer_read(answer, reply, (size_t)n, key, id);

            if (error != -EAGAIN)
                return error;
        }
    }
    return (int)n;
}

static int ask_by_udp(const char *address, const struct key *key, bool edns, struct answer **answer)
{
    int error, fd;

    GYRE_TIMEOUT(upstream.timeout);
    fd = gyre_udp_dial(address);
    if (fd < 0)
        return fd;
    error = exchange_datagrams(fd, key, edns, answer);
    gyre_close(fd);
    return error;
}

static int exchange_streams(int fd, const struct key *key, bool edns, struct answer **answer)
{
    unsigned char query[NS_INT16SZ + QUERY_MAX], prefix[NS_INT16SZ], *reply;
    size_t size;
    uint16_t id;
    ssize_t n = random_id(&id);

    if (n)
        return (int)n;
    size = query_write(key, id, edns, query + NS_INT16SZ);
    ns_put16((unsigned)size, query);
    n = gyre_write_all(fd, query, NS_INT16SZ + size, NULL);
    if (n >= 0)
        n = gyre_read_all(fd, prefix, sizeof prefix, NULL);
    if (n < (ssize_t)sizeof prefix)
        return n < 0 ? (int)n : -EBADMSG;
    size = ns_get16(prefix);
    reply = malloc(size ? size : 1);
    if (!reply)
        return -ENOMEM;
    n = gyre_read_all(fd, reply, size, NULL);
    if (n >= 0)
        n = answer_read(answer, reply, (size_t)n, key, id);
    free(reply);
    return n == -EAGAIN ? -EBADMSG : (int)n;
}

static int ask_by_tcp(const char *address, const struct key *key, bool edns, struct answer **answer)
{
    int error, fd;

    GYRE_TIMEOUT(upstream.timeout);
    fd = gyre_tcp_dial(address);
    if (fd < 0)
        return fd;
    error = exchange_streams(fd, key, edns, answer);
    gyre_close(fd);
    return error;
}

/* One upstream, once: without EDNS where it doesn't know that, by TCP where it says so. */
static int ask(const char *address, const struct key *key, struct answer **answer)
{
    bool edns = true;
    int error = ask_by_udp(address, key, edns, answer);

    if (!error && !(*answer)->edns &&
        ((*answer)->code == ns_r_formerr || (*answer)->code == ns_r_notimpl)) {
        answer_release(*answer);
        edns = false;
        error = ask_by_udp(address, key, edns, answer);
    }
    if (!error && (*answer)->truncated) {
        answer_release(*answer);
        error = ask_by_tcp(address, key, edns, answer);
    }
    return error;
}

struct answer *upstream_ask(const struct key *key)
{
    /* Relaxed: a hint. */
    unsigned first = atomic_load_explicit(&upstream.first, memory_order_relaxed);
    struct answer *answer, *failure = NULL;

    for (unsigned attempt = 0; attempt < ROUNDS * upstream.count; attempt++) {
        unsigned index = (first + attempt) % upstream.count;

        if (attempt >= upstream.count && failure)
            break; /* all were asked, and one at least said that it can't tell */
        if (!ask(upstream.addresses[index], key, &answer)) {
            answer_release(failure);
            failure = answer;
            if (answer->code == ns_r_noerror || answer->code == ns_r_nxdomain) {
                if (attempt)
                    atomic_store_explicit(&upstream.first, index, memory_order_relaxed);
                break;
            }
        }
        if (gyre_context_error())
            break;
    }
    return failure;
}
