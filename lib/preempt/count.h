/* How libgyre-preempt tells libgyre of a lock. */
#ifndef GYRE_LIB_PREEMPT_COUNT_H
#define GYRE_LIB_PREEMPT_COUNT_H

#include "base/interposed.h"
#include "base/macros.h"

#include <gyre/base.h>

#include <stdatomic.h>

extern struct gyre_preempt_interposed gyre_preempt_hooks __attribute__((visibility("hidden")));

/* Relaxed: the hooks do something only in threads that were started after they were set. */
static inline void count_one(void)
{
    void (*acquired)(void) =
        atomic_load_explicit(&gyre_preempt_hooks.acquired, memory_order_relaxed);

    if (likely(acquired))
        acquired();
}

static inline void take_one_back(void)
{
    void (*released)(void) =
        atomic_load_explicit(&gyre_preempt_hooks.released, memory_order_relaxed);

    if (likely(released))
        released();
}

#endif
