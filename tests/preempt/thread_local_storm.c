/*
 * Thread-local variables: a read and a write that gyre_preempt_off, or a GYRE_NO_PREEMPT function,
 * holds together lose nothing; their addresses and pthread_self() stay while a coroutine only
 * computes. One part does without either: it must lose something, or nothing here was tested.
 */
#include "storm.h"

enum { COUNTERS = 3, THREADS = 64 };
enum { BY_SECTION, BY_FUNCTION, UNGUARDED };

struct counters {
    uint64_t by[COUNTERS];
};

static _Thread_local struct counters mine;
static _Thread_local bool listed;
static struct counters *_Atomic all[THREADS];
static _Atomic(unsigned) threads;
static _Atomic(uint64_t) wanted[COUNTERS];

static __attribute__((noinline)) struct counters *my_counters(void)
{
    gyre_preempt_off();
    if (!listed) {
        unsigned i = threads++;

        STORM_CHECK(i < THREADS, "%u threads", i);
        all[i] = &mine;
        listed = true;
    }
    gyre_preempt_on();
    return &mine;
}

/* Long enough to be interrupted between the read and the write. */
static void add_slowly(int which, struct random *random)
{
    uint64_t *counter = &my_counters()->by[which];
    uint64_t old = __atomic_load_n(counter, __ATOMIC_RELAXED);

    storm_work(random);
    __atomic_store_n(counter, old + 1, __ATOMIC_RELAXED);
    wanted[which]++;
}

static int by_section(struct storm_player *player)
{
    while (!storm_over()) {
        gyre_preempt_off();
        if (player->rounds % 2) {
            gyre_preempt_off();
            gyre_preempt_on();
        }
        storm_enter("a section");
        add_slowly(BY_SECTION, &player->random);
        storm_leave();
        gyre_preempt_on();
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

GYRE_NO_PREEMPT static void add_whole(struct random *random)
{
    storm_enter("a GYRE_NO_PREEMPT function");
    add_slowly(BY_FUNCTION, random);
    storm_leave();
}

static int by_function(struct storm_player *player)
{
    while (!storm_over()) {
        add_whole(&player->random);
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

static int unguarded(struct storm_player *player)
{
    while (!storm_over()) {
        add_slowly(UNGUARDED, &player->random);
        player->rounds++;
    }
    return 0;
}

static __attribute__((noinline)) void stay(struct random *random)
{
    struct counters *address = my_counters();
    pthread_t self = pthread_self();
    unsigned worker = gyre_worker_index();

    for (int i = 0; i < 30; i++)
        storm_work(random);
    STORM_CHECK(my_counters() == address, "a thread-local variable moved");
    STORM_CHECK(pthread_equal(pthread_self(), self), "another thread");
    STORM_CHECK(gyre_worker_index() == worker, "another worker");
}

static int addresses(struct storm_player *player)
{
    while (!storm_over()) {
        stay(&player->random);
        player->rounds++;
    }
    return 0;
}

/* The threads of a run are gone with it. */
static void begin(void)
{
    threads = 0;
    for (int i = 0; i < COUNTERS; i++)
        wanted[i] = 0;
}

static uint64_t counted(int which)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < threads; i++)
        sum += all[i]->by[which];
    return sum;
}

static void end(void)
{
    for (int i = 0; i < UNGUARDED; i++)
        STORM_CHECK(counted(i) == wanted[i], "%d: %llu of %llu", i, (unsigned long long)counted(i),
                    (unsigned long long)wanted[i]);
}

static const char *missing(const struct gyre_preempt_counts *counts)
{
    if (!counts->refused[GYRE_REFUSED_SECTION])
        return "no tick in a section";
    return counted(UNGUARDED) < wanted[UNGUARDED] ? NULL : "nothing was lost without a guard";
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"sections", by_section, 3},
                                              {"functions", by_function, 3},
                                              {"unguarded", unguarded, 6},
                                              {"addresses", addresses, 2}};

    storm_settings.before = begin;
    storm_settings.finish = end;
    storm_settings.missing = missing;
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
