/*
 * Senders, and a signal handler in the middle of their pushes, against the owner: every message
 * arrives once, each sender's in order, and exactly one push of each batch says that it was empty.
 * Then the wake protocol: of a push followed by a look at the sleeper's word, and a store of the
 * word followed by a look at the mailbox, at least one sees the other, every time.
 */
#include "race.h"

#include "sched/mailbox.h"

#include <sys/time.h>

enum { SENDERS = RACE_THREADS - 1, MESSAGES = 50000 };

struct message {
    struct mailbox_message link;
    unsigned number; /* Written before the push, without a lock: ThreadSanitizer watches it. */
};

static struct mailbox mailbox;
static struct message messages[SENDERS][MESSAGES];
static unsigned next_number[SENDERS];
static atomic_uint found_empty;
static _Atomic(uint64_t) started;

static struct message from_handler;
static atomic_bool handler_may_send;
static unsigned handled_signals;

static void on_signal(int signal)
{
    bool may = true;

    (void)signal;
    if (atomic_compare_exchange_strong(&handler_may_send, &may, false) &&
        mailbox_push(&mailbox, &from_handler.link))
        atomic_fetch_add(&found_empty, 1);
}

static void handle_message(void *worker, struct mailbox_message *link)
{
    struct message *message = container_of(link, struct message, link);
    unsigned sender = (unsigned)((message - &messages[0][0]) / MESSAGES);

    CHECK(worker == &mailbox, "not our worker");
    CHECK(message->number == next_number[sender]++, "%u of sender %u", message->number, sender);
    link->next = link; /* It is the sender's again. */
}

static void handle_signal(void *worker, struct mailbox_message *link)
{
    (void)worker;
    (void)link;
    handled_signals++;
    atomic_store(&handler_may_send, true);
}

static void *sender(void *argument)
{
    struct message *mine = argument;

    atomic_fetch_add(&started, 1);
    race_wait(&started, SENDERS);
    for (unsigned i = 0; i < MESSAGES; i++) {
        mine[i].number = i;
        mine[i].link.handle = handle_message;
        if (mailbox_push(&mailbox, &mine[i].link))
            atomic_fetch_add_explicit(&found_empty, 1, memory_order_relaxed);
    }
    return 0;
}

static bool all_arrived(void)
{
    for (unsigned i = 0; i < SENDERS; i++)
        if (next_number[i] < MESSAGES)
            return false;
    return true;
}

static void every_message_once(void)
{
    pthread_t senders[SENDERS];
    struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    unsigned batches = 0;

    signal(SIGPROF, on_signal);
    from_handler.link.handle = handle_signal;
    atomic_store(&handler_may_send, true);
    setitimer(ITIMER_PROF, &often, 0);
    for (unsigned i = 0; i < SENDERS; i++)
        senders[i] = race_thread(sender, messages[i]);
    while (!all_arrived()) {
        struct mailbox_message *next, *message = mailbox_take_all(&mailbox);

        batches += message != 0;
        for (; message; message = next) {
            next = message->next;
            message->handle(&mailbox, message);
        }
    }
    setitimer(ITIMER_PROF, &never, 0);
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(senders[i], 0);
    signal(SIGPROF, SIG_IGN);
    batches += mailbox_take_all(&mailbox) != 0;
    CHECK(batches == atomic_load(&found_empty), "%u batches, %u pushes found it empty", batches,
          atomic_load(&found_empty));
}

static atomic_bool sleeps;
static _Atomic(uint64_t) meeting, sleeper_done;
static bool ended;
static bool saw_message;

static void *sleeper(void *unused)
{
    (void)unused;
    for (uint64_t i = 1;; i++) {
        race_wait(&meeting, i);
        if (ended)
            return 0;
        atomic_store(&sleeps, true);
        atomic_thread_fence(memory_order_seq_cst);
        saw_message = !mailbox_empty(&mailbox);
        atomic_store_explicit(&sleeper_done, i, memory_order_release);
    }
}

static void no_wake_is_lost(void)
{
    pthread_t thread = race_thread(sleeper, 0);
    uint64_t i = 1;

    for (; race_goes_on(); i++) {
        bool saw_sleeper;

        atomic_store(&sleeps, false);
        atomic_store_explicit(&meeting, i, memory_order_release);
        mailbox_push(&mailbox, &from_handler.link);
        saw_sleeper = atomic_load(&sleeps);
        race_wait(&sleeper_done, i);
        CHECK(saw_sleeper || saw_message, "neither saw the other in meeting %llu",
              (unsigned long long)i);
        CHECK(mailbox_take_all(&mailbox) == &from_handler.link, "the message is lost");
    }
    ended = true;
    atomic_store_explicit(&meeting, i, memory_order_release);
    pthread_join(thread, 0);
}

int main(int argc, char **argv)
{
    race_begin(argc, argv);
    every_message_once();
    no_wake_is_lost();
    return 0;
}
