/*
 * For tests of libgyre-preempt alone: in libgyre's place the test sets the hooks, to functions that
 * count for the calling thread.
 */
#ifndef GYRE_TESTS_PREEMPT_HOOKS_H
#define GYRE_TESTS_PREEMPT_HOOKS_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __cplusplus
#include <atomic>
#define THREAD_LOCAL thread_local
struct gyre_preempt_interposed {
    unsigned version;
    std::atomic<void (*)()> acquired, released;
    void *lock_function;
};
#else
#include "base/interposed.h"
#define THREAD_LOCAL _Thread_local
#endif

/* Not static: some lock functions are declared `leaf`, which tells the compiler that they change
 * nothing that only this file sees. */
extern THREAD_LOCAL long held;
THREAD_LOCAL long held;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* A call, and the count of locks after it. */
#define HELD(call, count)                                                                          \
    do {                                                                                           \
        call;                                                                                      \
        if (held != (count)) {                                                                     \
            fprintf(stderr, "%s:%d: %s: %ld held, not %d\n", __FILE__, __LINE__, #call, held,      \
                    (count));                                                                      \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static void count_acquired(void)
{
    held++;
}

static void count_released(void)
{
    held--;
}

static inline struct gyre_preempt_interposed *set_hooks(void (*acquired)(void),
                                                        void (*released)(void))
{
    struct gyre_preempt_interposed *hooks =
        (struct gyre_preempt_interposed *)dlsym(RTLD_DEFAULT, "gyre_preempt_interposed");

    CHECK(hooks);
    CHECK(hooks->version == 1);
    hooks->acquired = acquired;
    hooks->released = released;
    return hooks;
}

#endif
