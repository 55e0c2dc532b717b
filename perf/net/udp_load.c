/*
 * udp_load - loads a UDP echo server on the loopback, closed loop: each flow is a connected socket
 * with so many datagrams on their way. What is lost is sent again after 20 ms. An answer that was
 * not asked makes the run void. Prints the server's CPU time a datagram as JSON.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FLOWS_MOST = 1024, WINDOW_MOST = 64, SIZE_MOST = 1400 };

struct flow {
    int fd;
    uint32_t out; /* sent and not answered */
};

static struct flow flows[FLOWS_MOST];
static int port, pid;
static unsigned flow_count = 32, window = 16, size = 64;
static double seconds = 1, warm_up = 0.3;
static char messages[WINDOW_MOST][SIZE_MOST];
static struct iovec pieces[WINDOW_MOST];
static struct mmsghdr headers[WINDOW_MOST];

static void die(const char *what)
{
    fprintf(stderr, "udp_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    if (clock_gettime(clock, &t))
        return -1;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t server_cpu(void)
{
    clockid_t clock;

    if (!pid)
        return 0;
    if (clock_getcpuclockid(pid, &clock))
        die("the server is gone");
    return clock_ns(clock);
}

static void send_some(struct flow *flow, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        pieces[i].iov_len = size;
    while (count) {
        int n = sendmmsg(flow->fd, headers, count, 0);

        if (n < 0 && errno != ECONNREFUSED && errno != EAGAIN)
            die("sendmmsg");
        if (n <= 0)
            return;
        flow->out += (uint32_t)n;
        count -= (unsigned)n;
    }
}

static uint64_t receive(struct flow *flow)
{
    uint64_t total = 0;
    int n;

    for (unsigned i = 0; i < WINDOW_MOST; i++)
        pieces[i].iov_len = SIZE_MOST;
    n = recvmmsg(flow->fd, headers, window, MSG_DONTWAIT, NULL);
    if (n < 0 && errno != EAGAIN && errno != ECONNREFUSED)
        die("recvmmsg");
    for (int i = 0; i < n; i++) {
        if (headers[i].msg_len != size || messages[i][0] != 'g' || messages[i][size - 1] != 'g') {
            fprintf(stderr, "udp_load: a wrong answer of %u bytes\n", headers[i].msg_len);
            exit(1);
        }
        total++;
    }
    flow->out -= (uint32_t)total < flow->out ? (uint32_t)total : flow->out;
    return total;
}

static uint64_t run(int epoll, int64_t until, uint64_t *lost)
{
    struct epoll_event events[256];
    uint64_t total = 0;

    while (clock_ns(CLOCK_MONOTONIC) < until) {
        int n = epoll_wait(epoll, events, 256, 20);

        for (int i = 0; i < n; i++) {
            struct flow *flow = &flows[events[i].data.u32];

            total += receive(flow);
            send_some(flow, window - flow->out);
        }
        for (unsigned i = 0; n == 0 && i < flow_count; i++) {
            *lost += flows[i].out;
            flows[i].out = 0;
            send_some(&flows[i], window);
        }
    }
    return total;
}

static void options(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";

        if (!strcmp(name, "--json"))
            i--; /* it knows nothing else */
        else if (!strcmp(name, "--port"))
            port = atoi(value);
        else if (!strcmp(name, "--pid"))
            pid = atoi(value);
        else if (!strcmp(name, "--flows"))
            flow_count = (unsigned)atoi(value);
        else if (!strcmp(name, "--window"))
            window = (unsigned)atoi(value);
        else if (!strcmp(name, "--size"))
            size = (unsigned)atoi(value);
        else if (!strcmp(name, "--seconds"))
            seconds = atof(value);
        else if (!strcmp(name, "--warm-up"))
            warm_up = atof(value);
        else
            port = 0;
    }
    if (port && flow_count - 1 < FLOWS_MOST && window - 1 < WINDOW_MOST && size - 1 < SIZE_MOST)
        return;
    fprintf(stderr, "usage: udp_load --port P [--pid SERVER] [--flows N] [--window N] [--size B]\n"
                    "       [--seconds S] [--warm-up S]\n");
    exit(2);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int64_t start, cpu, own;
    uint64_t total, lost = 0, ignored = 0;
    double elapsed;

    options(argc, argv);
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (unsigned i = 0; i < WINDOW_MOST; i++) {
        memset(messages[i], 'g', SIZE_MOST);
        pieces[i].iov_base = messages[i];
        headers[i].msg_hdr.msg_iov = &pieces[i];
        headers[i].msg_hdr.msg_iovlen = 1;
    }
    for (uint32_t i = 0; i < flow_count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

        flows[i].fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (flows[i].fd < 0 || connect(flows[i].fd, (struct sockaddr *)&address, sizeof address) ||
            epoll_ctl(epoll, EPOLL_CTL_ADD, flows[i].fd, &event))
            die("socket");
        send_some(&flows[i], window);
    }
    start = clock_ns(CLOCK_MONOTONIC);
    run(epoll, start + (int64_t)(warm_up * 1e9), &ignored);
    start = clock_ns(CLOCK_MONOTONIC);
    cpu = server_cpu();
    own = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    total = run(epoll, start + (int64_t)(seconds * 1e9), &lost);
    cpu = server_cpu() - cpu;
    own = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
    elapsed = (double)(clock_ns(CLOCK_MONOTONIC) - start) / 1e9;
    if (!total) {
        fprintf(stderr, "udp_load: no answers\n");
        return 1;
    }
    printf("{\"rps\": %.1f, \"cpu_us\": %.4f, \"server_busy\": %.5f, \"load_busy\": %.4f, "
           "\"lost\": %llu}\n",
           (double)total / elapsed, (double)cpu / 1e3 / (double)total, (double)cpu / 1e9 / elapsed,
           (double)own / 1e9 / elapsed, (unsigned long long)lost);
    return 0;
}
