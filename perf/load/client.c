/*
 * One thread of the load generator, on epoll.
 *
 * Closed loop: each connection sends its next request as soon as the answer to the last one is
 * complete. Open loop: arrivals are a Poisson process drawn from a fixed seed, so every server
 * gets the same schedule; an arrival takes the connection that has been idle longest, and waits for
 * one when all are busy. Its latency counts from the moment it was meant to be sent: a server that
 * stalls is charged for every request it held up (no coordinated omission). In open loop the thread
 * never sleeps, which keeps its timing exact and keeps the cost of waking the client, which a
 * network card would pay, out of the server's bill; unless it shares its CPU with the server
 * (--sleep).
 *
 * Every byte of an echo is compared. Requests are windows into one shared pattern at an offset that
 * changes per connection and request, so an answer that went to the wrong connection shows up.
 */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <http_parser.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 512,
    PAUSES = 16,          /* about a microsecond */
    PATTERN_SPREAD = 251, /* offsets in use; prime, so that neighbours differ for long */
    RECEIVE_SIZE = 64 * 1024,
    PORTS_PER_ADDRESS = 20000 /* below the default ephemeral range's 28,232 */
};

static const int64_t drain_limit = 2000000000;

struct connection {
    int fd;
    unsigned offset; /* of the present request in the pattern */
    size_t sent, received;
    int64_t intended; /* when the present request was meant to be sent */
    struct connection *next_idle;
    http_parser parser;
    bool complete;
};

struct run {
    struct client *client;
    const struct load *load;
    int epoll;
    unsigned count;
    struct connection *connections;
    const char *request; /* pattern, or the HTTP request */
    size_t request_size;
    char *receive;
    struct connection *idle_head, *idle_tail;
    int64_t window_start, window_end;
    int64_t next_arrival;
    double mean_gap;
    uint64_t random;
    uint64_t outstanding; /* requests of the window that are not answered */
    uint64_t completed;
    int64_t cpu_start, load_cpu_start;
    uint64_t requests_start;
};

int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t process_cpu_ns(pid_t pid)
{
    struct timespec t;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
        return -1;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void fail(struct run *run, const char *what, int error)
{
    if (run->client->error[0])
        return;
    snprintf(run->client->error, sizeof run->client->error, "%s%s%s", what, error ? ": " : "",
             error ? strerror(error) : "");
}

static bool failed(const struct run *run)
{
    return run->client->error[0] != '\0';
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int64_t next_gap(struct run *run)
{
    double uniform = ((double)(next_random(&run->random) >> 11) + 0.5) / 9007199254740992.0;

    return (int64_t)(-log(uniform) * run->mean_gap);
}

static int on_message_complete(http_parser *parser)
{
    ((struct connection *)parser->data)->complete = true;
    return 0;
}

static const http_parser_settings parser_settings = {.on_message_complete = on_message_complete};

static bool in_window(const struct run *run, int64_t when)
{
    return when >= run->window_start && when < run->window_end;
}

static void continue_send(struct run *run, struct connection *c)
{
    while (c->sent < run->request_size) {
        ssize_t n = send(c->fd, run->request + c->offset + c->sent, run->request_size - c->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0) {
            if (errno != EAGAIN)
                fail(run, "send", errno);
            return;
        }
        c->sent += (size_t)n;
    }
}

static void start_request(struct run *run, struct connection *c, int64_t intended)
{
    c->intended = intended;
    c->sent = c->received = 0;
    c->complete = false;
    if (!run->load->path)
        c->offset = (c->offset + 1) % PATTERN_SPREAD;
    if (in_window(run, intended))
        run->outstanding++;
    continue_send(run, c);
}

static void push_idle(struct run *run, struct connection *c)
{
    c->next_idle = NULL;
    if (run->idle_tail)
        run->idle_tail->next_idle = c;
    else
        run->idle_head = c;
    run->idle_tail = c;
}

static struct connection *pop_idle(struct run *run)
{
    struct connection *c = run->idle_head;

    run->idle_head = c->next_idle;
    if (!run->idle_head)
        run->idle_tail = NULL;
    return c;
}

static void finish_request(struct run *run, struct connection *c)
{
    int64_t now = now_ns();

    run->completed++;
    atomic_store_explicit(&run->client->completed, run->completed, memory_order_relaxed);
    if (in_window(run, c->intended)) {
        histogram_add(&run->client->latency, now - c->intended);
        run->outstanding--;
    }
    if (run->load->rate > 0 || run->load->idle)
        push_idle(run, c);
    else if (now < run->window_end)
        start_request(run, c, now);
}

/* Takes n bytes of answer; false when they are wrong. */
static bool take(struct run *run, struct connection *c, size_t n)
{
    if (!run->load->path) {
        if (c->received + n > c->sent ||
            memcmp(run->receive, run->request + c->offset + c->received, n) != 0)
            return false;
        c->received += n;
        c->complete = c->received == run->request_size;
        return true;
    }
    if (c->complete || c->sent < run->request_size)
        return false;
    return http_parser_execute(&c->parser, &parser_settings, run->receive, n) == n &&
           (!c->complete || (c->parser.status_code == 200 && http_should_keep_alive(&c->parser)));
}

/* Reads until the answer is complete, and nothing else can be there, or nothing is left. */
static void receive(struct run *run, struct connection *c)
{
    while (!failed(run)) {
        ssize_t n = recv(c->fd, run->receive, RECEIVE_SIZE, MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            fail(run, n ? "recv" : "server closed the connection", n ? errno : 0);
            return;
        }
        if (!take(run, c, (size_t)n)) {
            fail(run, "wrong answer", 0);
            return;
        }
        if (c->complete) {
            finish_request(run, c);
            return;
        }
    }
}

static void handle_event(struct run *run, const struct epoll_event *event)
{
    struct connection *c = event->data.ptr;

    if ((event->events & EPOLLOUT) && c->sent < run->request_size && c->intended)
        continue_send(run, c);
    if (event->events & ~(uint32_t)EPOLLOUT)
        receive(run, c);
}

static void send_arrivals(struct run *run, int64_t now)
{
    while (run->idle_head && run->next_arrival <= now && run->next_arrival < run->window_end &&
           !failed(run)) {
        start_request(run, pop_idle(run), run->next_arrival);
        run->next_arrival += next_gap(run);
    }
}

static uint64_t completed_by_all(const struct run *run)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < run->load->threads; i++)
        sum += atomic_load_explicit(&run->client->all[i].completed, memory_order_relaxed);
    return sum;
}

/* The first thread takes the window's two ends itself: a timer thread would run late, on a core
 * that this one keeps busy. */
static void take_window(struct run *run, int64_t now)
{
    struct window *w = &run->client->window;

    if (run->client->index)
        return;
    if (!w->start && now >= run->window_start) {
        run->requests_start = completed_by_all(run);
        run->cpu_start = run->load->pid ? process_cpu_ns(run->load->pid) : 0;
        run->load_cpu_start = process_cpu_ns(0);
        w->start = now_ns();
    } else if (w->start && !w->end && now >= run->window_end) {
        w->requests = completed_by_all(run) - run->requests_start;
        w->cpu = (run->load->pid ? process_cpu_ns(run->load->pid) : 0) - run->cpu_start;
        w->load_cpu = process_cpu_ns(0) - run->load_cpu_start;
        w->end = now_ns();
    }
}

static bool finished(const struct run *run, int64_t now)
{
    if (now < run->window_end || (!run->client->index && !run->client->window.end))
        return false;
    if (now > run->window_end + drain_limit)
        return true;
    return run->outstanding == 0 && (run->load->rate == 0 || run->next_arrival >= run->window_end);
}

/* Nothing to do: leaves the core's resources to a sibling thread, which may be the server. */
static void pause_briefly(void)
{
    for (int i = 0; i < PAUSES; i++) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("isb");
#endif
    }
}

/* Until an answer comes or the next arrival is due. ppoll takes nanoseconds where epoll_wait would
 * be late by up to a millisecond. */
static void sleep_until_due(const struct run *run)
{
    struct pollfd poll = {.fd = run->epoll, .events = POLLIN};
    int64_t most = 10000000, due = run->next_arrival - now_ns();
    struct timespec t = {0, due < 0 ? 0 : due};

    if (!run->idle_head || due > most)
        t.tv_nsec = most;
    ppoll(&poll, 1, &t, NULL);
}

static void loop(struct run *run)
{
    struct epoll_event events[EVENTS];
    bool open = run->load->rate > 0, busy = open && !run->load->sleep;

    if (open)
        run->next_arrival = now_ns() + next_gap(run);
    for (;;) {
        int n, timeout = open ? 0 : 10;
        int64_t now;

        if (open && !busy)
            sleep_until_due(run);
        n = epoll_wait(run->epoll, events, EVENTS, timeout);
        if (n < 0 && errno != EINTR)
            fail(run, "epoll_wait", errno);
        for (int i = 0; i < n && !failed(run); i++)
            handle_event(run, &events[i]);
        now = now_ns();
        if (open)
            send_arrivals(run, now);
        if (busy && n == 0)
            pause_briefly();
        take_window(run, now);
        if (failed(run) || finished(run, now))
            return;
    }
}

static int connect_one(const struct load *load, unsigned number)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct linger reset = {.l_onoff = 1}; /* no TIME_WAIT: thousands a run would pile up */
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (load->connections > PORTS_PER_ADDRESS) {
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number / PORTS_PER_ADDRESS);
        if (bind(fd, (struct sockaddr *)&address, sizeof address))
            goto failed;
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)load->port);
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        goto failed;
    return fd;
failed:
    one = -errno;
    close(fd);
    return one;
}

static bool connect_all(struct run *run)
{
    unsigned threads = run->load->threads;

    for (unsigned i = 0; i < run->count; i++) {
        struct connection *c = &run->connections[i];
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                    .data.ptr = c};

        c->fd = connect_one(run->load, i * threads + run->client->index);
        if (c->fd < 0) {
            fail(run, "connect", -c->fd);
            return false;
        }
        if (!run->load->path)
            c->offset = i * threads + run->client->index;
        http_parser_init(&c->parser, HTTP_RESPONSE);
        c->parser.data = c;
        if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, c->fd, &event)) {
            fail(run, "epoll_ctl", errno);
            return false;
        }
    }
    return true;
}

static char *make_request(const struct load *load, size_t *size)
{
    uint64_t state = 1;
    char *text;
    int n;

    if (load->path) {
        n = asprintf(&text,
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: gyre-load\r\n"
                     "Accept: */*\r\n\r\n",
                     load->path, load->port);
        *size = n < 0 ? 0 : (size_t)n;
        return n < 0 ? NULL : text;
    }
    *size = load->size;
    text = malloc(load->size + PATTERN_SPREAD);
    for (size_t i = 0; text && i < load->size + PATTERN_SPREAD; i++)
        text[i] = (char)next_random(&state);
    return text;
}

static void close_all(struct run *run)
{
    for (unsigned i = 0; i < run->count; i++)
        if (run->connections[i].fd > 0)
            close(run->connections[i].fd);
}

/* Every client passes the barrier once, failed or not: the others wait for it there. */
void *client_run(void *argument)
{
    struct client *client = argument;
    const struct load *load = client->load;
    struct run run = {.client = client, .load = load, .random = load->seed + client->index};
    char *request = make_request(load, &run.request_size);
    bool ready = false;

    run.request = request;
    run.count =
        load->connections / load->threads + (client->index < load->connections % load->threads);
    run.connections = calloc(run.count, sizeof *run.connections);
    run.receive = malloc(RECEIVE_SIZE);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.mean_gap = load->rate > 0 ? 1e9 * load->threads / load->rate : 0;
    if (!request || !run.connections || !run.receive || run.epoll < 0)
        fail(&run, "set-up", errno);
    else
        ready = connect_all(&run);
    pthread_barrier_wait(client->barrier);
    pthread_barrier_wait(client->barrier);
    run.window_start = *client->start + load->warm_up;
    run.window_end = run.window_start + load->duration;
    for (unsigned i = 0; ready && i < run.count && !failed(&run); i++) {
        if (load->rate > 0)
            push_idle(&run, &run.connections[i]);
        else
            start_request(&run, &run.connections[i], now_ns());
    }
    if (ready)
        loop(&run);
    client->unfinished = run.outstanding;
    if (run.connections)
        close_all(&run);
    if (run.epoll >= 0)
        close(run.epoll);
    free(run.connections);
    free(run.receive);
    free(request);
    return NULL;
}
