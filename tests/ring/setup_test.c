/*
 * Setting a ring up where the kernel gives less: what a flag, a feature or a call that is missing
 * does. The calls that set a ring up are wrapped; a mask says what fails.
 */
#include "ring/ring.h"

#include "../io/descriptors.h"
#include "base/message.h"

#include <gyre.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned refused_flags; /* setup says -EINVAL to these */
static int setup_error;        /* setup fails with this */
static int setup_calls;
static unsigned hidden_features;
static int eventfd_error, probe_error;
static bool no_send_message;
static int last_operation; /* operations beyond are not supported; 0: all are */

int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *p);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *p);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *p)
{
    int error;

    setup_calls++;
    if (setup_error)
        return setup_error;
    if (p->flags & refused_flags)
        return -EINVAL;
    error = __real_io_uring_queue_init_params(entries, ring, p);
    ring->features &= ~hidden_features;
    return error;
}

int __real_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *p, unsigned n);
int __wrap_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *p, unsigned n);
int __wrap_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *p, unsigned n)
{
    int error = probe_error ? probe_error : __real_io_uring_register_probe(ring, p, n);

    for (int i = 0; !error && last_operation && i < p->ops_len; i++)
        if (i > last_operation)
            p->ops[i].flags = 0;
    return error;
}

int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags)
{
    if (eventfd_error) {
        errno = eventfd_error;
        return -1;
    }
    return __real_eventfd(value, flags);
}

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
    if (no_send_message && number == SYS_io_uring_register && a[1] == ABI_REGISTER_SEND_MSG_RING) {
        errno = EINVAL;
        return -1;
    }
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static struct ring ring;

static void expect_init(int error)
{
    int before = open_descriptors();

    cr_assert_eq(gyre_ring_init(&ring, 8), error);
    if (!error)
        gyre_ring_destroy(&ring);
    cr_assert_eq(open_descriptors(), before);
}

Test(ring_setup, takes_the_most_flags_first)
{
    cr_assert_eq(gyre_ring_init(&ring, 8), 0);
    cr_assert_eq(setup_calls, 1);
    cr_assert(ring.setup_flags & IORING_SETUP_SINGLE_ISSUER);
    cr_assert(ring.setup_flags & IORING_SETUP_COOP_TASKRUN);
    cr_assert(ring.setup_flags & IORING_SETUP_TASKRUN_FLAG);
    gyre_ring_destroy(&ring);
}

Test(ring_setup, goes_down_the_ladder_on_einval)
{
    refused_flags = IORING_SETUP_SINGLE_ISSUER;
    cr_assert_eq(gyre_ring_init(&ring, 8), 0);
    cr_assert_eq(setup_calls, 2);
    cr_assert_not(ring.setup_flags & IORING_SETUP_SINGLE_ISSUER);
    cr_assert(ring.setup_flags & IORING_SETUP_COOP_TASKRUN);
    gyre_ring_destroy(&ring);

    refused_flags |= IORING_SETUP_COOP_TASKRUN;
    cr_assert_eq(gyre_ring_init(&ring, 8), 0);
    cr_assert_eq(ring.setup_flags, IORING_SETUP_SUBMIT_ALL);
    gyre_ring_destroy(&ring);

    refused_flags |= IORING_SETUP_SUBMIT_ALL;
    cr_assert_eq(gyre_ring_init(&ring, 8), 0);
    cr_assert_eq(ring.setup_flags, 0);
    gyre_ring_destroy(&ring);

    refused_flags |= IORING_SETUP_CLAMP;
    expect_init(-EINVAL);
}

Test(ring_setup, another_error_ends_at_once)
{
    setup_error = -ENOMEM;
    expect_init(-ENOMEM);
    cr_assert_eq(setup_calls, 1);
    setup_error = -EPERM;
    expect_init(-EPERM);
    cr_assert_eq(setup_calls, 2);
}

Test(ring_setup, needs_its_features_and_operations)
{
    hidden_features = IORING_FEAT_NODROP;
    expect_init(-EINVAL);
    hidden_features = IORING_FEAT_EXT_ARG;
    expect_init(-EINVAL);
    hidden_features = 0;
    last_operation = IORING_OP_CONNECT;
    expect_init(-EINVAL);
}

Test(ring_setup, a_probe_that_is_denied_is_no_want_of_memory)
{
    probe_error = -EPERM;
    expect_init(-EPERM);
    probe_error = -ENOSYS;
    expect_init(-ENOSYS);
}

Test(ring_setup, without_messages_an_eventfd_wakes)
{
    char text[200];

    no_send_message = true;
    cr_assert_eq(gyre_ring_init(&ring, 8), 0);
    cr_assert_not(ring.send_msg_ring);
    cr_assert_geq(ring.wake_fd, 0);
    gyre_ring_describe(&ring, text, sizeof text);
    cr_assert(strstr(text, "wake by eventfd"), "%s", text);
    for (int i = 0; i < 3; i++) {
        gyre_ring_wake(&ring); /* before it sleeps: not lost */
        gyre_ring_enter(&ring, true, -1);
        gyre_ring_reap(&ring, NULL);
    }
    gyre_ring_destroy(&ring);
    eventfd_error = EMFILE;
    expect_init(-EMFILE);
}

/* The poll for wakes finds no room when the queue is full; then the enter must not sleep. */
Test(ring_setup, a_full_queue_does_not_sleep_deaf)
{
    no_send_message = true;
    cr_assert_eq(gyre_ring_init(&ring, 4), 0);
    for (struct io_uring_sqe *sqe; (sqe = ring_take(&ring));) {
        io_uring_prep_nop(sqe);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        sqe->user_data = 0;
    }
    alarm(10);
    for (int i = 0; i < 3; i++) {
        gyre_ring_wake(&ring);
        gyre_ring_enter(&ring, true, -1);
        gyre_ring_reap(&ring, NULL);
    }
    gyre_ring_destroy(&ring);
}

/* --- submitting and reaping ------------------------------------------------------------------- */

struct counter {
    struct ring_target target;
    unsigned count, generation;
    int result;
};

static void count(struct ring_target *target, void *worker, int result, unsigned flags,
                  unsigned generation)
{
    struct counter *counter = container_of(target, struct counter, target);

    (void)worker;
    (void)flags;
    counter->count++;
    counter->result = result;
    counter->generation = generation;
}

Test(ring, completions_reach_their_target_with_its_generation)
{
    struct counter counter = {.target.complete = count};
    struct io_uring_sqe *sqe;

    cr_assert_eq(gyre_ring_init(&ring, 8), 0);
    for (unsigned generation = 65530; generation < 65545; generation++) {
        sqe = ring_take(&ring);
        io_uring_prep_nop(sqe);
        sqe->user_data = ring_user_data(&counter.target, generation);
        cr_assert_eq(gyre_ring_enter(&ring, true, -1), 0);
        cr_assert_eq(gyre_ring_reap(&ring, NULL), 1);
        cr_assert_eq(counter.generation, generation & 0xffff);
    }
    cr_assert_eq(counter.count, 15);
    gyre_ring_destroy(&ring);
}

Test(ring, no_completion_is_lost_to_an_overflow)
{
    struct counter counter = {.target.complete = count};
    unsigned submitted = 0;

    cr_assert_eq(gyre_ring_init(&ring, 4), 0);
    for (int round = 0; round < 1000; round++) {
        struct io_uring_sqe *sqe;

        while ((sqe = ring_take(&ring))) {
            io_uring_prep_nop(sqe);
            sqe->user_data = ring_user_data(&counter.target, 0);
            submitted++;
        }
        gyre_ring_enter(&ring, false, 0);
    }
    cr_assert_gt(submitted, 3000);
    for (int i = 0; i < 100000 && counter.count < submitted; i++) {
        if (ring_wants_enter(&ring))
            gyre_ring_enter(&ring, false, 0);
        gyre_ring_reap(&ring, NULL);
    }
    cr_assert_eq(counter.count, submitted);
    gyre_ring_destroy(&ring);
}

Test(ring, a_wait_ends_by_its_timeout)
{
    int64_t start = gyre_now();

    cr_assert_eq(gyre_ring_init(&ring, 4), 0);
    cr_assert_eq(gyre_ring_enter(&ring, true, 20 * GYRE_MILLISECOND), 0);
    cr_assert_geq(gyre_now() - start, 20 * GYRE_MILLISECOND);
    cr_assert_eq(gyre_ring_enter(&ring, true, 0), 0);
    gyre_ring_destroy(&ring);
}

Test(ring, a_wake_sent_before_the_sleep_is_not_lost)
{
    cr_assert_eq(gyre_ring_init(&ring, 4), 0);
    alarm(10);
    for (int i = 0; i < 1000; i++) {
        gyre_ring_wake(&ring);
        gyre_ring_enter(&ring, true, -1);
        gyre_ring_reap(&ring, NULL);
    }
    gyre_ring_destroy(&ring);
}

/* --- through gyre_run ------------------------------------------------------------------------- */

static char messages[2000];

static void collect(void *user, const char *line, size_t length)
{
    (void)user;
    strncat(messages, line, length);
    strcat(messages, "\n");
}

static int ping_pong(void *arg)
{
    char byte;
    int *fds = arg;

    cr_expect_eq(gyre_write(fds[0], "x", 1), 1);
    cr_expect_eq(gyre_read(fds[1], &byte, 1), 1);
    return 7;
}

Test(ring_run, every_rung_runs_programs)
{
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    for (int rung = 0; rung < 4; rung++) {
        static const unsigned refuse[] = {0, IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_COOP_TASKRUN,
                                          IORING_SETUP_SUBMIT_ALL};

        refused_flags |= refuse[rung];
        for (int i = 0; i < 2; i++) {
            no_send_message = i;
            cr_assert_eq(gyre_run(ping_pong, fds), 7);
        }
    }
}

Test(ring_run, debug_says_what_was_taken)
{
    char wanted[200];
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    cr_assert_eq(gyre_ring_init(&ring, 256), 0);
    gyre_ring_describe(&ring, wanted, sizeof wanted);
    gyre_ring_destroy(&ring);
    setenv("GYRE_DEBUG", "ring", 1);
    gyre_set_message_handler(collect, NULL);
    cr_assert_eq(gyre_run(ping_pong, fds), 7);
    cr_assert(!strncmp(messages, "gyre: ring: 256 entries, 4096 completions, flags ", 49), "%s",
              messages);
    cr_assert(!strncmp(messages + 6, wanted, strlen(wanted)), "%s", messages);
    cr_assert_eq(strchr(messages, '\n'), messages + strlen(messages) - 1, "one line");
}

static void expect_explained(int error, const char *first_line)
{
    messages[0] = 0;
    setup_error = error;
    gyre_set_message_handler(collect, NULL);
    cr_assert_eq(gyre_run(ping_pong, NULL), error);
    cr_assert(!strncmp(messages, first_line, strlen(first_line)), "%s", messages);
    cr_assert_eq(messages[strlen(first_line)], '\n', "%s", messages);
}

Test(ring_run, every_refusal_is_explained)
{
    expect_explained(-EPERM, "gyre: cannot start: io_uring is forbidden here (EPERM)");
    cr_assert(strstr(messages, "docs/containers.md"));
    expect_explained(-EACCES, "gyre: cannot start: io_uring is forbidden here (EACCES)");
    expect_explained(-ENOSYS, "gyre: cannot start: io_uring is not there (ENOSYS)");
    expect_explained(-ENOMEM, "gyre: cannot start: no memory for a ring (ENOMEM)");
    expect_explained(-EMFILE, "gyre: cannot start: no descriptor left for a ring (EMFILE)");
    expect_explained(-ENFILE, "gyre: cannot start: no descriptor left for a ring (ENFILE)");
    expect_explained(-EINVAL, "gyre: cannot start: this kernel's io_uring is too old (EINVAL)");
    expect_explained(-EFAULT, "gyre: cannot start: io_uring_setup failed: Bad address");
}
