/*
 * Many push, many pop: every item comes out once, and each consumer sees each producer's items in
 * order. Then the wake protocol, as in mailbox_race.c.
 */
#include "race.h"

#include "sched/inject.h"

enum { PRODUCERS = 3, CONSUMERS = RACE_THREADS - PRODUCERS, ITEMS = 64 };

struct item {
    struct inject_link link;
    unsigned number; /* Written before the push, without a lock: ThreadSanitizer watches it. */
    atomic_bool queued;
};

static struct inject queue;
static struct item items[PRODUCERS][ITEMS];
static _Atomic(uint64_t) started;
static atomic_uint producers_left = PRODUCERS;

static void *producer(void *argument)
{
    struct item *mine = argument;

    atomic_fetch_add(&started, 1);
    race_wait(&started, RACE_THREADS);
    for (unsigned i = 0; i % ITEMS || race_first_half(); i++) {
        struct item *item = &mine[i % ITEMS];

        race_wait_clear(&item->queued);
        item->number = i;
        atomic_store_explicit(&item->queued, true, memory_order_relaxed);
        inject_push(&queue, &item->link);
    }
    /* Release: with the consumers' acquire; all were pushed. */
    atomic_fetch_sub_explicit(&producers_left, 1, memory_order_release);
    return 0;
}

static void took(struct inject_link *link, unsigned *next)
{
    struct item *item = container_of(link, struct item, link);
    unsigned from = (unsigned)((item - &items[0][0]) / ITEMS);

    CHECK(&items[from][item->number % ITEMS] == item, "not its contents");
    CHECK(item->number >= next[from], "item %u of %u out of order", item->number, from);
    next[from] = item->number + 1;
    link->next = link; /* It is the consumer's, then the producer's. */
    /* Release: with the producer's acquire. */
    CHECK(atomic_exchange_explicit(&item->queued, false, memory_order_release), "twice");
}

static void *consumer(void *argument)
{
    struct random random = {(uint64_t)(uintptr_t)argument};
    unsigned next[PRODUCERS] = {0};

    atomic_fetch_add(&started, 1);
    race_wait(&started, RACE_THREADS);
    for (bool last = false; !last;) {
        struct inject_link *batch[8];

        last = !atomic_load_explicit(&producers_left, memory_order_acquire) && inject_empty(&queue);
        unsigned n = 1 + random_below(&random, ARRAY_SIZE(batch));

        if (n == 1)
            n = (batch[0] = inject_pop(&queue)) != 0;
        else
            n = inject_pop_batch(&queue, batch, n);
        for (unsigned i = 0; i < n; i++)
            took(batch[i], next);
    }
    return 0;
}

static void every_item_once(uint64_t seed)
{
    pthread_t threads[RACE_THREADS];

    for (unsigned i = 0; i < RACE_THREADS; i++)
        threads[i] = i < PRODUCERS ? race_thread(producer, items[i])
                                   : race_thread(consumer, (void *)(uintptr_t)(seed + i));
    for (unsigned i = 0; i < RACE_THREADS; i++)
        pthread_join(threads[i], 0);
    CHECK(inject_empty(&queue), "%zu are left", inject_count(&queue));
    for (unsigned i = 0; i < PRODUCERS; i++)
        for (unsigned j = 0; j < ITEMS; j++)
            CHECK(!atomic_load(&items[i][j].queued), "an item of producer %u is lost", i);
}

/*
 * Many pairs of a queue and a word, all gone through between two meetings, so that on a busy
 * machine, too, both sides are often at the same pair at the same time.
 */
enum { PAIRS = 512 };

static struct pair {
    _Alignas(CACHE_LINE) struct inject inject;
    struct inject_link item;
    _Alignas(CACHE_LINE) atomic_bool sleeps;
    bool saw_sleeper, saw_item;
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
            pair->saw_item = !inject_empty(&pair->inject);
        }
        atomic_store_explicit(&sleeper_done, i, memory_order_release);
    }
}

static void no_wake_is_lost(void)
{
    pthread_t thread = race_thread(sleeper, 0);
    uint64_t i = 1;

    for (struct pair *pair = pairs; pair < pairs + PAIRS; pair++)
        inject_init(&pair->inject);
    for (; i == 1 || race_goes_on(); i++) {
        for (struct pair *pair = pairs; pair < pairs + PAIRS; pair++)
            atomic_store_explicit(&pair->sleeps, false, memory_order_relaxed);
        atomic_store_explicit(&meeting, i, memory_order_release);
        for (struct pair *pair = pairs; pair < pairs + PAIRS; pair++) {
            race_abreast(&pusher_step, &sleeper_step, i * PAIRS + (uint64_t)(pair - pairs));
            inject_push(&pair->inject, &pair->item);
            pair->saw_sleeper = atomic_load(&pair->sleeps);
        }
        race_wait(&sleeper_done, i);
        for (struct pair *pair = pairs; pair < pairs + PAIRS; pair++) {
            CHECK(pair->saw_sleeper || pair->saw_item, "neither saw the other");
            CHECK(inject_pop(&pair->inject) == &pair->item, "the item is lost");
        }
    }
    printf("%llu meetings\n", (unsigned long long)i);
    meetings_ended = true;
    atomic_store_explicit(&meeting, i, memory_order_release);
    pthread_join(thread, 0);
}

int main(int argc, char **argv)
{
    uint64_t seed = race_begin(argc, argv);

    inject_init(&queue);
    every_item_once(seed);
    no_wake_is_lost();
    return 0;
}
