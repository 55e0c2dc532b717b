/*
 * What a stream costs: lines of a file against read and memchr by hand, by the size of the buffer;
 * and an echo over a socket pair against plain gyre_read and gyre_write, by what limits the wait.
 * CPU time of the process, the least and the median of interleaved rounds.
 *
 * usage: stream [ROUNDS [MEGABYTES]]
 */
#include <gyre.h>

#include <gyre/stream.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUNDS_MAX = 99, ECHOES = 20000, MESSAGE = 64, LINE = 64 };

static int rounds = 9;
static size_t file_size = 100u << 20;
static int file;

static double cpu_now(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* --- lines -------------------------------------------------------------------------------------
 */

/* Returns how many there were. */
static size_t read_lines(size_t buffer)
{
    struct gyre_stream_options options = GYRE_STREAM_INIT;
    struct gyre_stream *stream;
    size_t count = 0;
    char *line;

    options.read_buffer = buffer;
    options.keep_fd = 1;
    lseek(file, 0, SEEK_SET);
    if (gyre_stream_open(&stream, file, &options))
        abort();
    while (gyre_stream_line(stream, &line, NULL) == 1)
        count++;
    gyre_stream_close(stream);
    return count;
}

static size_t by_hand(size_t size)
{
    char *buffer = malloc(size);
    size_t count = 0;
    ssize_t n;

    lseek(file, 0, SEEK_SET);
    while ((n = gyre_read(file, buffer, size)) > 0)
        for (char *at = buffer; (at = memchr(at, '\n', (size_t)(buffer + n - at))); at++)
            count++;
    free(buffer);
    return count;
}

/* --- echo --------------------------------------------------------------------------------------
 */

enum limit { PLAIN, PLAIN_TIMEOUT, STREAM, STREAM_ONE, STREAM_EACH, STREAM_TIMEOUT };

static int serve(void *arg)
{
    int fd = *(int *)arg;
    char buffer[MESSAGE];

    while (gyre_read(fd, buffer, MESSAGE) == MESSAGE)
        gyre_write(fd, buffer, MESSAGE);
    gyre_close(fd);
    return 0;
}

static void ask(int fd, struct gyre_stream *stream, enum limit limit)
{
    char buffer[MESSAGE] = "";

    if (limit == STREAM_EACH)
        gyre_stream_set_deadline(stream, gyre_now() + 60 * GYRE_SECOND);
    if (limit <= PLAIN_TIMEOUT) {
        gyre_write(fd, buffer, MESSAGE);
        gyre_read(fd, buffer, MESSAGE);
    } else {
        gyre_stream_write(stream, buffer, MESSAGE, NULL);
        gyre_stream_flush(stream);
        gyre_stream_read(stream, buffer, MESSAGE);
    }
}

static size_t echo(size_t limit)
{
    struct gyre_stream *stream;
    gyre_handle server;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) ||
        gyre_stream_open(&stream, fds[0], NULL) || gyre_spawn(&server, serve, &fds[1]))
        abort();
    if (limit == STREAM_ONE)
        gyre_stream_set_deadline(stream, gyre_now() + 60 * GYRE_SECOND);
    for (int i = 0; i < ECHOES; i++) {
        if (limit == PLAIN_TIMEOUT || limit == STREAM_TIMEOUT) {
            GYRE_TIMEOUT(60 * GYRE_SECOND);
            ask(fds[0], stream, (enum limit)limit);
        } else {
            ask(fds[0], stream, (enum limit)limit);
        }
    }
    gyre_stream_close(stream);
    gyre_join(server, NULL);
    return ECHOES;
}

/* --- measuring ---------------------------------------------------------------------------------
 */

static struct work {
    const char *name;
    size_t (*run)(size_t argument);
    size_t argument;
    double took[ROUNDS_MAX]; /* ns for each line or echo */
} works[] = {
    {"line, gyre_read of 64 KiB and memchr", by_hand, 65536, {0}},
    {"line, gyre_read of 4 KiB and memchr", by_hand, 4096, {0}},
    {"line, stream", read_lines, 0, {0}},
    {"line, stream of 32 KiB", read_lines, 32768, {0}},
    {"line, stream of 64 KiB", read_lines, 65536, {0}},
    {"line, stream of 256 KiB", read_lines, 262144, {0}},
    {"echo, gyre_read and gyre_write", echo, PLAIN, {0}},
    {"echo, the same in a GYRE_TIMEOUT", echo, PLAIN_TIMEOUT, {0}},
    {"echo, stream", echo, STREAM, {0}},
    {"echo, stream, one deadline", echo, STREAM_ONE, {0}},
    {"echo, stream, deadline moved each time", echo, STREAM_EACH, {0}},
    {"echo, stream in a GYRE_TIMEOUT", echo, STREAM_TIMEOUT, {0}},
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int measure(void *unused)
{
    size_t works_count = sizeof works / sizeof *works;

    (void)unused;
    for (int round = -1; round < rounds; round++)
        for (size_t i = 0; i < works_count; i++) {
            double start = cpu_now();
            size_t count = works[i].run(works[i].argument);

            if (round >= 0)
                works[i].took[round] = (cpu_now() - start) * 1e9 / (double)count;
        }
    for (size_t i = 0; i < works_count; i++) {
        qsort(works[i].took, (size_t)rounds, sizeof(double), compare);
        printf("%-40s %8.1f %8.1f ns\n", works[i].name, works[i].took[0],
               works[i].took[rounds / 2]);
    }
    return 0;
}

static void make_file(void)
{
    char block[1 << 16], path[] = "/dev/shm/gyre-stream-XXXXXX";

    file = mkstemp(path);
    if (file < 0)
        abort();
    unlink(path);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = i % LINE == LINE - 1 ? '\n' : 'x';
    for (size_t size = 0; size < file_size; size += sizeof block)
        if (write(file, block, sizeof block) != sizeof block)
            abort();
}

int main(int argc, char **argv)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    if (argc > 1 && atoi(argv[1]) > 0 && atoi(argv[1]) <= ROUNDS_MAX)
        rounds = atoi(argv[1]);
    if (argc > 2 && atol(argv[2]) > 0)
        file_size = (size_t)atol(argv[2]) << 20;
    make_file();
    options.workers = 1;
    return gyre_run_options(measure, NULL, &options);
}
