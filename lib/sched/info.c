/* What a coroutine can ask about itself and the runtime. */
#include "base/panic.h"
#include "sched/spawn.h"

uint64_t gyre_coro_id(void)
{
    struct gyre_coro *self = coro_current();

    return self ? self->id : 0;
}

const char *gyre_coro_name(void)
{
    struct gyre_coro *self = coro_current();

    return self ? coro_name(self) : NULL;
}

void gyre_coro_set_name(const char *name)
{
    coro_required("gyre_coro_set_name")->name = name;
}

size_t gyre_coro_count(void)
{
    coro_required("gyre_coro_count");
    return gyre_coro_live(gyre_runtime_instance);
}

size_t gyre_runtime_coro_count(struct gyre_runtime *runtime)
{
    if (!runtime || runtime != gyre_runtime_instance)
        gyre_panic("gyre_runtime_coro_count with a runtime that does not run");
    return gyre_coro_live(runtime);
}

size_t gyre_stack_used(void)
{
    return gyre_stack_high_water(&coro_required("gyre_stack_used")->stack);
}

struct gyre_runtime *gyre_runtime_current(void)
{
    coro_required("gyre_runtime_current");
    return gyre_runtime_instance;
}

unsigned gyre_worker_count(void)
{
    coro_required("gyre_worker_count");
    return gyre_runtime_instance->worker_count;
}

unsigned gyre_worker_index(void)
{
    coro_required("gyre_worker_index");
    return worker_current()->index;
}
