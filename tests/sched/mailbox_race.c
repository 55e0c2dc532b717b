/*
 * Senders, and a signal handler in the middle of their pushes, against the owner: every message
 * arrives once, each sender's in order, and exactly one push of each batch says that it was empty.
 * Then the wake protocol: of a push followed by a look at the sleeper's word, and a store of the
 * word followed by a look at the mailbox, at least one sees the other, every time.
 */
#include "race.h"

#include "sched/mailbox.h"

#include <sys/time.h>

enum { SENDERS = RACE_THREADS - 1, MESSAGES = 64 };

struct message {
    struct mailbox_message link;
    unsigned number; /* Written before the push, without a lock: ThreadSanitizer watches it. */
    atomic_bool sent;
};

static struct mailbox mailbox;
static struct message messages[SENDERS][MESSAGES];
static unsigned next_number[SENDERS];
static atomic_uint senders_left = SENDERS;
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
    /* Release: with the sender's acquire. */
    atomic_store_explicit(&message->sent, false, memory_order_release);
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
    for (unsigned i = 0; i % MESSAGES || race_first_half(); i++) {
        struct message *message = &mine[i % MESSAGES];

        race_wait_clear(&message->sent);
        atomic_store_explicit(&message->sent, true, memory_order_relaxed);
        message->number = i;
        message->link.handle = handle_message;
        if (mailbox_push(&mailbox, &message->link))
            atomic_fetch_add_explicit(&found_empty, 1, memory_order_relaxed);
    }
    /* Release: with the owner's acquire; all were pushed. */
    atomic_fetch_sub_explicit(&senders_left, 1, memory_order_release);
    return 0;
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
    for (bool last = false; !last;) {
        struct mailbox_message *next, *message;

        last = !atomic_load_explicit(&senders_left, memory_order_acquire);
        message = mailbox_take_all(&mailbox);

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
    for (unsigned i = 0; i < SENDERS; i++)
        for (unsigned j = 0; j < MESSAGES; j++)
            CHECK(!atomic_load(&messages[i][j].sent), "a message of sender %u is lost", i);
    batches += mailbox_take_all(&mailbox) != 0;
    CHECK(batches == atomic_load(&found_empty), "%u batches, %u pushes found it empty", batches,
          atomic_load(&found_empty));
}

/*
 * Many pairs of a mailbox and a word, all gone through between two meetings, so that on a busy
 * machine, too, both sides are often at the same pair at the same time.
 */
enum { PAIRS = 512 };

static struct pair {
    _Alignas(CACHE_LINE) struct mailbox mailbox;
    struct mailbox_message message;
    _Alignas(CACHE_LINE) atomic_bool sleeps;
    bool saw_sleeper, saw_message;
} pairs[PAIRS];

static _Atomic(uint64_t) meeting, sleeper_done;
static _Alignas(CACHE_LINE) _Atomic(uint64_t) sleeper_step;
static _Alignas(CACHE_LINE) _Atomic(uint64_t) pusher_step;
static atomic_bool meetings_ended;

static void *sleeper(void *unused)
{
    (void)unused;
    for (uint64_t i = 1;; i++) {
        race_wait(&meeting, i);
        if (meetings_ended)
            return 0;
        for (struct pair *pair = pairs; pair < pairs + PAIRS; pair++) {
            race_abreast(&sleeper_step, &pusher_step, i * PAIRS + (uint64_t)(pair - pairs));
            atomic_store_explicit(&pair->sleeps, true, memory_order_relaxed);
            atomic_thread_fence(memory_order_seq_cst);
            pair->saw_message = !mailbox_empty(&pair->mailbox);
        }
        atomic_store_explicit(&sleeper_done, i, memory_order_release);
    }
}

static void no_wake_is_lost(void)
{
    pthread_t thread = race_thread(sleeper, 0);
    uint64_t i = 1;

    for (struct pair *pair = pairs; pair < pairs + PAIRS; pair++)
        mailbox_init(&pair->mailbox);
    for (; i == 1 || race_goes_on(); i++) {
        for (struct pair *pair = pairs; pair < pairs + PAIRS; pair++)
            atomic_store_explicit(&pair->sleeps, false, memory_order_relaxed);
        atomic_store_explicit(&meeting, i, memory_order_release);
        for (struct pair *pair = pairs; pair < pairs + PAIRS; pair++) {
            race_abreast(&pusher_step, &sleeper_step, i * PAIRS + (uint64_t)(pair - pairs));
            mailbox_push(&pair->mailbox, &pair->message);
            pair->saw_sleeper = atomic_load(&pair->sleeps);
        }
        race_wait(&sleeper_done, i);
        for (struct pair *pair = pairs; pair < pairs + PAIRS; pair++) {
            CHECK(pair->saw_sleeper || pair->saw_message, "neither saw the other");
            CHECK(mailbox_take_all(&pair->mailbox) == &pair->message, "the message is lost");
        }
    }
    printf("%llu meetings\n", (unsigned long long)i);
    meetings_ended = true;
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
