#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WORKERS_MAX = 256 };

struct start {
    const struct server *server;
    void (*worker)(int, const struct server *);
    int listener;
    int cpu; /* -1: not pinned */
};

void server_die(const char *what, int error)
{
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    exit(1);
}

size_t server_reply(const struct server *server, char *buffer, size_t n)
{
    static const char response[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                                   "Content-Length: 13\r\n\r\nHello, world\n";

    if (!server->http)
        return n;
    memcpy(buffer, response, sizeof response - 1);
    return sizeof response - 1;
}

static void usage(const char *const *variants)
{
    fprintf(stderr,
            "usage: --port N [--workers N] [--entries N] [--buffers N] [--http] [--variant");
    for (; *variants; variants++)
        fprintf(stderr, " %s", *variants);
    fprintf(stderr, "]\n");
    exit(2);
}

static long integer(const char *text, long least, long most, const char *const *variants)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end || value < least || value > most)
        usage(variants);
    return value;
}

void server_options(int argc, char **argv, const char *const *variants, struct server *server)
{
    static const struct option options[] = {{"port", 1, NULL, 'p'},    {"workers", 1, NULL, 'w'},
                                            {"variant", 1, NULL, 'v'}, {"entries", 1, NULL, 'e'},
                                            {"buffers", 1, NULL, 'b'}, {"http", 0, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *const *known = variants;
    cpu_set_t cpus;
    int option;

    if (sched_getaffinity(0, sizeof cpus, &cpus))
        server_die("sched_getaffinity", errno);
    *server = (struct server){.workers = (unsigned)CPU_COUNT(&cpus), .variant = variants[0]};
    server->entries = 256;
    server->buffers = 1024;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'p')
            server->port = (int)integer(optarg, 0, 65535, variants);
        else if (option == 'w')
            server->workers = (unsigned)integer(optarg, 1, WORKERS_MAX, variants);
        else if (option == 'e')
            server->entries = (unsigned)integer(optarg, 1, 32768, variants);
        else if (option == 'b')
            server->buffers = (unsigned)integer(optarg, 1, 32768, variants);
        else if (option == 'h')
            server->http = true;
        else if (option == 'v')
            server->variant = optarg;
        else
            usage(variants);
    }
    while (*known && strcmp(*known, server->variant) != 0)
        known++;
    if (!*known || optind < argc || server->buffers & (server->buffers - 1))
        usage(variants);
}

static int listen_on(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)*port)};
    socklen_t length = sizeof address;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        server_die("socket", errno);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* accepted sockets inherit it */
    if (bind(fd, (struct sockaddr *)&address, sizeof address))
        server_die("bind", errno);
    if (listen(fd, BACKLOG))
        server_die("listen", errno);
    if (getsockname(fd, (struct sockaddr *)&address, &length))
        server_die("getsockname", errno);
    *port = ntohs(address.sin_port);
    return fd;
}

static void *thread_main(void *argument)
{
    struct start *start = argument;
    cpu_set_t cpus;

    if (start->cpu >= 0) {
        CPU_ZERO(&cpus);
        CPU_SET((unsigned)start->cpu, &cpus);
        pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
    }
    start->worker(start->listener, start->server);
    return NULL;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

void server_run(struct server *server, void (*worker)(int, const struct server *))
{
    static struct start starts[WORKERS_MAX];
    pthread_t thread;
    cpu_set_t cpus;
    int cpu = -1;

    raise_descriptor_limit();
    if (sched_getaffinity(0, sizeof cpus, &cpus))
        server_die("sched_getaffinity", errno);
    for (unsigned i = 0; i < server->workers; i++) {
        starts[i] = (struct start){server, worker, listen_on(&server->port), -1};
        if (server->workers <= (unsigned)CPU_COUNT(&cpus)) {
            do
                cpu++;
            while (!CPU_ISSET((unsigned)cpu, &cpus));
            starts[i].cpu = cpu;
        }
    }
    for (unsigned i = 1; i < server->workers; i++) {
        int error = pthread_create(&thread, NULL, thread_main, &starts[i]);

        if (error)
            server_die("pthread_create", error);
    }
    printf("listening on 127.0.0.1:%d\n", server->port);
    fflush(stdout);
    thread_main(&starts[0]);
    exit(1);
}
