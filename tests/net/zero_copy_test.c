/* Sending without a copy: two completions, what comes between them, and where it isn't possible. */
#include "../io/harness.h"

#include "ring/ring.h"

#include <netinet/tcp.h>
#include <sys/ioctl.h>

enum { LARGE = 1 << 20, MIDDLE = 128 << 10 };

static char data[LARGE];

/* fds[1] takes as much before it reads, where it is not 0. */
static void connect_with(int receive, int fds[2])
{
    struct gyre_listener *listener;
    char address[GYRE_ADDRESS_SIZE];

    EXPECT_EQ(gyre_tcp_listen(&listener, "127.0.0.1:0"), 0);
    EXPECT_EQ(gyre_set_buffers(gyre_listener_fd(listener), receive, 0), 0);
    EXPECT(gyre_local_address(gyre_listener_fd(listener), address, sizeof address) > 0);
    fds[0] = gyre_tcp_dial(address);
    EXPECT(fds[0] >= 0);
    EXPECT_EQ(gyre_set_buffers(fds[0], 0, 4 * MIDDLE), 0);
    fds[1] = gyre_accept(listener);
    EXPECT(fds[1] >= 0);
    EXPECT_EQ(gyre_listener_close(listener), 0);
}

static void make_connection(int fds[2])
{
    connect_with(4096, fds);
}

static void close_both(const int *fds)
{
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
}

static void fill(void)
{
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 7 + i / 4096);
}

struct reading {
    int fd;
    size_t size;
};

static int read_and_compare(void *arg)
{
    struct reading *reading = arg;
    static char buffers[8][4096];
    char *buffer = buffers[reading->fd % 8];
    size_t count = 0;

    while (count < reading->size) {
        size_t left = reading->size - count;
        ssize_t n = gyre_read(reading->fd, buffer, left < 4096 ? left : 4096);

        if (n <= 0)
            return (int)n;
        EXPECT(!memcmp(buffer, data + count, (size_t)n));
        count += (size_t)n;
    }
    return 0;
}

static void send_to_reader(size_t size)
{
    struct reading reading = {.size = size};
    gyre_handle reader;
    size_t done = 77;
    int fds[2], copied = 77, result;

    fill();
    connect_with(0, fds);
    reading.fd = fds[1];
    EXPECT_EQ(gyre_spawn(&reader, read_and_compare, &reading), 0);
    EXPECT_EQ(gyre_send_zero_copy(fds[0], data, size, &done, &copied), size);
    EXPECT_EQ(done, size);
    EXPECT(copied == 1); /* loopback copies, and so does a plain send */
    EXPECT_EQ(gyre_send_zero_copy(fds[0], data, 0, NULL, NULL), 0);
    EXPECT_EQ(gyre_join(reader, &result), 0);
    EXPECT_EQ(result, 0);
    close_both(fds);
}

INSIDE(zero_copy, all_of_it_arrives)
{
    send_to_reader(LARGE);
    send_to_reader(MIDDLE);
    send_to_reader(5);
    return 0;
}

static int send_without(void *unused)
{
    (void)unused;
    EXPECT(!gyre_ring_supports(IORING_OP_SEND_ZC));
    send_to_reader(LARGE);
    return 0;
}

Test(zero_copy, plainly_where_the_kernel_is_older)
{
    gyre_ring_masked[IORING_OP_SEND_ZC / 64] |= (uint64_t)1 << (IORING_OP_SEND_ZC % 64);
    run_on_each(send_without);
}

INSIDE(zero_copy, plainly_where_the_socket_cannot)
{
    struct reading reading = {.size = MIDDLE};
    int fds[2], pipes[2], copied = 77, result;
    gyre_handle reader;

    fill();
    make_stream_pair(fds);
    make_pipe(pipes);
    reading.fd = fds[1];
    EXPECT_EQ(gyre_spawn(&reader, read_and_compare, &reading), 0);
    EXPECT_EQ(gyre_send_zero_copy(fds[0], data, MIDDLE, NULL, &copied), MIDDLE);
    EXPECT_EQ(copied, 1);
    EXPECT_EQ(gyre_join(reader, &result), 0);
    EXPECT_EQ(result, 0);
    reading.fd = pipes[0];
    EXPECT_EQ(gyre_spawn(&reader, read_and_compare, &reading), 0);
    EXPECT_EQ(gyre_send_zero_copy(pipes[1], data, MIDDLE, NULL, NULL), MIDDLE);
    EXPECT_EQ(gyre_join(reader, &result), 0);
    EXPECT_EQ(result, 0);
    close_both(fds);
    close_both(pipes);
    return 0;
}

INSIDE(zero_copy, errors)
{
    size_t done = 77;
    int fds[2], copied = 77, fd = gyre_udp_bind("127.0.0.1:0", 0);

    EXPECT_EQ(gyre_send_zero_copy(-1, data, MIDDLE, &done, &copied), -EBADF);
    EXPECT_EQ(done, 0);
    EXPECT_EQ(gyre_send_zero_copy(999, data, MIDDLE, NULL, NULL), -EBADF);
    EXPECT_EQ(gyre_send_zero_copy(fd, data, 40000, NULL, NULL), -EDESTADDRREQ);
    EXPECT_EQ(copied, 77);
    make_connection(fds);
    EXPECT_EQ(gyre_set_linger(fds[1], 1, 0), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
    EXPECT(gyre_send_zero_copy(fds[0], data, MIDDLE, &done, NULL) < 0);
    EXPECT_EQ(done, 0);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

INSIDE(zero_copy, datagrams)
{
    struct gyre_address address = {.length = sizeof address.storage};
    static char buffer[40000];
    int fd = gyre_udp_bind("127.0.0.1:0", 0), copied;

    fill();
    EXPECT_EQ(getsockname(fd, (struct sockaddr *)&address.storage, &address.length), 0);
    EXPECT_EQ(gyre_connect(fd, (struct sockaddr *)&address.storage, address.length), 0);
    EXPECT_EQ(gyre_send_zero_copy(fd, data, sizeof buffer, NULL, &copied), sizeof buffer);
    EXPECT_EQ(gyre_read(fd, buffer, sizeof buffer), sizeof buffer);
    EXPECT(!memcmp(buffer, data, sizeof buffer));
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

/* --- cancellation ----------------------------------------------------------------------------- */

static bool is_reset(int fd)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof info;

    EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
    return info.tcpi_state == TCP_CLOSE;
}

INSIDE(zero_copy, is_cancelled_before)
{
    size_t done = 77;
    int fds[2];

    make_connection(fds);
    {
        GYRE_TIMEOUT(-1);
        EXPECT_EQ(gyre_send_zero_copy(fds[0], data, MIDDLE, &done, NULL), -ETIMEDOUT);
        EXPECT_EQ(gyre_send_zero_copy(fds[0], data, 5, &done, NULL), -ETIMEDOUT);
    }
    EXPECT_EQ(done, 0);
    EXPECT(!is_reset(fds[0]));
    close_both(fds);
    return 0;
}

/* All was taken by the kernel, which keeps it, for the peer does not read. */
INSIDE(zero_copy, is_cancelled_while_the_kernel_holds_the_buffer)
{
    char *buffer = malloc(MIDDLE);
    size_t done = 77;
    int fds[2];

    make_connection(fds);
    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_send_zero_copy(fds[0], buffer, MIDDLE, &done, NULL), -ETIMEDOUT);
    }
    EXPECT_EQ(done, MIDDLE);
    EXPECT(is_reset(fds[0]));
    free(buffer);
    close_both(fds);
    return 0;
}

/* The kernel has no room for all of it: cancelled while sending, then while it holds that part. */
INSIDE(zero_copy, is_cancelled_while_sending)
{
    size_t done = 77;
    int fds[2];

    make_connection(fds);
    EXPECT_EQ(gyre_set_buffers(fds[0], 0, 4096), 0);
    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_send_zero_copy(fds[0], data, LARGE, &done, NULL), -ETIMEDOUT);
    }
    EXPECT(done > 0 && done < LARGE);
    EXPECT(is_reset(fds[0]));
    close_both(fds);
    return 0;
}

struct sending {
    int fd;
    size_t size;
};

static int send_it(void *arg)
{
    struct sending *sending = arg;

    return (int)gyre_send_zero_copy(sending->fd, data, sending->size, NULL, NULL);
}

INSIDE(zero_copy, closing_ends_it_though_the_peer_reads_nothing)
{
    static const size_t sizes[] = {MIDDLE, LARGE}; /* held by the kernel; being sent */

    for (size_t i = 0; i < 2; i++) {
        struct sending sending = {.size = sizes[i]};
        gyre_handle sender;
        int fds[2], result, queued = 0;

        make_connection(fds);
        sending.fd = fds[0];
        EXPECT_EQ(gyre_spawn(&sender, send_it, &sending), 0);
        await_parked(sender);
        for (int tries = 0; !queued && tries < 1000; tries++) {
            gyre_yield();
            EXPECT_EQ(ioctl(fds[0], TIOCOUTQ, &queued), 0);
        }
        EXPECT_EQ(gyre_close(fds[0]), 0);
        EXPECT_EQ(gyre_join(sender, &result), 0);
        EXPECT_EQ(result, -EBADF);
        EXPECT_EQ(gyre_close(fds[1]), 0);
    }
    return 0;
}

INSIDE(zero_copy, a_shield_keeps_it)
{
    struct reading reading = {.size = LARGE};
    gyre_handle reader;
    int fds[2], result;

    fill();
    connect_with(0, fds);
    reading.fd = fds[1];
    EXPECT_EQ(gyre_spawn(&reader, read_and_compare, &reading), 0);
    {
        GYRE_TIMEOUT(-1);
        GYRE_SHIELD();
        EXPECT_EQ(gyre_send_zero_copy(fds[0], data, LARGE, NULL, NULL), LARGE);
    }
    EXPECT_EQ(gyre_join(reader, &result), 0);
    EXPECT_EQ(result, 0);
    EXPECT(!is_reset(fds[0]));
    close_both(fds);
    return 0;
}
