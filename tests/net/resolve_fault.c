/*
 * Names without memory: a lookup from the files on, a dial, a raw answer, each with the n-th
 * allocation failing, gyre's own or c-ares's, for every n until none fails. What fails says so, and
 * the same call succeeds once there is memory; nothing is left open. And with the first server out
 * of reach, for want of IPv6: the second one's answer counts.
 */
#include "../io/descriptors.h"
#include "dns.h"
#include "net/resolver.h"

#include <gyre.h>
#include <gyre/resolve.h>

#include <ares.h>

static const struct dns_rule rules[] = {{"both.test", DNS_A, DNS_ADDRESSES, "127.0.0.1 127.0.0.3"},
                                        {"both.test", DNS_AAAA, DNS_ADDRESSES, "::1"},
                                        {"text.test", DNS_TXT_TYPE, DNS_TXT, "v=spf1 -all"},
                                        {"fails.test", 0, DNS_RCODE, "2"},
                                        {"1.2.0.192.in-addr.arpa", 0, DNS_PTR, "one.test"},
                                        {0}};

static struct {
    atomic_bool armed;
    atomic_long count, failed;
    long nth;
} fault;

static int problems;

static bool fails(void)
{
    if (!atomic_load(&fault.armed) || pthread_equal(pthread_self(), dns.thread) ||
        atomic_fetch_add(&fault.count, 1) + 1 != fault.nth)
        return false;
    atomic_fetch_add(&fault.failed, 1);
    errno = ENOMEM;
    return true;
}

#define WRAP(name, parameters, arguments)                                                          \
    void *__real_##name parameters;                                                                \
    void *__wrap_##name parameters;                                                                \
    void *__wrap_##name parameters                                                                 \
    {                                                                                              \
        return fails() ? NULL : __real_##name arguments;                                           \
    }

WRAP(malloc, (size_t size), (size))
WRAP(calloc, (size_t n, size_t size), (n, size))
WRAP(realloc, (void *old, size_t size), (old, size))
WRAP(strdup, (const char *text), (text))

static bool no_ipv6;

int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol)
{
    if (no_ipv6 && family == AF_INET6) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return __real_socket(family, type, protocol);
}

static void *ares_malloc(size_t size)
{
    return malloc(size);
}

static void *ares_realloc(void *old, size_t size)
{
    return realloc(old, size);
}

static int resolve_cold(void)
{
    static int turn;
    struct gyre_addresses addresses;
    int error;

    /* of another length, so that the files are read again */
    dns_write("GYRE_HOSTS", turn++ % 2 ? "192.0.2.8 a b c d\n192.0.2.2 e\n" : "192.0.2.8 a\n");
    gyre_resolver_look();
    atomic_store(&fault.armed, true);
    error = gyre_resolve("both.test", 80, GYRE_FAMILY_ANY, &addresses);
    if (!error)
        gyre_addresses_free(&addresses);
    return error;
}

static int dial(void)
{
    int fd;

    atomic_store(&fault.armed, true);
    fd = gyre_tcp_dial("both.test:1");
    return fd == -ECONNREFUSED ? 0 : fd;
}

static int query(void)
{
    unsigned char *answer;
    size_t size;
    int error;

    atomic_store(&fault.armed, true);
    error = gyre_resolve_query("text.test", 16, &answer, &size);
    if (!error)
        free(answer);
    return error;
}

static int pointer(void)
{
    struct gyre_address address;
    char name[64];
    int length;

    gyre_address_from(&address, "192.0.2.1:0");
    atomic_store(&fault.armed, true);
    length = gyre_resolve_address(&address, name, sizeof name);
    return length > 0 ? 0 : length;
}

static const struct {
    const char *name;
    int (*call)(void);
} cases[] = {{"resolve", resolve_cold}, {"dial", dial}, {"query", query}, {"address", pointer}};

static int call_with(int which, long nth)
{
    int error;

    fault.nth = nth;
    atomic_store(&fault.count, 0);
    atomic_store(&fault.failed, 0);
    error = cases[which].call();
    atomic_store(&fault.armed, false);
    return error;
}

/* c-ares takes some failures for a server's, and asks again or gives up. */
static bool says_so(int error)
{
    return error == -ENOMEM || error == -EAGAIN || error == -ETIMEDOUT || error == -EBADMSG;
}

static int each_case(void *unused)
{
    (void)unused;
    for (int which = 0; which < (int)(sizeof cases / sizeof *cases); which++) {
        long nth = 1, failed = 1;

        for (; failed && nth < 1000; nth++) {
            int error = call_with(which, nth), again;

            failed = atomic_load(&fault.failed);
            again = call_with(which, 0);
            if ((error && (!failed || !says_so(error))) || again) {
                fprintf(stderr, "%s, allocation %ld: %d, then %d\n", cases[which].name, nth, error,
                        again);
                problems++;
            }
        }
        if (nth < 4) {
            fprintf(stderr, "%s: nothing failed\n", cases[which].name);
            problems++;
        }
    }
    return 0;
}

static int without_ipv6(void *unused)
{
    struct gyre_addresses addresses;
    int error;

    (void)unused;
    no_ipv6 = true;
    dns_write("GYRE_RESOLV_CONF",
              "nameserver ::1\nnameserver 127.0.0.1\noptions timeout:1 attempts:1\nsearch .\n");
    gyre_resolver_look();
    error = gyre_resolve("both.test", 80, GYRE_FAMILY_ANY, &addresses);
    if (error) {
        fprintf(stderr, "without IPv6: %d\n", error);
        problems++;
    } else {
        gyre_addresses_free(&addresses);
    }
    error = gyre_resolve("fails.test", 80, GYRE_FAMILY_ANY, &addresses);
    if (error != -EAGAIN) {
        fprintf(stderr, "without IPv6, of a server that fails: %d\n", error);
        problems++;
    }
    no_ipv6 = false;
    return 0;
}

int main(void)
{
    int before, error;

    if (ares_library_init_mem(ARES_LIB_INIT_ALL, ares_malloc, free, ares_realloc))
        return 1;
    dns_start(rules, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\nsearch a b\n", "");
    before = open_descriptors();
    error = gyre_run(each_case, NULL);
    error |= gyre_run(without_ipv6, NULL);
    if (open_descriptors() != before) {
        fprintf(stderr, "%d descriptors are left\n", open_descriptors() - before);
        problems++;
    }
    dns_stop();
    return error || problems;
}
