/*
 * Whose turn it is (lib/sched/preempt.h). Slices are counted by who runs after whom, not by time.
 */
#include "inside.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HOGS = 8 };

static atomic_int stop;
static atomic_ulong slices[HOGS], all_slices;
static atomic_int last; /* who ran last, on the only worker */

static int note_mode(void *asynchronous)
{
    struct gyre_preempt_counts counts = {.size = sizeof counts};

    gyre_preempt_count(&counts);
    *(bool *)asynchronous = !strcmp(counts.mode, "asynchronous");
    return 0;
}

static void run_interrupted(unsigned workers, gyre_fn fn)
{
    bool asynchronous = false;

    cr_assert_eq(run_with_workers(1, note_mode, &asynchronous), 0);
    if (!asynchronous)
        cr_skip_test("nothing is interrupted here");
    cr_assert_eq(run_with_workers(workers, fn, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}

#define TURNS(name, workers)                                                                       \
    static int turns_##name(void *unused_);                                                        \
    Test(turns, name, .timeout = 60)                                                               \
    {                                                                                              \
        run_interrupted(workers, turns_##name);                                                    \
    }                                                                                              \
    static int turns_##name(__attribute__((unused)) void *unused_)

/* A slice begins where somebody else ran before. */
static int compute(void *number)
{
    const int self = (int)(intptr_t)number;

    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        if (atomic_load_explicit(&last, memory_order_relaxed) != self) {
            atomic_store_explicit(&last, self, memory_order_relaxed);
            atomic_fetch_add(&slices[self], 1);
            atomic_fetch_add(&all_slices, 1);
        }
    return 0;
}

static void begin(void)
{
    atomic_store(&stop, 0);
    atomic_store(&all_slices, 0);
    atomic_store(&last, -1);
    for (int i = 0; i < HOGS; i++)
        atomic_store(&slices[i], 0);
}

static void start_hogs(gyre_group *group, int count)
{
    for (int i = 0; i < count; i++)
        gyre_group_go(group, compute, (void *)(intptr_t)i);
}

static int stop_after(void *slices_wanted)
{
    while (atomic_load(&all_slices) < (unsigned long)(intptr_t)slices_wanted)
        if (gyre_sleep(GYRE_MILLISECOND))
            break;
    atomic_store(&stop, 1);
    return 0;
}

TURNS(hogs_have_the_same_number, 1)
{
    unsigned long least = ~0ul, most = 0;
    GYRE_GROUP(group);

    begin();
    start_hogs(&group, HOGS);
    gyre_group_go(&group, stop_after, (void *)(5 * HOGS));
    gyre_group_wait(&group);
    for (int i = 0; i < HOGS; i++) {
        unsigned long n = atomic_load(&slices[i]);

        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    EXPECT(most - least <= 1);
    return 0;
}

static int echo(void *fd)
{
    char byte;

    while (gyre_read(*(int *)fd, &byte, 1) == 1)
        if (gyre_write(*(int *)fd, &byte, 1) != 1)
            break;
    return 0;
}

/* How many slices of hogs each exchange waited for. */
static unsigned long exchange(int fd, int count)
{
    unsigned long most = 0;

    for (int i = 0; i < count; i++) {
        unsigned long before = atomic_load(&all_slices), waited;
        char byte = 'x';

        EXPECT_EQ(gyre_write(fd, &byte, 1), 1);
        EXPECT_EQ(gyre_read(fd, &byte, 1), 1);
        waited = atomic_load(&all_slices) - before;
        most = waited > most ? waited : most;
    }
    return most;
}

static void end_echo(gyre_group *group, int ends[2])
{
    atomic_store(&stop, 1);
    gyre_close(ends[0]);
    EXPECT_EQ(gyre_group_wait(group), 0);
    gyre_close(ends[1]);
}

TURNS(what_was_read_goes_before_the_interrupted, 1)
{
    int ends[2];
    GYRE_GROUP(group);

    begin();
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    gyre_group_go(&group, echo, &ends[1]);
    start_hogs(&group, HOGS);
    while (atomic_load(&all_slices) < 2 * HOGS)
        gyre_sleep(GYRE_MILLISECOND);
    EXPECT(exchange(ends[0], 6) <= HOGS / 2);
    end_echo(&group, ends);
    return 0;
}

static int yield_on(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop))
        gyre_yield();
    return 0;
}

TURNS(interrupted_ones_starve_not_beside_who_yields, 1)
{
    GYRE_GROUP(group);

    begin();
    start_hogs(&group, 3);
    gyre_group_go(&group, yield_on, NULL);
    gyre_group_go(&group, yield_on, NULL);
    /* A slice is told by somebody else's before; of three each has had some. */
    gyre_group_go(&group, stop_after, (void *)18);
    gyre_group_wait(&group);
    for (int i = 0; i < 3; i++)
        EXPECT(atomic_load(&slices[i]) >= 3);
    return 0;
}

/* An exchange parks four times (write and read, here and there). New hogs are queued before it, and
 * nobody knows yet what they are. */
TURNS(what_was_read_goes_before_new_hogs, 1)
{
    int ends[2];
    GYRE_GROUP(group);

    begin();
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    gyre_group_go(&group, echo, &ends[1]);
    EXPECT_EQ(exchange(ends[0], 1), 0);
    start_hogs(&group, HOGS);
    EXPECT(exchange(ends[0], 1) <= HOGS / 2);
    end_echo(&group, ends);
    return 0;
}

static atomic_int on_worker[2], begun;

static int note_worker(void *unused)
{
    (void)unused;
    atomic_fetch_add(&on_worker[gyre_worker_index()], 1);
    atomic_fetch_add(&begun, 1);
    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        ;
    return 0;
}

TURNS(hogs_begin_evenly_on_two_workers, 2)
{
    GYRE_GROUP(group);
    int first;

    atomic_store(&stop, 0);
    atomic_store(&begun, 0);
    atomic_store(&on_worker[0], 0);
    atomic_store(&on_worker[1], 0);
    for (int i = 0; i < HOGS; i++)
        gyre_group_go(&group, note_worker, NULL);
    await_flag(&begun, HOGS);
    atomic_store(&stop, 1);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    first = atomic_load(&on_worker[0]);
    /* Each a share, though a worker may have waited for a processor itself. */
    EXPECT(first >= 2 && first <= HOGS - 2);
    return 0;
}
