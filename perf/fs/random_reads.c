/*
 * 4 KiB random reads, 64 at a time, by 64 coroutines on one worker and by io_uring used directly;
 * from the page cache and with O_DIRECT, with plain and with registered buffers. Interleaved
 * rounds; per case the median reads a second of both, their ratio, and CPU time a read.
 *
 * usage: random_reads [DIRECTORY [ROUNDS]]     a file of 256 MiB is made there
 */
#include <gyre.h>
#include <liburing.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH = 64, BLOCK = 4096, FILE_SIZE = 256 << 20, ROUNDS_MAX = 64, CASES = 4 };

struct scene {
    int fd;
    bool registered;
    unsigned reads; /* in all */
    unsigned left;  /* to be begun */
    struct gyre_buffers *buffers;
    char *memory;
    double rate, cpu; /* reads a second; us a read */
    int error;
};

static double now(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static off_t random_offset(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (off_t)(*state % (FILE_SIZE / BLOCK)) * BLOCK;
}

/* --- gyre ------------------------------------------------------------------------------------- */

struct reader {
    struct scene *scene;
    unsigned index;
};

static int read_some(void *argument)
{
    struct reader *reader = argument;
    struct scene *scene = reader->scene;
    uint64_t state = reader->index * 0x9e3779b97f4a7c15 + 1;
    char *memory = scene->memory + reader->index * BLOCK;

    while (scene->left) {
        off_t offset = random_offset(&state);
        ssize_t n;

        scene->left--;
        n = scene->registered
                ? gyre_pread_buffer(scene->fd, scene->buffers, reader->index, BLOCK, offset)
                : gyre_pread(scene->fd, memory, BLOCK, offset);
        if (n != BLOCK)
            scene->error = 1;
    }
    return 0;
}

static int read_in_coroutines(void *argument)
{
    struct scene *scene = argument;
    struct reader readers[DEPTH];
    gyre_handle handles[DEPTH];
    double began, cpu;

    if (gyre_buffers_create(&scene->buffers, DEPTH, BLOCK))
        return 1;
    scene->left = scene->reads;
    began = now(CLOCK_MONOTONIC);
    cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    for (unsigned i = 0; i < DEPTH; i++) {
        readers[i] = (struct reader){scene, i};
        if (gyre_spawn(&handles[i], read_some, &readers[i]))
            return 1;
    }
    for (unsigned i = 0; i < DEPTH; i++)
        gyre_join(handles[i], NULL);
    scene->rate = scene->reads / (now(CLOCK_MONOTONIC) - began);
    scene->cpu = (now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / scene->reads * 1e6;
    gyre_buffers_destroy(scene->buffers);
    return scene->error;
}

static int run_gyre(struct scene *scene)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 1;
    return gyre_run_options(read_in_coroutines, scene, &options);
}

/* --- io_uring --------------------------------------------------------------------------------- */

static void submit_read(struct io_uring *ring, struct scene *scene, unsigned index, uint64_t *state)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    char *memory = scene->memory + index * BLOCK;
    uint64_t offset = (uint64_t)random_offset(state);

    scene->left--;
    if (scene->registered)
        io_uring_prep_read_fixed(sqe, scene->fd, memory, BLOCK, offset, (int)index);
    else
        io_uring_prep_read(sqe, scene->fd, memory, BLOCK, offset);
    sqe->user_data = index;
}

static void reap_and_go_on(struct io_uring *ring, struct scene *scene, uint64_t *states,
                           unsigned *flying)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;

    io_uring_for_each_cqe(ring, head, cqe)
    {
        unsigned index = (unsigned)cqe->user_data;

        count++;
        (*flying)--;
        if (cqe->res != BLOCK)
            scene->error = 1;
        if (scene->left) {
            submit_read(ring, scene, index, &states[index]);
            (*flying)++;
        }
    }
    io_uring_cq_advance(ring, count);
}

static int run_raw(struct scene *scene)
{
    struct io_uring ring;
    struct io_uring_params params = {.flags = IORING_SETUP_COOP_TASKRUN |
                                              IORING_SETUP_TASKRUN_FLAG |
                                              IORING_SETUP_SINGLE_ISSUER};
    struct iovec pieces[DEPTH];
    uint64_t states[DEPTH];
    unsigned flying = DEPTH;
    double began, cpu;

    if (io_uring_queue_init_params(2 * DEPTH, &ring, &params))
        return 1;
    io_uring_register_ring_fd(&ring);
    for (unsigned i = 0; i < DEPTH; i++)
        pieces[i] = (struct iovec){scene->memory + i * BLOCK, BLOCK};
    if (io_uring_register_buffers(&ring, pieces, DEPTH))
        return 1;
    scene->left = scene->reads;
    began = now(CLOCK_MONOTONIC);
    cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    for (unsigned i = 0; i < DEPTH; i++) {
        states[i] = i * 0x9e3779b97f4a7c15 + 1;
        submit_read(&ring, scene, i, &states[i]);
    }
    while (flying) {
        io_uring_submit_and_wait(&ring, 1);
        reap_and_go_on(&ring, scene, states, &flying);
    }
    scene->rate = scene->reads / (now(CLOCK_MONOTONIC) - began);
    scene->cpu = (now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / scene->reads * 1e6;
    io_uring_queue_exit(&ring);
    return scene->error;
}

/* --- comparing -------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool direct, registered;
    unsigned reads;
} cases[CASES] = {
    {"page cache", false, false, 800000},
    {"page cache, registered", false, true, 800000},
    {"O_DIRECT", true, false, 40000},
    {"O_DIRECT, registered", true, true, 40000},
};

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

struct series {
    double rate[2][ROUNDS_MAX], cpu[2][ROUNDS_MAX], ratio[ROUNDS_MAX];
};

static int measure(const int fds[2], char *memory, unsigned rounds, struct series series[CASES])
{
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned i = 0; i < CASES; i++) {
            for (unsigned turn = 0; turn < 2; turn++) {
                unsigned who = (turn + round) % 2; /* each is first as often */
                struct scene scene = {.fd = fds[cases[i].direct],
                                      .registered = cases[i].registered,
                                      .reads = cases[i].reads,
                                      .memory = memory};

                if (scene.fd < 0)
                    continue;
                if (who ? run_raw(&scene) : run_gyre(&scene)) {
                    fprintf(stderr, "random_reads: %s failed\n", cases[i].name);
                    return 1;
                }
                series[i].rate[who][round] = scene.rate;
                series[i].cpu[who][round] = scene.cpu;
            }
            series[i].ratio[round] = series[i].rate[0][round] / series[i].rate[1][round];
        }
    return 0;
}

int main(int argc, char **argv)
{
    static struct series series[CASES];
    const unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 9;
    char name[4096], *memory = aligned_alloc(BLOCK, 1 << 20);
    int fds[2];

    snprintf(name, sizeof name, "%s/gyre-random-XXXXXX", argc > 1 ? argv[1] : ".");
    if (!rounds || rounds > ROUNDS_MAX || !memory || (fds[0] = mkstemp(name)) < 0)
        return 2;
    fds[1] = open(name, O_RDONLY | O_DIRECT | O_CLOEXEC);
    unlink(name);
    memset(memory, 'x', 1 << 20);
    for (off_t at = 0; at < FILE_SIZE; at += 1 << 20)
        if (pwrite(fds[0], memory, 1 << 20, at) != 1 << 20)
            return 1;
    fsync(fds[0]);
    if (measure(fds, memory, rounds, series))
        return 1;
    printf("%-24s %12s %12s %7s %11s %11s\n", "case", "gyre/s", "io_uring/s", "ratio",
           "gyre CPU us", "raw CPU us");
    for (unsigned i = 0; i < CASES; i++)
        printf("%-24s %12.0f %12.0f %7.3f %11.2f %11.2f\n", cases[i].name,
               median(series[i].rate[0], rounds), median(series[i].rate[1], rounds),
               median(series[i].ratio, rounds), median(series[i].cpu[0], rounds),
               median(series[i].cpu[1], rounds));
    return 0;
}
