/*
 * 4 KiB random reads, 64 at a time, by 64 coroutines on one worker or by io_uring used directly;
 * with plain and with registered buffers. Prints reads a second and the CPU time of each as JSON.
 */
#include <gyre.h>
#include <liburing.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH = 64, BLOCK = 4096, BETWEEN = 1024 /* reads between looks at the clock */ };

struct scene {
    int fd;
    bool registered;
    uint64_t blocks; /* of the file */
    double seconds;
    uint64_t reads;       /* begun */
    double began, cpu_at; /* when */
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

static void begin(struct scene *scene)
{
    scene->reads = 0;
    scene->began = now(CLOCK_MONOTONIC);
    scene->cpu_at = now(CLOCK_PROCESS_CPUTIME_ID);
}

static void end(struct scene *scene)
{
    double reads = (double)scene->reads;

    scene->rate = reads / (now(CLOCK_MONOTONIC) - scene->began);
    scene->cpu = (now(CLOCK_PROCESS_CPUTIME_ID) - scene->cpu_at) / reads * 1e6;
}

/* Whether one more is to be read; counts it. */
static bool go_on(struct scene *scene)
{
    if (scene->reads % BETWEEN == 0 && now(CLOCK_MONOTONIC) - scene->began >= scene->seconds)
        return false;
    scene->reads++;
    return true;
}

static off_t random_offset(const struct scene *scene, uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (off_t)(*state % scene->blocks) * BLOCK;
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

    while (go_on(scene)) {
        off_t offset = random_offset(scene, &state);
        ssize_t n;

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

    if (gyre_buffers_create(&scene->buffers, DEPTH, BLOCK))
        return 1;
    begin(scene);
    for (unsigned i = 0; i < DEPTH; i++) {
        readers[i] = (struct reader){scene, i};
        if (gyre_spawn(&handles[i], read_some, &readers[i]))
            return 1;
    }
    for (unsigned i = 0; i < DEPTH; i++)
        gyre_join(handles[i], NULL);
    end(scene);
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
    uint64_t offset = (uint64_t)random_offset(scene, state);

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
        if (go_on(scene)) {
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

    if (io_uring_queue_init_params(2 * DEPTH, &ring, &params))
        return 1;
    io_uring_register_ring_fd(&ring);
    for (unsigned i = 0; i < DEPTH; i++)
        pieces[i] = (struct iovec){scene->memory + i * BLOCK, BLOCK};
    if (io_uring_register_buffers(&ring, pieces, DEPTH))
        return 1;
    begin(scene);
    for (unsigned i = 0; i < DEPTH; i++) {
        scene->reads++;
        states[i] = i * 0x9e3779b97f4a7c15 + 1;
        submit_read(&ring, scene, i, &states[i]);
    }
    while (flying) {
        io_uring_submit_and_wait(&ring, 1);
        reap_and_go_on(&ring, scene, states, &flying);
    }
    end(scene);
    io_uring_queue_exit(&ring);
    return scene->error;
}

/* --- one case --------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    struct scene scene = {0};
    bool raw = argc > 1 && !strcmp(argv[1], "raw"), direct = argc > 2 && !strcmp(argv[2], "direct");
    struct stat status;

    if (argc != 6) {
        fprintf(stderr,
                "usage: random_reads gyre|raw direct|cached plain|registered FILE SECONDS\n");
        return 2;
    }
    scene.registered = !strcmp(argv[3], "registered");
    scene.fd = open(argv[4], O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0));
    scene.memory = aligned_alloc(BLOCK, DEPTH * BLOCK);
    if (scene.fd < 0 || fstat(scene.fd, &status) || status.st_size < BLOCK || !scene.memory) {
        perror("random_reads");
        return 1;
    }
    memset(scene.memory, 'x', DEPTH * BLOCK);
    scene.blocks = (uint64_t)status.st_size / BLOCK;
    scene.seconds = atof(argv[5]);
    if (raw ? run_raw(&scene) : run_gyre(&scene)) {
        fprintf(stderr, "random_reads: a read failed\n");
        return 1;
    }
    printf("{\"iops\": %.1f, \"cpu_us\": %.4f}\n", scene.rate, scene.cpu);
    return 0;
}
