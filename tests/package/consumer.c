/* A C program that starts coroutines and says what they gave; 77 where io_uring is forbidden. It
 * uses each macro that expands to a declaration, which must please its compiler's strictest. */
#include <gyre.h>

#include <stdio.h>

static int child(void *arg)
{
    int *number = arg;

    *number += gyre_sleep(GYRE_MILLISECOND) == 0;
    return *number;
}

GYRE_CHAN_TYPE(ints, int);

static int send_one(void *arg)
{
    ints_sender *out = arg;

    return ints_send(*out, 1);
}

static int declarations(void)
{
    gyre_mutex mutex = GYRE_MUTEX_INIT;
    gyre_rwmutex rwmutex = GYRE_RWMUTEX_INIT;
    ints channel;
    int n = 0, error = ints_make(&channel, 1);

    if (error)
        return error;
    {
        GYRE_TIMEOUT(GYRE_MINUTE);
        GYRE_MUTEX_GUARD(&mutex);
        GYRE_RWMUTEX_GUARD(&rwmutex);
        GYRE_GROUP(members, .limit = 1);
        GYRE_NURSERY(others);
        struct gyre_case cases[] = {ints_case_recv(channel.receiver, &n)};

        gyre_group_go(&members, send_one, &channel.sender);
        gyre_group_go(&others, send_one, &channel.sender);
        if ((error = gyre_select(cases)) == 0)
            error = gyre_group_wait(&members);
    }
    ints_release(channel);
    return error;
}

static int start(void *arg)
{
    int number = 41, result = 0, error = declarations();
    gyre_handle handle;

    (void)arg;
    if (error)
        return error;
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
