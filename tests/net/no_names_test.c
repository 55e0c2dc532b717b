/* A library built without c-ares: literal addresses and localhost work, names say why not. */
#include "../io/harness.h"

#include <gyre/resolve.h>

INSIDE(no_names, literals_and_localhost_are_known)
{
    struct gyre_listener *listener;
    struct gyre_addresses addresses;
    char address[GYRE_ADDRESS_SIZE], by_name[GYRE_ADDRESS_SIZE];
    int fd;

    EXPECT_EQ(gyre_resolve("localhost", 80, GYRE_FAMILY_ANY, &addresses), 0);
    EXPECT_EQ(addresses.count, 2);
    gyre_addresses_free(&addresses);
    EXPECT_EQ(gyre_resolve("192.0.2.1", 80, GYRE_FAMILY_ANY, &addresses), 0);
    EXPECT_EQ(addresses.count, 1);
    gyre_addresses_free(&addresses);
    EXPECT_EQ(gyre_tcp_listen(&listener, "localhost:0"), 0);
    gyre_local_address(gyre_listener_fd(listener), address, sizeof address);
    snprintf(by_name, sizeof by_name, "localhost%s", strrchr(address, ':'));
    fd = gyre_tcp_dial(by_name);
    EXPECT(fd >= 0);
    gyre_close(fd);
    gyre_listener_close(listener);
    return 0;
}

INSIDE(no_names, names_are_not_supported)
{
    struct gyre_address address = {.storage.ss_family = AF_INET,
                                   .length = sizeof(struct sockaddr_in)};
    struct gyre_listener *listener;
    struct gyre_addresses addresses;
    unsigned char *answer;
    char name[80];
    size_t size;

    EXPECT_EQ(gyre_resolve("example.org", 80, GYRE_FAMILY_ANY, &addresses), -EOPNOTSUPP);
    EXPECT_EQ(gyre_resolve("a..b", 80, GYRE_FAMILY_ANY, &addresses), -EINVAL);
    EXPECT_EQ(gyre_resolve_address(&address, name, sizeof name), -EOPNOTSUPP);
    EXPECT_EQ(gyre_resolve_query("example.org", 15, &answer, &size), -EOPNOTSUPP);
    EXPECT_EQ(gyre_tcp_dial("example.org:80"), -EOPNOTSUPP);
    EXPECT_EQ(gyre_tcp_listen(&listener, "example.org:80"), -EOPNOTSUPP);
    return 0;
}
