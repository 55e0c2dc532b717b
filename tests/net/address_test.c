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
    struct sockaddr_storage storage = {.ss_family = AF_UNIX};
    char text[GYRE_ADDRESS_SIZE] = "untouched";

    cr_assert_eq(gyre_address_format(&storage, text, sizeof text), 0);
    cr_assert_str_eq(text, "");
    memset(((struct sockaddr_un *)&storage)->sun_path, 'x',
           sizeof((struct sockaddr_un *)&storage)->sun_path);
    cr_assert_eq(gyre_address_format(&storage, text, sizeof text), -ENOSPC);
    storage.ss_family = AF_NETLINK;
    cr_assert_eq(gyre_address_format(&storage, text, sizeof text), -EAFNOSUPPORT);
}
