/*
 * The calls that may fail, wrapped (meson.build has their names once more): while armed, the n-th
 * of the wanted kind does. What is in libraries is not wrapped. Counts the memory that is allocated
 * and not freed.
 */
#ifndef GYRE_TESTS_NET_FAULTY_H
#define GYRE_TESTS_NET_FAULTY_H

#include "base/macros.h"

#include <gyre.h>

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum fault_kind {
    NO_FAULT,
    MEMORY,
    PAGES,
    THREAD,
    DESCRIPTOR,
    SETTING,
    RING,
    ENTER,
    NO_DESCRIPTORS /* there are n more, whoever asks */
};

static const char *const fault_names[] = {"nothing", "memory", "pages", "thread",     "descriptor",
                                          "setting", "ring",   "enter", "descriptors"};

static struct {
    enum fault_kind kind, wanted;
    int error;
    long nth;
    atomic_bool armed, hit;
    atomic_long count;
} fault;

/* By this name, who has failed once in any of the lives; they share it. */
static const char *const fault_wrapped[] = {"malloc",
                                            "calloc",
                                            "realloc",
                                            "strdup",
                                            "strndup",
                                            "mmap",
                                            "pthread_create",
                                            "socket",
                                            "socketpair",
                                            "eventfd",
                                            "pipe2",
                                            "signalfd",
                                            "inotify_init1",
                                            "epoll_create1",
                                            "open",
                                            "openat",
                                            "fopen",
                                            "fcntl",
                                            "setsockopt",
                                            "bind",
                                            "listen",
                                            "epoll_ctl",
                                            "inotify_add_watch",
                                            "clone",
                                            "io_uring_register_buf_ring",
                                            "io_uring_register_buffers_sparse",
                                            "io_uring_register_buffers_update_tag",
                                            "io_uring_enter2"};
static atomic_bool *fault_seen;

static bool fails(enum fault_kind kind, const char *name)
{
    if (kind != fault.kind || !atomic_load(&fault.armed) ||
        atomic_fetch_add(&fault.count, 1) + 1 != fault.nth)
        return false;
    atomic_store(&fault.hit, true);
    for (size_t i = 0; i < ARRAY_SIZE(fault_wrapped); i++)
        if (!strcmp(fault_wrapped[i], name))
            atomic_store(&fault_seen[i], true);
    errno = fault.error;
    return true;
}

static void fault_set_up(void)
{
    fault_seen =
        mmap(NULL, sizeof fault_wrapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fault_seen == MAP_FAILED)
        exit(1);
}

/* A name that never failed is wrapped in vain. */
static int fault_unseen(void)
{
    int count = 0;

    for (size_t i = 0; i < ARRAY_SIZE(fault_wrapped); i++) {
        if (fault_seen[i])
            continue;
        printf("%s never failed\n", fault_wrapped[i]);
        count++;
    }
    return count;
}

/* --- arming ------------------------------------------------------------------------------------
 */

static struct rlimit fault_limit; /* what it was */

/* So that n more descriptors can be had, holes among those that are open not counted. */
static void limit_descriptors(void)
{
    int next = __extension__ dup(0);
    struct rlimit limit;

    close(next);
    getrlimit(RLIMIT_NOFILE, &fault_limit);
    limit = fault_limit;
    limit.rlim_cur = (rlim_t)(next + fault.nth - 1);
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void fault_arm(void)
{
    atomic_store(&fault.count, 0);
    atomic_store(&fault.hit, false);
    if (fault.kind == NO_DESCRIPTORS)
        limit_descriptors();
    atomic_store(&fault.armed, true);
}

static void fault_disarm(void)
{
    atomic_store(&fault.armed, false);
    if (fault.kind == NO_DESCRIPTORS)
        setrlimit(RLIMIT_NOFILE, &fault_limit);
}

/* --- memory ------------------------------------------------------------------------------------
 */

static atomic_long live_blocks;

static void *counted(void *block)
{
    if (block)
        atomic_fetch_add(&live_blocks, 1);
    return block;
}

#define WRAP_MEMORY(type, name, parameters, arguments)                                             \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails(MEMORY, #name) ? NULL : counted(__real_##name arguments);                     \
    }

WRAP_MEMORY(void *, malloc, (size_t size), (size))
WRAP_MEMORY(void *, calloc, (size_t n, size_t size), (n, size))
WRAP_MEMORY(void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size))
WRAP_MEMORY(char *, strdup, (const char *text), (text))
WRAP_MEMORY(char *, strndup, (const char *text, size_t size), (text, size))

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size)
{
    if (fails(MEMORY, "realloc"))
        return NULL;
    return old ? __real_realloc(old, size) : counted(__real_realloc(old, size));
}

void __real_free(void *block);
void __wrap_free(void *block);
void __wrap_free(void *block)
{
    if (block)
        atomic_fetch_sub(&live_blocks, 1);
    __real_free(block);
}

/* --- system calls ------------------------------------------------------------------------------
 */

#define WRAP(type, name, parameters, arguments, kind, failure)                                     \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails(kind, #name) ? (failure) : __real_##name arguments;                           \
    }

WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument),
     (thread, attributes, run, argument), THREAD, fault.error)
WRAP(int, socket, (int family, int type, int protocol), (family, type, protocol), DESCRIPTOR, -1)
WRAP(int, socketpair, (int family, int type, int protocol, int fds[2]),
     (family, type, protocol, fds), DESCRIPTOR, -1)
WRAP(int, eventfd, (unsigned value, int flags), (value, flags), DESCRIPTOR, -1)
WRAP(int, pipe2, (int fds[2], int flags), (fds, flags), DESCRIPTOR, -1)
WRAP(int, signalfd, (int fd, const sigset_t *mask, int flags), (fd, mask, flags), DESCRIPTOR, -1)
WRAP(int, inotify_init1, (int flags), (flags), DESCRIPTOR, -1)
WRAP(int, epoll_create1, (int flags), (flags), DESCRIPTOR, -1)
WRAP(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t size),
     (fd, level, name, value, size), SETTING, -1)
WRAP(int, bind, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size),
     SETTING, -1)
WRAP(int, listen, (int fd, int backlog), (fd, backlog), SETTING, -1)
WRAP(int, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask), SETTING,
     -1)
struct epoll_event;
WRAP(int, epoll_ctl, (int set, int call, int fd, struct epoll_event *event), (set, call, fd, event),
     SETTING, -1)
WRAP(int, io_uring_register_buf_ring,
     (struct io_uring * ring, struct io_uring_buf_reg *buffers, unsigned flags),
     (ring, buffers, flags), RING, -fault.error)
WRAP(int, io_uring_register_buffers_sparse, (struct io_uring * ring, unsigned count), (ring, count),
     RING, -fault.error)
WRAP(int, io_uring_register_buffers_update_tag,
     (struct io_uring * ring, unsigned at, const struct iovec *pieces, const __u64 *tags,
      unsigned count),
     (ring, at, pieces, tags, count), RING, -fault.error)
WRAP(int, io_uring_enter2,
     (unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *mask, size_t size),
     (fd, submit, wait, flags, mask, size), ENTER, -fault.error)

/* With _FILE_OFFSET_BITS=64, which meson defines, these are called by other names. */
void *__real_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return fails(PAGES, "mmap") ? MAP_FAILED
                                : __real_mmap64(at, size, protection, flags, fd, offset);
}

FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode)
{
    return fails(DESCRIPTOR, "fopen") ? NULL : __real_fopen64(path, mode);
}

static mode_t mode_of(int flags, va_list list)
{
    return flags & (O_CREAT | O_DIRECTORY) ? va_arg(list, mode_t) : 0;
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    va_list list;
    mode_t mode;

    va_start(list, flags);
    mode = mode_of(flags, list);
    va_end(list);
    return fails(DESCRIPTOR, "open") ? -1 : __real_open64(path, flags, mode);
}

int __real_openat64(int folder, const char *path, int flags, ...);
int __wrap_openat64(int folder, const char *path, int flags, ...);
int __wrap_openat64(int folder, const char *path, int flags, ...)
{
    va_list list;
    mode_t mode;

    va_start(list, flags);
    mode = mode_of(flags, list);
    va_end(list);
    return fails(DESCRIPTOR, "openat") ? -1 : __real_openat64(folder, path, flags, mode);
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
    va_list list;
    long argument;

    va_start(list, command);
    argument = va_arg(list, long);
    va_end(list);
    if (command == F_DUPFD_CLOEXEC && fails(DESCRIPTOR, "fcntl"))
        return -1;
    return __real_fcntl64(fd, command, argument);
}

/* Its further arguments are pointers, that of the pidfd first. */
int __real_clone(int (*fn)(void *), void *stack, int flags, void *argument, ...);
int __wrap_clone(int (*fn)(void *), void *stack, int flags, void *argument, ...);
int __wrap_clone(int (*fn)(void *), void *stack, int flags, void *argument, ...)
{
    va_list list;
    void *pidfd;

    va_start(list, argument);
    pidfd = va_arg(list, void *);
    va_end(list);
    return fails(THREAD, "clone") ? -1 : __real_clone(fn, stack, flags, argument, pidfd);
}

/* --- what is left ------------------------------------------------------------------------------
 */

static int threads(void)
{
    char line[100];
    int count = -1;
    FILE *file = __real_fopen64("/proc/self/status", "r");

    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Threads: %d", &count) == 1)
            break;
    if (file)
        fclose(file);
    return count;
}

/* One that was joined is in /proc until the kernel is through with it. */
static bool threads_end(void)
{
    for (int64_t end = gyre_now() + 5 * GYRE_SECOND; threads() != 1; sched_yield())
        if (gyre_now() > end)
            return false;
    return true;
}

#endif
