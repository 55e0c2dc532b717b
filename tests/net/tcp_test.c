/* TCP: listening, dialling, what belongs to a connection, and every way it fails. */
#include "../io/harness.h"

#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/un.h>

static char address[GYRE_ADDRESS_SIZE];

static struct gyre_listener *listen_on(const char *where)
{
    struct gyre_listener *listener = NULL;

    EXPECT_EQ(gyre_tcp_listen(&listener, where), 0);
    EXPECT(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) > 0);
    return listener;
}

static void make_connection(int fds[2])
{
    struct gyre_listener *listener = listen_on("127.0.0.1:0");

    fds[0] = gyre_tcp_dial(address);
    EXPECT(fds[0] >= 0);
    fds[1] = gyre_accept(listener);
    EXPECT(fds[1] >= 0);
    EXPECT_EQ(gyre_listener_close(listener), 0);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;

    EXPECT_EQ(getsockopt(fd, level, name, &value, &length), 0);
    return value;
}

/* --- connections ------------------------------------------------------------------------------ */

INSIDE(tcp, a_connection_has_two_addresses_and_the_usual_options)
{
    char one[GYRE_ADDRESS_SIZE], other[GYRE_ADDRESS_SIZE];
    int fds[2];

    make_connection(fds);
    EXPECT(gyre_local_address(fds[0], one, sizeof one) > 0);
    EXPECT(gyre_peer_address(fds[1], other, sizeof other) > 0);
    EXPECT(!strcmp(one, other));
    EXPECT(gyre_peer_address(fds[0], one, sizeof one) > 0);
    EXPECT(gyre_local_address(fds[1], other, sizeof other) > 0);
    EXPECT(!strcmp(one, other) && !strcmp(one, address));
    for (int i = 0; i < 2; i++) {
        EXPECT(option(fds[i], IPPROTO_TCP, TCP_NODELAY));
        EXPECT(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        EXPECT(!(fcntl(fds[i], F_GETFL) & O_NONBLOCK));
        EXPECT_EQ(gyre_close(fds[i]), 0);
    }
    EXPECT_EQ(gyre_local_address(fds[0], one, sizeof one), -EBADF);
    EXPECT_EQ(gyre_peer_address(-1, one, sizeof one), -EBADF);
    return 0;
}

INSIDE(tcp, address_getters_tell_what_is_wrong)
{
    char text[GYRE_ADDRESS_SIZE] = "untouched";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), pipes[2];

    make_pipe(pipes);
    EXPECT_EQ(gyre_peer_address(fd, text, sizeof text), -ENOTCONN);
    EXPECT_EQ(gyre_local_address(pipes[0], text, sizeof text), -ENOTSOCK);
    EXPECT_EQ(gyre_local_address(fd, text, 3), -ENOSPC);
    EXPECT(!strcmp(text, "untouched"));
    EXPECT_EQ(gyre_local_address(fd, text, sizeof text), 9);
    EXPECT(!strcmp(text, "0.0.0.0:0"));
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_close(pipes[0]), 0);
    EXPECT_EQ(gyre_close(pipes[1]), 0);
    return 0;
}

INSIDE(tcp, options_reach_the_socket)
{
    struct linger linger;
    socklen_t length = sizeof linger;
    int fds[2];

    make_connection(fds);
    EXPECT_EQ(gyre_set_nodelay(fds[0], 0), 0);
    EXPECT_EQ(option(fds[0], IPPROTO_TCP, TCP_NODELAY), 0);
    EXPECT_EQ(gyre_set_nodelay(fds[0], 5), 0);
    EXPECT(option(fds[0], IPPROTO_TCP, TCP_NODELAY));
    EXPECT_EQ(gyre_set_keepalive(fds[0], 1, 90 * GYRE_SECOND, GYRE_MILLISECOND, 4), 0);
    EXPECT_EQ(option(fds[0], SOL_SOCKET, SO_KEEPALIVE), 1);
    EXPECT_EQ(option(fds[0], IPPROTO_TCP, TCP_KEEPIDLE), 90);
    EXPECT_EQ(option(fds[0], IPPROTO_TCP, TCP_KEEPINTVL), 1);
    EXPECT_EQ(option(fds[0], IPPROTO_TCP, TCP_KEEPCNT), 4);
    EXPECT_EQ(gyre_set_keepalive(fds[0], 1, INT64_MAX, 0, 0), 0);
    EXPECT_EQ(option(fds[0], IPPROTO_TCP, TCP_KEEPIDLE), 32767);
    EXPECT_EQ(option(fds[0], IPPROTO_TCP, TCP_KEEPCNT), 4);
    EXPECT_EQ(gyre_set_keepalive(fds[0], 1, -1, 0, 0), -EINVAL);
    EXPECT_EQ(gyre_set_keepalive(fds[0], 0, 0, 0, 0), 0);
    EXPECT_EQ(option(fds[0], SOL_SOCKET, SO_KEEPALIVE), 0);
    EXPECT_EQ(gyre_set_buffers(fds[0], 8192, 16384), 0);
    EXPECT_EQ(option(fds[0], SOL_SOCKET, SO_RCVBUF), 2 * 8192);
    EXPECT_EQ(option(fds[0], SOL_SOCKET, SO_SNDBUF), 2 * 16384);
    EXPECT_EQ(gyre_set_buffers(fds[0], 0, 0), 0);
    EXPECT_EQ(gyre_set_buffers(fds[0], -1, 0), -EINVAL);
    EXPECT_EQ(gyre_set_linger(fds[0], 1, 7), 0);
    EXPECT_EQ(getsockopt(fds[0], SOL_SOCKET, SO_LINGER, &linger, &length), 0);
    EXPECT(linger.l_onoff && linger.l_linger == 7);
    EXPECT_EQ(gyre_set_linger(fds[0], 0, 0), 0);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(gyre_set_nodelay(fds[0], 1), -EBADF);
    EXPECT_EQ(gyre_set_keepalive(-1, 1, 0, 0, 0), -EBADF);
    return 0;
}

INSIDE(tcp, half_close_ends_one_direction)
{
    char buffer[8];
    int fds[2];

    make_connection(fds);
    EXPECT_EQ(gyre_write(fds[0], "question", 8), 8);
    EXPECT_EQ(gyre_shutdown(fds[0], SHUT_WR), 0);
    EXPECT_EQ(gyre_read_all(fds[1], buffer, 8, NULL), 8);
    EXPECT_EQ(gyre_read(fds[1], buffer, 8), 0);
    EXPECT_EQ(gyre_write(fds[1], "answer", 6), 6);
    EXPECT_EQ(gyre_read_all(fds[0], buffer, 6, NULL), 6);
    EXPECT_EQ(gyre_write(fds[0], "more", 4), -EPIPE);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT_EQ(gyre_read(fds[0], buffer, 8), 0);
    EXPECT_EQ(gyre_shutdown(fds[0], SHUT_RDWR) == 0 || 1, 1);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    return 0;
}

static int read_to_the_end(void *arg)
{
    char byte;

    return (int)gyre_read(*(int *)arg, &byte, 1);
}

INSIDE(tcp, shutdown_wakes_who_waits)
{
    gyre_handle reader;
    int fds[2], result;

    make_connection(fds);
    EXPECT_EQ(gyre_spawn(&reader, read_to_the_end, &fds[0]), 0);
    await_parked(reader);
    EXPECT_EQ(gyre_shutdown(fds[0], SHUT_RD), 0);
    EXPECT_EQ(gyre_join(reader, &result), 0);
    EXPECT_EQ(result, 0);
    EXPECT_EQ(gyre_shutdown(fds[0], 7), -EINVAL);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    return 0;
}

INSIDE(tcp, shutdown_errors)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), pipes[2];

    make_pipe(pipes);
    EXPECT_EQ(gyre_shutdown(fd, SHUT_WR), -ENOTCONN);
    EXPECT_EQ(gyre_shutdown(pipes[0], SHUT_WR), -ENOTSOCK);
    EXPECT_EQ(gyre_shutdown(-1, SHUT_WR), -EBADF);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_close(pipes[0]), 0);
    EXPECT_EQ(gyre_close(pipes[1]), 0);
    return 0;
}

INSIDE(tcp, a_reset_is_seen)
{
    char byte;
    int fds[2];

    make_connection(fds);
    EXPECT_EQ(gyre_set_linger(fds[0], 1, 0), 0);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_read(fds[1], &byte, 1), -ECONNRESET);
    EXPECT_EQ(gyre_write(fds[1], &byte, 1), -EPIPE);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    return 0;
}

/* The kernel waits in the closing thread; that must not be a worker. */
INSIDE(tcp, a_close_that_lingers_holds_up_nobody)
{
    size_t size = 16 << 20, done;
    char *data = calloc(1, size);
    int fds[2];
    int64_t start;

    make_connection(fds);
    {
        GYRE_TIMEOUT(20 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_write_all(fds[0], data, size, &done), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_set_linger(fds[0], 1, 3), 0);
    start = gyre_now();
    EXPECT_EQ(gyre_close(fds[0]), 0);
    gyre_sleep(GYRE_MILLISECOND);
    EXPECT(gyre_now() - start < 2 * GYRE_SECOND);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    free(data);
    return 0;
}

struct big {
    int fd;
    size_t size;
};

static int write_big(void *arg)
{
    struct big *big = arg;
    char *data = malloc(big->size);
    size_t done;

    for (size_t i = 0; i < big->size; i++)
        data[i] = (char)(i * 31 + (i >> 12));
    EXPECT_EQ(gyre_write_all(big->fd, data, big->size, &done), big->size);
    EXPECT_EQ(done, big->size);
    EXPECT_EQ(gyre_shutdown(big->fd, SHUT_WR), 0);
    free(data);
    return 0;
}

INSIDE(tcp, big_transfers_arrive_whole_in_both_directions)
{
    enum { SIZE = 24 << 20 };
    char *data = malloc(SIZE);
    gyre_handle writers[2];
    struct big big[2];
    int fds[2];

    make_connection(fds);
    for (int i = 0; i < 2; i++) {
        big[i] = (struct big){fds[i], SIZE};
        EXPECT_EQ(gyre_spawn(&writers[i], write_big, &big[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        size_t wrong = 0;

        EXPECT_EQ(gyre_read_all(fds[!i], data, SIZE, NULL), SIZE);
        for (size_t at = 0; at < SIZE; at++)
            wrong += data[at] != (char)(at * 31 + (at >> 12));
        EXPECT_EQ(wrong, 0);
        EXPECT_EQ(gyre_read(fds[!i], data, 1), 0);
    }
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(gyre_join(writers[i], NULL), 0);
        EXPECT_EQ(gyre_close(fds[i]), 0);
    }
    free(data);
    return 0;
}

/* --- dialling --------------------------------------------------------------------------------- */

INSIDE(dial, nobody_there_is_refused)
{
    struct gyre_listener *listener = listen_on("127.0.0.1:0");

    EXPECT_EQ(gyre_listener_close(listener), 0);
    EXPECT_EQ(gyre_tcp_dial(address), -ECONNREFUSED);
    return 0;
}

INSIDE(dial, nonsense_and_names_are_refused_without_a_socket)
{
    int before = open_descriptors();

    EXPECT_EQ(gyre_tcp_dial(NULL), -EINVAL);
    EXPECT_EQ(gyre_tcp_dial(""), -EINVAL);
    EXPECT_EQ(gyre_tcp_dial("127.0.0.1"), -EINVAL);
    EXPECT_EQ(gyre_tcp_dial("a..b:80"), -EINVAL);
    EXPECT_EQ(open_descriptors(), before);
    return 0;
}

/* To a full backlog: TCP waits; whose patience ended the context tells. */
INSIDE(dial, a_timeout_of_the_context_is_told_from_tcps)
{
    struct deaf deaf;
    char text[GYRE_ADDRESS_SIZE];
    int before;

    make_deaf(&deaf);
    before = open_descriptors();
    EXPECT(gyre_local_address(deaf.fds[0], text, sizeof text) > 0);
    {
        GYRE_TIMEOUT(10 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_tcp_dial(text), -ETIMEDOUT);
        EXPECT_EQ(gyre_context_error(), -ETIMEDOUT);
    }
    {
        int syns = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        unsigned patience = 50; /* ms */

        GYRE_TIMEOUT(GYRE_MINUTE);
        EXPECT_EQ(setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &syns, sizeof syns), 0);
        EXPECT_EQ(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof patience), 0);
        EXPECT_EQ(gyre_connect(fd, (struct sockaddr *)&deaf.address, sizeof deaf.address),
                  -ETIMEDOUT);
        EXPECT_EQ(gyre_context_error(), 0);
        EXPECT_EQ(gyre_close(fd), 0);
    }
    EXPECT_EQ(open_descriptors(), before);
    close_deaf(&deaf);
    return 0;
}

INSIDE(dial, no_descriptor_left_is_emfile)
{
    struct gyre_listener *listener = listen_on("127.0.0.1:0");
    struct rlimit old, low;

    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = 3; /* below what is in use: nothing can be opened */
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    EXPECT_EQ(gyre_tcp_dial(address), -EMFILE);
    {
        struct gyre_listener *second;

        EXPECT_EQ(gyre_tcp_listen(&second, "127.0.0.1:0"), -EMFILE);
    }
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    return 0;
}

INSIDE(dial, an_empty_host_is_this_machine)
{
    struct gyre_listener *listener = listen_on(":0");
    char port[GYRE_ADDRESS_SIZE];
    int fd, served;

    snprintf(port, sizeof port, "%s", strrchr(address, ':'));
    fd = gyre_tcp_dial(port);
    EXPECT(fd >= 0);
    served = gyre_accept(listener);
    EXPECT(served >= 0);
    EXPECT_EQ(gyre_close(served), 0);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    return 0;
}

INSIDE(dial, connect_tells_what_is_wrong)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct sockaddr_un nowhere = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/socket"};
    int fds[2], fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int local = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    make_connection(fds);
    EXPECT_EQ(gyre_connect(fds[0], (struct sockaddr *)&to, sizeof to), -EISCONN);
    EXPECT_EQ(gyre_connect(fresh, (struct sockaddr *)&to, 3), -EINVAL);
    EXPECT_EQ(gyre_connect(fresh, NULL, sizeof to), -EFAULT);
    EXPECT_EQ(gyre_close(fresh), 0);
    EXPECT_EQ(gyre_connect(local, (struct sockaddr *)&nowhere, sizeof nowhere), -ENOENT);
    EXPECT_EQ(gyre_close(local), 0);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    return 0;
}

/* --- listening -------------------------------------------------------------------------------- */

INSIDE(listener, ipv6_works)
{
    struct gyre_listener *listener;
    char peer[GYRE_ADDRESS_SIZE];
    int error = gyre_tcp_listen(&listener, "[::1]:0"), fd, served;

    if (error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL) {
        fprintf(stderr, "no IPv6 here\n");
        return 0;
    }
    EXPECT_EQ(error, 0);
    EXPECT(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) > 0);
    EXPECT(!strncmp(address, "[::1]:", 6));
    fd = gyre_tcp_dial(address);
    EXPECT(fd >= 0);
    served = gyre_accept(listener);
    EXPECT(gyre_peer_address(fd, peer, sizeof peer) > 0);
    EXPECT(!strcmp(peer, address));
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_close(served), 0);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    return 0;
}

INSIDE(listener, errors_leave_nothing_behind)
{
    struct gyre_listener *listener = listen_on("127.0.0.1:0"), *other = (void *)1;
    struct gyre_listen_options options = GYRE_LISTEN_INIT;
    int before = open_descriptors(), fds[2];

    EXPECT_EQ(gyre_tcp_listen(&other, address), -EADDRINUSE);
    EXPECT_EQ(gyre_tcp_listen(&other, "192.0.2.1:0"), -EADDRNOTAVAIL);
    EXPECT_EQ(gyre_tcp_listen(&other, "nonsense"), -EINVAL);
    EXPECT_EQ(gyre_tcp_listen(&other, NULL), -EINVAL);
    EXPECT_EQ(gyre_tcp_listen(&other, "a..b:80"), -EINVAL);
    EXPECT_EQ(gyre_tcp_listen(NULL, "127.0.0.1:0"), -EINVAL);
    options.size = 3;
    EXPECT_EQ(gyre_tcp_listen_options(&other, "127.0.0.1:0", &options), -EINVAL);
    options.size = sizeof options;
    options.flags = 1u << 30;
    EXPECT_EQ(gyre_tcp_listen_options(&other, "127.0.0.1:0", &options), -EINVAL);
    options.flags = 0;
    options.backlog = -1;
    EXPECT_EQ(gyre_tcp_listen_options(&other, "127.0.0.1:0", &options), -EINVAL);
    make_stream_pair(fds);
    EXPECT_EQ(gyre_listener_adopt(&other, fds[0], NULL), -EINVAL);
    EXPECT_EQ(gyre_listener_adopt(&other, -1, NULL), -EINVAL);
    EXPECT_EQ(gyre_listener_adopt(NULL, gyre_listener_fd(listener), NULL), -EINVAL);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT(other == (void *)1);
    EXPECT_EQ(gyre_accept(NULL), -EBADF);
    EXPECT_EQ(gyre_listener_close(NULL), 0);
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    return 0;
}

INSIDE(listener, options_reach_the_socket)
{
    struct gyre_listen_options options = GYRE_LISTEN_INIT;
    struct gyre_listener *one, *other;
    int fd, served;

    options.flags = GYRE_LISTEN_REUSEPORT | GYRE_LISTEN_DELAY;
    EXPECT_EQ(gyre_tcp_listen_options(&one, "127.0.0.1:0", &options), 0);
    EXPECT(gyre_local_address(gyre_listener_fd(one), address, sizeof address) > 0);
    EXPECT_EQ(gyre_tcp_listen_options(&other, address, &options), 0);
    EXPECT(option(gyre_listener_fd(one), SOL_SOCKET, SO_REUSEADDR));
    EXPECT(fcntl(gyre_listener_fd(one), F_GETFD) & FD_CLOEXEC);
    EXPECT_EQ(gyre_listener_close(other), 0);
    fd = gyre_tcp_dial(address);
    served = gyre_accept(one);
    EXPECT(!option(served, IPPROTO_TCP, TCP_NODELAY));
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_close(served), 0);
    EXPECT_EQ(gyre_listener_close(one), 0);
    options.flags = GYRE_LISTEN_NO_REUSEADDR;
    EXPECT_EQ(gyre_tcp_listen_options(&one, "127.0.0.1:0", &options), 0);
    EXPECT(!option(gyre_listener_fd(one), SOL_SOCKET, SO_REUSEADDR));
    EXPECT_EQ(gyre_listener_close(one), 0);
    return 0;
}

static void expect_serves(struct gyre_listener *listener)
{
    char byte = 0;
    int fd, served;

    for (int i = 0; i < 20; i++) {
        fd = gyre_tcp_dial(address);
        EXPECT(fd >= 0);
        served = gyre_accept(listener);
        EXPECT(served >= 0);
        EXPECT(fcntl(served, F_GETFD) & FD_CLOEXEC);
        EXPECT_EQ(gyre_write(fd, "x", 1), 1);
        EXPECT_EQ(gyre_read(served, &byte, 1), 1);
        EXPECT_EQ(gyre_close(fd), 0);
        EXPECT_EQ(gyre_close(served), 0);
    }
}

static int64_t processor_time(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * GYRE_SECOND +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * GYRE_MICROSECOND;
}

/* Sockets that come from others are often in non-blocking mode. */
INSIDE(listener, adopts_sockets_in_either_mode)
{
    for (int flags = 0; flags <= SOCK_NONBLOCK; flags += SOCK_NONBLOCK) {
        struct sockaddr_in any = {.sin_family = AF_INET};
        struct gyre_listener *listener;
        int64_t used;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

        EXPECT_EQ(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
        EXPECT_EQ(gyre_listener_adopt(&listener, fd, NULL), -EINVAL);
        EXPECT_EQ(listen(fd, 100), 0);
        EXPECT_EQ(gyre_listener_adopt(&listener, fd, NULL), 0);
        EXPECT_EQ(gyre_listener_fd(listener), fd);
        EXPECT(gyre_local_address(fd, address, sizeof address) > 0);
        expect_serves(listener);
        used = processor_time();
        {
            GYRE_TIMEOUT(100 * GYRE_MILLISECOND);
            EXPECT_EQ(gyre_accept(listener), -ETIMEDOUT);
        }
        EXPECT(processor_time() - used < 50 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_listener_close(listener), 0);
    }
    return 0;
}

static int accept_it(void *arg)
{
    return gyre_accept(arg);
}

INSIDE(listener, closing_wakes_who_accepts)
{
    struct gyre_listener *listener = listen_on("127.0.0.1:0");
    gyre_handle handles[8];
    int result;

    for (int i = 0; i < 8; i++)
        EXPECT_EQ(gyre_spawn(&handles[i], accept_it, listener), 0);
    for (int i = 0; i < 8; i++)
        await_parked(handles[i]);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    for (int i = 0; i < 8; i++) {
        EXPECT_EQ(gyre_join(handles[i], &result), 0);
        EXPECT_EQ(result, -EBADF);
    }
    EXPECT_EQ(gyre_tcp_dial(address), -ECONNREFUSED);
    return 0;
}

INSIDE(listener, closing_ends_connections_that_nobody_took)
{
    struct gyre_listener *listener = listen_on("127.0.0.1:0");
    int fds[40], served;
    char byte;

    for (int i = 0; i < 40; i++)
        EXPECT((fds[i] = gyre_tcp_dial(address)) >= 0);
    served = gyre_accept(listener); /* others are taken ahead now */
    EXPECT(served >= 0);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    EXPECT_EQ(gyre_close(served), 0);
    for (int i = 0; i < 40; i++) {
        ssize_t n = gyre_read(fds[i], &byte, 1);

        EXPECT(n == 0 || n == -ECONNRESET);
        EXPECT_EQ(gyre_close(fds[i]), 0);
    }
    return 0;
}

INSIDE(listener, a_connection_reset_before_it_was_taken_does_no_harm)
{
    struct gyre_listener *listener = listen_on("127.0.0.1:0");
    char byte;
    int fd, served;

    for (int i = 0; i < 20; i++) {
        fd = gyre_tcp_dial(address);
        EXPECT_EQ(gyre_set_linger(fd, 1, 0), 0);
        EXPECT_EQ(gyre_close(fd), 0);
    }
    fd = gyre_tcp_dial(address);
    EXPECT_EQ(gyre_write(fd, "x", 1), 1);
    for (;;) {
        ssize_t n;

        served = gyre_accept(listener);
        EXPECT(served >= 0);
        n = gyre_read(served, &byte, 1);
        EXPECT(n == 1 || n == -ECONNRESET);
        EXPECT_EQ(gyre_close(served), 0);
        if (n == 1 || served < 0)
            break;
    }
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    return 0;
}

/* A bound on what is taken ahead keeps the rest in the kernel, and loses nothing. */
INSIDE(listener, ahead_bounds_what_is_taken)
{
    enum { CONNECTIONS = 60, AHEAD = 4 };
    struct gyre_listen_options options = GYRE_LISTEN_INIT;
    struct gyre_listener *listener;
    int fds[CONNECTIONS], served[CONNECTIONS], before;

    options.ahead = AHEAD;
    EXPECT_EQ(gyre_tcp_listen_options(&listener, "127.0.0.1:0", &options), 0);
    EXPECT(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) > 0);
    for (int i = 0; i < CONNECTIONS; i++)
        EXPECT((fds[i] = gyre_tcp_dial(address)) >= 0);
    before = open_descriptors();
    for (int i = 0; i < CONNECTIONS; i++) {
        EXPECT((served[i] = gyre_accept(listener)) >= 0);
        gyre_sleep(100 * GYRE_MICROSECOND);
        EXPECT(open_descriptors() - before <= i + 1 + AHEAD);
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        EXPECT_EQ(gyre_close(fds[i]), 0);
        EXPECT_EQ(gyre_close(served[i]), 0);
    }
    EXPECT_EQ(gyre_listener_close(listener), 0);
    return 0;
}

/* Shut down by hand, it is beyond repair. */
INSIDE(listener, a_socket_beyond_repair_says_so)
{
    struct gyre_listener *listener = listen_on("127.0.0.1:0");
    gyre_handle handle;
    int result;

    EXPECT_EQ(gyre_spawn(&handle, accept_it, listener), 0);
    await_parked(handle);
    EXPECT_EQ(shutdown(gyre_listener_fd(listener), SHUT_RD), 0);
    EXPECT_EQ(gyre_join(handle, &result), 0);
    EXPECT_EQ(result, -EINVAL);
    EXPECT_EQ(gyre_accept(listener), -EINVAL);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    return 0;
}

/* --- want of descriptors ---------------------------------------------------------------------- */

INSIDE(listener, waits_for_descriptors_without_spinning_or_losing_connections)
{
    enum { CONNECTIONS = 30 };
    struct gyre_listener *listener = listen_on("127.0.0.1:0");
    struct rlimit old, low;
    int fds[CONNECTIONS], served;
    int64_t used, start;

    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    for (int i = 0; i < CONNECTIONS; i++) {
        EXPECT((fds[i] = gyre_tcp_dial(address)) >= 0);
        EXPECT_EQ(gyre_write(fds[i], "x", 1), 1);
    }
    low = old;
    low.rlim_cur = 3;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    used = processor_time();
    {
        GYRE_TIMEOUT(200 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_accept(listener), -ETIMEDOUT);
    }
    used = processor_time() - used;
    EXPECT(used < 40 * GYRE_MILLISECOND);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    start = gyre_now();
    for (int i = 0; i < CONNECTIONS; i++) {
        char byte = 0;

        EXPECT((served = gyre_accept(listener)) >= 0);
        EXPECT_EQ(gyre_read(served, &byte, 1), 1);
        EXPECT_EQ(gyre_close(served), 0);
        EXPECT_EQ(gyre_close(fds[i]), 0);
    }
    EXPECT(gyre_now() - start < 3 * GYRE_SECOND);
    fprintf(stderr, "200 ms without descriptors cost %.1f ms of processor time\n",
            (double)used / 1e6);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    return 0;
}

INSIDE(listener, closes_while_it_waits_for_descriptors)
{
    struct gyre_listener *listener = listen_on("127.0.0.1:0");
    struct rlimit old, low;
    int fd = gyre_tcp_dial(address);

    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = 3;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    {
        GYRE_TIMEOUT(8 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_accept(listener), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_listener_close(listener), 0);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

/* --- many ------------------------------------------------------------------------------------- */

enum { MANY = 1000 };

static int echo(void *arg)
{
    int fd = *(int *)arg;
    char buffer[64];
    ssize_t n;

    while ((n = gyre_read(fd, buffer, sizeof buffer)) > 0)
        EXPECT_EQ(gyre_write_all(fd, buffer, (size_t)n, NULL), n);
    EXPECT_EQ(n, 0);
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

static int serve(void *arg)
{
    int fd;

    while ((fd = gyre_accept(arg)) >= 0)
        EXPECT_EQ(gyre_go_copy(echo, &fd, sizeof fd), 0);
    EXPECT_EQ(fd, -EBADF);
    return 0;
}

static int ask(void *unused)
{
    char buffer[64], back[64];
    int fd = gyre_tcp_dial(address);

    (void)unused;
    EXPECT(fd >= 0);
    for (int i = 0; i < 5; i++) {
        memset(buffer, i + fd, sizeof buffer);
        EXPECT_EQ(gyre_write_all(fd, buffer, sizeof buffer, NULL), sizeof buffer);
        EXPECT_EQ(gyre_read_all(fd, back, sizeof back, NULL), sizeof back);
        EXPECT(!memcmp(buffer, back, sizeof buffer));
    }
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

INSIDE(listener, a_thousand_connections_echo)
{
    static gyre_handle clients[MANY];
    struct gyre_listener *listener;
    gyre_handle servers[4];
    struct rlimit limit;

    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2 * MANY + 100)
        return 0;
    listener = listen_on("127.0.0.1:0");
    for (int i = 0; i < 4; i++)
        EXPECT_EQ(gyre_spawn(&servers[i], serve, listener), 0);
    for (int i = 0; i < MANY; i++)
        EXPECT_EQ(gyre_spawn(&clients[i], ask, NULL), 0);
    for (int i = 0; i < MANY; i++)
        EXPECT_EQ(gyre_join(clients[i], NULL), 0);
    while (gyre_coro_count() > 5) /* echoes that see the end */
        gyre_yield();
    EXPECT_EQ(gyre_listener_close(listener), 0);
    for (int i = 0; i < 4; i++)
        EXPECT_EQ(gyre_join(servers[i], NULL), 0);
    return 0;
}
