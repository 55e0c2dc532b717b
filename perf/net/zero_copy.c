/*
 * From which size on a send without a copy is cheaper than one with: UDP to the address given, each
 * size in turns, medians of the time from the submission to the last completion; from one buffer,
 * or from as many MiB of them as the second argument says, so that they are not in the caches.
 * Loopback copies at any rate, and so does whatever delivers to a socket of this machine:
 * zero_copy.sh makes a network whose other end throws everything away.
 */
#include "ring/abi.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 21, SENDS = 400, DISCARD = 9, LARGEST = 64 << 10 };

static const unsigned sizes[] = {1 << 10,  2 << 10,  4 << 10,  8 << 10,  12 << 10,
                                 16 << 10, 24 << 10, 32 << 10, 48 << 10, 60 << 10};
static struct io_uring ring;
static char *memory;
static size_t memory_size = LARGEST, at;
static unsigned copies;

static void fail(const char *what, int error)
{
    fprintf(stderr, "%s: %s\n", what, strerror(-error));
    exit(1);
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void send_once(int fd, unsigned size, bool in_place)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    const char *buffer = memory + at;
    unsigned flags = 0;

    at = (at + LARGEST) % memory_size;
    if (in_place)
        io_uring_prep_send_zc(sqe, fd, buffer, size, 0, ABI_SEND_ZC_REPORT_USAGE);
    else
        io_uring_prep_send(sqe, fd, buffer, size, 0);
    io_uring_submit_and_wait(&ring, 1);
    do {
        struct io_uring_cqe *cqe;
        int error = io_uring_wait_cqe(&ring, &cqe);

        if (error)
            fail("wait", error);
        flags = cqe->flags;
        if (flags & IORING_CQE_F_NOTIF)
            copies += ((unsigned)cqe->res & ABI_NOTIF_USAGE_COPIED) != 0;
        else if (cqe->res != (int)size)
            fail("send", cqe->res);
        io_uring_cqe_seen(&ring, cqe);
    } while (flags & IORING_CQE_F_MORE);
}

static double time_sends(int fd, unsigned size, bool in_place)
{
    double start = now();

    for (int i = 0; i < SENDS; i++)
        send_once(fd, size, in_place);
    return (now() - start) / SENDS;
}

static int compare(const void *a, const void *b)
{
    double one = *(const double *)a, other = *(const double *)b;

    return (one > other) - (one < other);
}

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(DISCARD)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0), error;
    const unsigned setup = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN;

    if (argc < 2 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
        fprintf(stderr, "usage: %s address [MiB]\n", argv[0]);
        return 1;
    }
    if (argc > 2 && atoi(argv[2]) > 0)
        memory_size = (size_t)atoi(argv[2]) << 20;
    memory = malloc(memory_size);
    if (!memory)
        fail("malloc", -ENOMEM);
    memset(memory, 1, memory_size);
    error = io_uring_queue_init(8, &ring, setup);
    if (error)
        fail("io_uring", error);
    printf("%8s %10s %10s %7s %8s\n", "bytes", "plain, ns", "place, ns", "ratio", "copied");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        double times[2][ROUNDS];

        copies = 0;
        for (int round = 0; round < ROUNDS; round++)
            for (int in_place = 0; in_place < 2; in_place++)
                times[in_place][round] = time_sends(fd, sizes[i], in_place);
        for (int in_place = 0; in_place < 2; in_place++)
            qsort(times[in_place], ROUNDS, sizeof **times, compare);
        printf("%8u %10.0f %10.0f %7.2f %7u%%\n", sizes[i], times[0][ROUNDS / 2],
               times[1][ROUNDS / 2], times[1][ROUNDS / 2] / times[0][ROUNDS / 2],
               copies * 100 / (ROUNDS * SENDS));
    }
    return 0;
}
