/*
 * A watch: one multishot poll on the ring of the worker that opened it.
 *
 * Invariants (under `lock`)
 * - The poll is `armed` from its submission to its final completion. Only the owner arms and
 * cancels, on a message that is `sent` at most once at a time.
 * - `events` are those that no gyre_watch_next has returned yet.
 * - It is armed again only when they have been taken, so that one which ends with each event
 *   (the kernel's queue was full) costs no more than the caller does. No edge is lost: what there
 *   is when it is armed again counts as one.
 * - It is freed when the poll is not armed, no message is under way, and nobody is in
 *   gyre_watch_next.
 */
#include "io/operation.h"
#include "ring/tsan.h"

#include <gyre/poll.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS_OF_POLL = 0xffff };

struct gyre_watch {
    struct ring_target target; /* of the poll */
    struct mailbox_message message;
    struct spinlock lock;
    struct worker *owner;
    int fd;
    int error; /* 0 or -errno, told once */
    unsigned wanted, events;
    bool armed, cancelling, sent, closing;
    bool used;                /* a coroutine is in gyre_watch_next */
    struct gyre_coro *waiter; /* parked there, or on its way out */
    struct gyre_coro *closer;
};

/* --- the owner's part, under the lock ----------------------------------------------------------
 */

static bool wants_poll(const struct gyre_watch *watch)
{
    return !watch->closing && (watch->armed || (!watch->events && !watch->error));
}

/* Asks the owner to arm or cancel, where what is differs from what should be. */
static void adjust(struct gyre_watch *watch)
{
    if (wants_poll(watch) == watch->armed || (watch->armed && watch->cancelling) || watch->sent)
        return;
    watch->sent = true;
    mailbox_push(&watch->owner->mailbox, &watch->message);
    full_barrier();
    gyre_worker_notify(watch->owner);
}

static void wake_closer(struct gyre_watch *watch)
{
    struct gyre_coro *closer = watch->closer;

    if (!closer || watch->armed || watch->sent || watch->used)
        return;
    watch->closer = NULL;
    gyre_ready(closer);
}

static void handle_message(void *argument, struct mailbox_message *message)
{
    struct gyre_watch *watch = container_of(message, struct gyre_watch, message);
    struct worker *worker = argument;
    /* Before the lock: making room may complete polls, which take it. */
    struct io_uring_sqe *sqe = gyre_operation_entry(worker);

    if (!sqe) {
        mailbox_push(&worker->mailbox, message);
        return;
    }
    spin_lock(&watch->lock);
    watch->sent = false;
    io_uring_prep_nop(sqe);
    sqe->user_data = 0;
    if (!watch->armed && wants_poll(watch)) {
        watch->armed = true;
        watch->cancelling = false;
        io_uring_prep_poll_multishot(sqe, watch->fd, watch->wanted);
        sqe->user_data = ring_user_data(&watch->target, 0);
        ring_tsan_submitted(&watch->target);
    } else if (watch->armed && !watch->cancelling && !wants_poll(watch)) {
        watch->cancelling = true;
        io_uring_prep_cancel64(sqe, ring_user_data(&watch->target, 0), 0);
    }
    wake_closer(watch);
    spin_unlock(&watch->lock);
}

/* --- completion --------------------------------------------------------------------------------
 */

/* Under the lock. reaper: as of a completion, or NULL. */
static void wake_waiter(struct gyre_watch *watch, void *reaper)
{
    struct gyre_coro *waiter = watch->waiter;

    watch->waiter = NULL;
    if (!waiter || !wait_claim(waiter, WAIT_WOKEN))
        return;
    if (reaper)
        gyre_ready_later(reaper, waiter);
    else
        gyre_ready(waiter);
}

static void complete(struct ring_target *target, void *reaper, int result, unsigned flags,
                     unsigned generation)
{
    struct gyre_watch *watch = container_of(target, struct gyre_watch, target);

    (void)generation;
    spin_lock(&watch->lock);
    if (!(flags & IORING_CQE_F_MORE))
        watch->armed = watch->cancelling = false;
    if (result > 0) /* and POLLRDHUP, which the kernel adds */
        watch->events |= (unsigned)result & (watch->wanted | POLLERR | POLLHUP);
    else if (result < 0 && result != -ECANCELED && result != -EINTR)
        watch->error = result; /* those two: ours, or meant for another use of the file */
    if (watch->events || watch->error)
        wake_waiter(watch, reaper);
    adjust(watch);
    wake_closer(watch);
    spin_unlock(&watch->lock);
}

/* --- waiting -----------------------------------------------------------------------------------
 */

static void commit_next(struct worker *worker, struct gyre_coro *self, void *argument)
{
    struct gyre_watch *watch = argument;
    struct gyre_context *context = coro_context(self);

    (void)worker;
    wait_publish(self);
    spin_unlock(&watch->lock);
    wait_check(self, context);
}

/* Under the lock: what gyre_watch_next returns, or 0: it has to wait. */
static int take(struct gyre_watch *watch)
{
    int result = watch->closing ? -EBADF : (int)watch->events;

    if (watch->closing)
        return result;
    if (result)
        watch->events = 0;
    else
        result = watch->error;
    if (result < 0)
        watch->error = 0;
    adjust(watch);
    return result;
}

static int wait_next(struct gyre_watch *watch, struct gyre_coro *self)
{
    int result = coro_error(self);

    while (!result) {
        spin_lock(&watch->lock);
        result = take(watch);
        if (result) {
            spin_unlock(&watch->lock);
            break;
        }
        watch->waiter = self;
        gyre_park(worker_current(), PARK_OPERATION, commit_next, watch);
        if (wait_finish(self))
            continue; /* what it was woken for counts, whatever has ended */
        spin_lock(&watch->lock);
        watch->waiter = NULL;
        spin_unlock(&watch->lock);
        result = coro_error(self);
    }
    return result;
}

int gyre_watch_next(struct gyre_watch *watch)
{
    struct gyre_coro *self = coro_required("gyre_watch_next");
    bool used;
    int result;

    if (!watch)
        return -EBADF;
    spin_lock(&watch->lock);
    used = watch->used;
    watch->used = true;
    spin_unlock(&watch->lock);
    if (used)
        return -EBUSY;
    result = wait_next(watch, self);
    ring_tsan_received();
    spin_lock(&watch->lock);
    watch->used = false;
    wake_closer(watch);
    spin_unlock(&watch->lock);
    return result;
}

/* --- opening and closing -----------------------------------------------------------------------
 */

/* The ring's poll would complete again and again on a file that can't be polled; epoll tells. */
static int check_file(int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    int set, error;

    if (fcntl(fd, F_GETFD) < 0)
        return -errno;
    set = epoll_create1(EPOLL_CLOEXEC);
    if (set < 0)
        return -errno;
    error = epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
    close(set);
    return error;
}

int gyre_watch_open(struct gyre_watch **watch, int fd, unsigned events)
{
    struct gyre_watch *opened;
    int error;

    coro_required("gyre_watch_open");
    error = check_file(fd);
    if (error)
        return error;
    opened = calloc(1, sizeof *opened);
    if (!opened)
        return -ENOMEM;
    opened->target.complete = complete;
    opened->message.handle = handle_message;
    opened->owner = worker_current();
    opened->fd = fd;
    opened->wanted = events & EVENTS_OF_POLL;
    spin_lock(&opened->lock);
    adjust(opened);
    spin_unlock(&opened->lock);
    *watch = opened;
    return 0;
}

static void commit_close(struct worker *worker, struct gyre_coro *self, void *argument)
{
    struct gyre_watch *watch = argument;

    (void)worker;
    watch->closer = self;
    wake_closer(watch);
    spin_unlock(&watch->lock);
}

void gyre_watch_close(struct gyre_watch *watch)
{
    coro_required("gyre_watch_close");
    if (!watch)
        return;
    spin_lock(&watch->lock);
    watch->closing = true;
    wake_waiter(watch, NULL);
    adjust(watch);
    gyre_park(worker_current(), PARK_CLOSE, commit_close, watch);
    /* Who woke us still held the lock. */
    spin_lock(&watch->lock);
    spin_unlock(&watch->lock);
    free(watch);
}
