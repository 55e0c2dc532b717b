/*
 * Owner against thieves: each item comes out exactly once, and every consumer sees items in the
 * order of their pushes. Windows aimed at: the last items of the ring, a batch against the owner's
 * pop, the list (bursts longer than the ring), and thieves that empty the list while the owner
 * does not pop.
 *
 * Then, whoever looks before going to sleep must not overlook items on their way from the list into
 * the ring.
 */
#include "race.h"

#include "sched/fifo.h"

enum { ITEMS = 2000, THIEVES = RACE_THREADS - 1 };

struct item {
    struct fifo_link link;
    unsigned number; /* Written before the push, without a lock: ThreadSanitizer watches it. */
    atomic_uint taken;
};

static struct fifo fifo;
static struct item items[ITEMS];
static atomic_bool over;  /* This round is. */
static atomic_bool ended; /* All are. */
static pthread_barrier_t round_edge;
static atomic_uint left;

struct consumer {
    unsigned round, next; /* The next item it may see. */
};

static void took(struct consumer *consumer, struct fifo_link *link)
{
    struct item *item = container_of(link, struct item, link);
    unsigned i = (unsigned)(item - items);

    CHECK(i < ITEMS, "not an item: %p", (void *)item);
    CHECK(item->number == consumer->round + i, "not this round's contents");
    CHECK(!atomic_fetch_add_explicit(&item->taken, 1, memory_order_relaxed), "item %u twice", i);
    CHECK(i >= consumer->next, "item %u after %u", i, consumer->next - 1);
    consumer->next = i + 1;
    link->next = link; /* It is the consumer's: a late reader in the queue would see nonsense. */
}

static void *thief(void *argument)
{
    struct random random = {(uint64_t)(uintptr_t)argument};

    for (unsigned round = 0;; round++) {
        struct consumer consumer = {.round = round};

        pthread_barrier_wait(&round_edge);
        if (ended)
            return 0;
        for (;;) {
            struct fifo_link *batch[FIFO_BATCH_MAX];
            /* Before the steal: what it finds empty afterwards stays so. */
            bool last = atomic_load_explicit(&over, memory_order_acquire);
            unsigned max = 1 + random_below(&random, 20);
            unsigned n = gyre_fifo_steal_batch(&fifo, batch, max);

            CHECK(n <= max && n <= FIFO_BATCH_MAX, "%u taken", n);
            for (unsigned i = 0; i < n; i++)
                took(&consumer, batch[i]);
            atomic_fetch_sub_explicit(&left, n, memory_order_relaxed);
            if (!n && last)
                break;
        }
        pthread_barrier_wait(&round_edge);
    }
}

static void pop_some(struct consumer *consumer, unsigned count)
{
    for (struct fifo_link *link; count-- && (link = fifo_pop(&fifo, false));) {
        took(consumer, link);
        atomic_fetch_sub_explicit(&left, 1, memory_order_relaxed);
    }
}

static void play(struct random *random, unsigned round)
{
    struct consumer consumer = {.round = round};
    unsigned burst = 1u << random_below(random, 11);

    for (unsigned next = 0; next < ITEMS;) {
        for (unsigned i = 1 + random_below(random, burst); i && next < ITEMS; i--, next++) {
            items[next].number = round + next;
            fifo_push(&fifo, &items[next].link);
        }
        if (random_below(random, 8))
            pop_some(&consumer, random_below(random, burst + 2));
    }
    /* In half of the rounds the owner is stuck, and the thieves must find everything. */
    if (random_below(random, 2))
        pop_some(&consumer, ITEMS);
    while (atomic_load_explicit(&left, memory_order_relaxed))
        sched_yield();
}

static _Atomic(uint64_t) phase; /* Odd: the fifo is not empty. */

static void *onlooker(void *unused)
{
    (void)unused;
    while (!ended) {
        uint64_t before = atomic_load(&phase);
        size_t count = fifo_count(&fifo);

        /* seq_cst, as the acquires in fifo_count keep what follows from moving up. */
        if (before % 2 && atomic_load(&phase) == before)
            CHECK(count, "overlooked what is there");
    }
    return 0;
}

static void nothing_is_overlooked(void)
{
    pthread_t thread = race_thread(onlooker, 0);
    struct fifo_link *batch[FIFO_BATCH_MAX];

    for (int64_t end = clock_now() + 1000000000; clock_now() < end;) {
        for (unsigned i = 0; i < FIFO_RING + 40; i++)
            fifo_push(&fifo, &items[i].link);
        atomic_fetch_add(&phase, 1);
        /* Empty the ring, so that all there is moves at the next pop. */
        for (unsigned n = FIFO_RING; n;)
            n -= gyre_fifo_steal_batch(&fifo, batch, n < FIFO_BATCH_MAX ? n : FIFO_BATCH_MAX);
        CHECK(fifo_pop(&fifo, false) == &items[FIFO_RING].link, "not in order");
        atomic_fetch_add(&phase, 1);
        while (fifo_pop(&fifo, false))
            ;
    }
    ended = true;
    pthread_join(thread, 0);
}

int main(int argc, char **argv)
{
    struct random random = {race_begin(argc, argv)};
    pthread_t thieves[THIEVES];

    pthread_barrier_init(&round_edge, 0, THIEVES + 1);
    for (unsigned i = 0; i < THIEVES; i++)
        thieves[i] = race_thread(thief, (void *)(uintptr_t)random_next(&random));
    gyre_fifo_init(&fifo);
    for (unsigned round = 0; race_goes_on(); round++) {
        atomic_store_explicit(&over, false, memory_order_relaxed);
        atomic_store_explicit(&left, ITEMS, memory_order_relaxed);
        for (unsigned i = 0; i < ITEMS; i++)
            atomic_store_explicit(&items[i].taken, 0, memory_order_relaxed);
        pthread_barrier_wait(&round_edge);
        play(&random, round);
        atomic_store_explicit(&over, true, memory_order_release);
        pthread_barrier_wait(&round_edge);
        for (unsigned i = 0; i < ITEMS; i++)
            CHECK(atomic_load_explicit(&items[i].taken, memory_order_relaxed) == 1, "item %u lost",
                  i);
        CHECK(!fifo_count(&fifo), "%zu are left", fifo_count(&fifo));
    }
    ended = true;
    pthread_barrier_wait(&round_edge);
    for (unsigned i = 0; i < THIEVES; i++)
        pthread_join(thieves[i], 0);
    ended = false;
    nothing_is_overlooked();
    return 0;
}
