/*
 * load - loads an echo or HTTP server on the loopback, closed or open loop, and reports throughput,
 * latency percentiles and the server's CPU time per request.
 *
 * The run is void (exit 1, with the reason) when any answer is wrong, any connection ends, or the
 * server's CPU time can't be read: a figure is never printed for a server that misbehaved. Every
 * run is bounded by an alarm.
 */
#include "client.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static const char usage[] =
    "usage: load --port P [options]\n"
    "  --connections N   connections, 1 .. 100000 (64)\n"
    "  --size B          bytes of an echo request, 1 .. 1048576 (64)\n"
    "  --http PATH       GET PATH with keep-alive instead of echo\n"
    "  --rate R          open loop: R requests a second in all; without it closed loop\n"
    "  --sleep           in open loop: sleeps until the next one is due, for a shared CPU\n"
    "  --idle            one request a connection, then silence: the server's idle CPU time\n"
    "  --seconds S       length of the measured window (1)\n"
    "  --warm-up S       before the window opens (0.3)\n"
    "  --threads N       threads of the generator (1)\n"
    "  --pid PID         server whose CPU time is measured\n"
    "  --seed N          of the arrival times (1)\n"
    "  --json            one JSON object instead of text\n";

static double number(const char *name, const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end || !(value >= least && value <= most)) {
        fprintf(stderr, "load: --%s must be a number from %g to %g, not \"%s\"\n", name, least,
                most, text);
        exit(2);
    }
    return value;
}

static bool parse(int argc, char **argv, struct load *load)
{
    static const struct option options[] = {
        {"port", 1, NULL, 'p'},    {"connections", 1, NULL, 'c'}, {"size", 1, NULL, 'b'},
        {"http", 1, NULL, 'h'},    {"rate", 1, NULL, 'r'},        {"idle", 0, NULL, 'i'},
        {"sleep", 0, NULL, 'z'},   {"seconds", 1, NULL, 's'},     {"warm-up", 1, NULL, 'w'},
        {"threads", 1, NULL, 't'}, {"pid", 1, NULL, 'P'},         {"seed", 1, NULL, 'S'},
        {"json", 0, NULL, 'j'},    {"help", 0, NULL, '?'},        {NULL, 0, NULL, 0}};
    bool json = false;
    int option, index = 0;

    while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
        const char *name = options[index].name;

        switch (option) {
        case 'p':
            load->port = (int)number(name, optarg, 1, 65535);
            break;
        case 'c':
            load->connections = (unsigned)number(name, optarg, 1, CLIENT_CONNECTIONS_MAX);
            break;
        case 'b':
            load->size = (size_t)number(name, optarg, 1, CLIENT_SIZE_MAX);
            break;
        case 'h':
            load->path = optarg;
            break;
        case 'r':
            load->rate = number(name, optarg, 1, 1e7);
            break;
        case 'z':
            load->sleep = true;
            break;
        case 'i':
            load->idle = true;
            break;
        case 's':
            load->duration = (int64_t)(1e9 * number(name, optarg, 0.01, 600));
            break;
        case 'w':
            load->warm_up = (int64_t)(1e9 * number(name, optarg, 0, 60));
            break;
        case 't':
            load->threads = (unsigned)number(name, optarg, 1, CLIENT_THREADS_MAX);
            break;
        case 'P':
            load->pid = (pid_t)number(name, optarg, 1, 1 << 22);
            break;
        case 'S':
            load->seed = (uint64_t)number(name, optarg, 0, 1e15);
            break;
        case 'j':
            json = true;
            break;
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (!load->port || optind < argc || load->connections < load->threads) {
        fputs(usage, stderr);
        exit(2);
    }
    return json;
}

static void raise_descriptor_limit(const struct load *load)
{
    rlim_t need = load->connections + 64u;
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= need)
        return;
    if (limit.rlim_max < need)
        limit.rlim_max = need; /* needs CAP_SYS_RESOURCE */
    limit.rlim_cur = need;
    if (setrlimit(RLIMIT_NOFILE, &limit)) {
        fprintf(stderr, "load: %u connections need a descriptor limit of %lu (ulimit -n)\n",
                load->connections, (unsigned long)need);
        exit(1);
    }
}

/* The server's resident memory in KiB and its threads, or zeros. */
static void server_status(pid_t pid, long *rss, long *threads)
{
    char path[64], line[256];
    FILE *file;

    *rss = *threads = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    file = pid ? fopen(path, "re") : NULL;
    if (!file)
        return;
    while (fgets(line, sizeof line, file)) {
        sscanf(line, "VmRSS: %ld", rss);
        sscanf(line, "Threads: %ld", threads);
    }
    fclose(file);
}

static int report(const struct load *load, struct client *clients, bool json, long rss,
                  long threads)
{
    static struct histogram latency;
    const struct window *w = &clients[0].window;
    double seconds, rps, cpu, busy, load_busy;
    uint64_t unfinished = 0;

    for (unsigned i = 0; i < load->threads; i++) {
        if (clients[i].error[0]) {
            fprintf(stderr, "load: %s\n", clients[i].error);
            return 1;
        }
        histogram_merge(&latency, &clients[i].latency);
        unfinished += clients[i].unfinished;
    }
    if (!w->end || w->cpu < 0 || (!w->requests && !load->idle)) {
        fprintf(stderr, "load: %s\n", w->cpu < 0 ? "the server is gone" : "no answers");
        return 1;
    }
    seconds = (double)(w->end - w->start) / 1e9;
    rps = (double)w->requests / seconds;
    cpu = w->requests ? (double)w->cpu / 1e3 / (double)w->requests : 0;
    busy = (double)w->cpu / 1e9 / seconds;
    load_busy = (double)w->load_cpu / 1e9 / seconds;
    printf(json ? "{\"rps\": %.1f, \"cpu_us\": %.4f, \"p50_us\": %.2f, \"p99_us\": %.2f, "
                  "\"p999_us\": %.2f, \"max_us\": %.1f, \"server_busy\": %.5f, "
                  "\"load_busy\": %.4f, \"requests\": %llu, \"unfinished\": %llu, "
                  "\"server_rss_kb\": %ld, \"server_threads\": %ld}\n"
                : "requests/s      %.0f\nserver CPU      %.3f us a request\nlatency p50     "
                  "%.1f us\n        p99     %.1f us\n        p99.9   %.1f us\n        max     "
                  "%.1f us\nserver busy     %.5f CPUs\nload busy       %.3f CPUs\nrequests     "
                  "   %llu, unfinished %llu\nserver memory   %ld KiB, %ld threads\n",
           rps, cpu, histogram_quantile(&latency, 0.5) / 1e3,
           histogram_quantile(&latency, 0.99) / 1e3, histogram_quantile(&latency, 0.999) / 1e3,
           (double)latency.max / 1e3, busy, load_busy, (unsigned long long)w->requests,
           (unsigned long long)unfinished, rss, threads);
    return 0;
}

int main(int argc, char **argv)
{
    static struct client clients[CLIENT_THREADS_MAX];
    struct load load = {.connections = 64,
                        .threads = 1,
                        .size = 64,
                        .warm_up = 300000000,
                        .duration = 1000000000,
                        .seed = 1};
    bool json = parse(argc, argv, &load);
    pthread_barrier_t barrier;
    long rss, threads;
    int64_t start;

    raise_descriptor_limit(&load);
    prctl(PR_SET_TIMERSLACK, 1);
    alarm((unsigned)((load.warm_up + load.duration) / 1000000000) + 30);
    pthread_barrier_init(&barrier, NULL, load.threads + 1);
    for (unsigned i = 0; i < load.threads; i++) {
        clients[i].load = &load;
        clients[i].all = clients;
        clients[i].index = i;
        clients[i].barrier = &barrier;
        clients[i].start = &start;
        errno = pthread_create(&clients[i].thread, NULL, client_run, &clients[i]);
        if (errno) {
            perror("load: pthread_create");
            return 1;
        }
    }
    pthread_barrier_wait(&barrier); /* all are connected */
    start = now_ns();
    pthread_barrier_wait(&barrier);
    for (unsigned i = 1; i < load.threads; i++)
        pthread_join(clients[i].thread, NULL);
    pthread_join(clients[0].thread, NULL);
    server_status(load.pid, &rss, &threads);
    return report(&load, clients, json, rss, threads);
}
