/* What a process is given by its manager or its predecessor, and what it tells them. Each test is a
 * process of its own: the environment is read once. */
#include "../io/harness.h"

#include "net/service.h"

#include <sys/un.h>
#include <sys/wait.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* In a process whose descriptors from 3 on are its own, not Criterion's. */
static void in_child(void (*fn)(void))
{
    pid_t child = fork();
    int status;

    if (!child) {
        alarm(30);
        fn();
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
}

static void set_number(const char *name, long number)
{
    char text[32];

    snprintf(text, sizeof text, "%ld", number);
    setenv(name, text, 1);
}

static int listen_anywhere(char *address)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(!bind(fd, (struct sockaddr *)&any, sizeof any));
    CHECK(!listen(fd, 10));
    CHECK(gyre_local_address(fd, address, GYRE_ADDRESS_SIZE) > 0);
    return fd;
}

static char addresses[2][GYRE_ADDRESS_SIZE];

/* 3: a datagram socket, 4 and 5: two that listen. */
static void place_three(void)
{
    int fds[] = {socket(AF_UNIX, SOCK_DGRAM, 0), listen_anywhere(addresses[0]),
                 listen_anywhere(addresses[1])};

    for (int i = 0; i < 3; i++)
        fds[i] = fcntl(fds[i], F_DUPFD, 100);
    for (int i = 0; i < 3; i++)
        CHECK(dup2(fds[i], 3 + i) == 3 + i);
}

static void expect_address(struct gyre_listener *listener, const char *wanted)
{
    char address[GYRE_ADDRESS_SIZE];

    CHECK(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) > 0);
    CHECK(!strcmp(address, wanted));
}

/* --- activation ------------------------------------------------------------------------------- */

static int take_all(void *unused)
{
    struct gyre_listener *listener = NULL;
    const char *name = NULL;

    (void)unused;
    CHECK(gyre_service_listen(NULL, "web", "127.0.0.1:0") == -EINVAL);
    CHECK(gyre_service_listen(&listener, "web", "no address") == 0);
    expect_address(listener, addresses[1]);
    CHECK(fcntl(5, F_GETFD) & FD_CLOEXEC);
    gyre_listener_close(listener);
    listener = NULL;
    CHECK(gyre_service_listen(&listener, "web", "no address") == -EINVAL);
    CHECK(!listener);
    CHECK(gyre_service_listen(&listener, NULL, "no address") == 0);
    expect_address(listener, addresses[0]);
    gyre_listener_close(listener);
    CHECK(gyre_service_listen(&listener, NULL, "127.0.0.1:0") == 0);
    CHECK(strcmp(addresses[0], addresses[1]));
    gyre_listener_close(listener);
    CHECK(gyre_service_fd(0, &name) == 3);
    CHECK(!strcmp(name, "log"));
    CHECK(gyre_service_fd(0, &name) == -ENOENT);
    CHECK(gyre_service_fd(1, NULL) == -ENOENT);
    CHECK(gyre_service_fd(3, NULL) == -ENOENT);
    CHECK(getenv("LISTEN_FDS"));
    return 0;
}

static void activated(void)
{
    place_three();
    setenv("LISTEN_FDS", "3", 1);
    setenv("LISTEN_FDNAMES", "log::web", 1);
    set_number("LISTEN_PID", getpid());
    CHECK(gyre_service_fd_count() == 3);
    CHECK(!gyre_run(take_all, NULL));
}

Test(service, takes_what_was_passed_by_activation)
{
    in_child(activated);
}

static int listen_by_hand(void *unused)
{
    struct gyre_listener *listener;

    (void)unused;
    CHECK(gyre_service_fd_count() == 0);
    CHECK(gyre_service_listen(&listener, "", "127.0.0.1:0") == 0);
    gyre_listener_close(listener);
    return 0;
}

static void meant_for_another(void)
{
    place_three();
    setenv("LISTEN_FDS", "3", 1);
    set_number("LISTEN_PID", getppid());
    CHECK(!gyre_run(listen_by_hand, NULL));
    CHECK(!(fcntl(4, F_GETFD) & FD_CLOEXEC));
}

Test(service, leaves_what_is_meant_for_another)
{
    in_child(meant_for_another);
}

static const char *nonsense;

static void nonsense_count(void)
{
    setenv("LISTEN_FDS", nonsense, 1);
    set_number("LISTEN_PID", getpid());
    CHECK(gyre_service_fd_count() == 0);
}

static void nonsense_inheritance(void)
{
    char text[100];

    snprintf(text, sizeof text, "%d%s", (int)getppid(), nonsense);
    setenv(SERVICE_INHERITED, text, 1);
    CHECK(gyre_service_fd_count() == 0);
}

Test(service, nonsense_is_no_descriptor)
{
    static const char *const counts[] = {"", "-1", "x", "3x", "0", "99999999999999999999", "5000"};
    static const char *const inherited[] = {
        "", "x", ":", ":x", ":900:901=a", ":900:x=a", ":900:99999999999=a", ":900:5"};

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        nonsense = counts[i];
        in_child(nonsense_count);
    }
    for (size_t i = 0; i < sizeof inherited / sizeof *inherited; i++) {
        nonsense = inherited[i];
        in_child(nonsense_inheritance);
    }
}

/* --- inheritance ------------------------------------------------------------------------------ */

static int take_inherited(void *unused)
{
    struct gyre_listener *listener;

    (void)unused;
    CHECK(gyre_service_listen(&listener, "two", "no address") == 0);
    expect_address(listener, addresses[1]);
    gyre_listener_close(listener);
    CHECK(gyre_service_listen(&listener, "", "no address") == 0);
    expect_address(listener, addresses[0]);
    gyre_listener_close(listener);
    return 0;
}

static void inherit(void)
{
    int ready[2], fds[2] = {listen_anywhere(addresses[0]), listen_anywhere(addresses[1])};
    char text[100], byte;

    CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ready));
    snprintf(text, sizeof text, "%d:%d:%d=:%d=two", (int)getppid(), ready[1], fds[0], fds[1]);
    setenv(SERVICE_INHERITED, text, 1);
    CHECK(gyre_service_fd_count() == 2);
    CHECK(fcntl(ready[1], F_GETFD) & FD_CLOEXEC);
    CHECK(!gyre_run(take_inherited, NULL));
    CHECK(gyre_service_notify("STATUS=not READY=1 yet\nREADY=10") == 0);
    CHECK(recv(ready[0], &byte, 1, MSG_DONTWAIT) < 0);
    CHECK(gyre_service_notify("STATUS=now\nREADY=1\nX=") == 1);
    CHECK(recv(ready[0], &byte, 1, 0) == 1);
    CHECK(recv(ready[0], &byte, 1, 0) == 0);
    CHECK(gyre_service_notify("READY=1") == 0);
}

/* What was closed on the way is not there; what goes before it is, under its name. */
static void inherit_in_part(void)
{
    const char *name = "untouched";
    int ready[2], fds[2] = {listen_anywhere(addresses[0]), listen_anywhere(addresses[1])};
    char text[100];

    CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ready));
    snprintf(text, sizeof text, "%d:%d:%d=one:%d=two", (int)getppid(), ready[1], fds[0], fds[1]);
    close(fds[1]);
    setenv(SERVICE_INHERITED, text, 1);
    CHECK(gyre_service_fd_count() == 1);
    CHECK(gyre_service_fd(0, &name) == fds[0]);
    CHECK(!strcmp(name, "one"));
}

/* Its number is another's by now. */
static void inherit_no_socket(void)
{
    int ready[2], fd = listen_anywhere(addresses[0]);
    char text[100], byte;

    CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ready));
    close(ready[1]);
    snprintf(text, sizeof text, "%d:%d:%d=one", (int)getppid(), ready[1], fd);
    setenv(SERVICE_INHERITED, text, 1);
    CHECK(gyre_service_fd_count() == 0);
    CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ready));
    CHECK(gyre_service_notify("READY=1") == 0);
    CHECK(recv(ready[0], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

Test(service, takes_what_is_left_of_what_was_passed)
{
    unsetenv("NOTIFY_SOCKET");
    in_child(inherit_in_part);
    in_child(inherit_no_socket);
}

Test(service, takes_what_a_predecessor_passed_and_tells_it_once)
{
    unsetenv("NOTIFY_SOCKET");
    in_child(inherit);
}

static void orphan(void)
{
    int ready[2];
    char text[100];

    CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ready));
    close(ready[0]);
    snprintf(text, sizeof text, "%d:%d", (int)getppid(), ready[1]);
    setenv(SERVICE_INHERITED, text, 1);
    CHECK(gyre_service_notify("READY=1") == 0);
}

Test(service, a_predecessor_that_is_gone_raises_no_signal)
{
    unsetenv("NOTIFY_SOCKET");
    in_child(orphan);
}

/* --- telling the manager ---------------------------------------------------------------------- */

static int manager_on(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, name, size + 1);
    if (*name == '@')
        address.sun_path[0] = 0;
    cr_assert_eq(bind(fd, (struct sockaddr *)&address,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + (*name == '/'))),
                 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static void expect_heard(int fd, const char *wanted)
{
    char heard[200] = "";

    cr_assert_gt(recv(fd, heard, sizeof heard - 1, MSG_DONTWAIT), 0);
    cr_assert_str_eq(heard, wanted);
}

static void tell(const char *name)
{
    int fd = manager_on(name), before = open_descriptors(), told, results = 0;

    cr_assert_eq(gyre_service_notify("READY=1\nSTATUS=serving"), 1);
    expect_heard(fd, "READY=1\nSTATUS=serving");
    cr_assert_eq(gyre_service_notify("WATCHDOG=1"), 1);
    expect_heard(fd, "WATCHDOG=1");
    cr_assert_eq(gyre_service_notify(""), -EINVAL);
    cr_assert_eq(gyre_service_notify(NULL), -EINVAL);
    /* Its queue is full: nobody waits. */
    while ((told = gyre_service_notify("STATUS=x")) == 1)
        results++;
    cr_assert_eq(told, -EAGAIN);
    cr_assert_gt(results, 0);
    close(fd);
    cr_assert_eq(gyre_service_notify("STATUS=x"), -ECONNREFUSED);
    cr_assert_eq(open_descriptors(), before - 1);
}

Test(service, tells_the_manager_by_a_path)
{
    char path[100];

    snprintf(path, sizeof path, "/tmp/gyre-notify-%d", (int)getpid());
    tell(path);
    unlink(path);
}

Test(service, tells_the_manager_by_an_abstract_name)
{
    char name[100];

    snprintf(name, sizeof name, "@gyre-notify-%d", (int)getpid());
    tell(name);
}

Test(service, nobody_listens)
{
    unsetenv("NOTIFY_SOCKET");
    cr_assert_eq(gyre_service_notify("READY=1"), 0);
}

Test(service, an_address_of_another_kind_is_refused)
{
    setenv("NOTIFY_SOCKET", "vsock:2:1234", 1);
    cr_assert_eq(gyre_service_notify("READY=1"), -EAFNOSUPPORT);
}

Test(service, an_address_too_long_is_refused)
{
    char name[200];

    memset(name, 'x', sizeof name);
    name[0] = '/';
    name[sizeof name - 1] = 0;
    setenv("NOTIFY_SOCKET", name, 1);
    cr_assert_eq(gyre_service_notify("READY=1"), -ENAMETOOLONG);
}

/* --- the watchdog ----------------------------------------------------------------------------- */

static void watched(void)
{
    setenv("WATCHDOG_USEC", "30000000", 1);
    CHECK(gyre_service_watchdog() == 30 * GYRE_SECOND);
}

static void watched_by_name(void)
{
    set_number("WATCHDOG_PID", getpid());
    watched();
}

static void another_is_watched(void)
{
    setenv("WATCHDOG_USEC", "30000000", 1);
    set_number("WATCHDOG_PID", getppid());
    CHECK(gyre_service_watchdog() == 0);
}

static void watched_nonsensically(void)
{
    setenv("WATCHDOG_USEC", "9223372036854775807", 1);
    CHECK(gyre_service_watchdog() == 0);
}

static void unwatched(void)
{
    CHECK(gyre_service_watchdog() == 0);
}

Test(service, tells_how_often_the_watchdog_looks)
{
    in_child(watched);
    in_child(watched_by_name);
    in_child(another_is_watched);
    in_child(watched_nonsensically);
    in_child(unwatched);
}
