/*
 * Hypothesis: no stack is ever handed to two owners; control blocks can be read at any time, also
 * while their memory is given back.
 *
 * Window: threads acquire bursts of stacks and release them, often those of another thread, so that
 * magazines move through the depot, its mark is passed, and memory is given back while a
 * further thread walks over all blocks. Large stacks make the mark low (128 stacks).
 */
#include "base/random.h"
#include "coro/stack.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 3, BURST = 500, ROUNDS = 300, SIZE = 16 << 20 };

struct control {
    struct stack_block stack;
    atomic_int owner;
};

static struct stack_pool pool;
static struct spinlock lock;
static struct control *shared[THREADS * BURST];
static int shared_count;
static atomic_bool over;
static uint64_t seed;

static void fail(const char *what)
{
    fprintf(stderr, "%s (seed %llu)\n", what, (unsigned long long)seed);
    _exit(1);
}

static void release(struct stack_cache *cache, struct control *c)
{
    if (atomic_exchange_explicit(&c->owner, 0, memory_order_relaxed) == 0)
        fail("released twice");
    stack_release(&pool, cache, &c->stack);
}

static void *work(void *arg)
{
    int self = (int)(uintptr_t)arg;
    struct random random = {seed + (uint64_t)self};
    struct stack_cache cache = {0};

    for (int round = 0; round < ROUNDS; round++) {
        struct control *mine[BURST];
        int n = 1 + (int)random_below(&random, BURST);

        for (int i = 0; i < n; i++) {
            bool past = random_below(&random, 4) == 0; /* the cache */
            struct control *c = (struct control *)stack_acquire(&pool, past ? NULL : &cache,
                                                                past && i % 2 ? 128 << 10 : 0);

            if (!c)
                fail("no memory");
            if (atomic_exchange_explicit(&c->owner, self, memory_order_relaxed) != 0)
                fail("two owners");
            if (c->stack.top != (char *)c || c->stack.low >= c->stack.top)
                fail("fields lost");
            c->stack.top[-1] = (char)self;
            mine[i] = c;
        }
        for (int i = 0; i < n; i++) {
            struct control *c = mine[i];

            /* Exchange with what another thread left. */
            spin_lock(&lock);
            if (shared_count < THREADS * BURST / 2) {
                shared[shared_count++] = c;
                c = NULL;
            } else if (random_below(&random, 2)) {
                unsigned k = random_below(&random, (uint32_t)shared_count);
                struct control *other = shared[k];

                shared[k] = c;
                c = other;
            }
            spin_unlock(&lock);
            if (c)
                release(random_below(&random, 4) == 0 ? NULL : &cache, c);
        }
        if (random_below(&random, 8) == 0)
            gyre_stack_cache_drain(&pool, &cache);
    }
    gyre_stack_cache_drain(&pool, &cache);
    return NULL;
}

static void look(struct stack_block *block, void *arg)
{
    struct control *c = (struct control *)block;
    struct stack_block *found;
    int owner = atomic_load_explicit(&c->owner, memory_order_relaxed);

    if (owner < 0 || owner > THREADS)
        fail("not a control block");
    if (gyre_stack_owns(&pool, (char *)block - 5000, &found) && found != block)
        fail("another block's address");
    ++*(long *)arg;
}

static void *watch(void *arg)
{
    while (!atomic_load_explicit(&over, memory_order_relaxed))
        gyre_stack_each(&pool, look, arg);
    return NULL;
}

static void hang(int signal)
{
    static const char text[] = "stack_stress hangs\n";

    (void)signal;
    if (write(STDERR_FILENO, text, sizeof text - 1) > 0)
        _exit(1);
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS], watcher;
    long looks = 0;

    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    signal(SIGALRM, hang);
    alarm(110);
    if (gyre_stack_pool_init(&pool, SIZE, sizeof(struct control)) != 0)
        return 1;
    pthread_create(&watcher, NULL, watch, &looks);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store_explicit(&over, true, memory_order_relaxed);
    pthread_join(watcher, NULL);
    printf("%ld blocks looked at\n", looks);
    gyre_stack_pool_destroy(&pool);
    return 0;
}
