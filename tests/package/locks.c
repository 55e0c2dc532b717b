/* A program with a lock of the C library's, and libgyre-preempt: gyre must have found it. */
#include <gyre.h>
#include <gyre/preempt.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int start(void *arg)
{
    struct gyre_preempt_counts counts;
    int error;

    (void)arg;
    counts.size = sizeof counts;
    pthread_mutex_lock(&mutex);
    error = gyre_preempt_count(&counts);
    pthread_mutex_unlock(&mutex);
    if (error)
        return 1;
    printf("%s\n", counts.mode);
    return strstr(counts.mode, "libgyre-preempt") ? 1 : 0;
}

int main(void)
{
    int result = gyre_run(start, NULL);

    return result == -1 || result == -38 ? 77 : result; /* EPERM, ENOSYS */
}
