/*
 * A tight loop: a coroutine that computes for long, without a call that waits. It is interrupted
 * every few milliseconds, so that the others have their turn, but nobody ends it: to learn that its
 * context has ended it must ask.
 *
 *     for n := range limit {
 *         if n%256 == 0 && ctx.Err() != nil { return ctx.Err() }
 *         ...
 *     }
 *
 * There is one worker here, so that nobody else could run the other coroutine. The checkpoint, a
 * load and a branch, is for builds in which nothing is interrupted: sanitizers, a static C library.
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
        if (n % 256 == 0 && ((error = gyre_context_error()) < 0 || (error = gyre_checkpoint()) < 0))
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
