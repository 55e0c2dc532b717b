/* Preemption on a processor without the code for it: nothing is ever interrupted. */
#include "coro/preempt.h"

#include <errno.h>

int gyre_preempt_prepare(void)
{
    return -ENOTSUP;
}

size_t gyre_preempt_room(void)
{
    return 0;
}

bool gyre_preempt_can_save(const ucontext_t *context)
{
    (void)context;
    return false;
}

void gyre_preempt_inject(ucontext_t *context, void (*fn)(void))
{
    (void)context;
    (void)fn;
}
