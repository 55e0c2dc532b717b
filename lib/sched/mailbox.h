/*
 * Messages to a worker: any thread pushes, also from a signal handler (no lock, no allocation), and
 * the worker takes all at once, oldest first. A message is the sender's memory until it is handled.
 *
 * A stack with a single push and a take of everything has no ABA problem: a push that finds the
 * head it had read is right whatever happened between.
 *
 * For the wake protocol: push is a seq_cst read-modify-write. A pusher that then reads the
 * sleeper's word with seq_cst either sees that the worker sleeps, or the worker, which stores the
 * word and looks with a seq_cst fence or operations between, sees the message.
 */
#ifndef GYRE_LIB_SCHED_MAILBOX_H
#define GYRE_LIB_SCHED_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>

struct mailbox_message {
    struct mailbox_message *next;
    void (*handle)(void *worker, struct mailbox_message *message);
};

struct mailbox {
    _Atomic(struct mailbox_message *) newest;
};

static inline void mailbox_init(struct mailbox *m)
{
    atomic_init(&m->newest, 0);
}

/* Any thread, async-signal-safe. True if it was empty. */
static inline bool mailbox_push(struct mailbox *m, struct mailbox_message *message)
{
    struct mailbox_message *newest = atomic_load_explicit(&m->newest, memory_order_relaxed);

    do {
        message->next = newest;
        /* seq_cst: the wake protocol, see above; and release, with the acquire in take_all. */
    } while (!atomic_compare_exchange_weak_explicit(&m->newest, &newest, message,
                                                    memory_order_seq_cst, memory_order_relaxed));
    return !newest;
}

/* Any thread. */
static inline bool mailbox_empty(struct mailbox *m)
{
    return !atomic_load_explicit(&m->newest, memory_order_relaxed);
}

/* Owner: all messages, linked by next, in the order of their pushes. NULL: none. */
static inline struct mailbox_message *mailbox_take_all(struct mailbox *m)
{
    struct mailbox_message *list = 0;

    if (mailbox_empty(m))
        return 0;
    /* Acquire, with push: the messages' contents. */
    struct mailbox_message *newest = atomic_exchange_explicit(&m->newest, 0, memory_order_acquire);

    while (newest) {
        struct mailbox_message *older = newest->next;

        newest->next = list;
        list = newest;
        newest = older;
    }
    return list;
}

#endif
