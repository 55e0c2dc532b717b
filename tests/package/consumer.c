/* A C program that starts coroutines and says what they gave; 77 where io_uring is forbidden. */
#include <gyre.h>

#include <stdio.h>

static int child(void *arg)
{
    int *number = arg;

    *number += gyre_sleep(GYRE_MILLISECOND) == 0;
    return *number;
}

static int start(void *arg)
{
    int number = 41, result = 0, error;
    gyre_handle handle;

    (void)arg;
    error = gyre_spawn(&handle, child, &number);
    if (error)
        return error;
    error = gyre_join(handle, &result);
    return error ? error : result;
}

int main(void)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    int result;

    options.workers = 2;
    result = gyre_run_options(start, NULL, &options);
    printf("gyre %s: %d\n", gyre_version(), result);
    if (result == -1 || result == -38) /* EPERM, ENOSYS */
        return 77;
    return result == 42 ? 0 : 1;
}
