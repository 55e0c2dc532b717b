/*
 * A tight loop: a coroutine that computes for long keeps its worker from everybody else. It gives
 * way from time to time, and learns at the same place that it is to stop.
 *
 *     for n := range limit {
 *         if n%1000 == 0 { runtime.Gosched() }    not needed since Go 1.14, which preempts
 *         ...
 *     }
 *
 * There is one worker here, so that nobody else could run the other coroutine. A yield costs some
 * nanoseconds: once in a few microseconds of work is neither felt nor missed.
 */
#include <gyre.h>

#include <stdio.h>

enum { LIMIT = 2000000 };

static int steps(unsigned long n)
{
    int count = 0;

    for (; n > 1; count++)
        n = n % 2 ? 3 * n + 1 : n / 2;
    return count;
}

/* The number below LIMIT that takes most steps to 1 by Collatz' rule. */
static int compute(void *arg)
{
    int *longest = arg, most = 0, count, error;

    for (int n = 1; n < LIMIT; n++) {
        if (n % 256 == 0 && (error = gyre_yield()) < 0)
            return error;
        if ((count = steps((unsigned long)n)) > most) {
            most = count;
            *longest = n;
        }
    }
    return 0;
}

static int tick(void *arg)
{
    int *ticks = arg, error;

    while ((error = gyre_sleep(GYRE_MILLISECOND)) == 0)
        ++*ticks;
    return error;
}

static int start(void *arg)
{
    int longest = 0, ticks = 0, error;
    gyre_handle hog;

    (void)arg;
    {
        GYRE_GROUP(others);
        gyre_group_go(&others, tick, &ticks);
        if ((error = gyre_spawn(&hog, compute, &longest)) == 0)
            gyre_join(hog, &error);
    }
    if (!error)
        printf("%d takes longest, and the clock %s\n", longest, ticks > 0 ? "ticked" : "stood");
    return error;
}

int main(void)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 1;
    return gyre_run_options(start, NULL, &options) < 0;
}
