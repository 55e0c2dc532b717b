/*
 * Every mmap, madvise, mprotect, process_madvise and calloc of the stack layer fails once, one
 * after the other: each ends in NULL or -ENOMEM or is worked around, nothing leaks, and the
 * next try succeeds.
 */
#include "coro/overflow.h"
#include "coro/stack.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

void *__real_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *address, size_t length);
int __real_madvise(void *address, size_t length, int advice);
int __real_mprotect(void *address, size_t length, int protection);
ssize_t __real_process_madvise(int pid, const struct iovec *vector, size_t n, int advice,
                               unsigned flags);
void *__real_calloc(size_t n, size_t size);
void *__wrap_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *address, size_t length);
int __wrap_madvise(void *address, size_t length, int advice);
int __wrap_mprotect(void *address, size_t length, int protection);
ssize_t __wrap_process_madvise(int pid, const struct iovec *vector, size_t n, int advice,
                               unsigned flags);
void *__wrap_calloc(size_t n, size_t size);

static long calls;     /* since the last arm() */
static long fail_at;   /* the number of the call that fails; 0: none */
static bool fail_from; /* all after it too */
static bool no_guards; /* as a kernel without guard regions */
static int fail_with;
static long mapped, allocated;

static bool failing(void)
{
    calls++;
    if (fail_at && (calls == fail_at || (fail_from && calls > fail_at))) {
        errno = fail_with;
        return true;
    }
    return false;
}

/* With _FILE_OFFSET_BITS=64, which meson defines, mmap is called by this name. */
void *__wrap_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    void *result;

    if (failing())
        return MAP_FAILED;
    result = __real_mmap64(address, length, protection, flags, fd, offset);
    if (result != MAP_FAILED)
        mapped += (long)length;
    return result;
}

int __wrap_munmap(void *address, size_t length)
{
    mapped -= (long)length;
    return __real_munmap(address, length);
}

int __wrap_madvise(void *address, size_t length, int advice)
{
    if (failing())
        return -1;
    if (no_guards && advice == 102) {
        errno = EINVAL;
        return -1;
    }
    return __real_madvise(address, length, advice);
}

int __wrap_mprotect(void *address, size_t length, int protection)
{
    if (failing())
        return -1;
    return __real_mprotect(address, length, protection);
}

ssize_t __wrap_process_madvise(int pid, const struct iovec *vector, size_t n, int advice,
                               unsigned flags)
{
    if (failing())
        return -1;
    return __real_process_madvise(pid, vector, n, advice, flags);
}

void *__wrap_calloc(size_t n, size_t size)
{
    if (failing())
        return NULL;
    allocated++;
    return __real_calloc(n, size);
}

static void arm(long at, bool from)
{
    calls = 0;
    fail_at = at;
    fail_from = from;
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s (failing call %ld with %d%s%s)\n", __FILE__, __LINE__,      \
                    #condition, at, fail_with, from ? ", all from there" : "",                     \
                    no_guards ? ", no guard regions" : "");                                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum { STACKS = 190, SIZE = 1 << 20 }; /* three slabs of 64 hold them */

/* Returns how many calls there were, to know when all have failed once. */
static long round_with_failure(long at, bool from)
{
    static struct stack_block *blocks[STACKS + 1];
    struct stack_cache cache = {0};
    struct stack_pool pool;
    long before = mapped, made;
    int error, got = 0;

    arm(at, from);
    error = gyre_stack_pool_init(&pool, SIZE, 512);
    if (error) {
        CHECK(error == -ENOMEM);
        CHECK(mapped == before);
        made = calls;
        arm(0, false);
        return made;
    }
    for (int i = 0; i < STACKS; i++) {
        struct stack_block *block = stack_acquire(&pool, &cache, i % 40 == 39 ? 128 << 10 : 0);

        if (!block)
            continue;
        memset(block->low, 1, 64);
        block->top[-1] = 1;
        blocks[got++] = block;
    }
    CHECK(from || got >= STACKS - 1); /* one failure costs at most one stack */
    for (int i = 0; i < got; i++)
        stack_release(&pool, &cache, blocks[i]);
    gyre_stack_cache_drain(&pool, &cache);
    made = calls;
    arm(0, false);
    /* Nothing was broken for later. */
    for (int i = 0; i < STACKS; i++) {
        blocks[i] = stack_acquire(&pool, &cache, 0);
        CHECK(blocks[i]);
        blocks[i]->low[0] = 2;
        blocks[i]->top[-1] = 2;
        for (int k = 0; k < i && i < 100; k++)
            CHECK(blocks[k] != blocks[i]);
    }
    CHECK(mapped - before <= 4l * 64 * SIZE); /* no stack got lost by a failure */
    gyre_stack_pool_destroy(&pool);
    CHECK(mapped == before);
    return made;
}

static long overflow_with_failure(long at, bool from)
{
    long before = mapped, made;
    stack_t now;
    int error;

    arm(at, from);
    error = gyre_overflow_thread_init();
    made = calls;
    arm(0, false);
    CHECK(error == 0 || (error < 0 && mapped == before));
    gyre_overflow_thread_exit();
    CHECK(mapped == before);
    sigaltstack(NULL, &now);
    CHECK(now.ss_flags & SS_DISABLE);
    return made;
}

int main(void)
{
    static const int errors[] = {ENOMEM, EINVAL};
    stack_t none = {.ss_flags = SS_DISABLE};
    long rounds = 0;

    alarm(110);
    sigaltstack(&none, NULL); /* a sanitizer's */
    for (size_t e = 0; e < ARRAY_SIZE(errors); e++) {
        fail_with = errors[e];
        for (int mode = 0; mode < 4; mode++) {
            no_guards = mode & 1;
            for (long at = 1; round_with_failure(at, mode & 2) >= at; at++)
                rounds++;
            for (long at = 1; overflow_with_failure(at, mode & 2) >= at; at++)
                rounds++;
        }
    }
    if (rounds < 100) { /* the wrappers aren't reached */
        fprintf(stderr, "only %ld failures\n", rounds);
        return 1;
    }
    printf("%ld failures, one at a time or all from one on\n", rounds);
    return 0;
}
