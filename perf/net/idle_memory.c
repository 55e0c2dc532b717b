/*
 * What an idle connection costs in memory: idle_memory feed|read [N]. N TCP connections on the
 * loopback, a coroutine each, which was sent one message and waits for the next: by a feed, or in
 * gyre_read with a buffer of 4 KiB on its stack. Prints the bytes a connection as JSON, of the
 * process: what the kernel keeps for a socket is not in it.
 */
#include <gyre.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int connections = 9000; /* two descriptors each, of 20,000 */
static bool with_feed;
static atomic_int heard;

static int serve_feed(void *arg)
{
    struct gyre_feed *feed;
    struct gyre_piece piece;
    int error = gyre_feed_open(&feed, *(int *)arg, NULL);

    if (error)
        return error;
    while (gyre_feed_next(feed, &piece) == 1) {
        gyre_feed_return(&piece);
        atomic_fetch_add(&heard, 1);
    }
    gyre_feed_close(feed);
    return gyre_close(*(int *)arg);
}

static int serve_read(void *arg)
{
    char buffer[4096];

    while (gyre_read(*(int *)arg, buffer, sizeof buffer) > 0)
        atomic_fetch_add(&heard, 1);
    return gyre_close(*(int *)arg);
}

static long resident(void)
{
    long all = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file || fscanf(file, "%ld %ld", &all, &pages) != 2)
        pages = 0;
    if (file)
        fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static int measure(void *arg)
{
    struct gyre_listener *listener;
    int *fds = calloc(2 * (size_t)connections, sizeof *fds), error;
    char address[GYRE_ADDRESS_SIZE];
    long before, after;

    (void)arg;
    error = fds ? gyre_tcp_listen(&listener, "127.0.0.1:0") : -ENOMEM;
    if (error)
        return error;
    if (gyre_local_address(gyre_listener_fd(listener), address, sizeof address) < 0)
        return -EINVAL;
    for (int i = 0; i < connections; i++) {
        fds[2 * i] = gyre_tcp_dial(address);
        fds[2 * i + 1] = gyre_accept(listener);
        if (fds[2 * i] < 0 || fds[2 * i + 1] < 0)
            return -EMFILE;
    }
    before = resident();
    for (int i = 0; i < connections; i++)
        gyre_go(with_feed ? serve_feed : serve_read, &fds[2 * i + 1]);
    gyre_sleep(100 * GYRE_MILLISECOND);
    for (int i = 0; i < connections; i++)
        gyre_write(fds[2 * i], "hello", 5);
    while (atomic_load(&heard) < connections)
        gyre_sleep(10 * GYRE_MILLISECOND);
    after = resident();
    gyre_sleep(5 * GYRE_SECOND);
    printf("{\"bytes\": %ld, \"bytes_later\": %ld}\n", (after - before) / connections,
           (resident() - before) / connections);
    fflush(stdout);
    _exit(0);
}

int main(int argc, char **argv)
{
    struct rlimit limit;

    with_feed = argc > 1 && !strcmp(argv[1], "feed");
    if (argc > 2)
        connections = atoi(argv[2]);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return gyre_run(measure, NULL) < 0;
}
