/*
 * For a program that makes allocations fail, linked with --wrap for each allocator: from arm() on
 * the n-th fails, or all from it on. Then the calls are checked by WORKED and EXPECT.
 */
#ifndef GYRE_TESTS_SYNC_FAULTS_H
#define GYRE_TESTS_SYNC_FAULTS_H

#include <gyre.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static struct {
    atomic_bool armed;
    bool from; /* all from the n-th on, not only that one */
    long nth;
    atomic_long count;
    atomic_long failed;
} fault;

static const char *now_running = "";
static atomic_int problems;

static bool fails(void)
{
    long n;

    if (!atomic_load(&fault.armed))
        return false;
    n = atomic_fetch_add(&fault.count, 1) + 1;
    if (n != fault.nth && !(fault.from && n > fault.nth))
        return false;
    atomic_fetch_add(&fault.failed, 1);
    errno = ENOMEM;
    return true;
}

#define WRAP(name, parameters, arguments, failure)                                                 \
    void *__real_##name parameters;                                                                \
    void *__wrap_##name parameters;                                                                \
    void *__wrap_##name parameters                                                                 \
    {                                                                                              \
        return fails() ? (failure) : __real_##name arguments;                                      \
    }

WRAP(malloc, (size_t size), (size), NULL)
WRAP(calloc, (size_t n, size_t size), (n, size), NULL)
WRAP(realloc, (void *old, size_t size), (old, size), NULL)
WRAP(aligned_alloc, (size_t alignment, size_t size), (alignment, size), NULL)
/* With _FILE_OFFSET_BITS=64, which meson defines, mmap is called by this name. */
WRAP(mmap64, (void *at, size_t size, int protection, int flags, int fd, off_t offset),
     (at, size, protection, flags, fd, offset), MAP_FAILED)

static void arm(long nth, bool from)
{
    atomic_store(&fault.armed, false);
    fault.nth = nth;
    fault.from = from;
    atomic_store(&fault.count, 0);
    atomic_store(&fault.failed, 0);
    atomic_store(&fault.armed, true);
}

static void disarm(void)
{
    atomic_store(&fault.armed, false);
}

static void complain(int line, const char *what)
{
    atomic_fetch_add(&problems, 1);
    fprintf(stderr, "line %d: %s: not so: %s\n", line, now_running, what);
}

#define EXPECT(condition) ((condition) ? (void)0 : complain(__LINE__, #condition))

/* True: it worked. Else it must be for want of memory, and that must be so. */
static bool worked(int line, int result, const char *what)
{
    if (!result)
        return true;
    if (result != -ENOMEM || !atomic_load(&fault.failed))
        complain(line, what);
    return false;
}

#define WORKED(call) worked(__LINE__, call, #call)

#endif
