/*
 * One word: whether visits are open, and how many there are, those included that will be turned
 * away. `runtime` is written before it opens, and read only by those who found it open, whom the
 * close waits for: so it never changes under a reader.
 */
#include "sched/visit.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

enum { OPEN = 1, VISITOR = 2 };

static struct {
    _Atomic(uint64_t) word;
    const struct gyre_runtime *runtime;
} visits;

bool gyre_visit_begin(const struct gyre_runtime *runtime)
{
    /* Acquire: pairs with the release in gyre_visits_open. */
    uint64_t word = atomic_fetch_add_explicit(&visits.word, VISITOR, memory_order_acquire);

    if ((word & OPEN) && visits.runtime == runtime)
        return true;
    gyre_visit_end();
    return false;
}

void gyre_visit_end(void)
{
    /* Release: the last touch of the runtime; pairs with the acquire in gyre_visits_close. */
    atomic_fetch_sub_explicit(&visits.word, VISITOR, memory_order_release);
}

void gyre_visits_open(struct gyre_runtime *runtime)
{
    visits.runtime = runtime;
    atomic_fetch_or_explicit(&visits.word, OPEN, memory_order_release);
}

void gyre_visits_close(void)
{
    atomic_fetch_and_explicit(&visits.word, ~(uint64_t)OPEN, memory_order_relaxed);
    while (atomic_load_explicit(&visits.word, memory_order_acquire))
        sched_yield();
}
