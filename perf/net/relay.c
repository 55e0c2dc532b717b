/*
 * Bytes of one TCP connection passed on to another, over loopback: read and write through a buffer,
 * splices by way of a pipe, on the kernel's workers or by the plain system call; and gyre_relay_all
 * as it is. One worker relays. In bulk: a process sends, another throws away. As messages: a
 * process sends 64 bytes and waits until they have come. Per way: MiB a second or thousand messages
 * a second, and the relay's CPU time (its kernel workers included) a GiB or a message; the median
 * of interleaved rounds.
 *
 * usage: relay [ROUNDS [KIB]]  (KIB: what is sent at once in bulk)
 */
#include <gyre.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BULK = 512 << 20, MESSAGE = 64, MESSAGES = 20000, ROUNDS_MAX = 64, WAYS = 5 };

struct scene {
    int from, to; /* of the kind that is measured */
    int pipe[2];
    char *buffer;
    unsigned rounds;
    int bulk[2], messages[2];
};

/* --- the ways --------------------------------------------------------------------------------- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int read_and_write(struct scene *scene, size_t size, size_t chunk)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = gyre_read(scene->from, scene->buffer, least(size - done, chunk));

        if (n <= 0 || gyre_write_all(scene->to, scene->buffer, (size_t)n, NULL) < 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

static int by_small_buffer(struct scene *scene, size_t size)
{
    return read_and_write(scene, size, 16 << 10);
}

static int by_large_buffer(struct scene *scene, size_t size)
{
    return read_and_write(scene, size, 64 << 10);
}

static int by_ring_splice(struct scene *scene, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t in =
            gyre_splice(scene->from, NULL, scene->pipe[1], NULL, least(size - done, 1 << 20), 0);

        if (in <= 0)
            return -1;
        for (ssize_t left = in; left;) {
            ssize_t n = gyre_splice(scene->pipe[0], NULL, scene->to, NULL, (size_t)left, 0);

            if (n <= 0)
                return -1;
            left -= n;
        }
        done += (size_t)in;
    }
    return 0;
}

/* On descriptors in non-blocking mode: how fast a splice could be at best. */
static ssize_t splice_now(int in, int out, size_t size)
{
    for (;;) {
        ssize_t n = splice(in, NULL, out, NULL, size, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        struct pollfd sides[2] = {{.fd = in, .events = POLLIN}, {.fd = out, .events = POLLOUT}};

        if (n >= 0 || errno != EAGAIN)
            return n;
        poll(sides, 2, 0);
        for (int i = 0; i < 2; i++)
            if (!sides[i].revents && gyre_poll(sides[i].fd, (unsigned)sides[i].events) < 0)
                return -1;
    }
}

static int by_plain_splice(struct scene *scene, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t in = splice_now(scene->from, scene->pipe[1], least(size - done, 1 << 20));

        if (in <= 0)
            return -1;
        for (ssize_t left = in; left;) {
            ssize_t n = splice_now(scene->pipe[0], scene->to, (size_t)left);

            if (n <= 0)
                return -1;
            left -= n;
        }
        done += (size_t)in;
    }
    return 0;
}

static int as_it_is(struct scene *scene, size_t size)
{
    return gyre_relay_all(scene->from, scene->to, size, NULL) == (ssize_t)size ? 0 : -1;
}

static const struct {
    const char *name;
    int (*relay)(struct scene *scene, size_t size);
    bool nonblocking;
} ways[WAYS] = {
    {"read+write, 16 KiB", by_small_buffer, false},
    {"read+write, 64 KiB", by_large_buffer, false},
    {"splice by the ring", by_ring_splice, false},
    {"splice, plain", by_plain_splice, true},
    {"gyre_relay_all", as_it_is, false},
};

/* --- measuring -------------------------------------------------------------------------------- */

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

struct measured {
    double rate[ROUNDS_MAX], cpu[ROUNDS_MAX];
};

static void set_mode(int fd, bool nonblocking)
{
    fcntl(fd, F_SETFL, nonblocking ? O_NONBLOCK : 0);
}

static int measure(struct scene *scene, unsigned way, const int *fds, size_t size, unsigned round,
                   struct measured *measured)
{
    double began = seconds(), cpu = cpu_seconds();

    scene->from = fds[0];
    scene->to = fds[1];
    for (int i = 0; i < 2; i++)
        set_mode(fds[i], ways[way].nonblocking);
    if (ways[way].relay(scene, size)) {
        fprintf(stderr, "relay: %s failed\n", ways[way].name);
        return 1;
    }
    for (int i = 0; i < 2; i++)
        set_mode(fds[i], false);
    measured->rate[round] = (double)size / (seconds() - began);
    measured->cpu[round] = (cpu_seconds() - cpu) / (double)size;
    return 0;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

static int measure_all(void *argument)
{
    static struct measured bulk[WAYS], messages[WAYS];
    struct scene *scene = argument;

    for (unsigned round = 0; round < scene->rounds; round++)
        for (unsigned way = 0; way < WAYS; way++)
            if (measure(scene, way, scene->bulk, BULK, round, &bulk[way]) ||
                measure(scene, way, scene->messages, (size_t)MESSAGE * MESSAGES, round,
                        &messages[way]))
                return 1;
    printf("%-22s %12s %12s %12s %16s\n", "way", "bulk MiB/s", "CPU ms/GiB", "messages/ms",
           "CPU us/message");
    for (unsigned way = 0; way < WAYS; way++)
        printf("%-22s %12.0f %12.0f %12.1f %16.2f\n", ways[way].name,
               median(bulk[way].rate, scene->rounds) / (1 << 20),
               median(bulk[way].cpu, scene->rounds) * (1 << 30) * 1e3,
               median(messages[way].rate, scene->rounds) / MESSAGE / 1e3,
               median(messages[way].cpu, scene->rounds) * MESSAGE * 1e6);
    return 0;
}

/* --- the scene -------------------------------------------------------------------------------- */

static int connect_pair(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &length) ||
        connect(fds[0], (struct sockaddr *)&address, length))
        return -1;
    fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    close(listener);
    for (int i = 0; i < 2; i++)
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fds[1];
}

static void send_for_ever(int fd, size_t size)
{
    char *buffer = calloc(1, size);

    while (send(fd, buffer, size, MSG_NOSIGNAL) > 0)
        ;
}

static void receive_for_ever(int fd)
{
    static char buffer[256 << 10];

    /* read, not thrown away by the kernel: as a program would */
    while (recv(fd, buffer, sizeof buffer, 0) > 0)
        ;
}

static void exchange_for_ever(int out, int in)
{
    char message[MESSAGE] = {0};

    while (send(out, message, MESSAGE, MSG_NOSIGNAL) == MESSAGE &&
           recv(in, message, MESSAGE, MSG_WAITALL) == MESSAGE)
        ;
}

int main(int argc, char **argv)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    struct scene scene = {.rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 7};
    const size_t piece = (size_t)(argc > 2 ? atoi(argv[2]) : 64) << 10;
    int in[2][2], out[2][2], result;
    pid_t children[3];

    if (!scene.rounds || scene.rounds > ROUNDS_MAX || !piece)
        return 2;
    for (int i = 0; i < 2; i++)
        if (connect_pair(in[i]) < 0 || connect_pair(out[i]) < 0)
            return 1;
    for (int i = 0; i < 3; i++)
        if (!(children[i] = fork())) {
            if (i == 0)
                send_for_ever(in[0][0], piece);
            else if (i == 1)
                receive_for_ever(out[0][1]);
            else
                exchange_for_ever(in[1][0], out[1][1]);
            _exit(0);
        }
    scene.bulk[0] = in[0][1];
    scene.bulk[1] = out[0][0];
    scene.messages[0] = in[1][1];
    scene.messages[1] = out[1][0];
    scene.buffer = malloc(64 << 10);
    if (gyre_pipe(scene.pipe))
        return 1;
    fcntl(scene.pipe[1], F_SETPIPE_SZ, 1 << 20);
    options.workers = 1;
    result = gyre_run_options(measure_all, &scene, &options);
    for (int i = 0; i < 3; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    return result != 0;
}
