/*
 * C++ keeps, per thread, the stack of exceptions being handled and the number of those in flight.
 * In a program that links a C++ runtime a coroutine that parks inside a catch block must take
 * them along. The symbol is weak: without a C++ runtime there is nothing to carry.
 *
 * The layout is the Itanium ABI's __cxa_eh_globals (a pointer, then an unsigned int), common to
 * libstdc++ and libc++abi. ARM's 32-bit EHABI adds a word, and isn't supported.
 *
 * A worker asks for exceptions_globals once, on its own thread, before it runs coroutines.
 */
#ifndef GYRE_LIB_CORO_EXCEPTIONS_H
#define GYRE_LIB_CORO_EXCEPTIONS_H

#include <stdbool.h>
#include <stddef.h>

extern void *__cxa_get_globals(void) __attribute__((weak));

struct exceptions_state {
    void *caught;
    unsigned int uncaught;
};

/* Whether the program has a C++ runtime at all. */
static inline bool exceptions_exist(void)
{
    return __cxa_get_globals != NULL;
}

/* The calling thread's state; NULL without a C++ runtime. Valid as long as the thread. */
static inline void **exceptions_globals(void)
{
    return __cxa_get_globals ? (void **)__cxa_get_globals() : NULL;
}

static inline void exceptions_save(void **globals, struct exceptions_state *state)
{
    state->caught = globals[0];
    state->uncaught = *(unsigned int *)(void *)(globals + 1);
}

static inline void exceptions_restore(void **globals, const struct exceptions_state *state)
{
    globals[0] = state->caught;
    *(unsigned int *)(void *)(globals + 1) = state->uncaught;
}

#endif
