/* What became of the ticks. */
#include "base/message.h"
#include "sched/worker.h"

#include <errno.h>

const char *gyre_refusal_name(enum gyre_refusal refusal)
{
    static const char *const names[GYRE_REFUSAL_COUNT] = {
        [GYRE_REFUSED_RUNTIME] = "in gyre itself",
        [GYRE_REFUSED_LIBRARY] = "in a library",
        [GYRE_REFUSED_SECTION] = "in a section that is not to be interrupted",
        [GYRE_REFUSED_LOCK] = "with a lock held",
        [GYRE_REFUSED_MASK] = "with a signal mask of its own",
        [GYRE_REFUSED_STACK] = "on another stack, or with no room left on its own",
        [GYRE_REFUSED_CALLER] = "called by a library",
        [GYRE_REFUSED_DEEP] = "too deep on its stack",
        [GYRE_REFUSED_STATE] = "with registers that can't be saved",
        [GYRE_REFUSED_MODE] = "while nothing may be interrupted",
    };

    return (unsigned)refusal < GYRE_REFUSAL_COUNT ? names[refusal] : NULL;
}

static uint64_t read_count(_Atomic(uint64_t) *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

static void add_counts(struct gyre_preempt_counts *sum, struct preemption *preempt)
{
    for (unsigned i = 0; i < GYRE_REFUSAL_COUNT; i++)
        sum->refused[i] += read_count(&preempt->refused[i]);
    sum->ticks += read_count(&preempt->ticks);
    sum->preempted += read_count(&preempt->preempted);
    sum->confirmed += read_count(&preempt->confirmed);
    sum->gave_way += read_count(&preempt->gave_way);
    sum->rescued += read_count(&preempt->rescued);
    sum->stuck += read_count(&preempt->times_stuck);
}

static void sum_counts(struct gyre_runtime *runtime, struct gyre_preempt_counts *counts)
{
    const char *mode = atomic_load_explicit(&runtime->cooperative, memory_order_relaxed);
    bool ticking = false;

    *counts =
        (struct gyre_preempt_counts){.size = sizeof *counts, .mode = mode ? mode : "asynchronous"};
    for (unsigned i = 0; i < runtime->worker_count; i++) {
        add_counts(counts, &runtime->workers[i].preempt);
        ticking |= runtime->workers[i].preempt.ticking;
    }
    if (!mode && !ticking)
        counts->mode = "cooperative: no timers could be had";
}

int gyre_preempt_count(struct gyre_preempt_counts *counts)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;

    if (!counts || counts->size != sizeof *counts || !runtime)
        return -EINVAL;
    sum_counts(runtime, counts);
    return 0;
}

void gyre_preempt_describe(struct gyre_runtime *runtime)
{
    struct gyre_preempt_counts counts;

    sum_counts(runtime, &counts);
    gyre_message("preemption: %s; %llu ticks, %llu coroutines interrupted (%llu after unwinding), "
                 "%llu gave way; workers were stuck %llu times, %llu things taken from them",
                 counts.mode, (unsigned long long)counts.ticks,
                 (unsigned long long)counts.preempted, (unsigned long long)counts.confirmed,
                 (unsigned long long)counts.gave_way, (unsigned long long)counts.stuck,
                 (unsigned long long)counts.rescued);
    for (unsigned i = 0; i < GYRE_REFUSAL_COUNT; i++)
        if (counts.refused[i])
            gyre_message("preemption: %llu times refused %s", (unsigned long long)counts.refused[i],
                         gyre_refusal_name((enum gyre_refusal)i));
}
