/* Addresses as text: what is understood, what is refused, and the way back. */
#include "net/address.h"

#include <gyre.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static const char *const same[] = {
    "0.0.0.0:0", "127.0.0.1:80",        "255.255.255.255:65535", "192.0.2.1:1",   "[::]:0",
    "[::1]:80",  "[2001:db8::1]:65535", "[::ffff:192.0.2.1]:7",  "[fe80::1%7]:80"};

Test(address, text_survives_the_way_there_and_back)
{
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct address address;
        char text[GYRE_ADDRESS_SIZE];

        cr_assert_eq(gyre_address_parse(same[i], &address), 0, "%s", same[i]);
        cr_assert_eq(gyre_address_format(&address.storage, text, sizeof text),
                     (int)strlen(same[i]));
        cr_assert_str_eq(text, same[i]);
    }
}

Test(address, bytes_survive_the_way_there_and_back)
{
    unsigned state = 1;

    for (int i = 0; i < 20000; i++) {
        struct address address, again;
        struct sockaddr_storage storage;
        char text[GYRE_ADDRESS_SIZE];

        memset(&storage, 0, sizeof storage);
        for (size_t at = 0; at < sizeof(struct sockaddr_in6); at++) {
            state = state * 1103515245 + 12345;
            /* Runs of zeros are what IPv6 shortens. */
            ((char *)&storage)[at] = (char)(state >> 18 & 1 ? state >> 20 : 0);
        }
        storage.ss_family = i & 1 ? AF_INET : AF_INET6;
        if (i & 1)
            memset((char *)&storage + 8, 0, sizeof storage - 8);
        else
            ((struct sockaddr_in6 *)&storage)->sin6_flowinfo = 0;
        memset(&address, 0, sizeof address);
        cr_assert_gt(gyre_address_format(&storage, text, sizeof text), 0);
        cr_assert_eq(gyre_address_parse(text, &again), 0, "%s", text);
        cr_assert(!memcmp(&again.storage, &storage, sizeof storage), "%s", text);
    }
}

Test(address, an_empty_host_means_every_address)
{
    struct address address;
    char text[GYRE_ADDRESS_SIZE];

    cr_assert_eq(gyre_address_parse(":80", &address), 0);
    cr_assert(address.any);
    gyre_address_format(&address.storage, text, sizeof text);
    cr_assert_str_eq(text, "[::]:80");
    gyre_address_any_v4(&address);
    gyre_address_format(&address.storage, text, sizeof text);
    cr_assert_str_eq(text, "0.0.0.0:80");
    gyre_address_loopback(&address);
    gyre_address_format(&address.storage, text, sizeof text);
    cr_assert_str_eq(text, "127.0.0.1:80");
}

Test(address, localhost_and_zones_are_understood)
{
    struct address address;
    char text[GYRE_ADDRESS_SIZE];

    cr_assert_eq(gyre_address_parse("localhost:80", &address), 0);
    gyre_address_format(&address.storage, text, sizeof text);
    cr_assert_str_eq(text, "127.0.0.1:80");
    if (if_nametoindex("lo")) {
        cr_assert_eq(gyre_address_parse("[fe80::1%lo]:80", &address), 0);
        cr_assert_eq(((struct sockaddr_in6 *)&address.storage)->sin6_scope_id,
                     if_nametoindex("lo"));
    }
}

Test(address, nonsense_is_refused)
{
    static const char *const wrong[] = {
        "",
        ":",
        "80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1: 1",
        "127.0.0.1:1 ",
        "127.0.0.1:65536",
        "127.0.0.1:99999999999999999999",
        "127.0.0.1:0x50",
        " 127.0.0.1:80",
        "127.0.0.1 :80",
        "127.0.0.256:80",
        "127.0.0:80",
        "127.0.0.1.1:80",
        "127.0.0.1/8:80",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[::1:80",
        "::1]:80",
        "[]:80",
        "[:80",
        "]:80",
        "[127.0.0.1]:80",
        "[::g]:80",
        "[1::2::3]:80",
        "[::1%]:80",
        "[fe80::1%nosuchdevice]:80",
        "[fe80::1%-1]:80",
        "[fe80::1%+1]:80",
        "[fe80::1% 1]:80",
        "[fe80::1%4294967296]:80",
        "[fe80::1%99999999999999999999]:80",
        "[fe80::1%1%2]:80",
        "a b:80",
        "h\xc3\xa4user:80",
        "http://localhost:80",
    };
    char long_host[400];
    struct address address;

    cr_assert_eq(gyre_address_parse(NULL, &address), -EINVAL);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_eq(gyre_address_parse(wrong[i], &address), -EINVAL, "%s", wrong[i]);
    memset(long_host, 'a', sizeof long_host);
    strcpy(long_host + sizeof long_host - 4, ":80");
    cr_assert_eq(gyre_address_parse(long_host, &address), -EINVAL);
}

Test(address, names_are_not_looked_up)
{
    static const char *const names[] = {"example.org:80", "a:80", "my_host-1.internal:443",
                                        "1a:80"};
    struct address address;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_assert_eq(gyre_address_parse(names[i], &address), -EADDRNOTAVAIL, "%s", names[i]);
}

Test(address, text_that_does_not_fit_is_left_alone)
{
    struct address address;
    char text[16] = "untouched";

    cr_assert_eq(gyre_address_parse("127.0.0.1:80", &address), 0);
    for (size_t size = 0; size <= 12; size++)
        cr_assert_eq(gyre_address_format(&address.storage, text, size), -ENOSPC);
    cr_assert_str_eq(text, "untouched");
    cr_assert_eq(gyre_address_format(&address.storage, text, 13), 12);
    cr_assert_str_eq(text, "127.0.0.1:80");
}

Test(address, other_families)
{
    struct gyre_address address = {{.ss_family = AF_UNIX}, sizeof(sa_family_t)};
    char text[2 * GYRE_ADDRESS_SIZE] = "untouched";

    cr_assert_eq(gyre_address_text(&address, text, sizeof text), 0);
    cr_assert_str_eq(text, "");
    memset(((struct sockaddr_un *)&address.storage)->sun_path, 'x',
           sizeof((struct sockaddr_un *)&address.storage)->sun_path);
    address.length = sizeof(struct sockaddr_un);
    cr_assert_eq(gyre_address_text(&address, text, 108), -ENOSPC);
    cr_assert_eq(gyre_address_text(&address, text, 109), 108);
    cr_assert_eq(strlen(text), 108);
    address.storage.ss_family = AF_NETLINK;
    cr_assert_eq(gyre_address_text(&address, text, sizeof text), -EAFNOSUPPORT);
    address.length = 0;
    cr_assert_eq(gyre_address_text(&address, text, sizeof text), -EAFNOSUPPORT);
}

Test(address, public_ones_survive_the_way_there_and_back)
{
    static const char *const kinds[] = {"127.0.0.1:80",   "[::1]:53", "[fe80::1%7]:80",
                                        "/run/some.sock", "./x",      "@abstract"};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct gyre_address address, again;
        char text[GYRE_ADDRESS_SIZE];

        cr_assert_eq(gyre_address_from(&address, kinds[i]), 0, "%s", kinds[i]);
        cr_assert_eq(gyre_address_text(&address, text, sizeof text), (int)strlen(kinds[i]));
        cr_assert_str_eq(text, kinds[i]);
        cr_assert_eq(gyre_address_from(&again, text), 0);
        for (size_t j = 0; j < sizeof kinds / sizeof *kinds; j++) {
            cr_assert_eq(gyre_address_from(&again, kinds[j]), 0);
            cr_assert_eq(!!gyre_address_equal(&address, &again), i == j, "%s %s", kinds[i],
                         kinds[j]);
        }
    }
}

Test(address, equal_is_about_the_host_and_the_port)
{
    struct gyre_address a, b, none = {.length = 0};

    cr_assert_eq(gyre_address_from(&a, "192.0.2.1:7"), 0);
    cr_assert_eq(gyre_address_from(&b, "[::ffff:192.0.2.1]:7"), 0);
    cr_assert(gyre_address_equal(&a, &b), "as a socket of both families shows it");
    cr_assert_eq(gyre_address_from(&b, "192.0.2.1:8"), 0);
    cr_assert(!gyre_address_equal(&a, &b));
    cr_assert(!gyre_address_equal(&a, &none) && !gyre_address_equal(&none, &none));
    cr_assert_eq(gyre_address_from(&a, "[::1]:7"), 0);
    b = a;
    ((struct sockaddr_in6 *)&b.storage)->sin6_flowinfo = 5;
    cr_assert(gyre_address_equal(&a, &b));
    cr_assert_eq(gyre_address_from(&a, "@name"), 0);
    b = a;
    b.length++; /* another abstract name: with a NUL at its end */
    cr_assert(!gyre_address_equal(&a, &b));
    cr_assert_eq(gyre_address_from(&a, "/x"), 0);
    b = a;
    b.length--; /* the kernel counts the NUL, others may not */
    cr_assert(gyre_address_equal(&a, &b));
}

Test(address, what_is_no_public_one)
{
    struct gyre_address address;
    char path[120];

    cr_assert_eq(gyre_address_from(&address, NULL), -EINVAL);
    cr_assert_eq(gyre_address_from(&address, ""), -EINVAL);
    cr_assert_eq(gyre_address_from(&address, "@"), -EINVAL);
    cr_assert_eq(gyre_address_from(&address, "plain"), -EINVAL);
    cr_assert_eq(gyre_address_from(&address, "example.org:53"), -EADDRNOTAVAIL);
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[107] = 0;
    cr_assert_eq(gyre_address_from(&address, path), 0);
    path[107] = 'x';
    path[108] = 0;
    cr_assert_eq(gyre_address_from(&address, path), -EINVAL);
}

Test(address, hosts_without_their_ports)
{
    static const char *const hosts[][2] = {{"192.0.2.1:1", "192.0.2.1"},
                                           {"[2001:db8::1]:65535", "2001:db8::1"},
                                           {"[fe80::1%7]:80", "fe80::1%7"},
                                           {"[::ffff:192.0.2.1]:7", "192.0.2.1"},
                                           {"[::]:0", "::"}};
    struct gyre_address address;
    char text[GYRE_ADDRESS_SIZE];

    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        cr_assert_eq(gyre_address_from(&address, hosts[i][0]), 0);
        cr_assert_eq(gyre_address_host(&address, text, sizeof text), (int)strlen(hosts[i][1]));
        cr_assert_str_eq(text, hosts[i][1]);
        cr_assert_eq(gyre_address_host(&address, text, strlen(hosts[i][1])), -ENOSPC);
    }
    cr_assert_eq(gyre_address_from(&address, "/a/path"), 0);
    cr_assert_eq(gyre_address_host(&address, text, sizeof text), -EAFNOSUPPORT);
}

Test(address, of_a_socket_and_of_its_peer)
{
    struct gyre_address local, peer, wanted;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(gyre_address_from(&wanted, "127.0.0.1:9"), 0);
    cr_assert_eq(gyre_address_peer(fd, &peer), -ENOTCONN);
    cr_assert_eq(connect(fd, (struct sockaddr *)&wanted.storage, wanted.length), 0);
    cr_assert_eq(gyre_address_peer(fd, &peer), 0);
    cr_assert(gyre_address_equal(&peer, &wanted));
    cr_assert_eq(gyre_address_local(fd, &local), 0);
    cr_assert_eq(local.length, sizeof(struct sockaddr_in));
    cr_assert(!gyre_address_equal(&local, &peer));
    close(fd);
    cr_assert_eq(gyre_address_local(fd, &local), -EBADF);
}
