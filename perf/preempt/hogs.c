/*
 * hogs - an echo server beside coroutines that compute without end: hogs --port P [--workers N]
 * [--hogs N] [--counters FILE]. The program in perf/go/hogs does the same with Go.
 *
 * A hog calls nothing. Each thousand steps it stores how far it is into its slot of FILE, which the
 * driver maps: a server that is starved can't be asked. N hogs for each worker start with gyre_go
 * before the first connection is taken, and where they run is the scheduler's choice. Ended by a
 * signal.
 */
#include <gyre.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { STEPS = 1024, HOGS_MAX = 1024 };

/* One cache line each; perf/bench/hogs.py reads them. */
struct slot {
    _Atomic uint64_t loops; /* relaxed: a count, nothing is behind it */
    _Atomic uint64_t sum;   /* relaxed: keeps the compiler from leaving the work out */
    uint64_t unused[6];
};

struct server {
    long port, workers, hogs;
    struct slot *slots;
};

static int hog(void *arg)
{
    struct slot *slot = *(struct slot **)arg;
    uint64_t x = 88172645463325252u;

    for (uint64_t loops = 1; loops; loops++) {
        for (int i = 0; i < STEPS; i++) { /* xorshift: each step waits for the one before */
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
        }
        atomic_store_explicit(&slot->sum, x, memory_order_relaxed);
        atomic_store_explicit(&slot->loops, loops, memory_order_relaxed);
    }
    return 0;
}

static int serve(void *arg)
{
    int fd = *(int *)arg;
    char buf[4096];
    ssize_t n;

    while ((n = gyre_read(fd, buf, sizeof buf)) > 0)
        if ((n = gyre_write_all(fd, buf, (size_t)n, NULL)) < 0)
            break;
    gyre_close(fd);
    return (int)n;
}

static int run(void *arg)
{
    const struct server *server = arg;
    struct gyre_listener *listener;
    char address[GYRE_ADDRESS_SIZE];
    int fd, error;

    snprintf(address, sizeof address, "127.0.0.1:%ld", server->port);
    error = gyre_tcp_listen(&listener, address);
    for (long i = 0; i < server->hogs && !error; i++) {
        struct slot *slot = &server->slots[i];

        error = gyre_go_copy(hog, &slot, sizeof slot);
    }
    if (error)
        return error;
    gyre_local_address(gyre_listener_fd(listener), address, sizeof address);
    printf("listening on %s\n", address);
    fflush(stdout);
    while ((fd = gyre_accept(listener)) >= 0)
        if (gyre_go_copy(serve, &fd, sizeof fd) < 0)
            gyre_close(fd);
    return fd;
}

static struct slot *map_slots(const char *path)
{
    size_t size = HOGS_MAX * sizeof(struct slot);
    int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    struct slot *slots;

    if (path && (fd < 0 || ftruncate(fd, (off_t)size))) {
        perror(path);
        exit(1);
    }
    slots = mmap(NULL, size, PROT_READ | PROT_WRITE,
                 path ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
    if (slots == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return slots;
}

static void usage(void)
{
    fprintf(stderr, "usage: hogs --port P [--workers N] [--hogs N, a worker] [--counters FILE]\n");
    exit(2);
}

static long number(const char *text, long most)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end || value < 0 || value > most)
        usage();
    return value;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"port", 1, NULL, 'p'},
                                          {"workers", 1, NULL, 'w'},
                                          {"hogs", 1, NULL, 'h'},
                                          {"counters", 1, NULL, 'c'},
                                          {NULL, 0, NULL, 0}};
    struct gyre_options options = GYRE_OPTIONS_INIT;
    struct server server = {.port = -1, .workers = 1};
    const char *counters = NULL;
    struct rlimit limit;
    int option, error;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'p')
            server.port = number(optarg, 65535);
        else if (option == 'w')
            server.workers = number(optarg, HOGS_MAX);
        else if (option == 'h')
            server.hogs = number(optarg, HOGS_MAX);
        else if (option == 'c')
            counters = optarg;
        else
            usage();
    }
    server.hogs *= server.workers;
    if (optind < argc || server.port < 0 || server.workers < 1 || server.hogs > HOGS_MAX)
        usage();
    server.slots = map_slots(counters);
    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    options.workers = (unsigned)server.workers;
    error = gyre_run_options(run, &server, &options);
    fprintf(stderr, "hogs: %s\n", strerror(-error));
    return 1;
}
