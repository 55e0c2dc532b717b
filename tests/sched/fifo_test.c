/* The FIFO by a single thread: order through ring and list, and the size of batches. */
#include "base/macros.h"
#include "base/random.h"
#include "sched/fifo.h"

#include <criterion/criterion.h>

enum { MANY = 100000 };

static struct fifo fifo;
static struct fifo_link items[MANY];

static void pushes(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        fifo_push(&fifo, &items[i]);
}

Test(fifo, pops_in_order_below_at_and_above_the_size_of_the_ring)
{
    static const size_t counts[] = {0, 1, FIFO_RING - 1, FIFO_RING, FIFO_RING + 1, MANY};

    gyre_fifo_init(&fifo);
    for (size_t n = 0; n < ARRAY_SIZE(counts); n++) {
        pushes(0, counts[n]);
        cr_expect_eq(fifo_count(&fifo), counts[n]);
        for (size_t i = 0; i < counts[n]; i++)
            cr_assert_eq(fifo_pop(&fifo, n % 2), &items[i]);
        cr_expect_null(fifo_pop(&fifo, false));
        cr_expect_null(fifo_pop(&fifo, true));
        cr_expect_eq(fifo_count(&fifo), 0);
    }
}

Test(fifo, a_batch_is_half_rounded_up_and_at_most_what_was_asked_for)
{
    struct fifo_link *batch[FIFO_BATCH_MAX];

    gyre_fifo_init(&fifo);
    cr_expect_eq(gyre_fifo_steal_batch(&fifo, batch, FIFO_BATCH_MAX), 0);
    pushes(0, 5);
    cr_expect_eq(gyre_fifo_steal_batch(&fifo, batch, 0), 0);
    cr_expect_eq(gyre_fifo_steal_batch(&fifo, batch, FIFO_BATCH_MAX), 3);
    cr_expect(batch[0] == &items[0] && batch[2] == &items[2]);
    cr_expect_eq(gyre_fifo_steal_batch(&fifo, batch, FIFO_BATCH_MAX), 1);
    cr_expect_eq(gyre_fifo_steal_batch(&fifo, batch, FIFO_BATCH_MAX), 1);
    cr_expect_eq(batch[0], &items[4]);
    pushes(0, 100);
    cr_expect_eq(gyre_fifo_steal_batch(&fifo, batch, 1000), FIFO_BATCH_MAX);
    cr_expect_eq(gyre_fifo_steal_batch(&fifo, batch, 7), 7);
    cr_expect_eq(fifo_count(&fifo), 100 - FIFO_BATCH_MAX - 7);
}

Test(fifo, thieves_reach_what_lies_behind_the_ring)
{
    size_t next = 0, n;
    struct fifo_link *batch[FIFO_BATCH_MAX];

    gyre_fifo_init(&fifo);
    pushes(0, 10 * FIFO_RING);
    while ((n = gyre_fifo_steal_batch(&fifo, batch, FIFO_BATCH_MAX)))
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(batch[i], &items[next++]);
    cr_expect_eq(next, 10 * FIFO_RING);
    pushes(0, 1);
    cr_expect_eq(fifo_pop(&fifo, false), &items[0]);
}

Test(fifo, order_holds_under_random_operations)
{
    struct random random = {3};
    size_t first = 0, end = 0;
    struct fifo_link *batch[FIFO_BATCH_MAX];

    gyre_fifo_init(&fifo);
    while (end < MANY) {
        size_t burst = random_below(&random, 1u << random_below(&random, 11)), n;

        switch (random_below(&random, 4)) {
        case 0:
            n = end + burst < MANY ? end + burst : MANY;
            pushes(end, n);
            end = n;
            break;
        case 1:
            n = gyre_fifo_steal_batch(&fifo, batch, 1 + random_below(&random, 20));
            cr_assert(n || first == end);
            for (size_t i = 0; i < n; i++)
                cr_assert_eq(batch[i], &items[first++]);
            break;
        default:
            for (bool alone = burst % 2; burst && first < end; burst--)
                cr_assert_eq(fifo_pop(&fifo, alone), &items[first++]);
        }
        cr_assert_eq(fifo_count(&fifo), end - first);
    }
}
