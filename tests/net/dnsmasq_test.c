/* Names, asked of a real server: dnsmasq, with a zone of its own. */
#include "../io/harness.h"
#include "net/address.h"

#include <gyre/resolve.h>

#include <arpa/inet.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { BIG = 60, ARGUMENTS = BIG + 32 };

static char folder[] = "/tmp/gyre-dnsmasq-XXXXXX";

static const char *find_dnsmasq(void)
{
    static const char *const paths[] = {"/usr/sbin/dnsmasq", "/usr/local/sbin/dnsmasq",
                                        "/usr/bin/dnsmasq"};

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (!access(paths[i], X_OK))
            return paths[i];
    return NULL;
}

static struct sockaddr_in at_port(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* A port that is free now. */
static int free_port(void)
{
    struct sockaddr_in address = at_port(0);
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&address, length), 0);
    getsockname(fd, (struct sockaddr *)&address, &length);
    close(fd);
    return ntohs(address.sin_port);
}

static bool listens(int port)
{
    struct sockaddr_in address = at_port(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = !connect(fd, (struct sockaddr *)&address, sizeof address);

    close(fd);
    return connected;
}

static pid_t start_dnsmasq(const char *path, int port)
{
    static char big[BIG][64], port_option[32];
    char *arguments[ARGUMENTS] = {(char *)path,
                                  "--no-daemon",
                                  "--conf-file=/dev/null",
                                  "--no-resolv",
                                  "--no-hosts",
                                  "--listen-address=127.0.0.1",
                                  "--bind-interfaces",
                                  "--local=/test/",
                                  "--log-facility=-",
                                  "--host-record=both.test,192.0.2.1,2001:db8::1",
                                  "--host-record=v4.test,192.0.2.2",
                                  "--cname=alias.test,both.test",
                                  "--txt-record=text.test,found me",
                                  "--mx-host=mail.test,both.test,10",
                                  "--ptr-record=9.2.0.192.in-addr.arpa,nine.test",
                                  "--host-record=host.sub.test,192.0.2.3",
                                  port_option};
    int count = 0;
    pid_t child;

    snprintf(port_option, sizeof port_option, "--port=%d", port);
    while (arguments[count])
        count++;
    for (int i = 0; i < BIG; i++) {
        snprintf(big[i], sizeof big[i], "--host-record=big.test,192.0.2.%d", i + 100);
        arguments[count++] = big[i];
    }
    child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* a test that fails leaves none behind */
        execv(path, arguments);
        _exit(127);
    }
    while (child > 0 && !listens(port) && waitpid(child, NULL, WNOHANG) != child)
        usleep(5000);
    return child;
}

static void write_files(int port)
{
    static const char *const files[][2] = {
        {"GYRE_RESOLV_CONF", "nameserver 127.0.0.1\nsearch sub.test test\noptions timeout:5\n"},
        {"GYRE_HOSTS", ""},
        {"GYRE_NSSWITCH", "hosts: files dns\n"}};
    char path[128];

    cr_assert(mkdtemp(folder) != NULL);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        FILE *file;

        snprintf(path, sizeof path, "%s/%s", folder, files[i][0]);
        file = fopen(path, "we");
        cr_assert(file && fputs(files[i][1], file) >= 0 && !fclose(file));
        setenv(files[i][0], path, 1);
    }
    snprintf(path, sizeof path, "%d", port);
    setenv("GYRE_RESOLV_PORT", path, 1);
}

static void expect_addresses(const char *host, enum gyre_family family, int count,
                             const char *first)
{
    struct gyre_addresses addresses;
    char text[GYRE_ADDRESS_SIZE];
    int error = gyre_resolve(host, 80, family, &addresses);

    EXPECT_EQ(error, 0);
    if (error)
        return;
    EXPECT_EQ(addresses.count, count);
    gyre_address_format(&addresses.list[0].storage, text, sizeof text);
    EXPECT(!first || !strcmp(text, first));
    gyre_addresses_free(&addresses);
}

static int ask(void *unused)
{
    struct gyre_address address;
    struct gyre_addresses addresses;
    unsigned char *answer;
    char name[80];
    size_t size;

    (void)unused;
    expect_addresses("both.test", GYRE_FAMILY_ANY, 2, NULL);
    expect_addresses("both.test", GYRE_FAMILY_V4, 1, "192.0.2.1:80");
    expect_addresses("both.test", GYRE_FAMILY_V6, 1, "[2001:db8::1]:80");
    expect_addresses("alias.test", GYRE_FAMILY_V4, 1, "192.0.2.1:80");
    expect_addresses("host", GYRE_FAMILY_ANY, 1, "192.0.2.3:80");
    expect_addresses("v4", GYRE_FAMILY_ANY, 1, "192.0.2.2:80");
    expect_addresses("big.test", GYRE_FAMILY_V4, BIG, NULL);
    EXPECT_EQ(gyre_resolve("v4.test", 80, GYRE_FAMILY_V6, &addresses), -ENODATA);
    EXPECT_EQ(gyre_resolve("nothing.test", 80, GYRE_FAMILY_ANY, &addresses), -ENOENT);
    EXPECT_EQ(gyre_resolve("refused.example.", 80, GYRE_FAMILY_ANY, &addresses), -EAGAIN);
    EXPECT_EQ(gyre_resolve_query("text.test", 16, &answer, &size), 0);
    EXPECT(memmem(answer, size, "found me", 8) != NULL);
    free(answer);
    EXPECT_EQ(gyre_resolve_query("mail.test", 15, &answer, &size), 0);
    free(answer);
    EXPECT_EQ(gyre_address_from(&address, "192.0.2.9:0"), 0);
    EXPECT_EQ(gyre_resolve_address(&address, name, sizeof name), 9);
    EXPECT(!strcmp(name, "nine.test"));
    EXPECT_EQ(gyre_address_from(&address, "[2001:db8::1]:0"), 0);
    EXPECT_EQ(gyre_resolve_address(&address, name, sizeof name), 9);
    return 0;
}

Test(dnsmasq, a_real_server)
{
    const char *path = find_dnsmasq(), *const * variable;
    static const char *const variables[] = {"GYRE_RESOLV_CONF", "GYRE_HOSTS", "GYRE_NSSWITCH",
                                            NULL};
    int port = free_port();
    pid_t child;

    if (!path)
        cr_skip_test("dnsmasq is not installed");
    write_files(port);
    child = start_dnsmasq(path, port);
    cr_assert(child > 0 && listens(port), "dnsmasq does not start");
    run_on_each(ask);
    kill(child, SIGTERM);
    waitpid(child, NULL, 0);
    for (variable = variables; *variable; variable++)
        unlink(getenv(*variable));
    rmdir(folder);
}
