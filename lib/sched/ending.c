/* A list, newest first: who came later may rest on who came before. */
#include "sched/ending.h"

#include <stdatomic.h>
#include <stddef.h>

static _Atomic(struct ending *) newest;

void gyre_ending_add(struct ending *ending)
{
    ending->next = atomic_load_explicit(&newest, memory_order_relaxed);
    /* Relaxed: read when the threads have been joined. */
    while (!atomic_compare_exchange_weak_explicit(&newest, &ending->next, ending,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

void gyre_endings_call(void)
{
    struct ending *ending = atomic_exchange_explicit(&newest, NULL, memory_order_relaxed);

    while (ending) {
        struct ending *next = ending->next;

        ending->call();
        ending = next;
    }
}
