/* time.c - timers and contexts that are stopped before their time. */
#include "vocabulary.h"

#include <errno.h>

enum { PENDING = 1000000 };

static struct gyre_timer *pending[PENDING];

/* Between one minute and an hour or so, different each time. */
static int64_t duration(void)
{
    static uint32_t random = 1;

    random = random * 1664525 + 1013904223;
    return 60 * GYRE_SECOND + (int64_t)random * 1000;
}

static int timers(long n)
{
    for (long i = 0; i < n; i++) {
        struct gyre_timer *timer;
        int error = gyre_timer_create(&timer, duration());

        if (error)
            return error;
        if (gyre_timer_stop(timer) != 1)
            return -EPROTO;
        gyre_timer_destroy(timer);
    }
    return 0;
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int after_funcs(long n)
{
    for (long i = 0; i < n; i++) {
        struct gyre_timer *timer;
        int error = gyre_after_func(&timer, duration(), nothing, NULL);

        if (error)
            return error;
        if (gyre_timer_stop(timer) != 1)
            return -EPROTO;
        gyre_timer_destroy(timer);
    }
    return 0;
}

static int million_timers(void)
{
    int error = 0;

    for (int i = 0; i < PENDING && !error; i++)
        error = gyre_timer_create(&pending[i], duration());
    return error;
}

static int million_after_funcs(void)
{
    int error = 0;

    for (int i = 0; i < PENDING && !error; i++)
        error = gyre_after_func(&pending[i], duration(), nothing, NULL);
    return error;
}

static int scopes(long n)
{
    for (long i = 0; i < n; i++) {
        GYRE_TIMEOUT(5 * GYRE_SECOND);
    }
    return 0;
}

static int handles(long n)
{
    struct gyre_context *parent = gyre_context_background(), *context;
    int error = 0;

    for (long i = 0; i < n && !error; i++) {
        error = gyre_context_with_timeout(parent, 5 * GYRE_SECOND, &context);
        if (!error) {
            gyre_context_cancel(context);
            gyre_context_release(context);
        }
    }
    return error;
}

const struct work time_works[] = {
    {"timer", 1, 1, timers, NULL, NULL},
    {"timer_1m", 1, 1, timers, million_timers, NULL},
    {"after_func", 1, 1, after_funcs, NULL, NULL},
    {"after_func_1m", 1, 1, after_funcs, million_after_funcs, NULL},
    {"context_timeout", 1, 1, scopes, NULL, NULL},
    {"context_handle", 1, 1, handles, NULL, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};
