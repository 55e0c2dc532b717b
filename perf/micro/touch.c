/*
 * touch - the floor under parked_1m: one byte written in each of a million stretches of 128 KiB,
 * one page each, in the order of their addresses. Where the kernel, or the host of a virtual
 * machine, takes long to find and clear pages, no runtime can be faster. Prints as micro parked_1m
 * does.
 */
#include "base/clock.h"

#include <stdio.h>
#include <sys/mman.h>

static const size_t count = 1000000, stride = 128 << 10;

static long page_tables(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    long kib = 0;

    if (!file)
        return 0;
    while (fgets(line, sizeof line, file))
        sscanf(line, "VmPTE: %ld", &kib);
    fclose(file);
    return kib;
}

int main(void)
{
    volatile char *memory; /* volatile: each byte is really written */
    int64_t start, end;
    long before = page_tables();

    memory = mmap(NULL, count * stride, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || madvise((void *)memory, count * stride, MADV_NOHUGEPAGE)) {
        perror("touch");
        return 1;
    }
    start = clock_now();
    for (size_t i = 0; i < count; i++)
        memory[i * stride + stride - 1] = 1;
    end = clock_now();
    printf("{\"bytes\": %.1f, \"seconds\": %.3f}\n",
           4096 + 1024.0 * (double)(page_tables() - before) / (double)count,
           (double)(end - start) / 1e9);
    return 0;
}
