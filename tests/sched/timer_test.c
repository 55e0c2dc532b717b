/* The timing wheel, by examples and against a naive model under random operations. */
#include "base/macros.h"
#include "base/random.h"
#include "sched/timer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SLOT ((int64_t)1 << TIMER_SHIFT)

static struct timers wheel;
static unsigned fired;
static struct timer *last_fired;

static void count_fire(struct timer *timer)
{
    fired++;
    last_fired = timer;
}

static bool wheel_is_bare(void)
{
    bool bare = !wheel.levels && list_empty(&wheel.due) && timers_next(&wheel) == INT64_MAX;

    for (unsigned level = 0; level < TIMER_LEVELS; level++)
        bare &= !wheel.used[level];
    for (unsigned slot = 0; slot < ARRAY_SIZE(wheel.slots); slot++)
        bare &= list_empty(&wheel.slots[slot].timers) && wheel.slots[slot].earliest == INT64_MAX;
    return bare;
}

static void fires_exactly_at(int64_t start, int64_t deadline)
{
    struct timer timer = {.fire = count_fire};

    gyre_timers_init(&wheel, start);
    fired = 0;
    cr_expect(gyre_wheel_start(&wheel, &timer, deadline) == (deadline < INT64_MAX));
    cr_expect(timers_next(&wheel) == deadline);
    if (deadline > start) {
        cr_expect(gyre_timers_expire(&wheel, deadline - 1) == 0, "%lld from %lld is early",
                  (long long)deadline, (long long)start);
        cr_expect(timers_next(&wheel) == deadline);
    }
    cr_expect(gyre_timers_expire(&wheel, deadline) == 1, "%lld from %lld is late",
              (long long)deadline, (long long)start);
    cr_expect(fired == 1 && last_fired == &timer);
    cr_expect(!gyre_wheel_stop(&timer));
    cr_expect(wheel_is_bare());
}

Test(timer, fires_exactly_at_its_deadline_on_every_level)
{
    static const int64_t starts[] = {0,  1,     SLOT - 1,         SLOT,      123456789012345,
                                     -1, -SLOT, -123456789012345, INT64_MIN, INT64_MAX - 1};

    for (unsigned i = 0; i < ARRAY_SIZE(starts); i++) {
        fires_exactly_at(starts[i], starts[i]);
        fires_exactly_at(starts[i], INT64_MAX);
        for (int shift = 0; shift < 63; shift++)
            for (int64_t by = -1; by <= 1; by++) {
                int64_t deadline;

                if (!__builtin_add_overflow(starts[i], ((int64_t)1 << shift) + by, &deadline))
                    fires_exactly_at(starts[i], deadline);
            }
    }
}

Test(timer, a_past_deadline_is_due_at_once_even_when_time_is_older_than_the_wheel)
{
    struct timer timer = {.fire = count_fire};

    gyre_timers_init(&wheel, 1000 * SLOT);
    gyre_wheel_start(&wheel, &timer, 10 * SLOT);
    cr_expect(gyre_timers_expire(&wheel, 10 * SLOT - 1) == 0);
    cr_expect(gyre_timers_expire(&wheel, 10 * SLOT) == 1);
    gyre_wheel_start(&wheel, &timer, INT64_MIN);
    cr_expect(gyre_timers_expire(&wheel, INT64_MIN) == 1);
    cr_expect(wheel_is_bare());
}

Test(timer, stop_tells_whether_it_prevented_the_fire)
{
    struct timer timer = {.fire = count_fire};

    gyre_timers_init(&wheel, 0);
    cr_expect(!gyre_wheel_stop(&timer), "never started");
    gyre_wheel_start(&wheel, &timer, 5);
    cr_expect(gyre_wheel_stop(&timer));
    cr_expect(!gyre_wheel_stop(&timer));
    cr_expect(gyre_timers_expire(&wheel, 5) == 0);
    gyre_wheel_start(&wheel, &timer, 5);
    cr_expect(gyre_timers_expire(&wheel, 5) == 1);
    cr_expect(!gyre_wheel_stop(&timer));
    cr_expect(wheel_is_bare());
}

static struct timer other;
static bool other_stopped;

static void stop_other(struct timer *timer)
{
    (void)timer;
    other_stopped = gyre_wheel_stop(&other);
}

Test(timer, a_callback_can_stop_another_that_is_due_as_well)
{
    struct timer timer = {.fire = stop_other};

    other.fire = count_fire;
    gyre_timers_init(&wheel, 0);
    gyre_wheel_start(&wheel, &other, 20);
    gyre_wheel_start(&wheel, &timer, 10);
    cr_expect(gyre_timers_expire(&wheel, 100) == 1);
    cr_expect(other_stopped);
    cr_expect(wheel_is_bare());
}

static void again(struct timer *timer)
{
    fired++;
    gyre_wheel_start(&wheel, timer, timer->deadline);
}

Test(timer, one_that_restarts_itself_in_the_past_fires_once_in_each_call)
{
    struct timer timer = {.fire = again};

    gyre_timers_init(&wheel, 0);
    gyre_wheel_start(&wheel, &timer, 7);
    cr_expect(gyre_timers_expire(&wheel, 100) == 1);
    cr_expect(gyre_timers_expire(&wheel, 100) == 1);
    cr_expect(gyre_wheel_stop(&timer));
    cr_expect(wheel_is_bare());
}

Test(timer, start_returns_true_only_for_the_first_of_all)
{
    struct timer a = {.fire = count_fire}, b = a, c = a;

    gyre_timers_init(&wheel, 0);
    cr_expect(gyre_wheel_start(&wheel, &a, 1000));
    cr_expect(!gyre_wheel_start(&wheel, &b, 1000));
    cr_expect(gyre_wheel_start(&wheel, &c, 999));
    cr_expect(gyre_wheel_stop(&c));
    cr_expect(gyre_timers_expire(&wheel, 1000) == 2);
}

Test(timer, a_million_stopped_early_leave_nothing_behind)
{
    enum { MANY = 1000000 };
    struct timer *timers = calloc(MANY, sizeof *timers);
    struct random random = {1};
    unsigned stopped = 0;

    gyre_timers_init(&wheel, 0);
    for (unsigned i = 0; i < MANY; i++) {
        timers[i].fire = count_fire;
        gyre_wheel_start(&wheel, &timers[i], (int64_t)(random_next(&random) >> 20));
    }
    for (unsigned i = 0; i < MANY; i++)
        stopped += gyre_wheel_stop(&timers[i]);
    cr_expect(stopped == MANY);
    cr_expect(wheel_is_bare());
    free(timers);
}

/* The model: each timer's state, and a scan of all. */
enum { COUNT = 200 };

static struct {
    struct random random;
    struct timer timers[COUNT];
    bool pending[COUNT];
    unsigned call_started[COUNT]; /* In which call of expire, 0 outside. */
    int64_t now;
    bool stops;
    unsigned call;
    bool in_call;
    int64_t last; /* The deadline fired before, in this call. */
} model;

static unsigned below(unsigned bound)
{
    return random_below(&model.random, bound);
}

static int64_t add(int64_t time, int64_t by)
{
    int64_t sum;

    if (__builtin_add_overflow(time, by, &sum))
        return by < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

/* Up to any size, all sizes equally often. */
static int64_t some_length(void)
{
    return (int64_t)(random_next(&model.random) >> (1 + below(63)));
}

static int64_t some_deadline(void)
{
    switch (below(10)) {
    case 0:
        return add(model.now, -some_length());
    case 1: /* At the edges of slots of every level. */
        return add(add(model.now, some_length()) & ~(((int64_t)1 << below(62)) - 1),
                   (int64_t)below(3) - 1);
    case 2:
        return below(4) ? add(model.now, below(3)) : below(2) ? INT64_MAX : INT64_MIN;
    case 3: /* As many together have it. */
        return add(model.now, 30000000000);
    default:
        return add(model.now, some_length());
    }
}

static void model_start(unsigned i)
{
    if (model.pending[i])
        return;
    model.pending[i] = true;
    model.call_started[i] = model.in_call ? model.call : 0;
    gyre_wheel_start(&wheel, &model.timers[i], some_deadline());
}

static void model_stop(unsigned i)
{
    cr_assert(gyre_wheel_stop(&model.timers[i]) == model.pending[i]);
    model.pending[i] = false;
}

static void model_fire(struct timer *timer)
{
    unsigned i = (unsigned)(timer - model.timers);

    cr_assert(model.pending[i] && timer->deadline <= model.now);
    cr_assert(timer->deadline >= model.last, "out of order");
    cr_assert(model.call_started[i] != model.call, "fired in the call that started it");
    model.last = timer->deadline;
    model.pending[i] = false;
    if (model.stops && !below(4))
        model_stop(below(COUNT));
    if (!below(4))
        model_start(below(2) ? i : below(COUNT));
}

static int64_t model_next(void)
{
    int64_t next = INT64_MAX;

    for (unsigned i = 0; i < COUNT; i++)
        if (model.pending[i] && model.timers[i].deadline < next)
            next = model.timers[i].deadline;
    return next;
}

static void model_expire(void)
{
    model.call++;
    model.in_call = true;
    model.last = INT64_MIN;
    gyre_timers_expire(&wheel, model.now);
    model.in_call = false;
    for (unsigned i = 0; i < COUNT; i++)
        cr_assert(!model.pending[i] || model.timers[i].deadline > model.now ||
                      model.call_started[i] == model.call,
                  "timer %u was due and did not fire", i);
}

static void model_advance(void)
{
    int64_t next = timers_next(&wheel);

    switch (below(8)) {
    case 0:
        model.now = add(model.now, some_length());
        break;
    case 1:
        model.now = add(model.now, below(3 * SLOT));
        break;
    case 2: /* A worker with an older view of the clock. */
        model.now = add(model.now, -(int64_t)below(3 * SLOT));
        break;
    case 3:
        if (next != INT64_MAX)
            model.now = add(next, -1);
        break;
    default:
        if (next != INT64_MAX)
            model.now = next;
    }
    model_expire();
}

static void check_next(void)
{
    int64_t next = timers_next(&wheel), first = model_next();

    cr_assert(next <= first);
    cr_assert(model.stops || next == first, "nothing was stopped: %lld, not %lld", (long long)next,
              (long long)first);
}

static void run_model(uint64_t seed)
{
    static const int64_t starts[] = {0, INT64_MIN, -1000000, INT64_MAX - 10 * SLOT};

    memset(&model, 0, sizeof model);
    model.random.state = seed;
    model.stops = below(4);
    model.now = below(2) ? starts[below(4)] : (int64_t)random_next(&model.random);
    gyre_timers_init(&wheel, model.now);
    for (unsigned i = 0; i < COUNT; i++)
        model.timers[i].fire = model_fire;
    for (unsigned step = 0; step < 2000; step++) {
        unsigned what = below(8);

        if (what < 5)
            model_start(below(COUNT));
        else if (what < 7 && model.stops)
            model_stop(below(COUNT));
        else
            model_advance();
        check_next();
    }
    for (unsigned i = 0; i < COUNT; i++)
        model_stop(i);
    cr_assert(wheel_is_bare());
}

Test(timer, behaves_as_a_naive_model_under_random_operations)
{
    const char *given = getenv("GYRE_TEST_SEED");
    uint64_t seed = given ? strtoull(given, 0, 0) : (uint64_t)time(0);

    for (unsigned i = 0; i < 500; i++) {
        if (i == 0)
            fprintf(stderr, "# GYRE_TEST_SEED=%llu\n", (unsigned long long)seed);
        run_model(seed + i);
    }
}

Test(timer, wakes_early_at_most_once_for_each_stopped_timer)
{
    struct timer stopped[32] = {0}, last = {.fire = count_fire};
    unsigned looks = 0;

    gyre_timers_init(&wheel, 0);
    gyre_wheel_start(&wheel, &last, 30000000000);
    for (unsigned i = 0; i < 32; i++) {
        stopped[i].fire = count_fire;
        gyre_wheel_start(&wheel, &stopped[i], 30000000000 - 1 - ((int64_t)1 << i));
    }
    for (unsigned i = 0; i < 32; i++)
        cr_expect(gyre_wheel_stop(&stopped[i]));
    for (fired = 0; !fired; looks++)
        gyre_timers_expire(&wheel, timers_next(&wheel));
    cr_expect(looks <= 33, "%u looks", looks);
}
