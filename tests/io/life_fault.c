/*
 * A whole life, from gyre_run to its return, in which the n-th call of a kind fails, for every n
 * until none fails: each ends in an error value or a clear message, never in a crash or a hang, and
 * leaves no descriptor, thread or memory behind. Each life is a child process. A call that never
 * failed in all these lives is an error as well: it is wrapped by a name that nobody calls.
 */
#include "descriptors.h"

#include "base/macros.h"
#include "ring/abi.h"

#include <gyre.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum group { NO_GROUP, MEMORY, PAGES, RING, ENTER, THREAD, DESCRIPTOR, WAKE };

static struct {
    enum group group;
    int error;
    long nth;
    bool without_messages; /* as on a kernel where wakes go through an eventfd */
    atomic_long count;
    atomic_bool hit;
} fault;

/* Whose failures were seen, by this name, counted in memory that all lives share. A realloc is only
 * in runs of gyre_test. */
static const char *const names[] = {"malloc",
                                    "calloc",
                                    "aligned_alloc",
                                    "mmap",
#ifndef GYRE_ASAN /* its alternate signal stack may be large enough */
                                    "mprotect",
#endif
                                    "madvise",
                                    "io_uring_queue_init_params",
                                    "io_uring_register_probe",
                                    "io_uring_submit_and_wait",
                                    "io_uring_register_ring_fd",
                                    "io_uring_register_iowq_max_workers",
                                    "io_uring_enter2",
                                    "pthread_create",
                                    "socket",
                                    "eventfd",
                                    "syscall"};
static atomic_long *failures;

static bool fails(enum group group, const char *name)
{
    if (group != fault.group || atomic_fetch_add(&fault.count, 1) + 1 != fault.nth)
        return false;
    atomic_store(&fault.hit, true);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!strcmp(names[i], name))
            atomic_fetch_add(&failures[i], 1);
    errno = fault.error;
    return true;
}

/* --- the calls ----------------------------------------------------------------------------------
 */

#define WRAP(type, name, parameters, arguments, group, failure)                                    \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails(group, #name) ? (failure) : __real_##name arguments;                          \
    }

/* What the library has allocated and not freed; the C library's own count knows caches. */
static atomic_long live_blocks;

static void *counted(void *block)
{
    if (block)
        atomic_fetch_add(&live_blocks, 1);
    return block;
}

#define WRAP_MEMORY(name, parameters, arguments)                                                   \
    void *__real_##name parameters;                                                                \
    void *__wrap_##name parameters;                                                                \
    void *__wrap_##name parameters                                                                 \
    {                                                                                              \
        return fails(MEMORY, #name) ? NULL : counted(__real_##name arguments);                     \
    }

WRAP_MEMORY(malloc, (size_t size), (size))
WRAP_MEMORY(calloc, (size_t n, size_t size), (n, size))
WRAP_MEMORY(aligned_alloc, (size_t alignment, size_t size), (alignment, size))

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

WRAP(void *, mmap, (void *at, size_t size, int protection, int flags, int fd, off_t offset),
     (at, size, protection, flags, fd, offset), PAGES, MAP_FAILED)

/* With _FILE_OFFSET_BITS=64, which meson defines, mmap is called by this name. */
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return __wrap_mmap(at, size, protection, flags, fd, offset);
}

WRAP(int, mprotect, (void *at, size_t size, int protection), (at, size, protection), PAGES, -1)
WRAP(int, madvise, (void *at, size_t size, int advice), (at, size, advice), PAGES, -1)
WRAP(int, io_uring_queue_init_params,
     (unsigned entries, struct io_uring *ring, struct io_uring_params *p), (entries, ring, p), RING,
     -fault.error)
WRAP(int, io_uring_register_probe, (struct io_uring * ring, struct io_uring_probe *p, unsigned n),
     (ring, p, n), RING, -fault.error)
WRAP(int, io_uring_submit_and_wait, (struct io_uring * ring, unsigned wait), (ring, wait), RING,
     -fault.error)
WRAP(int, io_uring_register_ring_fd, (struct io_uring * ring), (ring), RING, -fault.error)
WRAP(int, io_uring_register_iowq_max_workers, (struct io_uring * ring, unsigned *limits),
     (ring, limits), RING, -fault.error)
WRAP(int, io_uring_enter2,
     (unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *mask, size_t size),
     (fd, submit, wait, flags, mask, size), ENTER, -fault.error)
WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument),
     (thread, attributes, run, argument), THREAD, fault.error)
WRAP(int, socket, (int family, int type, int protocol), (family, type, protocol), DESCRIPTOR, -1)
WRAP(int, eventfd, (unsigned value, int flags), (value, flags), DESCRIPTOR, -1)

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    long a[6];
    va_list list;

    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_io_uring_register && a[1] == ABI_REGISTER_SEND_MSG_RING) {
        if (fault.without_messages) {
            errno = EINVAL;
            return -1;
        }
        if (fails(WAKE, "syscall"))
            return -1;
    }
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* --- a life
 * --------------------------------------------------------------------------------------- */

static atomic_bool began;

static int echo(void *arg)
{
    int fd = *(int *)arg;
    char buffer[64];
    ssize_t n;

    while ((n = gyre_read(fd, buffer, sizeof buffer)) > 0)
        if ((n = gyre_write_all(fd, buffer, (size_t)n, NULL)) < 0)
            break;
    gyre_close(fd);
    return (int)n;
}

static int serve(void *listener)
{
    int fd;

    while ((fd = gyre_accept(listener)) >= 0)
        if (gyre_go_copy(echo, &fd, sizeof fd) < 0)
            gyre_close(fd);
    return 0;
}

static int talk(int fd)
{
    char buffer[16];
    ssize_t n;

    for (int i = 0; i < 3; i++) {
        n = gyre_write_all(fd, "question", 8, NULL);
        if (n > 0)
            n = gyre_read_all(fd, buffer, 8, NULL);
        if (n < 0)
            return (int)n;
    }
    {
        GYRE_TIMEOUT(2 * GYRE_MILLISECOND);
        n = gyre_read(fd, buffer, sizeof buffer);
    }
    return n == -ETIMEDOUT ? 0 : n < 0 ? (int)n : -EPROTO;
}

static int with_listener(struct gyre_listener *listener)
{
    char address[GYRE_ADDRESS_SIZE];
    gyre_handle server;
    int fd, result = gyre_spawn(&server, serve, listener);

    if (result) {
        gyre_listener_close(listener);
        return result;
    }
    gyre_local_address(gyre_listener_fd(listener), address, sizeof address);
    fd = gyre_tcp_dial(address);
    result = fd < 0 ? fd : talk(fd);
    if (fd >= 0)
        gyre_close(fd);
    gyre_listener_close(listener);
    gyre_join(server, NULL);
    return result;
}

static int wait_for_ever(void *arg)
{
    char byte;
    int fd = *(int *)arg, result = (int)gyre_read(fd, &byte, 1);

    gyre_close(fd);
    return result;
}

static int live(void *unused)
{
    struct gyre_listener *listener;
    int fds[2], high, result;

    (void)unused;
    atomic_store(&began, true);
    result = gyre_tcp_listen(&listener, "127.0.0.1:0");
    if (!result)
        result = with_listener(listener);
    if (result)
        return result;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
        return -errno;
    high = fcntl(fds[1], F_DUPFD_CLOEXEC, 1000); /* in another part of the tables */
    if (high >= 0)
        gyre_close(high);
    result = gyre_go_copy(wait_for_ever, &fds[0], sizeof fds[0]);
    if (result)
        gyre_close(fds[0]);
    gyre_sleep(GYRE_MILLISECOND);
    gyre_close(fds[1]);
    return result;
}

/* --- what is left
 * --------------------------------------------------------------------------------- */

static int threads(void)
{
    char line[100];
    int count = -1;
    FILE *file = fopen("/proc/self/status", "r");

    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Threads: %d", &count) == 1)
            break;
    if (file)
        fclose(file);
    return count;
}

static atomic_bool told;

static void note_message(void *user, const char *line, size_t length)
{
    (void)user;
    (void)line;
    (void)length;
    atomic_store(&told, true);
}

static int run(void)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 2;
    options.grace = 5 * GYRE_SECOND;
    return gyre_run_options(live, NULL, &options);
}

/* In the child. 0: the fault was not reached, 1: it was, and all is well; else what is wrong. */
/* All of the runtime's threads: one that was joined is in /proc until the kernel is through with
 * it. */
static bool threads_end(void)
{
    for (int64_t end = gyre_now() + 5 * GYRE_SECOND; threads() != 1; sched_yield())
        if (gyre_now() > end)
            return false;
    return true;
}

static int check_life(enum group group, int error, long nth)
{
    int descriptors, result;
    long used;

    gyre_set_message_handler(note_message, NULL);
    run(); /* what is kept for good, such as the unwinder's memory, is there now */
    /* Two states of the C library's own: with and without buffers that stdio and opendir use. */
    open_descriptors();
    descriptors = open_descriptors();
    used = atomic_load(&live_blocks);
    began = told = false;
    fault.error = error;
    fault.nth = nth;
    fault.count = 0;
    fault.hit = false;
    fault.group = group;
    result = run();
    fault.group = NO_GROUP;
    if (result < 0 && !began && !told)
        return 10;
    if (open_descriptors() != descriptors)
        return 11;
    if (!threads_end())
        return 12;
    if (atomic_load(&live_blocks) != used)
        return 13;
    if (result < 0 && !fault.hit)
        return 14;
    /* It runs again afterwards. */
    if (run() != 0)
        return 15;
    return fault.hit;
}

static const char *const problems[] = {
    "an error without a message", "descriptors leaked", "threads left", "memory leaked",
    "failed without a fault",     "no second life"};

/* Returns 0 not reached, 1 fine, -1 bad. */
static int one(const char *name, enum group group, int error, long nth)
{
    int status;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (!child) {
        alarm(60);
        exit(check_life(group, error, nth));
    }
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) <= 1)
        return WEXITSTATUS(status);
    if (WIFSIGNALED(status))
        printf("%s, failure %ld (%s): %s\n", name, nth, strerror(error),
               WTERMSIG(status) == SIGALRM ? "hangs" : strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) >= 10 && WEXITSTATUS(status) <= 15)
        printf("%s, failure %ld (%s): %s\n", name, nth, strerror(error),
               problems[WEXITSTATUS(status) - 10]);
    else
        printf("%s, failure %ld (%s): exit status %d\n", name, nth, strerror(error),
               WEXITSTATUS(status));
    return -1;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        enum group group;
        int error;
        long most;
        bool without_messages;
    } plans[] = {
        {"memory", MEMORY, ENOMEM, 300, false},     {"pages", PAGES, ENOMEM, 300, false},
        {"ring", RING, ENOMEM, 100, false},         {"ring", RING, EPERM, 100, false},
        {"thread", THREAD, EAGAIN, 10, false},      {"descriptor", DESCRIPTOR, EMFILE, 100, false},
        {"eventfd", DESCRIPTOR, EMFILE, 100, true}, {"message", WAKE, EINVAL, 40, false},
        {"message", WAKE, ENOMEM, 40, false},       {"enter", ENTER, EINTR, 60, false},
        {"enter", ENTER, EAGAIN, 60, false},        {"enter", ENTER, EBUSY, 60, false},
        {"enter", ENTER, ENOMEM, 60, false},
    };
    int bad = 0;

    failures = mmap(NULL, sizeof *failures * ARRAY_SIZE(names), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (failures == MAP_FAILED)
        return 1;
    for (size_t i = 0; i < ARRAY_SIZE(plans); i++) {
        long n = 1;
        int result = 1, misses = 0;

        if (argc > 1 && strcmp(argv[1], plans[i].name))
            continue;
        fault.without_messages = plans[i].without_messages;
        /* Workers race, so that the count differs from life to life: a few misses in a row. */
        for (; n <= plans[i].most && misses < 3; n++) {
            result = one(plans[i].name, plans[i].group, plans[i].error, n);
            bad += result < 0;
            misses = result == 0 ? misses + 1 : 0;
        }
        printf("%s (%s): %ld lives\n", plans[i].name, strerror(plans[i].error), n - 1);
    }
    for (size_t i = 0; i < ARRAY_SIZE(names) && argc == 1; i++)
        if (!failures[i]) {
            printf("%s never failed\n", names[i]);
            bad++;
        }
    return bad != 0;
}
