/*
 * The smallest program: a hundred coroutines that sleep for a second, all at once. Each returns
 * what its function returns to whoever joins it.
 */
#include <gyre.h>

#include <stdio.h>

enum { COUNT = 100 };

static int sleeper(void *arg)
{
    const int *number = arg;
    int error = gyre_sleep(GYRE_SECOND);

    return error ? error : *number;
}

static int start(void *arg)
{
    gyre_handle handles[COUNT];
    int numbers[COUNT], error, result, sum = 0;
    int64_t begin = gyre_now();

    (void)arg;
    for (int i = 0; i < COUNT; i++) {
        numbers[i] = i;
        if ((error = gyre_spawn(&handles[i], sleeper, &numbers[i])))
            return error;
    }
    for (int i = 0; i < COUNT; i++) {
        if ((error = gyre_join(handles[i], &result)))
            return error;
        sum += result;
    }
    printf("hello from %d coroutines on %u workers: sum %d after %.1f s\n", COUNT,
           gyre_worker_count(), sum, (double)(gyre_now() - begin) / 1e9);
    return 0;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
