/* The deque by a single thread: order, growth, and memory that runs out. */
#include "base/random.h"
#include "sched/deque.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

static int allocations_left = -1; /* Negative: as many as there are. */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    if (!allocations_left)
        return 0;
    if (allocations_left > 0)
        allocations_left--;
    return __real_malloc(size);
}

static void *number(size_t n)
{
    return (void *)(n + 1);
}

Test(deque, owner_takes_the_newest_thief_the_oldest)
{
    struct deque d;

    cr_assert_eq(gyre_deque_init(&d, 1), 0);
    for (size_t i = 0; i < 100; i++)
        cr_assert_eq(deque_push(&d, number(i)), 0);
    cr_expect_eq(deque_count(&d), 100);
    cr_expect_eq(gyre_deque_steal(&d), number(0));
    cr_expect_eq(deque_take(&d), number(99));
    cr_expect_eq(deque_take_alone(&d), number(98));
    cr_expect_eq(gyre_deque_steal(&d), number(1));
    cr_expect_eq(deque_count(&d), 96);
    gyre_deque_destroy(&d);
}

Test(deque, is_empty_again_after_the_last_item_whoever_took_it)
{
    struct deque d;

    cr_assert_eq(gyre_deque_init(&d, 0), 0);
    for (size_t i = 0; i < 12; i++) {
        cr_expect_null(deque_take(&d));
        cr_expect_null(deque_take_alone(&d));
        cr_expect_null(gyre_deque_steal(&d));
        cr_expect_eq(deque_count(&d), 0);
        cr_assert_eq(deque_push(&d, number(i)), 0);
        cr_expect_eq(deque_count(&d), 1);
        cr_expect_eq(i % 3 == 0   ? deque_take(&d)
                     : i % 3 == 1 ? deque_take_alone(&d)
                                  : gyre_deque_steal(&d),
                     number(i));
    }
    gyre_deque_destroy(&d);
}

Test(deque, push_without_memory_fails_and_loses_nothing)
{
    struct deque d;

    allocations_left = 0;
    cr_expect_eq(gyre_deque_init(&d, 2), -ENOMEM);
    allocations_left = 1;
    cr_assert_eq(gyre_deque_init(&d, 2), 0);
    for (size_t i = 0; i < 4; i++)
        cr_expect_eq(deque_push(&d, number(i)), 0);
    cr_expect_eq(deque_push(&d, number(4)), -ENOMEM);
    cr_expect_eq(deque_push(&d, number(4)), -ENOMEM);
    cr_expect_eq(deque_count(&d), 4);
    cr_expect_eq(gyre_deque_steal(&d), number(0));
    cr_expect_eq(deque_push(&d, number(4)), 0, "there is room again");
    allocations_left = -1;
    cr_expect_eq(deque_push(&d, number(5)), 0);
    for (size_t i = 5; i >= 1; i--)
        cr_expect_eq(deque_take(&d), number(i));
    cr_expect_null(deque_take(&d));
    gyre_deque_destroy(&d);
}

Test(deque, behaves_as_an_array_under_random_operations)
{
    enum { MANY = 200000 };
    static size_t model[MANY];
    size_t first = 0, end = 0;
    struct random random = {7};
    struct deque d;

    cr_assert_eq(gyre_deque_init(&d, 0), 0);
    for (size_t i = 0; i < MANY; i++) {
        switch (random_below(&random, i / 10000 % 2 ? 8 : 3)) {
        case 0:
            cr_assert_eq(deque_take(&d), first < end ? number(model[--end]) : 0);
            break;
        case 1:
            cr_assert_eq(gyre_deque_steal(&d), first < end ? number(model[first++]) : 0);
            break;
        case 3:
            cr_assert_eq(deque_take_alone(&d), first < end ? number(model[--end]) : 0);
            break;
        default:
            model[end++] = i;
            cr_assert_eq(deque_push(&d, number(i)), 0);
        }
        cr_assert_eq(deque_count(&d), end - first);
    }
    gyre_deque_destroy(&d);
}
