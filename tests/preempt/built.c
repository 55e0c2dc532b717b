/*
 * What builds_test.sh builds in each way a program may be built: hogs that compute beside a
 * sleeper.
 *
 *   usage: built MODE
 *
 * MODE is how the mode has to begin. Where that is "asynchronous" the hogs are interrupted, where
 * it is not they give way at checkpoints; the sleeper has its turn either way, and what is computed
 * is right.
 */
#include <gyre.h>
#include <gyre/preempt.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOGS = 4, ROUNDS = 20000, TURNS = 20 };

static atomic_bool over;
static bool asynchronous;
static const char *expected;

static uint64_t computed(uint64_t x)
{
    for (int i = 0; i < ROUNDS; i++)
        x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9u + (uint64_t)i;
    return x;
}

static int hog(void *arg)
{
    const uint64_t *wanted = arg;

    while (!over) {
        if (computed(7) != *wanted)
            return 1;
        if (!asynchronous)
            gyre_checkpoint();
    }
    return 0;
}

#ifdef OWN_MALLOC
/* Has state that must not be split; nobody can tell that from the rest of the program. */
static _Alignas(16) char memory[16 << 20];
static atomic_size_t used;

void *malloc(size_t size)
{
    size_t start = atomic_fetch_add(&used, (size + 31) & ~(size_t)15);

    if (start + size + 32 > sizeof memory)
        return NULL;
    memcpy(memory + start, &size, sizeof size);
    return memory + start + 16;
}

void free(void *old)
{
    (void)old;
}

void *calloc(size_t count, size_t size)
{
    return malloc(count * size); /* never used before: zeros */
}

void *realloc(void *old, size_t size)
{
    void *new = malloc(size);
    size_t before;

    if (new &&old) {
        memcpy(&before, (char *)old - 16, sizeof before);
        memcpy(new, old, before < size ? before : size);
    }
    return new;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    char *block = malloc(size + alignment);

    if (block)
        block += (alignment - (uintptr_t)block % alignment) % alignment;
    return block;
}
#endif

static int body(void *arg)
{
    struct gyre_preempt_counts counts = {.size = sizeof counts};
    gyre_handle handles[HOGS];
    uint64_t wanted = computed(7);
    int result, failed = 0;

    (void)arg;
    if (gyre_preempt_count(&counts))
        return 2;
    asynchronous = strcmp(counts.mode, "asynchronous") == 0;
    if (strncmp(counts.mode, expected, strlen(expected)) != 0) {
        fprintf(stderr, "the mode is \"%s\", not \"%s\"\n", counts.mode, expected);
        failed = 3;
    }
    for (int i = 0; i < HOGS; i++)
        if (gyre_spawn(&handles[i], hog, &wanted))
            return 4;
    for (int i = 0; i < TURNS; i++)
        gyre_sleep(GYRE_MILLISECOND);
    over = true;
    for (int i = 0; i < HOGS; i++) {
        gyre_join(handles[i], &result);
        if (result) {
            fprintf(stderr, "a hog computed something else\n");
            failed = 5;
        }
    }
    gyre_preempt_count(&counts);
    if (asynchronous ? !counts.preempted : !counts.gave_way) {
        fprintf(stderr, "nobody had to give way\n");
        failed = 6;
    }
    return failed;
}

int main(int argc, char **argv)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    expected = argc > 1 ? argv[1] : "asynchronous";
    options.workers = 1;
    options.quantum = 200 * GYRE_MICROSECOND;
    return gyre_run_options(body, NULL, &options);
}
