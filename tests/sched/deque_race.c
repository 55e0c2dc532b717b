/*
 * Owner against thieves: each item comes out exactly once, with what was written into it before the
 * push. Windows aimed at: the last item (bursts of one and two), growth (each round begins with
 * room for two), and a thief that lost its CPU between reading top and its CAS (more threads than
 * CPUs).
 */
#include "race.h"

#include "sched/deque.h"

enum { ITEMS = 2000, THIEVES = RACE_THREADS - 1 };

struct item {
    unsigned number; /* Written before the push, without a lock: ThreadSanitizer watches it. */
    atomic_uint taken;
};

static struct deque deque;
static struct item items[ITEMS];
static atomic_bool over; /* This round is. */
static bool ended;       /* All are; written between two rounds. */
static pthread_barrier_t round_edge;

static void took(void *taken, unsigned round)
{
    struct item *item = taken;

    CHECK(item >= items && item < items + ITEMS, "not an item: %p", taken);
    CHECK(item->number == round + (unsigned)(item - items), "not this round's contents");
    CHECK(!atomic_fetch_add_explicit(&item->taken, 1, memory_order_relaxed), "item %td twice",
          item - items);
}

static void *thief(void *unused)
{
    (void)unused;
    for (unsigned round = 0;; round++) {
        pthread_barrier_wait(&round_edge);
        if (ended)
            return 0;
        for (;;) {
            /* Before the steal: what it finds empty afterwards stays so. */
            bool last = atomic_load_explicit(&over, memory_order_acquire);
            void *item = gyre_deque_steal(&deque);

            if (item && item != DEQUE_RETRY)
                took(item, round);
            else if (!item && last)
                break;
        }
        pthread_barrier_wait(&round_edge);
    }
}

static void take_some(unsigned count, unsigned round)
{
    for (void *item; count-- && (item = deque_take(&deque));)
        took(item, round);
}

static void play(struct random *random, unsigned round)
{
    /* Some rounds dwell on the last item, others grow. */
    unsigned burst = 1u << random_below(random, 7);

    for (unsigned next = 0; next < ITEMS;) {
        for (unsigned i = 1 + random_below(random, burst); i && next < ITEMS; i--, next++) {
            items[next].number = round + next;
            CHECK(!deque_push(&deque, &items[next]), "no memory");
        }
        take_some(random_below(random, burst + 2), round);
        if (!random_below(random, 8)) {
            void *oldest = gyre_deque_steal(&deque);

            if (oldest && oldest != DEQUE_RETRY)
                took(oldest, round);
        }
    }
    take_some(random_below(random, 2) ? ITEMS : 0, round);
}

int main(int argc, char **argv)
{
    struct random random = {race_begin(argc, argv)};
    pthread_t thieves[THIEVES];

    pthread_barrier_init(&round_edge, 0, THIEVES + 1);
    for (unsigned i = 0; i < THIEVES; i++)
        thieves[i] = race_thread(thief, 0);
    for (unsigned round = 0; race_goes_on(); round++) {
        CHECK(!gyre_deque_init(&deque, 1), "no memory");
        atomic_store_explicit(&over, false, memory_order_relaxed);
        for (unsigned i = 0; i < ITEMS; i++)
            atomic_store_explicit(&items[i].taken, 0, memory_order_relaxed);
        pthread_barrier_wait(&round_edge);
        play(&random, round);
        atomic_store_explicit(&over, true, memory_order_release);
        pthread_barrier_wait(&round_edge);
        for (unsigned i = 0; i < ITEMS; i++)
            CHECK(atomic_load_explicit(&items[i].taken, memory_order_relaxed) == 1, "item %u lost",
                  i);
        CHECK(!deque_count(&deque), "%zu are left", deque_count(&deque));
        gyre_deque_destroy(&deque);
    }
    ended = true;
    pthread_barrier_wait(&round_edge);
    for (unsigned i = 0; i < THIEVES; i++)
        pthread_join(thieves[i], 0);
    return 0;
}
