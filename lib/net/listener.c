/*
 * A listener: one multishot accept on the ring of the worker that first accepted, and a queue from
 * which any coroutine on any worker takes.
 *
 * Invariants (under `lock`)
 * - The accept is `armed` from its submission to its final completion. Only the owner arms and
 * cancels, on a message that is `sent` at most once at a time.
 * - A waiter is in `waiters` until it is given a descriptor or an error, or takes itself out.
 * - It is armed while somebody waits or fewer than `ahead` connections are queued; beyond that the
 *   accept is cancelled, and connections stay in the kernel's backlog. A multishot accept takes all
 *   that the backlog holds before the cancel comes; where `ahead` is small, it means what it says.
 * - Once it is `stopped` it is armed only to sweep; after that, and with the queue empty, who
 *   accepts gets -ESHUTDOWN. Nothing that was accepted is lost.
 * - It is closed when the accept is not armed, no message or retry is under way, and nobody is
 *   inside gyre_accept.
 *
 * The sweep. Of the processes that share a socket a connection wakes only one, whose accept may be
 * cancelled between the wake and the accepting: then the connection stays in the backlog, and no
 * other process knows of it. So when a stopped listener waits for nothing any more it looks at the
 * backlog; if there is something, it accepts once more, which takes one if it is still there,
 * cancels that, and looks again.
 *
 * An acceptor's loop calls gyre_accept once more after the listener was closed, unless it happened
 * to wait in it: so a closed listener's memory stays, and says -EBADF, until many others were
 * closed or the runtime ends.
 *
 * Want of descriptors or memory ends the accept before a connection is taken from the backlog: it
 * is tried again after a pause that doubles from 5 ms to 1 s.
 */
#include "base/grow.h"
#include "io/operation.h"
#include "io/socket.h"
#include "net/listener.h"
#include "net/resolve.h"
#include "net/unix_path.h"
#include "ring/tsan.h"

#include <gyre/io.h>
#include <gyre/net.h>

#include "base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AHEAD_DEFAULT = 64, AHEAD_EXACT = 16, QUEUE_INITIAL = 256, CLOSED_KEPT = 1024 };

static const int64_t pause_first = 5 * GYRE_MILLISECOND, pause_last = GYRE_SECOND;

struct gyre_listener {
    struct ring_target target; /* of the accept */
    struct mailbox_message message;
    struct timer retry;
    struct spinlock lock;
    struct worker *owner; /* NULL until the first gyre_accept */
    int fd;
    int error; /* beyond repair: 0 or -errno */
    unsigned ahead;
    bool single; /* one connection a submission: a multishot accept can't be held to a number */
    bool armed, cancelling, sent, pausing, stopped, sweeping, closing;
    unsigned users; /* coroutines inside gyre_accept */
    int64_t pause;
    struct gyre_coro *closer;
    struct list waiters;
    struct gyre_listener *next; /* once closed */
    struct unix_path *path;     /* of a Unix socket's, or NULL */
    int *queue;                 /* a ring buffer of capacity (a power of two) */
    unsigned capacity, head, count;
};

struct waiter {
    struct list link;
    struct gyre_coro *coro;
    int result;
};

/* --- the queue, under the lock ---------------------------------------------------------------- */

static bool enqueue(struct gyre_listener *listener, int fd)
{
    if (listener->count == listener->capacity) {
        int *larger = malloc(2 * listener->capacity * sizeof *larger);

        if (!larger)
            return false;
        for (unsigned i = 0; i < listener->count; i++)
            larger[i] = listener->queue[(listener->head + i) & (listener->capacity - 1)];
        free(listener->queue);
        listener->queue = larger;
        listener->head = 0;
        listener->capacity *= 2;
    }
    listener->queue[(listener->head + listener->count++) & (listener->capacity - 1)] = fd;
    return true;
}

static int dequeue(struct gyre_listener *listener)
{
    int fd = listener->queue[listener->head];

    listener->head = (listener->head + 1) & (listener->capacity - 1);
    listener->count--;
    return fd;
}

/* --- the owner's part ------------------------------------------------------------------------- */

static bool wants_more(const struct gyre_listener *listener)
{
    if (listener->closing || listener->error || listener->pausing)
        return false;
    if (listener->stopped)
        return listener->sweeping;
    return (!list_empty(&listener->waiters) || listener->count < listener->ahead);
}

static void send_to_owner(struct gyre_listener *listener)
{
    if (listener->sent || !listener->owner)
        return;
    listener->sent = true;
    mailbox_push(&listener->owner->mailbox, &listener->message);
    full_barrier();
    gyre_worker_notify(listener->owner);
}

/* Asks the owner to arm or cancel, where what is differs from what should be. */
static void adjust(struct gyre_listener *listener)
{
    bool wanted = wants_more(listener);

    if (wanted != listener->armed && !(listener->armed && listener->cancelling))
        send_to_owner(listener);
}

static void wake_closer(struct gyre_listener *listener)
{
    struct gyre_coro *closer = listener->closer;

    if (!closer || listener->armed || listener->sent || listener->pausing || listener->users)
        return;
    listener->closer = NULL;
    gyre_ready(closer);
}

static void handle_message(void *argument, struct mailbox_message *message)
{
    struct gyre_listener *listener = container_of(message, struct gyre_listener, message);
    struct worker *worker = argument;
    /* Before the lock: making room may complete accepts, which take it. */
    struct io_uring_sqe *sqe = gyre_operation_entry(worker);

    if (!sqe) {
        mailbox_push(&worker->mailbox, message);
        return;
    }
    spin_lock(&listener->lock);
    listener->sent = false;
    if (!listener->armed && wants_more(listener)) {
        listener->armed = true;
        listener->cancelling = false;
        if (listener->single || listener->stopped)
            io_uring_prep_accept(sqe, listener->fd, NULL, NULL, SOCK_CLOEXEC);
        else
            io_uring_prep_multishot_accept(sqe, listener->fd, NULL, NULL, SOCK_CLOEXEC);
        sqe->user_data = ring_user_data(&listener->target, 0);
        if (listener->stopped) {
            listener->sweeping = false;
            send_to_owner(listener); /* cancels what has not completed in the submission */
        }
    } else if (listener->armed && !listener->cancelling && !wants_more(listener)) {
        listener->cancelling = true;
        io_uring_prep_cancel64(sqe, ring_user_data(&listener->target, 0), 0);
        sqe->user_data = 0;
    } else {
        io_uring_prep_nop(sqe);
        sqe->user_data = 0;
    }
    wake_closer(listener);
    spin_unlock(&listener->lock);
}

/* --- completion ------------------------------------------------------------------------------- */

/* Gives every waiter, or the first that can be claimed, a result. True: it was taken. */
static bool hand_over(struct gyre_listener *listener, void *reaper, int result)
{
    struct list *item;

    while ((item = list_pop(&listener->waiters))) {
        struct waiter *waiter = container_of(item, struct waiter, link);
        struct gyre_coro *coro = waiter->coro;

        if (!wait_claim(coro, WAIT_WOKEN))
            continue; /* interrupted: finds itself taken out */
        waiter->result = result;
        if (reaper)
            gyre_ready_later(reaper, coro);
        else
            gyre_ready(coro);
        if (result >= 0)
            return true;
    }
    return false;
}

static bool has_backlog(const struct gyre_listener *listener)
{
    struct pollfd backlog = {.fd = listener->fd, .events = POLLIN};

    return poll(&backlog, 1, 0) > 0;
}

/* Once stopped, and not armed: sweeps, or tells who waits that nothing more will come. */
static void settle(struct gyre_listener *listener, void *reaper)
{
    if (!listener->stopped || listener->armed || listener->closing)
        return;
    listener->sweeping = !listener->error && listener->owner && has_backlog(listener);
    if (!listener->sweeping)
        hand_over(listener, reaper, -ESHUTDOWN);
}

static bool transient(int error)
{
    switch (error) {
    case -ECANCELED: /* ours, or meant for another number of the same socket */
    case -EINTR:
    case -EAGAIN:
    case -ECONNABORTED: /* reset before it was taken; accept(2) lists what else to try again on */
    case -EPROTO:
    case -ENETDOWN:
    case -ENOPROTOOPT:
    case -EHOSTDOWN:
    case -ENONET:
    case -EHOSTUNREACH:
    case -EOPNOTSUPP:
    case -ENETUNREACH:
    case -EPERM: /* a firewall's rule */
        return true;
    default:
        return false;
    }
}

static bool shortage(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

static void retry(struct timer *timer)
{
    struct gyre_listener *listener = container_of(timer, struct gyre_listener, retry);

    spin_lock(&listener->lock);
    listener->pausing = false;
    adjust(listener);
    wake_closer(listener);
    spin_unlock(&listener->lock);
}

static void begin_pause(struct gyre_listener *listener)
{
    struct worker *worker = worker_current();

    listener->pausing = true;
    gyre_wheel_start(&worker->timers, &listener->retry, clock_now() + listener->pause);
    listener->pause = listener->pause * 2 < pause_last ? listener->pause * 2 : pause_last;
}

static void fail(struct gyre_listener *listener, void *reaper, int error)
{
    if (error == -EINVAL && !listener->single) {
        listener->single = true;
        return;
    }
    if (transient(error))
        return;
    if (shortage(error)) {
        if (!listener->closing)
            begin_pause(listener);
        return;
    }
    listener->error = error;
    hand_over(listener, reaper, error);
}

static void accepted(struct gyre_listener *listener, void *reaper, int fd)
{
    listener->pause = pause_first;
    if (!hand_over(listener, reaper, fd) && !enqueue(listener, fd))
        close(fd); /* nobody to take it and no memory to keep it */
}

static void complete(struct ring_target *target, void *reaper, int result, unsigned flags,
                     unsigned generation)
{
    struct gyre_listener *listener = container_of(target, struct gyre_listener, target);

    (void)generation;
    spin_lock(&listener->lock);
    if (!(flags & IORING_CQE_F_MORE))
        listener->armed = listener->cancelling = false;
    if (result >= 0)
        accepted(listener, reaper, result);
    else
        fail(listener, reaper, result);
    settle(listener, reaper);
    adjust(listener);
    wake_closer(listener);
    spin_unlock(&listener->lock);
}

/* --- accepting -------------------------------------------------------------------------------- */

static void commit_accept(struct worker *worker, struct gyre_coro *self, void *argument)
{
    struct gyre_listener *listener = argument;
    struct gyre_context *context = coro_context(self);

    (void)worker;
    wait_publish(self);
    spin_unlock(&listener->lock);
    wait_check(self, context);
}

/* With the lock, which is let go. OPERATION_AGAIN: interrupted for nothing. */
static int wait_for_connection(struct gyre_listener *listener, struct gyre_coro *self)
{
    struct waiter waiter = {.coro = self};

    list_append(&listener->waiters, &waiter.link);
    if (!listener->owner)
        listener->owner = worker_current();
    adjust(listener);
    gyre_park(worker_current(), PARK_ACCEPT, commit_accept, listener);
    if (wait_finish(self))
        return waiter.result;
    spin_lock(&listener->lock);
    list_remove(&waiter.link);
    spin_unlock(&listener->lock);
    return OPERATION_AGAIN;
}

static int accept_one(struct gyre_listener *listener, struct gyre_coro *self)
{
    int result = OPERATION_AGAIN;

    while (result == OPERATION_AGAIN) {
        result = coro_error(self);
        if (result)
            return result;
        spin_lock(&listener->lock);
        if (listener->closing) {
            result = -EBADF;
        } else if (listener->count) {
            result = dequeue(listener);
            adjust(listener);
        } else if (listener->error) {
            result = listener->error;
        } else if (listener->stopped && !listener->armed && !listener->sweeping) {
            result = -ESHUTDOWN;
        } else {
            result = wait_for_connection(listener, self);
            continue;
        }
        spin_unlock(&listener->lock);
    }
    return result;
}

int gyre_accept(struct gyre_listener *listener)
{
    struct gyre_coro *self = coro_required("gyre_accept");
    int result;

    if (!listener)
        return -EBADF;
    spin_lock(&listener->lock);
    listener->users++;
    spin_unlock(&listener->lock);
    result = accept_one(listener, self);
    ring_tsan_received();
    spin_lock(&listener->lock);
    listener->users--;
    wake_closer(listener);
    spin_unlock(&listener->lock);
    return result;
}

/* --- opening and closing ---------------------------------------------------------------------- */

static void commit_close(struct worker *worker, struct gyre_coro *self, void *argument)
{
    struct gyre_listener *listener = argument;

    (void)worker;
    listener->closer = self;
    wake_closer(listener);
    spin_unlock(&listener->lock);
}

static struct {
    struct spinlock lock;
    struct gyre_listener *first, **last;
    unsigned count;
} closed_ones;

static void free_closed(void)
{
    struct gyre_listener *listener = closed_ones.first;

    closed_ones.first = NULL;
    closed_ones.count = 0;
    while (listener) {
        struct gyre_listener *next = listener->next;

        free(listener);
        listener = next;
    }
}

static void keep_closed(struct gyre_listener *listener)
{
    struct gyre_listener *oldest = NULL;

    listener->next = NULL;
    spin_lock(&closed_ones.lock);
    gyre_descriptors_end = free_closed;
    if (!closed_ones.first)
        closed_ones.last = &closed_ones.first;
    *closed_ones.last = listener;
    closed_ones.last = &listener->next;
    if (++closed_ones.count > CLOSED_KEPT) {
        oldest = closed_ones.first;
        closed_ones.first = oldest->next;
        closed_ones.count--;
    }
    spin_unlock(&closed_ones.lock);
    free(oldest);
}

void gyre_listener_stop(struct gyre_listener *listener)
{
    coro_required("gyre_listener_stop");
    spin_lock(&listener->lock);
    listener->stopped = true;
    settle(listener, NULL);
    adjust(listener);
    spin_unlock(&listener->lock);
}

int gyre_listener_close(struct gyre_listener *listener)
{
    coro_required("gyre_listener_close");
    if (!listener)
        return 0;
    spin_lock(&listener->lock);
    listener->closing = true;
    hand_over(listener, NULL, -EBADF);
    if (listener->pausing && gyre_wheel_stop(&listener->retry))
        listener->pausing = false;
    adjust(listener);
    gyre_park(worker_current(), PARK_CLOSE, commit_close, listener);
    /* Who woke us still held the lock. */
    spin_lock(&listener->lock);
    spin_unlock(&listener->lock);
    while (listener->count)
        close(dequeue(listener));
    gyre_unix_path_remove(listener->path);
    gyre_close(listener->fd);
    free(listener->queue);
    keep_closed(listener);
    return 0;
}

/* What version 0.1 had. */
#define OPTIONS_LEAST (offsetof(struct gyre_listen_options, ahead) + sizeof(unsigned))

/* The caller's, or the defaults, in the form this version knows. */
static int take_options(struct gyre_listen_options *options,
                        const struct gyre_listen_options *asked)
{
    const struct gyre_listen_options defaults = GYRE_LISTEN_INIT;
    const unsigned known = GYRE_LISTEN_REUSEPORT | GYRE_LISTEN_NO_REUSEADDR | GYRE_LISTEN_V6ONLY |
                           GYRE_LISTEN_DELAY | GYRE_LISTEN_FAST_OPEN;

    if (!asked)
        asked = &defaults;
    if (grow_copy(options, sizeof *options, OPTIONS_LEAST, asked, asked->size) ||
        options->flags & ~known || options->backlog < 0)
        return -EINVAL;
    return 0;
}

static int create(struct gyre_listener **created, int fd, const struct gyre_listen_options *options)
{
    struct gyre_listener *listener = calloc(1, sizeof *listener);
    int *queue = malloc(QUEUE_INITIAL * sizeof *queue);

    if (!listener || !queue) {
        free(listener);
        free(queue);
        return -ENOMEM;
    }
    listener->target.complete = complete;
    listener->message.handle = handle_message;
    listener->retry.fire = retry;
    listener->fd = fd;
    listener->ahead = options->ahead ? options->ahead : AHEAD_DEFAULT;
    listener->single = listener->ahead < AHEAD_EXACT;
    listener->pause = pause_first;
    listener->queue = queue;
    listener->capacity = QUEUE_INITIAL;
    list_init(&listener->waiters);
    *created = listener;
    return 0;
}

static int set_options(int fd, int family, const struct gyre_listen_options *options)
{
    int on = 1, v6only = (options->flags & GYRE_LISTEN_V6ONLY) != 0;

    if (!(options->flags & GYRE_LISTEN_NO_REUSEADDR) &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return -errno;
    if (options->flags & GYRE_LISTEN_REUSEPORT &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0)
        return -errno;
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only) < 0)
        return -errno;
    /* Accepted sockets inherit it: no call for each. */
    if (!(options->flags & GYRE_LISTEN_DELAY))
        gyre_set_nodelay(fd, 1);
    return 0;
}

static int open_socket(const struct address *address, const struct gyre_listen_options *options)
{
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error, backlog = options->backlog ? options->backlog : 65535;

    if (fd < 0)
        return -errno;
    error = set_options(fd, address->storage.ss_family, options);
    if (!error && bind(fd, (const struct sockaddr *)&address->storage, address->length) < 0)
        error = -errno;
    /* The kernel cuts it to net.core.somaxconn. */
    if (!error && options->flags & GYRE_LISTEN_FAST_OPEN)
        setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &backlog, sizeof backlog);
    if (!error && listen(fd, backlog) < 0)
        error = -errno;
    if (!error)
        return fd;
    close(fd);
    return error;
}

int gyre_listener_adopt(struct gyre_listener **listener, int fd,
                        const struct gyre_listen_options *asked)
{
    struct gyre_listen_options options;

    if (!listener || take_options(&options, asked) || fd < 0 ||
        socket_option(fd, SO_ACCEPTCONN) <= 0)
        return -EINVAL;
    return create(listener, fd, &options);
}

int gyre_tcp_listen_options(struct gyre_listener **listener, const char *text,
                            const struct gyre_listen_options *asked)
{
    struct gyre_listen_options options;
    struct address address;
    int fd, error;

    coro_required("gyre_tcp_listen");
    if (!listener || take_options(&options, asked))
        return -EINVAL;
    error = gyre_address_resolve("gyre_tcp_listen", text, &address);
    if (error)
        return error;
    fd = open_socket(&address, &options);
    if (fd == -EAFNOSUPPORT && address.any) {
        gyre_address_any_v4(&address); /* no IPv6 here */
        fd = open_socket(&address, &options);
    }
    if (fd < 0)
        return fd;
    error = create(listener, fd, &options);
    if (error)
        close(fd);
    return error;
}

int gyre_tcp_listen(struct gyre_listener **listener, const char *address)
{
    return gyre_tcp_listen_options(listener, address, NULL);
}

void gyre_listener_owns(struct gyre_listener *listener, struct unix_path *path)
{
    listener->path = path;
}

void gyre_listener_passed(struct gyre_listener *listener)
{
    struct unix_path *path;

    spin_lock(&listener->lock);
    path = listener->path;
    listener->path = NULL;
    spin_unlock(&listener->lock);
    gyre_unix_path_leave(path);
}

int gyre_listener_fd(const struct gyre_listener *listener)
{
    return listener->fd;
}
