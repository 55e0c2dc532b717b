/*
 * A feed: one multishot receive on the ring of the worker that opened it, and a queue of the
 * buffers that it filled, from which a coroutine on any worker takes.
 *
 * Invariants (under `lock`)
 * - The receive is `armed` from its submission to its final completion. Only the owner arms and
 *   cancels, on a message that is `sent` at most once at a time; the pool of buffers may hold it
 *   back until there is a buffer.
 * - It is armed while fewer than `ahead` pieces are queued; beyond that it is cancelled, and armed
 *   again when half of them are taken. What arrives before the cancel does is queued.
 * - On Unix sockets that are connected it is a single receive a piece: a multishot one may miss the
 *   end there for ever, when it comes right behind the last bytes (kernels 6.17 to at least
 *   6.18.44; tests/net/feed_race found it, axboe/liburing#1549 tells of it).
 * - The queue is linked through the pool's buffers: a completion allocates nothing.
 * - A waiter is in `waiters` until it is woken, one for each piece, or takes itself out. Who is
 *   woken looks again: the piece may be another's by then.
 * - It is closed when the receive is not armed, no message is under way, nobody is inside
 *   gyre_feed_next, and no gyre_close of the descriptor is telling it to let go.
 *
 * A piece belongs to the pool, not to the feed: it may be returned later than the feed is closed,
 * so that who closes need not know what the others hold. Rejected: waiting for them (the closer
 * itself may hold one), and a panic (who stops a coroutine by closing its feed can't know whether
 * it has just been given one).
 *
 * gyre_close of the descriptor before the feed is a mistake, and safe: it finds the feed in the
 * descriptor's entry, ends it, and waits for the final completion before the number is free.
 */
#include "base/grow.h"
#include "io/operation.h"
#include "net/feed_pool.h"
#include "ring/tsan.h"

#include <gyre/feed.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { AHEAD_OF_STREAM = 16, AHEAD_OF_DATAGRAMS = 256 };

struct waiter {
    struct list link;
    struct gyre_coro *coro;
};

struct gyre_feed {
    struct ring_target target;
    struct mailbox_message message;
    struct descriptor_object object;
    struct spinlock lock;
    struct feed_pool *pool;
    int fd;
    int flags; /* of recv */
    int error; /* to be told: 0 or -errno */
    unsigned ahead;
    bool stream;   /* has an end, which a receive of nothing tells */
    bool single;   /* a submission a piece */
    bool headers;  /* each datagram has one before it, by recvmsg */
    bool attached; /* the descriptor's entry leads here, or whoever found it there is at work */
    bool armed, cancelling, sent, ended, broken, closing;
    unsigned users; /* coroutines inside gyre_feed_next */
    struct list waiters;
    struct gyre_coro *closer, *detacher;
    uint16_t first, last; /* of the queue, while count */
    unsigned count;
    struct msghdr header; /* what recvmsg is to leave room for */
};

/* --- the owner's part ------------------------------------------------------------------------- */

static bool wants_more(const struct gyre_feed *feed)
{
    unsigned most = feed->armed ? feed->ahead : (feed->ahead + 1) / 2;

    return feed->count < most && !feed->closing && !feed->broken && !feed->ended && !feed->error;
}

static void send_to_owner(struct gyre_feed *feed)
{
    feed->sent = true;
    mailbox_push(&feed->pool->owner->mailbox, &feed->message);
    full_barrier();
    gyre_worker_notify(feed->pool->owner);
}

static bool needs_owner(const struct gyre_feed *feed)
{
    return wants_more(feed) != feed->armed && !(feed->armed && feed->cancelling);
}

/* Asks the owner to arm or cancel, where what is differs from what should be. */
static void adjust(struct gyre_feed *feed)
{
    if (unlikely(needs_owner(feed)) && !feed->sent)
        send_to_owner(feed);
}

static void wake(struct gyre_coro **who)
{
    struct gyre_coro *coro = *who;

    *who = NULL;
    if (coro)
        gyre_ready(coro);
}

/* Those who wait until the kernel, and then everybody, is done with it. */
static void wake_closers(struct gyre_feed *feed)
{
    if (likely(!feed->closer && !feed->detacher) || feed->armed || feed->sent)
        return;
    wake(&feed->detacher);
    if (!feed->users && !feed->attached)
        wake(&feed->closer);
}

static void prepare(struct gyre_feed *feed, struct io_uring_sqe *sqe)
{
    if (feed->headers)
        io_uring_prep_recvmsg_multishot(sqe, feed->fd, &feed->header, 0);
    else if (feed->single)
        io_uring_prep_recv(sqe, feed->fd, NULL, 0, feed->flags);
    else
        io_uring_prep_recv_multishot(sqe, feed->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = PROVIDED_GROUP;
    sqe->user_data = ring_user_data(&feed->target, 0);
    ring_tsan_submitted(&feed->target);
}

/* With the lock and an entry, which must be used. */
static void submit(struct gyre_feed *feed, struct io_uring_sqe *sqe)
{
    if (!needs_owner(feed)) {
        io_uring_prep_nop(sqe);
        sqe->user_data = 0;
    } else if (feed->armed) {
        feed->cancelling = true;
        io_uring_prep_cancel64(sqe, ring_user_data(&feed->target, 0), 0);
        sqe->user_data = 0;
    } else {
        feed->armed = true;
        feed->cancelling = false;
        prepare(feed, sqe);
    }
}

static void tell_all(struct gyre_feed *feed, struct worker *reaper);

static void handle_message(void *argument, struct mailbox_message *message)
{
    struct gyre_feed *feed = container_of(message, struct gyre_feed, message);
    struct feed_pool *pool = feed->pool;
    struct worker *worker = argument;
    struct io_uring_sqe *sqe = NULL;
    bool needed;
    int error = 0;

    spin_lock(&feed->lock);
    needed = needs_owner(feed);
    if (!needed) {
        feed->sent = false;
        wake_closers(feed);
    }
    spin_unlock(&feed->lock);
    if (!needed) { /* it may be gone */
        gyre_feed_pool_pass_on(pool);
        return;
    }
    error = gyre_provided_ready(&pool->buffers, &worker->ring);
    /* Outside the lock: making room may complete receives, which take it. */
    sqe = error ? NULL : gyre_operation_entry(worker);
    if (!error && !sqe) {
        mailbox_push(&worker->mailbox, message);
        return;
    }
    spin_lock(&feed->lock);
    feed->sent = false;
    if (sqe) {
        submit(feed, sqe);
    } else {
        feed->error = error;
        tell_all(feed, NULL);
    }
    wake_closers(feed);
    spin_unlock(&feed->lock);
    /* This one may find nothing to put into the buffer that it was told of. */
    gyre_feed_pool_pass_on(pool);
}

/* --- completion ------------------------------------------------------------------------------- */

/* There is a piece to take, or something to say: to the first who can be woken. reaper NULL: not
 * from a completion. False: nobody waits. */
static bool tell(struct gyre_feed *feed, struct worker *reaper)
{
    struct list *item;

    while ((item = list_pop(&feed->waiters))) {
        struct gyre_coro *coro = container_of(item, struct waiter, link)->coro;

        if (!wait_claim(coro, WAIT_WOKEN))
            continue; /* interrupted: looks by itself */
        if (reaper)
            gyre_ready_later(reaper, coro);
        else
            gyre_ready(coro);
        return true;
    }
    return false;
}

/* Nobody needs to wait any more. */
static void tell_all(struct gyre_feed *feed, struct worker *reaper)
{
    while (tell(feed, reaper))
        ;
}

static void enqueue(struct gyre_feed *feed, unsigned id, int result)
{
    struct buffer *buffers = feed->pool->buffers.all;

    buffers[id].size = (uint32_t)result;
    if (feed->count++)
        buffers[feed->last].next = (uint16_t)id;
    else
        feed->first = (uint16_t)id;
    feed->last = (uint16_t)id;
}

static void note_end(struct gyre_feed *feed, int result)
{
    switch (result) {
    case 0:
        feed->ended = feed->stream;
        break;
    case -ECANCELED: /* ours, or meant for another number of the same socket */
    case -EINTR:
        break;
    case -ENOBUFS:
        if (wants_more(feed) && !feed->sent)
            feed->sent = gyre_feed_pool_starve(feed->pool, &feed->message);
        break;
    default:
        if (!feed->error)
            feed->error = result;
    }
}

/* What it brought, under the reap lock. */
static void receive(struct gyre_feed *feed, struct worker *reaper, int result, unsigned flags)
{
    const int header =
        feed->headers ? (int)(sizeof(struct io_uring_recvmsg_out) + feed->header.msg_namelen) : 1;
    unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;

    if (flags & IORING_CQE_F_BUFFER)
        gyre_feed_pool_take(feed->pool, id);
    if (!(flags & IORING_CQE_F_BUFFER)) {
        note_end(feed, result);
    } else if (result < header) {
        gyre_feed_pool_put(feed->pool, id, PROVIDED_TAKEN);
        note_end(feed, result < 0 ? result : 0);
    } else {
        enqueue(feed, id, result);
        tell(feed, reaper);
    }
    if (unlikely(feed->ended || feed->error))
        tell_all(feed, reaper);
}

static void complete(struct ring_target *target, void *reaper, int result, unsigned flags,
                     unsigned generation)
{
    struct gyre_feed *feed = container_of(target, struct gyre_feed, target);

    (void)generation;
    spin_lock(&feed->lock);
    if (!(flags & IORING_CQE_F_MORE))
        feed->armed = feed->cancelling = false;
    receive(feed, reaper, result, flags);
    adjust(feed);
    wake_closers(feed);
    spin_unlock(&feed->lock);
}

/* --- taking ----------------------------------------------------------------------------------- */

static void open_datagram(const struct gyre_feed *feed, struct gyre_piece *piece)
{
    const struct io_uring_recvmsg_out *out = (const void *)piece->data;
    const char *name = piece->data + sizeof *out;
    size_t before = sizeof *out + feed->header.msg_namelen;

    piece->data += before;
    piece->size -= before;
    piece->truncated = (out->flags & MSG_TRUNC) != 0;
    piece->from.length =
        out->namelen < feed->header.msg_namelen ? out->namelen : feed->header.msg_namelen;
    memcpy(&piece->from.storage, name, piece->from.length);
}

/* With the lock; there is one. */
static void take(struct gyre_feed *feed, struct gyre_piece *piece)
{
    struct provided *buffers = &feed->pool->buffers;
    unsigned id = feed->first;
    struct buffer *buffer = &buffers->all[id];

    feed->first = buffer->next;
    feed->count--;
    buffer_set(buffer, PROVIDED_LENT);
    piece->data = provided_at(buffers, id);
    piece->truncated = buffer->size > PROVIDED_SIZE;
    piece->size = piece->truncated ? PROVIDED_SIZE : buffer->size;
    piece->from.length = 0;
    piece->pool = feed->pool;
    piece->buffer = id;
    if (feed->headers)
        open_datagram(feed, piece);
}

static void commit_wait(struct worker *worker, struct gyre_coro *self, void *argument)
{
    struct gyre_feed *feed = argument;
    struct gyre_context *context = coro_context(self);

    (void)worker;
    wait_publish(self);
    spin_unlock(&feed->lock);
    wait_check(self, context);
}

/* With the lock, let go meanwhile. Why the wait was for nothing: 0 or -errno. */
static int wait_for_piece(struct gyre_feed *feed, struct gyre_coro *self)
{
    struct waiter waiter = {.coro = self};
    bool woken;

    list_append(&feed->waiters, &waiter.link);
    adjust(feed);
    gyre_park(worker_current(), PARK_FEED, commit_wait, feed);
    woken = wait_finish(self);
    spin_lock(&feed->lock);
    if (woken)
        return 0;
    list_remove(&waiter.link);
    return feed->count ? 0 : coro_error(self);
}

/* With the lock: 1, 0 or -errno as gyre_feed_next; OPERATION_AGAIN: nothing to say. */
static int look(struct gyre_feed *feed, struct gyre_piece *piece)
{
    int error;

    if (feed->closing)
        return -EBADF;
    if (feed->count) {
        take(feed, piece);
        adjust(feed);
        return 1;
    }
    if (feed->ended)
        return 0;
    if (feed->broken)
        return -EBADF;
    error = feed->error;
    if (!error)
        return OPERATION_AGAIN;
    if (!feed->stream || error == -EAGAIN || error == -ENOMEM)
        feed->error = 0;
    return error;
}

int gyre_feed_next(struct gyre_feed *feed, struct gyre_piece *piece)
{
    struct gyre_coro *self = coro_required("gyre_feed_next");
    int result = coro_error(self);

    if (unlikely(result))
        return result;
    if (!feed || !piece)
        return -EINVAL;
    spin_lock(&feed->lock);
    feed->users++;
    while ((result = look(feed, piece)) == OPERATION_AGAIN) {
        result = wait_for_piece(feed, self);
        if (result)
            break;
    }
    feed->users--;
    wake_closers(feed);
    spin_unlock(&feed->lock);
    ring_tsan_received();
    return result;
}

void gyre_feed_return(struct gyre_piece *piece)
{
    coro_required("gyre_feed_return");
    if (!piece || !piece->pool)
        return;
    gyre_feed_pool_put(piece->pool, piece->buffer, PROVIDED_LENT);
    piece->pool = piece->data = NULL;
    piece->size = 0;
}

/* --- closing ---------------------------------------------------------------------------------- */

/* With the lock: nothing is armed any more. A message that waits for a buffer need not. */
static void let_go(struct gyre_feed *feed)
{
    if (feed->sent && gyre_feed_pool_unstarve(feed->pool, &feed->message))
        send_to_owner(feed);
    adjust(feed);
}

static void commit_detach(struct worker *worker, struct gyre_coro *self, void *argument)
{
    struct gyre_feed *feed = argument;

    (void)worker;
    feed->detacher = self;
    wake_closers(feed);
    spin_unlock(&feed->lock);
}

/* gyre_close, of the descriptor. */
static void detach(struct descriptor_object *object)
{
    struct gyre_feed *feed = container_of(object, struct gyre_feed, object);

    spin_lock(&feed->lock);
    feed->broken = true;
    tell_all(feed, NULL);
    let_go(feed);
    gyre_park(worker_current(), PARK_CLOSE, commit_detach, feed);
    spin_lock(&feed->lock);
    feed->attached = false;
    wake_closers(feed);
    spin_unlock(&feed->lock);
}

static void commit_close(struct worker *worker, struct gyre_coro *self, void *argument)
{
    struct gyre_feed *feed = argument;

    (void)worker;
    feed->closer = self;
    wake_closers(feed);
    spin_unlock(&feed->lock);
}

void gyre_feed_close(struct gyre_feed *feed)
{
    struct descriptor_object *object;

    coro_required("gyre_feed_close");
    if (!feed)
        return;
    object = &feed->object;
    spin_lock(&feed->lock);
    feed->closing = true;
    /* Relaxed: who takes it out instead says when it is done, under the lock. */
    if (feed->attached &&
        atomic_compare_exchange_strong_explicit(&gyre_descriptor_get(feed->fd)->object, &object,
                                                NULL, memory_order_relaxed, memory_order_relaxed))
        feed->attached = false;
    tell_all(feed, NULL);
    let_go(feed);
    gyre_park(worker_current(), PARK_CLOSE, commit_close, feed);
    /* Who woke us still held the lock. */
    spin_lock(&feed->lock);
    spin_unlock(&feed->lock);
    while (feed->count) {
        unsigned id = feed->first;

        feed->first = feed->pool->buffers.all[id].next;
        feed->count--;
        gyre_feed_pool_put(feed->pool, id, PROVIDED_TAKEN);
    }
    free(feed);
}

/* --- opening ---------------------------------------------------------------------------------- */

/* What version 0.1 had. */
#define OPTIONS_LEAST (offsetof(struct gyre_feed_options, ahead) + sizeof(unsigned))

/* The caller's, or the defaults, in the form this version knows, for this kind of socket. */
static int take_options(struct gyre_feed_options *options, const struct gyre_feed_options *asked,
                        bool connected)
{
    const struct gyre_feed_options defaults = GYRE_FEED_INIT;

    if (!asked)
        asked = &defaults;
    if (grow_copy(options, sizeof *options, OPTIONS_LEAST, asked, asked->size) ||
        options->flags & ~(unsigned)GYRE_FEED_ADDRESSES || (options->flags && connected))
        return -EINVAL;
    if (!options->ahead)
        options->ahead = connected ? AHEAD_OF_STREAM : AHEAD_OF_DATAGRAMS;
    return 0;
}

/* Makes the feed known to gyre_close of its descriptor. */
static int attach(struct gyre_feed *feed)
{
    struct descriptor *descriptor = gyre_descriptor_get(feed->fd);
    struct descriptor_object *object = NULL;

    /* The caller knows the descriptor to be open. */
    if (!descriptor)
        return -ENOMEM;
    gyre_descriptor_await_release(descriptor);
    /* Seq_cst: pairs with tell_object; the closer sees the object, or this sees it closing. */
    if (!atomic_compare_exchange_strong_explicit(&descriptor->object, &object, &feed->object,
                                                 memory_order_seq_cst, memory_order_relaxed))
        return -EBUSY;
    feed->attached = true;
    object = &feed->object;
    if (atomic_load_explicit(&descriptor->users, memory_order_seq_cst) & DESCRIPTOR_CLOSING &&
        atomic_compare_exchange_strong_explicit(&descriptor->object, &object, NULL,
                                                memory_order_relaxed, memory_order_relaxed))
        return -EBADF;
    return 0;
}

int gyre_feed_open(struct gyre_feed **opened, int fd, const struct gyre_feed_options *asked)
{
    struct gyre_feed_options options;
    struct gyre_feed *feed;
    struct feed_pool *pool;
    int type, domain, error;
    socklen_t length = sizeof type;
    bool connected;

    coro_required("gyre_feed_open");
    if (!opened)
        return -EINVAL;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0)
        return -errno;
    connected = type == SOCK_STREAM || type == SOCK_SEQPACKET;
    error = take_options(&options, asked, connected);
    if (!error)
        error = gyre_feed_pool_get(worker_current(), &pool);
    if (error)
        return error;
    feed = calloc(1, sizeof *feed);
    if (!feed)
        return -ENOMEM;
    list_init(&feed->waiters);
    feed->target.complete = complete;
    feed->message.handle = handle_message;
    feed->object.closed = detach;
    feed->pool = pool;
    feed->fd = fd;
    feed->ahead = options.ahead;
    feed->stream = connected;
    feed->headers = !feed->stream;
    feed->single = type == SOCK_SEQPACKET || (type == SOCK_STREAM && domain == AF_UNIX);
    /* Of a message the whole length, however long. */
    feed->flags = type == SOCK_SEQPACKET ? MSG_TRUNC : 0;
    if (options.flags & GYRE_FEED_ADDRESSES)
        feed->header.msg_namelen = sizeof(struct sockaddr_storage);
    error = attach(feed);
    if (error) {
        free(feed);
        return error;
    }
    spin_lock(&feed->lock);
    adjust(feed);
    spin_unlock(&feed->lock);
    *opened = feed;
    return 0;
}
