/*
 * A million stacks with their first page touched, on the stock vm.max_map_count: what each costs in
 * resident memory and page tables, and how long it takes. argv[1]: another number.
 */
#include "base/clock.h"
#include "coro/stack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct control {
    struct stack_block stack;
    unsigned char content[400];
};

/* A line of /proc/self/status, in bytes. */
static size_t status(const char *key)
{
    char line[256];
    size_t found = 0;
    FILE *f = fopen("/proc/self/status", "r");

    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            found = strtoul(line + strlen(key), NULL, 10) * 1024;
    if (f)
        fclose(f);
    return found;
}

static size_t mappings(void)
{
    size_t lines = 0;
    int c;
    FILE *f = fopen("/proc/self/maps", "r");

    while (f && (c = getc(f)) != EOF)
        lines += c == '\n';
    if (f)
        fclose(f);
    return lines;
}

/* CPU time of the process: the machine may be busy with something else. */
static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    long count = argc > 1 ? atol(argv[1]) : 1000000;
    struct stack_block **blocks = calloc((size_t)count, sizeof(struct stack_block *));
    struct stack_cache cache = {0};
    struct stack_pool pool;
    size_t before;
    double bytes, cpu;
    int64_t t[4];
    long memory = sysconf(_SC_AVPHYS_PAGES);

    alarm(400);
    if (memory < count + count / 3) {
        printf("not enough memory for %ld stacks\n", count);
        return 77;
    }
    if (!blocks || gyre_stack_pool_init(&pool, 128 << 10, sizeof(struct control)) != 0)
        return 1;
    memset(blocks, 1, (size_t)count * sizeof(struct stack_block *));
    before = status("VmRSS:") + status("VmPTE:");
    cpu = cpu_seconds();
    t[0] = clock_now();
    for (long i = 0; i < count; i++) {
        blocks[i] = stack_acquire(&pool, &cache, 0);
        if (!blocks[i]) {
            printf("no memory at %ld\n", i);
            return 1;
        }
        memset(blocks[i]->top - 512, 1, 512);
    }
    t[1] = clock_now();
    cpu = cpu_seconds() - cpu;
    bytes = (double)(status("VmRSS:") + status("VmPTE:") - before) / (double)count;
    printf("%ld stacks: %.3f s (%.3f s of CPU), %.0f bytes each, %zu mappings\n", count,
           (double)(t[1] - t[0]) / 1e9, cpu, bytes, mappings());
    t[1] = clock_now();
    for (long i = 0; i < count; i++)
        stack_release(&pool, &cache, blocks[i]);
    t[2] = clock_now();
    for (long i = 0; i < count; i++)
        blocks[i] = stack_acquire(&pool, &cache, 0);
    t[3] = clock_now();
    printf("released: %.3f s, acquired again: %.3f s\n", (double)(t[2] - t[1]) / 1e9,
           (double)(t[3] - t[2]) / 1e9);
    gyre_stack_pool_destroy(&pool);
    free(blocks);
    if (bytes > 4400) {
        printf("more than 4400 bytes each\n");
        return 1;
    }
    return 0;
}
