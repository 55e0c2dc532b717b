/* A file call by the ring or by a helper. */
#include "fs/run.h"

#include <gyre/blocking.h>

#include <pthread.h>
#include <signal.h>
#include <time.h>

static void copy_entry(struct io_uring_sqe *sqe, const void *entry)
{
    *sqe = *(const struct io_uring_sqe *)entry;
}

/* Only a splice could raise SIGPIPE, and no call of gyre's does. */
int gyre_file_now(void *argument)
{
    const struct timespec now = {0};
    const struct plain_call *plain = argument;
    const long *a = plain->arguments;
    sigset_t pipe, before;
    long result;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    do
        result = syscall(plain->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    while (result < 0 && errno == EINTR);
    if (result < 0)
        result = -errno;
    if (result == -EPIPE && !sigismember(&before, SIGPIPE))
        sigtimedwait(&pipe, NULL, &now); /* it is pending for this thread */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return (int)result;
}

int gyre_file_plain(const char *call, struct plain_call *plain)
{
    coro_required(call);
    return gyre_blocking(gyre_file_now, plain);
}

int gyre_file_repeat(struct operation *operation, const char *call, int fd,
                     const struct io_uring_sqe *entry, struct plain_call *plain)
{
    if (unlikely(!gyre_ring_supports(entry->opcode)))
        return gyre_operation_lost(operation, fd) ? -EBADF : gyre_file_plain(call, plain);
    return gyre_operation_repeat(operation, call, fd, 0, copy_entry, entry);
}

int gyre_file_run(const char *call, int fd, const struct io_uring_sqe *entry,
                  struct plain_call *plain)
{
    struct operation operation = {0};

    return gyre_file_repeat(&operation, call, fd, entry, plain);
}
