/* Connecting by name: which address, when, and what is left when it went otherwise. */
#include "../io/harness.h"
#include "dns.h"

enum rule_number { LATE_AAAA = 0 };

static const struct dns_rule rules[] = {
    [LATE_AAAA] = {"late-6.test", DNS_AAAA, DNS_ADDRESSES, "::1", 400},
    {"late-6.test", DNS_A, DNS_ADDRESSES, "127.0.0.1"},
    {"late-4.test", DNS_AAAA, DNS_ADDRESSES, "::1"},
    {"late-4.test", DNS_A, DNS_ADDRESSES, "127.0.0.1", 400},
    {"soon-6.test", DNS_AAAA, DNS_ADDRESSES, "::1", 20},
    {"soon-6.test", DNS_A, DNS_ADDRESSES, "127.0.0.1"},
    {"silent-6.test", DNS_AAAA, DNS_SILENT, ""},
    {"silent-6.test", DNS_A, DNS_ADDRESSES, "127.0.0.1"},
    {"one.test", DNS_A, DNS_ADDRESSES, "127.0.0.1"},
    {"two.test", DNS_A, DNS_ADDRESSES, "127.0.0.1 127.0.0.2"},
    {"three.test", DNS_A, DNS_ADDRESSES, "127.0.0.3 127.0.0.4 127.0.0.1"},
    {"all.test", DNS_A, DNS_ADDRESSES,
     "127.0.1.1 127.0.1.2 127.0.1.3 127.0.1.4 127.0.1.5 127.0.1.6 127.0.1.7 127.0.1.8 127.0.1.9 "
     "127.0.1.10 127.0.1.11 127.0.1.12 127.0.1.13 127.0.1.14 127.0.1.15 127.0.1.16 127.0.1.17 "
     "127.0.1.18 127.0.1.19 127.0.1.20"},
    {"both.test", DNS_A, DNS_ADDRESSES, "127.0.0.1"},
    {"both.test", DNS_AAAA, DNS_ADDRESSES, "::1"},
    {"far.test", DNS_A, DNS_ADDRESSES, "255.255.255.255 127.0.0.1"},
    {"one.test", 0, DNS_EMPTY, ""},
    {"two.test", 0, DNS_EMPTY, ""},
    {"three.test", 0, DNS_EMPTY, ""},
    {"all.test", 0, DNS_EMPTY, ""},
    {"far.test", 0, DNS_EMPTY, ""},
    {"silent.test", 0, DNS_SILENT, ""},
    {"servfail.test", 0, DNS_RCODE, "2"},
    {0}};

#define DIALING(name)                                                                              \
    static int body_##name(void *unused_);                                                         \
    Test(dial, name)                                                                               \
    {                                                                                              \
        dns_start(rules, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\nsearch .\n", "");    \
        run_on_each(body_##name);                                                                  \
        dns_stop();                                                                                \
    }                                                                                              \
    static int body_##name(__attribute__((unused)) void *unused_)

/* A listening socket of address, "127.0.0.1" or "::1"; *port 0: any. -1: there is no such. */
static int listen_on(const char *address, uint16_t *port, int backlog)
{
    struct sockaddr_storage storage = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&storage;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&storage;
    socklen_t length = strchr(address, ':') ? sizeof *in6 : sizeof *in;
    int fd, on = 1;

    storage.ss_family = strchr(address, ':') ? AF_INET6 : AF_INET;
    in->sin_port = htons(*port); /* at the same place in both */
    inet_pton(storage.ss_family, address,
              storage.ss_family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr);
    fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (storage.ss_family == AF_INET6 && fd >= 0)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&storage, length) < 0 || listen(fd, backlog) < 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    getsockname(fd, (struct sockaddr *)&storage, &length);
    *port = ntohs(in->sin_port);
    return fd;
}

/* On one port, which another program may have on either address. *six is -1 where there is no IPv6.
 */
static void listen_on_both(int *four, int *six, uint16_t *port)
{
    uint16_t any = 0;
    int tried = listen_on("::1", &any, 1);

    if (tried >= 0)
        close(tried);
    for (;;) {
        *port = 0;
        *four = listen_on("127.0.0.1", port, 16);
        *six = tried < 0 ? -1 : listen_on("::1", port, 16);
        if (*six >= 0 || tried < 0)
            return;
        close(*four);
    }
}

/* A port of ::1 whose listener answers nobody, as make_deaf. False: no IPv6 here. */
struct deaf_6 {
    uint16_t port;
    int fds[3];
};

static bool make_deaf_6(struct deaf_6 *deaf)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};

    deaf->port = 0;
    deaf->fds[0] = listen_on("::1", &deaf->port, 0);
    if (deaf->fds[0] < 0)
        return false;
    address.sin6_port = htons(deaf->port);
    for (int i = 1; i < 3; i++) {
        deaf->fds[i] = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connect(deaf->fds[i], (struct sockaddr *)&address, sizeof address);
    }
    return true;
}

static void close_deaf_6(const struct deaf_6 *deaf)
{
    for (int i = 0; i < 3; i++)
        close(deaf->fds[i]);
}

static int dial(const char *host, uint16_t port)
{
    char text[300];

    snprintf(text, sizeof text, "%s:%d", host, port);
    return gyre_tcp_dial(text);
}

static int64_t since(int64_t start)
{
    return (gyre_now() - start) / GYRE_MILLISECOND;
}

/* That it works like any other, is close-on-exec and blocks; and that it goes to peer. */
static void expect_connected(int fd, const char *host, uint16_t port)
{
    char peer[GYRE_ADDRESS_SIZE], wanted[GYRE_ADDRESS_SIZE];

    EXPECT(fd >= 0);
    if (fd < 0) {
        fprintf(stderr, "%s: %s\n", host, strerror(-fd));
        return;
    }
    snprintf(wanted, sizeof wanted, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
    EXPECT(gyre_peer_address(fd, peer, sizeof peer) > 0);
    EXPECT(!strcmp(peer, wanted));
    EXPECT_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    EXPECT(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    EXPECT_EQ(gyre_write(fd, "x", 1), 1);
    EXPECT_EQ(gyre_close(fd), 0);
}

DIALING(a_name_with_one_address)
{
    uint16_t port = 0;
    int listener = listen_on("127.0.0.1", &port, 16);
    int64_t start = gyre_now();

    expect_connected(dial("one.test", port), "127.0.0.1", port);
    EXPECT(since(start) < 200);
    close(listener);
    EXPECT_EQ(dial("one.test", port), -ECONNREFUSED);
    return 0;
}

DIALING(a_refused_address_is_followed_at_once_by_the_next)
{
    uint16_t port = 0;
    int listener = listen_on("127.0.0.1", &port, 16);
    int64_t start = gyre_now();

    expect_connected(dial("three.test", port), "127.0.0.1", port);
    expect_connected(dial("far.test", port), "127.0.0.1", port);
    EXPECT(since(start) < 240);
    close(listener);
    return 0;
}

DIALING(a_silent_address_is_followed_by_the_next_after_a_while)
{
    struct deaf deaf;
    uint16_t port;
    int listener;
    int64_t start;

    for (;;) {
        make_deaf(&deaf);
        port = ntohs(deaf.address.sin_port);
        listener = listen_on("127.0.0.2", &port, 16);
        if (listener >= 0)
            break;
        close_deaf(&deaf); /* another program has the port there */
    }
    start = gyre_now();
    expect_connected(dial("two.test", port), "127.0.0.2", port);
    EXPECT(since(start) >= 250);
    EXPECT(since(start) < 900);
    close(listener);
    close_deaf(&deaf);
    return 0;
}

DIALING(ipv6_that_leads_nowhere_costs_a_quarter_of_a_second)
{
    struct deaf_6 deaf;
    int listener;
    int64_t start;

    for (;;) {
        if (!make_deaf_6(&deaf))
            return 0;
        listener = listen_on("127.0.0.1", &deaf.port, 16);
        if (listener >= 0)
            break;
        close_deaf_6(&deaf); /* another program has the port there */
    }
    start = gyre_now();
    expect_connected(dial("both.test", deaf.port), "127.0.0.1", deaf.port);
    EXPECT(since(start) >= 250);
    EXPECT(since(start) < 900);
    close(listener);
    close_deaf_6(&deaf);
    return 0;
}

DIALING(ipv6_goes_first_where_it_works)
{
    uint16_t port;
    int four, six;

    listen_on_both(&four, &six, &port);
    if (six >= 0) {
        expect_connected(dial("both.test", port), "::1", port);
        expect_connected(dial("soon-6.test", port), "::1", port);
        expect_connected(dial("late-4.test", port), "::1", port);
    }
    close(six);
    expect_connected(dial("both.test", port), "127.0.0.1", port);
    expect_connected(dial("late-4.test", port), "127.0.0.1", port);
    close(four);
    return 0;
}

DIALING(ipv4_does_not_wait_long_for_the_answer_about_ipv6)
{
    uint16_t port = 0;
    int listener = listen_on("127.0.0.1", &port, 16);
    int64_t start = gyre_now();

    expect_connected(dial("late-6.test", port), "127.0.0.1", port);
    EXPECT(since(start) >= 50);
    EXPECT(since(start) < 350);
    start = gyre_now();
    expect_connected(dial("silent-6.test", port), "127.0.0.1", port);
    EXPECT(since(start) < 350);
    close(listener);
    return 0;
}

DIALING(an_answer_that_comes_late_joins_in)
{
    uint16_t port = 0;
    int listener = listen_on("::1", &port, 16);

    if (listener < 0)
        return 0;
    expect_connected(dial("late-6.test", port), "::1", port);
    close(listener);
    return 0;
}

DIALING(nobody_answers)
{
    uint16_t port = 0;

    close(listen_on("127.0.0.1", &port, 16));
    EXPECT_EQ(dial("all.test", port), -ECONNREFUSED);
    EXPECT_EQ(dial("both.test", port), -ECONNREFUSED);
    EXPECT_EQ(dial("far.test", port), -ECONNREFUSED);
    EXPECT_EQ(dial("nothing.test", port), -ENOENT);
    EXPECT_EQ(dial("servfail.test", port), -EAGAIN);
    EXPECT_EQ(dial("a..b", port), -EINVAL);
    EXPECT_EQ(dial("h\xc3\xa4user.test", port), -EINVAL);
    EXPECT_EQ(dial("silent-6.test", port), -ECONNREFUSED);
    EXPECT_EQ(dial("silent.test", port), -ETIMEDOUT);
    EXPECT_EQ(gyre_context_error(), 0);
    return 0;
}

DIALING(localhost_is_either_address)
{
    uint16_t port;
    int four, six;

    listen_on_both(&four, &six, &port);
    expect_connected(dial("localhost", port), "127.0.0.1", port);
    expect_connected(dial("a.localhost", port), "127.0.0.1", port);
    close(four);
    if (six >= 0) {
        expect_connected(dial("localhost", port), "::1", port);
        close(six);
    }
    EXPECT_EQ(dial("localhost", port), -ECONNREFUSED);
    return 0;
}

/* --- contexts --------------------------------------------------------------------------------- */

DIALING(the_context_ends_it)
{
    struct deaf deaf;
    uint16_t port;
    int64_t start = gyre_now();

    make_deaf(&deaf);
    port = ntohs(deaf.address.sin_port);
    {
        GYRE_TIMEOUT(100 * GYRE_MILLISECOND);
        EXPECT_EQ(dial("one.test", port), -ETIMEDOUT);
        EXPECT_EQ(gyre_context_error(), -ETIMEDOUT);
        EXPECT_EQ(dial("one.test", port), -ETIMEDOUT);
    }
    {
        GYRE_TIMEOUT(400 * GYRE_MILLISECOND); /* the second attempt has failed then */
        EXPECT_EQ(dial("two.test", port), -ETIMEDOUT);
    }
    EXPECT(since(start) < 900);
    close_deaf(&deaf);
    return 0;
}

struct target {
    const char *host;
    uint16_t port;
    int delay;
};

static int dial_and_close(void *argument)
{
    const struct target *target = argument;
    int fd = dial(target->host, target->port);

    EXPECT(fd >= 0 || fd == -ECANCELED);
    if (fd >= 0)
        gyre_close(fd);
    return 0;
}

DIALING(cancelled_at_any_moment)
{
    struct target target = {"three.test", 0, 0};
    int listener = listen_on("127.0.0.1", &target.port, 128);

    EXPECT_EQ(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
    for (int i = 0; i < 100; i++) {
        GYRE_NURSERY(group);

        for (int j = 0; j < 4; j++)
            gyre_group_go(&group, dial_and_close, &target);
        gyre_sleep(i * 30 * GYRE_MICROSECOND);
        gyre_group_cancel(&group);
        gyre_group_wait(&group);
        for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
            close(fd);
    }
    close(listener);
    return 0;
}

DIALING(many_at_once)
{
    struct target target = {"three.test", 0, 0};
    int listener = listen_on("127.0.0.1", &target.port, 512);
    GYRE_NURSERY(group);

    for (int i = 0; i < 200; i++)
        gyre_group_go(&group, dial_and_close, &target);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    close(listener);
    return 0;
}

/* --- listening -------------------------------------------------------------------------------- */

DIALING(listening_by_name)
{
    struct gyre_listener *listener, *other = NULL;
    char text[GYRE_ADDRESS_SIZE];

    EXPECT_EQ(gyre_tcp_listen(&listener, "one.test:0"), 0);
    EXPECT(gyre_local_address(gyre_listener_fd(listener), text, sizeof text) > 0);
    EXPECT(!strncmp(text, "127.0.0.1:", 10));
    EXPECT_EQ(gyre_listener_close(listener), 0);
    EXPECT_EQ(gyre_tcp_listen(&other, "nothing.test:0"), -ENOENT);
    EXPECT_EQ(gyre_tcp_listen(&other, "a..b:0"), -EINVAL);
    EXPECT(!other);
    return 0;
}

/* --- a test's clock --------------------------------------------------------------------------- */

/* Servers that keep silent: about IPv6 alone, and about all. */
static int in_virtual_time(void *unused)
{
    struct gyre_addresses addresses;
    uint16_t port = 0;
    int listener = listen_on("127.0.0.1", &port, 16);
    int64_t start = dns_now();

    (void)unused;
    expect_connected(dial("silent-6.test", port), "127.0.0.1", port);
    EXPECT(dns_now() - start < 900); /* before the servers' time is up */
    EXPECT_EQ(gyre_resolve("silent.test", 80, GYRE_FAMILY_ANY, &addresses), -ETIMEDOUT);
    EXPECT_EQ(dial("silent.test", port), -ETIMEDOUT);
    EXPECT_EQ(gyre_context_error(), 0);
    close(listener);
    return 0;
}

Test(dial, waits_in_real_time_under_a_tests_clock, .timeout = 60)
{
    dns_start(rules, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\nsearch .\n", "");
    cr_assert_eq(gyre_test(in_virtual_time, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
    dns_stop();
}
