/* One thread of the load generator: its connections, its arrivals, its latencies. */
#ifndef GYRE_PERF_CLIENT_H
#define GYRE_PERF_CLIENT_H

#include "histogram.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

enum { CLIENT_THREADS_MAX = 64, CLIENT_SIZE_MAX = 1 << 20, CLIENT_CONNECTIONS_MAX = 100000 };

/* What is asked, the same for all threads. */
struct load {
    int port;
    unsigned connections, threads;
    size_t size;      /* bytes of an echo request */
    const char *path; /* not NULL: HTTP instead of echo */
    double rate;      /* requests per second of all threads, 0: closed loop */
    bool sleep;       /* in open loop: until the next arrival, where the CPU is shared */
    bool idle;        /* one request a connection, then silence */
    pid_t pid;        /* of the server; 0: its CPU time is not measured */
    int64_t warm_up, duration;
    uint64_t seed;
};

/* The measured window, taken by the first thread. */
struct window {
    int64_t start, end; /* when it was actually taken */
    int64_t cpu;        /* ns of the server's CPU time in it */
    uint64_t requests;  /* completed in it, all threads */
    int64_t load_cpu;   /* ns of our own */
};

struct client {
    const struct load *load;
    struct client *all;
    unsigned index;
    pthread_t thread;
    pthread_barrier_t *barrier;
    const int64_t *start;       /* set before the barrier opens */
    _Atomic uint64_t completed; /* relaxed: a count, nothing is published with it */
    struct histogram latency;   /* of requests meant to be sent inside the window */
    uint64_t unfinished;        /* of those, never answered */
    struct window window;       /* first thread only */
    char error[128];            /* not empty: why the run is void */
};

int64_t now_ns(void);

/* CPU time of a process so far, or -1. */
int64_t process_cpu_ns(pid_t pid);

/* Connects a client's share of the connections, waits at the barrier, runs until the window is
 * over and what was sent inside it has been answered (or two seconds went by). */
void *client_run(void *client);

#endif
