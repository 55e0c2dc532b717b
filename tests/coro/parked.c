/* For gdb to look at: a coroutine that stops in the depth of its stack, parks there, and is
 * resumed. */
#include "coro/switch.h"

#include <stdlib.h>

void parked_inside(void);
void parked_outside(void);
void parked_deep(int depth);

enum { STACK_SIZE = 64 << 10 };

static char stack[STACK_SIZE] __attribute__((aligned(4096)));
struct switch_frame parked_own, parked_frame;

__attribute__((noinline)) void parked_inside(void)
{
    __asm__ __volatile__("" ::: "memory");
}

__attribute__((noinline)) void parked_outside(void)
{
    __asm__ __volatile__("" ::: "memory");
}

__attribute__((noinline)) static void park(void)
{
    gyre_switch(&parked_frame, &parked_own);
    __asm__ __volatile__("" ::: "memory");
}

__attribute__((noinline)) void parked_deep(int depth)
{
    if (depth > 0) {
        parked_deep(depth - 1);
    } else {
        parked_inside();
        park();
    }
    __asm__ __volatile__("" ::: "memory");
}

static void entry(void *arg)
{
    for (;;)
        parked_deep(*(int *)arg);
}

__attribute__((noinline)) static void resume(void)
{
    gyre_switch(&parked_own, &parked_frame);
    __asm__ __volatile__("" ::: "memory");
}

int main(void)
{
    int depth = 3;

    gyre_switch_adopt(&parked_own);
    gyre_switch_prepare(&parked_frame, stack, stack + STACK_SIZE, entry, &depth);
    resume();
    parked_outside();
    resume();
    return 0;
}
