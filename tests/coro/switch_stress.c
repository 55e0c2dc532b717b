/*
 * Hypothesis: a coroutine may go on in any thread after each switch, if it is handed over by a
 * lock; its stack may be another's the moment the thread that it ended on has left it.
 *
 * Window: threads take coroutines from one queue, run them for a step, and put them back; a
 * coroutine ends after a few steps, and its stack, often from another thread's cache, goes to a
 * new one at once. Plain (not atomic) counters and locals on the stacks are checked, by TSan too.
 */
#include "base/random.h"
#include "base/spinlock.h"
#include "coro/stack.h"
#include "coro/switch.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef GYRE_TSAN
enum { ENDS = 4000 }; /* making a fiber takes gcc's a millisecond */
#else
enum { ENDS = 300000 };
#endif
enum { THREADS = 4, LIVE = 48 };

struct coroutine {
    struct stack_block stack; /* first */
    struct switch_frame frame;
    struct switch_frame *back;
    struct coroutine *next;
    long id, steps, left;
    bool ended;
};

static struct stack_pool pool;
static struct spinlock lock;
static struct coroutine *queue, **queue_end = &queue;
static long started, ended;
static uint64_t seed;

static void fail(const char *what, long id)
{
    fprintf(stderr, "%s (coroutine %ld, seed %llu)\n", what, id, (unsigned long long)seed);
    _exit(1);
}

static void push(struct coroutine *c)
{
    c->next = NULL;
    *queue_end = c;
    queue_end = &c->next;
}

static struct coroutine *pop(void)
{
    struct coroutine *c = queue;

    if (c && !(queue = c->next))
        queue_end = &queue;
    return c;
}

static __attribute__((noinline)) void live(struct coroutine *self)
{
    long id = self->id, values[16];

    for (int i = 0; i < 16; i++)
        values[i] = id * 16 + i;
    while (self->left > 0) {
        long before = self->steps;

        gyre_switch(&self->frame, self->back);
        if (self->id != id || self->steps != before + 1)
            fail("another's control block", id);
        for (int i = 0; i < 16; i++)
            if (values[i]++ != id * 16 + i + before)
                fail("another's stack", id);
        self->left--;
    }
}

static void enter(void *arg)
{
    struct coroutine *self = arg;

    live(self);
    self->ended = true;
    gyre_switch_final(&self->frame, self->back);
    abort();
}

static struct coroutine *start(struct stack_cache *cache, struct random *random, long id)
{
    struct coroutine *c = (struct coroutine *)stack_acquire(&pool, cache, 0);

    if (!c)
        fail("no memory", id);
    c->id = id;
    c->steps = -1;
    c->left = random_below(random, 8);
    c->ended = false;
    gyre_switch_prepare(&c->frame, c->stack.low, c->stack.top, enter, c);
    return c;
}

static void *work(void *arg)
{
    struct random random = {seed + (uintptr_t)arg};
    struct stack_cache cache = {0};
    struct switch_frame own;

    gyre_switch_adopt(&own);
    for (;;) {
        struct coroutine *c;
        long id = 0;
        bool done;

        spin_lock(&lock);
        c = pop();
        if (!c && started < ENDS + LIVE)
            id = ++started;
        done = ended >= ENDS;
        spin_unlock(&lock);
        if (done && c) { /* left as it is: its stack goes with the pool */
            gyre_switch_release(&c->frame);
            continue;
        }
        if (done)
            break;
        if (!c && !id) {
            sched_yield();
            continue;
        }
        if (!c)
            c = start(&cache, &random, id);
        c->back = &own;
        c->steps++;
        gyre_switch(&own, &c->frame);
        if (c->ended) {
            gyre_switch_release(&c->frame);
            stack_release(&pool, &cache, &c->stack);
            if (random_below(&random, 50) == 0)
                gyre_stack_cache_drain(&pool, &cache);
            spin_lock(&lock);
            ended++;
            id = ++started;
            spin_unlock(&lock);
            c = start(&cache, &random, id);
        }
        spin_lock(&lock);
        push(c);
        spin_unlock(&lock);
    }
    return NULL;
}

static void hang(int signal)
{
    static const char text[] = "switch_stress hangs\n";

    (void)signal;
    if (write(STDERR_FILENO, text, sizeof text - 1) > 0)
        _exit(1);
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    struct random random;
    struct stack_cache cache = {0};

    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    signal(SIGALRM, hang);
    alarm(110);
    random.state = seed;
    if (gyre_stack_pool_init(&pool, 64 << 10, sizeof(struct coroutine)) != 0)
        return 1;
    for (started = 0; started < LIVE; started++)
        push(start(&cache, &random, started + 1));
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("%ld started, %ld ended\n", started, ended);
    gyre_stack_pool_destroy(&pool);
    return 0;
}
