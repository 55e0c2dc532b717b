/* Dialling with options: from an address, with data first, which fast open sends with the SYN. */
#include "../io/harness.h"

#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>

static char address[GYRE_ADDRESS_SIZE];

static struct gyre_listener *listen_on(const char *where, unsigned flags)
{
    struct gyre_listen_options options = GYRE_LISTEN_INIT;
    struct gyre_listener *listener = NULL;

    options.flags = flags;
    EXPECT_EQ(gyre_tcp_listen_options(&listener, where, &options), 0);
    EXPECT(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) > 0);
    return listener;
}

/* Whether the data came, or went, with the SYN. */
static bool with_syn(int fd)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof info;

    EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
    return info.tcpi_options & 32; /* TCPI_OPT_SYN_DATA */
}

static bool dial_and_read(struct gyre_listener *listener, const void *data, size_t size)
{
    struct gyre_dial_options options = GYRE_DIAL_INIT;
    char *buffer = malloc(size);
    int fds[2];
    bool early;

    options.data = data;
    options.data_size = size;
    fds[0] = gyre_tcp_dial_options(address, &options);
    EXPECT(fds[0] >= 0);
    fds[1] = gyre_accept(listener);
    EXPECT(fds[1] >= 0);
    EXPECT_EQ(gyre_read_all(fds[1], buffer, size, NULL), size);
    EXPECT(!memcmp(buffer, data, size));
    early = with_syn(fds[0]);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    free(buffer);
    return early;
}

INSIDE(dial_options, data_is_sent_first_whatever_the_system_allows)
{
    static const char large[100000] = "large";
    struct gyre_listener *listener = listen_on("127.0.0.1:0", GYRE_LISTEN_FAST_OPEN);

    for (int i = 0; i < 3; i++) {
        dial_and_read(listener, "question", 8);
        dial_and_read(listener, large, sizeof large);
    }
    EXPECT_EQ(gyre_listener_close(listener), 0);
    return 0;
}

static int fast_open(void *unused)
{
    static const char large[100000] = "large";
    struct gyre_listener *listener = listen_on("127.0.0.1:0", GYRE_LISTEN_FAST_OPEN);
    struct gyre_dial_options options = GYRE_DIAL_INIT;

    (void)unused;
    dial_and_read(listener, "question", 8); /* gets the cookie, unless an earlier run has */
    EXPECT(dial_and_read(listener, "question", 8));
    EXPECT(dial_and_read(listener, large, sizeof large));
    EXPECT_EQ(gyre_listener_close(listener), 0);
    options.data = "x";
    options.data_size = 1;
    EXPECT_EQ(gyre_tcp_dial_options(address, &options), -ECONNREFUSED);
    return 0;
}

/* In a network of its own, which lets servers do it. */
Test(dial_options, data_goes_with_the_syn)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd, sysctl;

    if (unshare(CLONE_NEWNET) < 0)
        cr_skip_test("no network of its own");
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    close(fd);
    sysctl = open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY | O_CLOEXEC);
    if (sysctl < 0 || write(sysctl, "3", 1) != 1)
        cr_skip_test("fast open can't be switched on");
    close(sysctl);
    run_on_each(fast_open);
}

INSIDE(dial_options, a_connection_comes_from_the_local_address)
{
    struct gyre_listener *listener = listen_on("127.0.0.1:0", 0);
    struct gyre_dial_options options = GYRE_DIAL_INIT;
    static const char *const locals[] = {"127.0.0.5:0", "127.0.0.6:45454", ":0"};

    for (size_t i = 0; i < sizeof locals / sizeof *locals; i++) {
        char text[GYRE_ADDRESS_SIZE];
        int fds[2];

        options.local = locals[i];
        fds[0] = gyre_tcp_dial_options(address, &options);
        EXPECT(fds[0] >= 0);
        fds[1] = gyre_accept(listener);
        EXPECT(gyre_peer_address(fds[1], text, sizeof text) > 0);
        EXPECT(i != 0 || !strncmp(text, "127.0.0.5:", 10));
        EXPECT(i != 1 || !strcmp(text, locals[1]));
        EXPECT_EQ(gyre_set_linger(fds[0], 1, 0), 0); /* no TIME_WAIT */
        EXPECT_EQ(gyre_close(fds[0]), 0);
        EXPECT_EQ(gyre_close(fds[1]), 0);
    }
    EXPECT_EQ(gyre_listener_close(listener), 0);
    return 0;
}

INSIDE(dial_options, none_and_flags)
{
    struct gyre_listener *listener = listen_on("127.0.0.1:0", 0);
    struct gyre_dial_options options = GYRE_DIAL_INIT;
    int fds[2], value = -1;
    socklen_t length = sizeof value;

    fds[0] = gyre_tcp_dial_options(address, NULL);
    EXPECT(fds[0] >= 0);
    options.flags = GYRE_DIAL_DELAY;
    fds[1] = gyre_tcp_dial_options(address, &options);
    EXPECT(fds[1] >= 0);
    EXPECT_EQ(getsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &value, &length), 0);
    EXPECT_EQ(value, 0);
    EXPECT(fcntl(fds[1], F_GETFD) & FD_CLOEXEC);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    return 0;
}

INSIDE(dial_options, errors)
{
    struct gyre_dial_options options = GYRE_DIAL_INIT, wrong = GYRE_DIAL_INIT;
    struct deaf deaf;

    make_deaf(&deaf);
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(deaf.address.sin_port));
    wrong.size = 3;
    EXPECT_EQ(gyre_tcp_dial_options(address, &wrong), -EINVAL);
    wrong.size = sizeof wrong;
    wrong.flags = 1 << 20;
    EXPECT_EQ(gyre_tcp_dial_options(address, &wrong), -EINVAL);
    wrong.flags = 0;
    wrong.data_size = 1;
    EXPECT_EQ(gyre_tcp_dial_options(address, &wrong), -EINVAL);
    options.local = "nonsense";
    EXPECT_EQ(gyre_tcp_dial_options(address, &options), -EINVAL);
    options.local = "[::1]:0";
    EXPECT_EQ(gyre_tcp_dial_options(address, &options), -EAFNOSUPPORT);
    options.local = "127.0.0.1:0";
    EXPECT_EQ(gyre_tcp_dial_options("[::1]:1", &options), -EAFNOSUPPORT);
    options.local = "192.0.2.1:0";
    EXPECT_EQ(gyre_tcp_dial_options(address, &options), -EADDRNOTAVAIL);
    options.local = NULL;
    options.data = "x";
    options.data_size = 1;
    EXPECT_EQ(gyre_tcp_dial_options("nonsense", &options), -EINVAL);
    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_tcp_dial_options(address, &options), -ETIMEDOUT);
        EXPECT_EQ(gyre_tcp_dial_options(address, &options), -ETIMEDOUT);
    }
    close_deaf(&deaf);
    EXPECT_EQ(gyre_tcp_dial_options(address, &options), -ECONNREFUSED);
    return 0;
}
