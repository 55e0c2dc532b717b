/*
 * A file in the page cache to a TCP connection over loopback: read and send through a buffer, a
 * splice by way of a pipe, a zero-copy send from a mapping; and gyre_sendfile_all as it is. One
 * worker sends, another process throws away. Prints MiB a second, and the sender's CPU time (its
 * kernel workers included) a transfer, as JSON.
 */
#include <gyre.h>

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FILE_SIZE = 64 << 20, WAYS = 5 };

struct scene {
    int file, out, pipe[2];
    char *map, *buffer;
    const struct way *way;
    size_t size; /* of a transfer; the file's is a multiple of it */
    double seconds;
};

/* --- the ways --------------------------------------------------------------------------------- */

static ssize_t read_and_send(struct scene *scene, off_t offset, size_t size, size_t chunk)
{
    for (size_t done = 0; done < size;) {
        size_t want = size - done < chunk ? size - done : chunk;
        ssize_t n = gyre_pread(scene->file, scene->buffer, want, offset + (off_t)done);

        if (n <= 0 || gyre_write_all(scene->out, scene->buffer, (size_t)n, NULL) < 0)
            return -1;
        done += (size_t)n;
    }
    return (ssize_t)size;
}

static ssize_t by_small_buffer(struct scene *scene, off_t offset, size_t size)
{
    return read_and_send(scene, offset, size, 64 << 10);
}

static ssize_t by_large_buffer(struct scene *scene, off_t offset, size_t size)
{
    return read_and_send(scene, offset, size, 256 << 10);
}

static ssize_t by_splice(struct scene *scene, off_t offset, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t in = gyre_splice(scene->file, &offset, scene->pipe[1], NULL, size - done, 0);

        if (in <= 0)
            return -1;
        for (ssize_t left = in; left;) {
            ssize_t n = gyre_splice(scene->pipe[0], NULL, scene->out, NULL, (size_t)left, 0);

            if (n <= 0)
                return -1;
            left -= n;
        }
        done += (size_t)in;
    }
    return (ssize_t)size;
}

static ssize_t by_zero_copy(struct scene *scene, off_t offset, size_t size)
{
    return gyre_send_zero_copy(scene->out, scene->map + offset, size, NULL, NULL);
}

static ssize_t as_it_is(struct scene *scene, off_t offset, size_t size)
{
    return gyre_sendfile_all(scene->out, scene->file, offset, size, NULL);
}

static const struct way {
    const char *name;
    ssize_t (*send)(struct scene *scene, off_t offset, size_t size);
} ways[WAYS] = {
    {"sendfile_all", as_it_is},        {"small_buffer", by_small_buffer},
    {"large_buffer", by_large_buffer}, {"splice", by_splice},
    {"zero_copy", by_zero_copy},
};

/* --- measuring -------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int measure(void *argument)
{
    struct scene *scene = argument;
    double began = now(), cpu = cpu_seconds(), elapsed;
    uint64_t bytes = 0;

    do {
        off_t offset = (off_t)(bytes % FILE_SIZE);

        if (scene->way->send(scene, offset, scene->size) != (ssize_t)scene->size)
            return 1;
        bytes += scene->size;
        elapsed = now() - began;
    } while (elapsed < scene->seconds);
    printf("{\"rate\": %.1f, \"cpu_us\": %.3f}\n", (double)bytes / elapsed / (1 << 20),
           (cpu_seconds() - cpu) / (double)(bytes / scene->size) * 1e6);
    return 0;
}

/* --- the scene -------------------------------------------------------------------------------- */

static int connect_sink(pid_t *sink)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), out;

    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &length))
        return -1;
    *sink = fork();
    if (!*sink) {
        int in = accept(listener, NULL, NULL);
        char *buffer = malloc(1 << 20);

        while (recv(in, buffer, 1 << 20, MSG_TRUNC) > 0) /* thrown away by the kernel */
            ;
        _exit(0);
    }
    out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(out, (struct sockaddr *)&address, length))
        return -1;
    close(listener);
    return out;
}

int main(int argc, char **argv)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    char name[] = "/tmp/gyre-sendfile-XXXXXX";
    struct scene scene = {0};
    pid_t sink = -1;
    int result;

    for (const struct way *way = ways; way < ways + WAYS && argc == 4; way++)
        if (!strcmp(way->name, argv[1]))
            scene.way = way;
    if (scene.way) {
        scene.size = strtoul(argv[2], NULL, 10);
        scene.seconds = atof(argv[3]);
    }
    if (!scene.size || FILE_SIZE % scene.size) {
        fprintf(stderr, "usage: sendfile WAY SIZE SECONDS\n");
        return 2;
    }
    scene.out = connect_sink(&sink);
    scene.file = mkstemp(name);
    scene.buffer = malloc(1 << 20);
    memset(scene.buffer, 'x', 1 << 20);
    unlink(name);
    for (off_t at = 0; at < FILE_SIZE; at += 1 << 20)
        if (pwrite(scene.file, scene.buffer, 1 << 20, at) != 1 << 20)
            return 1;
    scene.map = mmap(NULL, FILE_SIZE, PROT_READ, MAP_SHARED | MAP_POPULATE, scene.file, 0);
    if (scene.out < 0 || scene.map == MAP_FAILED || gyre_pipe(scene.pipe))
        return 1;
    fcntl(scene.pipe[1], F_SETPIPE_SZ, 1 << 20);
    options.workers = 1;
    result = gyre_run_options(measure, &scene, &options);
    kill(sink, SIGKILL);
    waitpid(sink, NULL, 0);
    if (result)
        fprintf(stderr, "sendfile: %s failed\n", scene.way->name);
    return result != 0;
}
