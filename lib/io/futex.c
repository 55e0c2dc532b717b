/* Futex words. What waits is the ring's; to wake never waits, and is the plain system call. */
#include "io/operation.h"

#include <gyre/poll.h>

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

struct request {
    const uint32_t *word;
    uint32_t value, flags;
};

static void prepare(struct io_uring_sqe *sqe, const void *argument)
{
    const struct request *request = argument;

    io_uring_prep_rw(ABI_OP_FUTEX_WAIT, sqe, (int)request->flags, request->word, 0, request->value);
    sqe->addr3 = FUTEX_BITSET_MATCH_ANY;
}

int gyre_futex_wait(const uint32_t *word, uint32_t value, int shared)
{
    struct request request = {word, value, ABI_FUTEX_SIZE_U32 | (shared ? 0 : ABI_FUTEX_PRIVATE)};

    coro_required("gyre_futex_wait");
    if (!gyre_ring_supports(ABI_OP_FUTEX_WAIT))
        return -EOPNOTSUPP;
    return gyre_operation_run("gyre_futex_wait", -1, 0, prepare, &request);
}

int gyre_futex_wake(const uint32_t *word, unsigned count, int shared)
{
    long woken = syscall(SYS_futex, word, FUTEX_WAKE | (shared ? 0 : FUTEX_PRIVATE_FLAG),
                         count > INT_MAX ? INT_MAX : (int)count, NULL, NULL, 0);

    return woken < 0 ? -errno : (int)woken;
}
