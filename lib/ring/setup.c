/*
 * Setting a ring up: flags from most to least, features by probe, and a clear word on why a
 * kernel or a sandbox refuses.
 */
#include "ring/ring.h"

#include "base/message.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PROBE_OPERATIONS = 256 };

enum { WAKE_MESSAGE = 1 }; /* the generation that tells it from the poll's completions */

/* Kernel worker threads a ring may start: for files, and for what blocks without end. */
enum { BOUNDED_WORKERS = 4, UNBOUNDED_WORKERS = 8 };

static const unsigned flag_ladder[] = {
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
        IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SUBMIT_ALL,
    0,
};

static const uint8_t needed_operations[] = {
    IORING_OP_READ,     IORING_OP_WRITE,        IORING_OP_READV,   IORING_OP_WRITEV,
    IORING_OP_SEND,     IORING_OP_RECV,         IORING_OP_SENDMSG, IORING_OP_RECVMSG,
    IORING_OP_ACCEPT,   IORING_OP_CONNECT,      IORING_OP_CLOSE,   IORING_OP_SHUTDOWN,
    IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL,
};

static int setup(struct ring *ring, unsigned entries)
{
    int error = -EINVAL;

    for (size_t i = 0; i < ARRAY_SIZE(flag_ladder) && error == -EINVAL; i++) {
        struct io_uring_params params = {0};

        params.flags = flag_ladder[i] | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
        params.cq_entries = entries < 64 ? 2 * entries : entries * 16;
        error = io_uring_queue_init_params(entries, &ring->uring, &params);
        ring->setup_flags = flag_ladder[i];
    }
    return error;
}

uint64_t gyre_ring_masked[PROBE_OPERATIONS / 64];

/* The same on every ring of a process: each worker may write it, all write alike. */
static _Atomic(uint64_t) supported[PROBE_OPERATIONS / 64];

bool gyre_ring_supports(unsigned operation)
{
    return operation < PROBE_OPERATIONS &&
           atomic_load_explicit(&supported[operation / 64], memory_order_relaxed) >>
                   (operation % 64) &
               1;
}

static void note_operations(const struct io_uring_probe *probe)
{
    for (unsigned word = 0; word < ARRAY_SIZE(supported); word++) {
        uint64_t bits = 0;

        for (unsigned i = 0; i < 64; i++)
            bits |= (uint64_t) !!io_uring_opcode_supported(probe, (int)(word * 64 + i)) << i;
        /* Relaxed: threads started earlier look at it only after the start's futexes. */
        atomic_store_explicit(&supported[word], bits & ~gyre_ring_masked[word],
                              memory_order_relaxed);
    }
}

static int check_operations(struct ring *ring)
{
    struct io_uring_probe *probe = calloc(1, sizeof *probe + PROBE_OPERATIONS * sizeof *probe->ops);
    int error;

    if (!probe)
        return -ENOMEM;
    /* Not liburing's io_uring_get_probe: it hides why it fails. */
    error = io_uring_register_probe(&ring->uring, probe, PROBE_OPERATIONS);
    for (size_t i = 0; i < ARRAY_SIZE(needed_operations) && !error; i++)
        if (!io_uring_opcode_supported(probe, needed_operations[i]))
            error = -EINVAL;
    if (!error)
        note_operations(probe);
    free(probe);
    return error;
}

/* One operation, alone on the new ring. */
static int run_alone(struct ring *ring, struct io_uring_sqe *sqe)
{
    struct io_uring_cqe *cqe;
    int error = 0, result;

    if (!sqe)
        return -EINVAL;
    while ((error = io_uring_submit_and_wait(&ring->uring, 1)) == -EINTR)
        ;
    if (error < 0)
        return error;
    error = io_uring_peek_cqe(&ring->uring, &cqe);
    if (error)
        return error;
    result = cqe->res;
    io_uring_cqe_seen(&ring->uring, cqe);
    return result;
}

/* Cancelling by descriptor came with 5.19: gyre_close can't do without. */
static int check_cancel(struct ring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    int result;

    io_uring_prep_cancel_fd(sqe, ring->uring.ring_fd, IORING_ASYNC_CANCEL_ALL);
    sqe->user_data = 0;
    result = run_alone(ring, sqe);
    return result == -ENOENT || result >= 0 ? 0 : result;
}

static int send_message(struct ring *ring)
{
    struct io_uring_sqe sqe;

    memset(&sqe, 0, sizeof sqe);
    sqe.opcode = IORING_OP_MSG_RING;
    sqe.fd = ring->uring.ring_fd;
    sqe.addr = ABI_MSG_DATA;
    sqe.off = ring_user_data(&ring->wake_target, WAKE_MESSAGE);
    if (syscall(__NR_io_uring_register, -1, ABI_REGISTER_SEND_MSG_RING, &sqe, 1) < 0)
        return -errno;
    return 0;
}

static void wake_completed(struct ring_target *target, void *worker, int result, unsigned flags,
                           unsigned generation)
{
    struct ring *ring = container_of(target, struct ring, wake_target);

    (void)worker;
    (void)result;
    if (generation == WAKE_MESSAGE)
        ring->extra++; /* another thread's */
    else if (!(flags & IORING_CQE_F_MORE))
        __atomic_store_n(&ring->wake_armed, false, __ATOMIC_RELAXED);
}

static int setup_wake(struct ring *ring)
{
    struct io_uring_cqe *cqe;

    ring->wake_fd = -1;
    ring->wake_target.complete = wake_completed;
    if (!send_message(ring)) {
        ring->send_msg_ring = true;
        if (!io_uring_peek_cqe(&ring->uring, &cqe))
            io_uring_cqe_seen(&ring->uring, cqe);
        return 0;
    }
    ring->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ring->wake_fd < 0)
        return -errno;
    return 0;
}

static void use_identity_array(struct ring *ring)
{
    struct io_uring_sq *sq = &ring->uring.sq;

    for (unsigned i = 0; sq->array && i <= *sq->kring_mask; i++)
        sq->array[i] = i;
}

int gyre_ring_init(struct ring *ring, unsigned entries)
{
    unsigned limits[2] = {BOUNDED_WORKERS, UNBOUNDED_WORKERS};
    int error;

    memset(ring, 0, sizeof *ring);
    ring->wake_fd = -1;
    error = setup(ring, entries);
    if (error)
        return error;
    if (!(ring->uring.features & IORING_FEAT_NODROP) ||
        !(ring->uring.features & IORING_FEAT_EXT_ARG))
        error = -EINVAL;
    if (!error)
        error = check_operations(ring);
    if (!error)
        error = check_cancel(ring);
    if (!error)
        error = setup_wake(ring);
    if (error) {
        gyre_ring_destroy(ring);
        return error;
    }
    ring->no_iowait = ring->uring.features & IORING_FEAT_NO_IOWAIT;
    /* Both only make things better: without them the ring works all the same. */
    (void)io_uring_register_iowq_max_workers(&ring->uring, limits);
    (void)io_uring_register_ring_fd(&ring->uring);
    use_identity_array(ring);
    ring->extra = *ring->uring.cq.khead - ring->uring.sq.sqe_tail; /* of the trials above */
    return 0;
}

void gyre_ring_destroy(struct ring *ring)
{
    if (ring->uring.ring_fd > 0 || ring->uring.sq.ring_ptr)
        io_uring_queue_exit(&ring->uring);
    if (ring->wake_fd >= 0)
        close(ring->wake_fd);
    memset(&ring->uring, 0, sizeof ring->uring);
    ring->wake_fd = -1;
}

void gyre_ring_wake(struct ring *ring)
{
    const uint64_t one = 1;
    ssize_t written;

    if (!ring->send_msg_ring) {
        /* Fails only when the counter is full, and then the poll is awake already. */
        written = write(ring->wake_fd, &one, sizeof one);
        (void)written;
        return;
    }
    /*
     * EOVERFLOW: the queue is full, so the owner will not sleep. Anything else is a want of
     * memory in the kernel that passes; the wake must not be lost.
     */
    for (;;) {
        int error = send_message(ring);

        if (!error || error == -EOVERFLOW || error == -EBADF)
            return;
        sched_yield();
    }
}

void gyre_ring_describe(const struct ring *ring, char *text, size_t size)
{
    snprintf(text, size, "ring: %u entries, %u completions, flags%s%s%s%s, wake by %s%s%s",
             ring->uring.sq.ring_entries, ring->uring.cq.ring_entries,
             ring->setup_flags & IORING_SETUP_SINGLE_ISSUER ? " SINGLE_ISSUER" : "",
             ring->setup_flags & IORING_SETUP_COOP_TASKRUN ? " COOP_TASKRUN" : "",
             ring->setup_flags & IORING_SETUP_TASKRUN_FLAG ? " TASKRUN_FLAG" : "",
             ring->setup_flags & IORING_SETUP_SUBMIT_ALL ? " SUBMIT_ALL" : "",
             ring->send_msg_ring ? "SEND_MSG_RING" : "eventfd",
             ring->no_iowait ? ", NO_IOWAIT" : "", ring->uring.int_flags & 1 ? ", registered" : "");
}

static int read_number(const char *path, int missing)
{
    char text[32];
    int number = missing, fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return missing;
    n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n > 0) {
        text[n] = 0;
        sscanf(text, "%d", &number);
    }
    return number;
}

void gyre_ring_explain(int error)
{
    int disabled = read_number("/proc/sys/kernel/io_uring_disabled", 0);

    switch (error) {
    case -EPERM:
    case -EACCES:
        gyre_message("cannot start: io_uring is forbidden here (%s)",
                     error == -EPERM ? "EPERM" : "EACCES");
        if (disabled)
            gyre_message_line("  kernel.io_uring_disabled = %d; set it to 0, or allow "
                              "io_uring_setup in the container's seccomp profile "
                              "(docs/containers.md)",
                              disabled);
        else
            gyre_message_line("  kernel.io_uring_disabled = 0, so a seccomp filter or security "
                              "module denies it; allow io_uring_setup, io_uring_enter and "
                              "io_uring_register in the container's seccomp profile "
                              "(docs/containers.md)");
        break;
    case -ENOSYS:
        gyre_message("cannot start: io_uring is not there (ENOSYS)");
        gyre_message_line("  the kernel is older than 5.1 or built without CONFIG_IO_URING, or a "
                          "seccomp filter hides it; allow io_uring_setup, io_uring_enter and "
                          "io_uring_register (docs/containers.md)");
        break;
    case -ENOMEM:
        gyre_message("cannot start: no memory for a ring (ENOMEM)");
        gyre_message_line("  kernels before 5.12 count rings against RLIMIT_MEMLOCK: raise it "
                          "(ulimit -l), or ask for fewer ring entries (GYRE_RING_ENTRIES)");
        break;
    case -EMFILE:
    case -ENFILE:
        gyre_message("cannot start: no descriptor left for a ring (%s)",
                     error == -EMFILE ? "EMFILE" : "ENFILE");
        gyre_message_line("  raise the limit of open files (ulimit -n)");
        break;
    case -EINVAL:
        gyre_message("cannot start: this kernel's io_uring is too old (EINVAL)");
        gyre_message_line("  gyre needs Linux 6.0 or newer (docs/containers.md)");
        break;
    default:
        gyre_message("cannot start: io_uring_setup failed: %s", strerror(-error));
    }
}
