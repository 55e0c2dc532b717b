/*
 * Where every coroutine begins: the outermost frame of its stack but for the switch's own, whose
 * CFI ends every unwinder.
 */
#include "sched/entry.h"

#include "base/text.h"
#include "sched/handover.h"
#include "sched/spawn.h"

CALLS_PROGRAM void gyre_coro_entry(void *argument)
{
    struct gyre_coro *self = argument;

    self->entry = (uintptr_t)__builtin_frame_address(0);
    handover_arrive(self);
    self->result = self->fn(self->arg);
    if (self->locals)
        gyre_local_destroy_all(self); /* the program's functions, too */
    gyre_coro_finish(self);
}
