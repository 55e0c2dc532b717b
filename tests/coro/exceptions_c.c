/* What the scheduler does round a switch, without the scheduler. */
#include "exceptions_c.h"

#include "coro/exceptions.h"
#include "coro/switch.h"

#include <stdlib.h>

enum { STACK_SIZE = 128 << 10 };

static struct coroutine {
    struct switch_frame frame;
    struct exceptions_state exceptions;
    void (*run)(long arg);
    long arg;
    char *stack;
} coroutines[8];

static struct switch_frame own;
static struct coroutine *current;

void coroutine_adopt(void)
{
    gyre_switch_adopt(&own);
}

static void enter(void *arg)
{
    struct coroutine *self = arg;

    self->run(self->arg);
    gyre_switch_final(&self->frame, &own);
    abort();
}

void coroutine_start(int number, void (*run)(long arg), long arg)
{
    struct coroutine *c = &coroutines[number];

    c->stack = aligned_alloc(4096, STACK_SIZE);
    c->run = run;
    c->arg = arg;
    gyre_switch_prepare(&c->frame, c->stack, c->stack + STACK_SIZE, enter, c);
}

void coroutine_resume(int number)
{
    void **globals = exceptions_globals();
    struct exceptions_state mine;

    if (!globals)
        abort();
    current = &coroutines[number];
    exceptions_save(globals, &mine);
    exceptions_restore(globals, &current->exceptions);
    gyre_switch(&own, &current->frame);
    exceptions_save(globals, &current->exceptions);
    exceptions_restore(globals, &mine);
}

void coroutine_leave(void)
{
    struct coroutine *self = current;

    gyre_switch(&self->frame, &own);
}
