/*
 * lock - lock + unlock of a pthread mutex that nobody else wants, by a coroutine, in nanoseconds:
 * lock WORK [SECONDS]; mutex is the only one. Built twice: lock_counted is linked with
 * libgyre-preempt, which counts the locks that a coroutine holds. Prints one JSON object.
 */
#include <gyre.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double seconds = 0.2;

static double ns_each(long n)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    int64_t start = gyre_now();

    for (long i = 0; i < n; i++) {
        pthread_mutex_lock(&mutex);
        pthread_mutex_unlock(&mutex);
    }
    return (double)(gyre_now() - start) / (double)n;
}

/* The least of short runs: nothing but the two calls belongs in it. */
static int measure(void *arg)
{
    int64_t end = gyre_now() + (int64_t)(seconds * 1e9);
    double least = ns_each(10000);

    (void)arg;
    while (gyre_now() < end) {
        double ns = ns_each(10000);

        if (ns < least)
            least = ns;
    }
    printf("{\"value\": %.4f}\n", least);
    return 0;
}

int main(int argc, char **argv)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    if (argc < 2 || strcmp(argv[1], "mutex") != 0) {
        fprintf(stderr, "usage: lock mutex [SECONDS]\n");
        return 2;
    }
    if (argc > 2)
        seconds = atof(argv[2]);
    options.workers = 1;
    return gyre_run_options(measure, NULL, &options) != 0;
}
