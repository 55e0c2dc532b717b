/*
 * Many push, many pop: every item comes out once, and each consumer sees each producer's items in
 * order. Then the wake protocol, as in mailbox_race.c.
 */
#include "race.h"

#include "sched/inject.h"

enum { PRODUCERS = 3, CONSUMERS = RACE_THREADS - PRODUCERS, ITEMS = 50000 };

struct item {
    struct inject_link link;
    unsigned number; /* Written before the push, without a lock: ThreadSanitizer watches it. */
    atomic_uint taken;
};

static struct inject queue;
static struct item items[PRODUCERS][ITEMS];
static _Atomic(uint64_t) taken, started;

static void *producer(void *argument)
{
    struct item *mine = argument;

    atomic_fetch_add(&started, 1);
    race_wait(&started, RACE_THREADS);
    for (unsigned i = 0; i < ITEMS; i++) {
        mine[i].number = i;
        inject_push(&queue, &mine[i].link);
    }
    return 0;
}

static void took(struct inject_link *link, unsigned *next)
{
    struct item *item = container_of(link, struct item, link);
    unsigned from = (unsigned)((item - &items[0][0]) / ITEMS);

    CHECK(item->number == item - items[from], "not its contents");
    CHECK(!atomic_fetch_add(&item->taken, 1), "item %u of %u twice", item->number, from);
    CHECK(item->number >= next[from], "item %u of %u out of order", item->number, from);
    next[from] = item->number + 1;
    link->next = link; /* It is the consumer's now. */
}

static void *consumer(void *argument)
{
    struct random random = {(uint64_t)(uintptr_t)argument};
    unsigned next[PRODUCERS] = {0};

    atomic_fetch_add(&started, 1);
    race_wait(&started, RACE_THREADS);
    while (atomic_load_explicit(&taken, memory_order_relaxed) < (uint64_t)PRODUCERS * ITEMS) {
        struct inject_link *batch[8];
        unsigned n = 1 + random_below(&random, ARRAY_SIZE(batch));

        if (n == 1)
            n = (batch[0] = inject_pop(&queue)) != 0;
        else
            n = inject_pop_batch(&queue, batch, n);
        for (unsigned i = 0; i < n; i++)
            took(batch[i], next);
        atomic_fetch_add_explicit(&taken, n, memory_order_relaxed);
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
}

static atomic_bool sleeps;
static _Atomic(uint64_t) meeting, sleeper_done;
static bool ended;
static bool saw_item;

static void *sleeper(void *unused)
{
    (void)unused;
    for (uint64_t i = 1;; i++) {
        race_wait(&meeting, i);
        if (ended)
            return 0;
        atomic_store(&sleeps, true);
        atomic_thread_fence(memory_order_seq_cst);
        saw_item = !inject_empty(&queue);
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
        inject_push(&queue, &items[0][0].link);
        saw_sleeper = atomic_load(&sleeps);
        race_wait(&sleeper_done, i);
        CHECK(saw_sleeper || saw_item, "neither saw the other in meeting %llu",
              (unsigned long long)i);
        CHECK(inject_pop(&queue) == &items[0][0].link, "the item is lost");
    }
    ended = true;
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
