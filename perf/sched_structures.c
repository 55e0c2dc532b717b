/*
 * What the scheduler's data structures cost, uncontended, in nanoseconds per operation (a push and
 * a pop are one operation): the least and the median of 25 runs. The clock is the thread's CPU
 * time, so that a busy machine disturbs less.
 */
#include "base/macros.h"
#include "base/random.h"
#include "sched/deque.h"
#include "sched/fifo.h"
#include "sched/inject.h"
#include "sched/mailbox.h"
#include "sched/timer.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RUNS = 25, OPERATIONS = 200000, DEPTH = 1000, MANY = 1000000 };

static int64_t cpu_time(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct deque deque;
static struct fifo fifo;
static struct fifo_link links[DEPTH];
static struct mailbox mailbox;
static struct mailbox_message messages[DEPTH];
static struct inject inject;
static struct inject_link injected[DEPTH];
static struct timers wheel;
static struct timer *timers;
static unsigned *shuffled;

/* Each does `count` operations, `depth` pushes before as many pops. */
static void deque_shared(unsigned count, unsigned depth)
{
    for (unsigned i = 0; i < count; i += depth) {
        for (unsigned j = 0; j < depth; j++)
            (void)deque_push(&deque, &links[j]);
        for (unsigned j = 0; j < depth; j++)
            (void)deque_take(&deque);
    }
}

static void deque_alone(unsigned count, unsigned depth)
{
    for (unsigned i = 0; i < count; i += depth) {
        for (unsigned j = 0; j < depth; j++)
            (void)deque_push(&deque, &links[j]);
        for (unsigned j = 0; j < depth; j++)
            (void)deque_take_alone(&deque);
    }
}

static void deque_steal(unsigned count, unsigned depth)
{
    for (unsigned i = 0; i < count; i += depth) {
        for (unsigned j = 0; j < depth; j++)
            (void)deque_push(&deque, &links[j]);
        for (unsigned j = 0; j < depth; j++)
            (void)gyre_deque_steal(&deque);
    }
}

static void fifo_either(unsigned count, unsigned depth, bool alone)
{
    for (unsigned i = 0; i < count; i += depth) {
        for (unsigned j = 0; j < depth; j++)
            fifo_push(&fifo, &links[j]);
        for (unsigned j = 0; j < depth; j++)
            (void)fifo_pop(&fifo, alone);
    }
}

static void fifo_shared(unsigned count, unsigned depth)
{
    fifo_either(count, depth, false);
}

static void fifo_alone(unsigned count, unsigned depth)
{
    fifo_either(count, depth, true);
}

static void fifo_stolen(unsigned count, unsigned depth)
{
    struct fifo_link *batch[FIFO_BATCH_MAX];

    for (unsigned i = 0; i < count; i += depth) {
        for (unsigned j = 0; j < depth; j++)
            fifo_push(&fifo, &links[j]);
        while (gyre_fifo_steal_batch(&fifo, batch, FIFO_BATCH_MAX))
            ;
    }
}

static void mailbox_messages(unsigned count, unsigned depth)
{
    for (unsigned i = 0; i < count; i += depth) {
        for (unsigned j = 0; j < depth; j++)
            (void)mailbox_push(&mailbox, &messages[j]);
        (void)mailbox_take_all(&mailbox);
    }
}

static void inject_items(unsigned count, unsigned depth)
{
    for (unsigned i = 0; i < count; i += depth) {
        for (unsigned j = 0; j < depth; j++)
            inject_push(&inject, &injected[j]);
        for (unsigned j = 0; j < depth; j++)
            (void)inject_pop(&inject);
    }
}

static void fire(struct timer *timer)
{
    (void)timer;
}

/* Up to 30 s from now, as deadlines of connections are. */
static int64_t deadlines[1024];

/* Starts and stops one timer beside depth - 1 others. */
static void timer_one(unsigned count, unsigned depth)
{
    struct timer timer = {.fire = fire};

    for (unsigned i = 1; i < depth; i++)
        (void)gyre_wheel_start(&wheel, &timers[i], deadlines[i % 1024] + i);
    int64_t start = cpu_time();

    for (unsigned i = 0; i < count; i++) {
        (void)gyre_wheel_start(&wheel, &timer, deadlines[i % 1024]);
        (void)gyre_wheel_stop(&timer);
    }
    int64_t end = cpu_time();

    for (unsigned i = 1; i < depth; i++)
        (void)gyre_wheel_stop(&timers[i]);
    timers[0].deadline = end - start;
}

/* Stops the timers in random order, each started anew at once, as requests' deadlines are. */
static void timer_random(unsigned count, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        (void)gyre_wheel_start(&wheel, &timers[i], deadlines[i % 1024] + i);
    int64_t start = cpu_time();

    for (unsigned i = 0; i < count; i++) {
        struct timer *timer = &timers[shuffled[i] % depth];

        (void)gyre_wheel_stop(timer);
        (void)gyre_wheel_start(&wheel, timer, deadlines[i % 1024]);
    }
    int64_t end = cpu_time();

    for (unsigned i = 0; i < depth; i++)
        (void)gyre_wheel_stop(&timers[i]);
    timers[0].deadline = end - start;
}

/* Starts many and lets them all fire, in steps of 1 ms. */
static void timer_fires(unsigned count, unsigned depth)
{
    for (unsigned done = 0; done < count; done += depth) {
        gyre_timers_init(&wheel, 0);
        for (unsigned i = 0; i < depth; i++)
            (void)gyre_wheel_start(&wheel, &timers[i], deadlines[i % 1024] + i);
        for (int64_t now = 0; now <= 31000000000; now += 1000000)
            (void)gyre_timers_expire(&wheel, now);
    }
}

static int order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void measure(const char *what, void (*run)(unsigned count, unsigned depth), unsigned depth)
{
    unsigned count = depth > OPERATIONS ? depth : OPERATIONS / depth * depth;
    bool timed_inside = run == timer_one || run == timer_random;
    double ns[RUNS];

    for (unsigned i = 0; i < RUNS; i++) {
        int64_t start = cpu_time();

        run(count, depth);
        ns[i] = (double)(timed_inside ? timers[0].deadline : cpu_time() - start) / count;
    }
    qsort(ns, RUNS, sizeof ns[0], order);
    printf("%-44s %9u %8.1f %8.1f\n", what, depth, ns[0], ns[RUNS / 2]);
}

int main(void)
{
    struct random random = {1};

    timers = calloc(MANY, sizeof *timers);
    shuffled = calloc(MANY, sizeof *shuffled);
    if (!timers || !shuffled || gyre_deque_init(&deque, 8) < 0)
        return 1;
    for (unsigned i = 0; i < MANY; i++) {
        timers[i].fire = fire;
        shuffled[i] = random_below(&random, MANY);
    }
    for (unsigned i = 0; i < 1024; i++)
        deadlines[i] = (int64_t)(random_next(&random) % 30000000000);
    gyre_fifo_init(&fifo);
    mailbox_init(&mailbox);
    inject_init(&inject);
    gyre_timers_init(&wheel, 0);

    printf("%-44s %9s %8s %8s\n", "", "depth", "least", "median");
    for (unsigned depth = 1; depth <= 100; depth *= 100) {
        measure("deque: push, take", deque_shared, depth);
        measure("deque: push, take alone", deque_alone, depth);
        measure("deque: push, steal", deque_steal, depth);
    }
    for (unsigned depth = 1; depth <= DEPTH; depth *= depth == 1 ? 100 : 10) {
        measure("fifo: push, pop", fifo_shared, depth);
        measure("fifo: push, pop alone", fifo_alone, depth);
        measure("fifo: push, steal in batches", fifo_stolen, depth);
    }
    for (unsigned depth = 1; depth <= 100; depth *= 100) {
        measure("mailbox: push, take_all", mailbox_messages, depth);
        measure("inject: push, pop", inject_items, depth);
    }
    for (unsigned depth = 1; depth <= MANY; depth *= 100)
        measure("timer: start, stop, beside others", timer_one, depth);
    for (unsigned depth = 1; depth <= MANY; depth *= 100)
        measure("timer: stop, start, random ones of all", timer_random, depth);
    measure("timer: start, fire", timer_fires, MANY);
    gyre_deque_destroy(&deque);
    free(timers);
    free(shuffled);
    return 0;
}
