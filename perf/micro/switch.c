/*
 * switch - nanoseconds of one bare switch between two stacks, in the middle of a loop that the
 * branch predictor knows: what the layer coro costs, without a scheduler. Prints {"value": ns}.
 */
#include "base/clock.h"
#include "coro/switch.h"

#include <stdio.h>
#include <stdlib.h>

enum { STACK = 64 << 10 };

static const long switches = 20000000; /* there and back: half of them each way */

static struct switch_frame here, there;

static void bounce(void *arg)
{
    (void)arg;
    for (;;)
        gyre_switch(&there, &here);
}

static void round_trips(long count)
{
    for (long i = 0; i < count; i++)
        gyre_switch(&here, &there);
}

int main(void)
{
    char *stack = aligned_alloc(4096, STACK);
    int64_t start;

    if (!stack)
        return 1;
    gyre_switch_adopt(&here);
    gyre_switch_prepare(&there, stack, stack + STACK, bounce, NULL);
    round_trips(switches / 20);
    start = clock_now();
    round_trips(switches / 2);
    printf("{\"value\": %.3f}\n", (double)(clock_now() - start) / (double)switches);
    return 0;
}
