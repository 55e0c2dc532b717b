/* A library for dlopen_storm.c to load and unload. It can't be unwound through: it has no unwind
 * tables and keeps no frame pointer. */
#include <stddef.h>
#include <stdint.h>

/* The program's; called while the dynamic linker holds its locks. */
__attribute__((weak)) void storm_plugin_constructed(void);
__attribute__((weak)) void storm_plugin_destroyed(void);

uint64_t plugin_compute(uint64_t x, unsigned rounds);
int plugin_call(int (*fn)(void *arg), void *arg);
uint64_t plugin_stay(_Atomic(const char *) *inside, uint64_t x, unsigned rounds);

static uint64_t state;

static __attribute__((constructor)) void construct(void)
{
    state = plugin_compute(1, 1000);
    if (storm_plugin_constructed)
        storm_plugin_constructed();
}

static __attribute__((destructor)) void destroy(void)
{
    if (storm_plugin_destroyed)
        storm_plugin_destroyed();
}

/* Differs from zero only if the constructor has not run. */
uint64_t plugin_compute(uint64_t x, unsigned rounds)
{
    uint64_t wrong = state ? 0 : x;

    for (unsigned i = 0; i < rounds; i++)
        x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9u + i;
    return rounds == 1000 ? x : x + wrong;
}

/* It says itself that it is inside: in the program one may be interrupted just before the call. */
uint64_t plugin_stay(_Atomic(const char *) *inside, uint64_t x, unsigned rounds)
{
    __atomic_store_n((const char **)inside, "a library", __ATOMIC_RELAXED);
    x = plugin_compute(x, rounds);
    __atomic_store_n((const char **)inside, NULL, __ATOMIC_RELAXED);
    return x;
}

/* Its frame is between two of the program's. */
int plugin_call(int (*fn)(void *arg), void *arg)
{
    char frame[512];

    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = (char)i;
    __asm__ volatile("" : : "r"(frame) : "memory");
    return fn(arg) + frame[0];
}
