/*
 * What a debugger steps through: a coroutine that computes, beside two that do the same, on a
 * single worker, each interrupted after 2 ms. Not optimised, so that every variable is where it
 * is said to be: at `stepped_line` the sum is that of the squares below i.
 */
#include <gyre.h>
#include <gyre/preempt.h>

#include <stdint.h>
#include <stdio.h>

#ifdef __clang__
#pragma clang optimize off
#else
#pragma GCC optimize("O0")
#endif
#define NOT_OPTIMISED __attribute__((noinline))

uint64_t stepped_square(uint64_t n);
uint64_t stepped_loop(uint64_t count);

int64_t stepped_end;
static volatile uint64_t others;

NOT_OPTIMISED uint64_t stepped_square(uint64_t n)
{
    uint64_t square = n * n;

    return square;
}

NOT_OPTIMISED uint64_t stepped_loop(uint64_t count)
{
    uint64_t sum = 0, i = 0;

    while (i < count) {
        uint64_t square = stepped_square(i);

        sum += square;
        i++; /* stepped_line: the sum is up to date here */
    }
    return sum;
}

static int other(void *arg)
{
    (void)arg;
    while (gyre_now() < stepped_end)
        for (int i = 0; i < 1000; i++)
            others = others * 3 + 1;
    return 0;
}

static int body(void *arg)
{
    gyre_handle handles[2];
    unsigned __int128 wanted;
    uint64_t count = 50000000, sum;

    (void)arg;
    for (int i = 0; i < 2; i++)
        gyre_spawn(&handles[i], other, NULL);
    gyre_yield();
    sum = stepped_loop(count);
    stepped_end = 0;
    for (int i = 0; i < 2; i++)
        gyre_join(handles[i], NULL);
    wanted = (unsigned __int128)(count - 1) * count * (2 * count - 1) / 6;
    return sum == (uint64_t)wanted ? 0 : 1;
}

int main(void)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 1;
    options.quantum = 2 * GYRE_MILLISECOND;
    stepped_end = gyre_now() + 100 * GYRE_SECOND;
    return gyre_run_options(body, NULL, &options);
}
