/*
 * How the end of a context reaches a coroutine. An operation in flight is not taken from the
 * kernel here: its owner is told, and looks at the coroutine's state as it is then, so a late
 * message is harmless (model: tests/models/op_cancel.pml).
 */
#include "sched/park.h"

static void send_cancel(struct gyre_coro *coro)
{
    struct worker *home = atomic_load_explicit(&coro->home, memory_order_relaxed);
    uintptr_t life = atomic_load_explicit(&coro->life, memory_order_relaxed);

    do {
        if (!(life & LIFE_ALIVE) || life & LIFE_QUEUED)
            return; /* the reader of the message looks again once it has cleared the flag */
    } while (!atomic_compare_exchange_weak_explicit(&coro->life, &life, life | LIFE_QUEUED,
                                                    memory_order_seq_cst, memory_order_relaxed));
    mailbox_push(&home->mailbox, &coro->cancel_message);
    full_barrier();
    gyre_worker_notify(home);
}

void gyre_coro_interrupt(struct gyre_coro *coro)
{
    /* Acquire: pairs with the commit of an operation, which set `home` before. */
    switch (atomic_load_explicit(&coro->wait, memory_order_acquire)) {
    case WAIT_OBJECT:
        if (wait_claim(coro, WAIT_INTERRUPTED))
            gyre_ready(coro);
        break;
    case WAIT_OPERATION:
        send_cancel(coro);
        break;
    }
}
