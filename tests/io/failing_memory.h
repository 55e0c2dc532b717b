/*
 * Makes the n-th allocation fail: for programs linked with FAILING_MEMORY_WRAPS. FAILS_AT_EACH runs
 * a statement for n = 1, 2, ... until it gets by without that allocation; where one failed, error,
 * which the statement sets, must be -ENOMEM, or 0 where it could do without.
 */
#ifndef GYRE_TESTS_IO_FAILING_MEMORY_H
#define GYRE_TESTS_IO_FAILING_MEMORY_H

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

static atomic_long memory_countdown;

static inline int memory_fails(void)
{
    if (atomic_load(&memory_countdown) <= 0 || atomic_fetch_sub(&memory_countdown, 1) != 1)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_malloc(size_t size)
{
    return memory_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return memory_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return memory_fails() ? NULL : __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return memory_fails() ? NULL : __real_aligned_alloc(alignment, size);
}

#define FAILS_AT_EACH(error, statement)                                                            \
    for (long nth_ = 1, done_ = 0; !done_; nth_++) {                                               \
        atomic_store(&memory_countdown, nth_);                                                     \
        statement;                                                                                 \
        done_ = atomic_exchange(&memory_countdown, 0) > 0;                                         \
        if ((error) != 0 && (done_ || (error) != -ENOMEM))                                         \
            EXPECT_EQ(error, -ENOMEM);                                                             \
    }

#endif
