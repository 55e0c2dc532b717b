/* Channels: making, sending, receiving, closing, counting. */
#include "sync/chan.h"

#include "base/checks.h"
#include "base/grow.h"
#include "base/panic.h"
#include "base/text.h"
#include "sched/budget.h"
#include "sched/handover.h"

#include <errno.h>

enum { ELEMENT_MAX = 65536, OPTIONS_LEAST = offsetof(struct gyre_chan_options, drop) };

static const size_t capacity_max = (size_t)1 << 31;

/* --- elements -------------------------------------------------------------------------------- */

/* Most elements are a word; memcpy with a size that is not constant is a call. */
static inline void copy_element(const struct gyre_chan *chan, void *to, const void *from)
{
    switch (chan->element_size) {
    case 0:
        return;
    case 4:
        memcpy(to, from, 4);
        return;
    case 8:
        memcpy(to, from, 8);
        return;
    default:
        memcpy(to, from, chan->element_size);
    }
}

static void give_element(const struct gyre_chan *chan, void *to, const void *from)
{
    if (to)
        copy_element(chan, to, from);
}

static void zero_element(const struct gyre_chan *chan, void *to)
{
    if (to)
        memset(to, 0, chan->element_size);
}

static inline void *slot(struct gyre_chan *chan, uint64_t index)
{
    if (index >= chan->capacity)
        index -= chan->capacity;
    return chan->buffer + index * chan->element_size;
}

static inline void push_element(struct gyre_chan *chan, const void *element)
{
    uint32_t count = chan_count(chan);

    copy_element(chan, slot(chan, (uint64_t)chan->head + count), element);
    atomic_store_explicit(&chan->count, count + 1, memory_order_relaxed);
}

static inline void pop_element(struct gyre_chan *chan, void *element)
{
    give_element(chan, element, slot(chan, chan->head));
    if (++chan->head == chan->capacity)
        chan->head = 0;
    atomic_store_explicit(&chan->count, chan_count(chan) - 1, memory_order_relaxed);
}

/* --- sending and receiving without waiting ------------------------------------------------- */

_Noreturn void gyre_chan_panic(const struct gyre_chan *chan, const char *what)
{
    if (chan->name)
        gyre_panic("%s channel \"%s\"", what, chan->name);
    gyre_panic("%s channel %p", what, (const void *)chan);
}

/* Takes the first waiter that can be claimed off the queue; it is to be readied. */
static struct gyre_case *claim_first(struct chan_queue *queue)
{
    struct gyre_waiter *waiter;

    while ((waiter = chan_first(queue))) {
        chan_queue_remove(queue, waiter);
        if (wait_claim(waiter->coro, WAIT_WOKEN)) {
            waiter->state = WAITER_CHOSEN;
            return case_of(waiter);
        }
    }
    return NULL;
}

int gyre_chan_put(struct gyre_chan *chan, const void *element)
{
    struct gyre_case *receiver;

    if (unlikely(chan_closed(chan)))
        gyre_chan_panic(chan, "send on closed");
    receiver = chan_first(&chan->receivers) ? claim_first(&chan->receivers) : NULL;
    if (receiver) {
        give_element(chan, receiver->element, element);
        receiver->result = 1;
        spin_unlock(&chan->lock);
        explore_point();
        gyre_ready(receiver->waiter.coro);
        return 0;
    }
    if (chan_count(chan) == chan->capacity)
        return RESULT_NONE;
    push_element(chan, element);
    spin_unlock(&chan->lock);
    return 0;
}

static int take_from_sender(struct gyre_chan *chan, struct gyre_case *sender, void *element)
{
    if (chan->capacity) {
        pop_element(chan, element);
        push_element(chan, sender->element);
    } else {
        give_element(chan, element, sender->element);
    }
    sender->result = 0;
    spin_unlock(&chan->lock);
    explore_point();
    gyre_ready(sender->waiter.coro);
    return 1;
}

int gyre_chan_take(struct gyre_chan *chan, void *element)
{
    struct gyre_case *sender = chan_first(&chan->senders) ? claim_first(&chan->senders) : NULL;
    int error;

    if (sender)
        return take_from_sender(chan, sender, element);
    if (chan_count(chan)) {
        pop_element(chan, element);
        spin_unlock(&chan->lock);
        return 1;
    }
    if (!chan_closed(chan))
        return RESULT_NONE;
    error = chan->close_error;
    spin_unlock(&chan->lock);
    zero_element(chan, element);
    return error;
}

/* --- waiting --------------------------------------------------------------------------------- */

static void commit_wait(struct worker *worker, struct gyre_coro *self, void *argument)
{
    struct gyre_context *context = coro_context(self);
    struct gyre_chan *chan = argument;

    (void)worker;
    wait_publish(self);
    spin_unlock(&chan->lock);
    wait_check(self, context);
}

/*
 * Waits in the queue with the lock held, which is free afterwards. The case's result, or the
 * context's error; RESULT_NONE: it was interrupted for nothing and passed over meanwhile.
 */
static inline __attribute__((always_inline)) int wait_in(struct gyre_chan *chan,
                                                         struct chan_queue *queue,
                                                         struct gyre_coro *self, void *element,
                                                         enum park_reason reason)
{
    struct gyre_case wait;
    bool queued;
    int error;

    wait.element = element;
    wait.waiter.coro = self;
    chan_queue_append(queue, &wait.waiter);
    do {
        handover_park(worker_current(), reason, commit_wait, chan);
        if (likely(wait_finish(self)))
            return wait.result; /* cppcheck-suppress uninitvar; its waker set it */
        spin_lock(&chan->lock);
        queued = wait.waiter.state == WAITER_QUEUED;
        error = coro_error(self);
    } while (queued && !error);
    if (queued)
        chan_queue_remove(queue, &wait.waiter);
    spin_unlock(&chan->lock);
    return error ? error : RESULT_NONE;
}

static void commit_for_ever(struct worker *worker, struct gyre_coro *self, void *unused)
{
    struct gyre_context *context = coro_context(self);

    (void)worker;
    (void)unused;
    wait_publish(self);
    wait_check(self, context);
}

int gyre_chan_wait_for_ever(struct gyre_coro *self, enum park_reason reason)
{
    int error;

    while (!(error = coro_error(self))) {
        gyre_park(worker_current(), reason, commit_for_ever, NULL);
        wait_finish(self);
    }
    return error;
}

/* With the lock held. */
RETURNS_BY_JUMP static int send_slowly(struct gyre_chan *chan, struct gyre_coro *self,
                                       void *element)
{
    int result;

    do {
        result = wait_in(chan, &chan->senders, self, element, PARK_SEND);
        if (likely(result != RESULT_NONE))
            break;
        spin_lock(&chan->lock);
        result = gyre_chan_put(chan, element);
    } while (result == RESULT_NONE);
    if (unlikely(result == RESULT_CLOSED))
        gyre_chan_panic(chan, "send on closed");
    return result;
}

RETURNS_BY_JUMP static int recv_slowly(struct gyre_chan *chan, struct gyre_coro *self,
                                       void *element)
{
    int result;

    do {
        result = wait_in(chan, &chan->receivers, self, element, PARK_RECV);
        if (likely(result != RESULT_NONE))
            break;
        spin_lock(&chan->lock);
        result = gyre_chan_take(chan, element);
    } while (result == RESULT_NONE);
    return result;
}

int gyre_chan_send(gyre_sender sender, const void *element)
{
    struct gyre_coro *self = coro_required("gyre_chan_send");
    struct gyre_chan *chan = sender.chan;
    int error = coro_error(self), result;

    if (unlikely(error))
        return error;
    if (unlikely(!chan))
        return gyre_chan_wait_for_ever(self, PARK_SEND);
    chan_check(chan);
    spin_lock(&chan->lock);
    result = gyre_chan_put(chan, element);
    if (likely(result != RESULT_NONE)) {
        budget_spend();
        return result;
    }
    return send_slowly(chan, self, (void *)(uintptr_t)element);
}

int gyre_chan_recv(gyre_receiver receiver, void *element)
{
    struct gyre_coro *self = coro_required("gyre_chan_recv");
    struct gyre_chan *chan = receiver.chan;
    int error = coro_error(self), result;

    if (unlikely(error))
        return error;
    if (unlikely(!chan))
        return gyre_chan_wait_for_ever(self, PARK_RECV);
    chan_check(chan);
    spin_lock(&chan->lock);
    result = gyre_chan_take(chan, element);
    if (result != RESULT_NONE) {
        budget_spend();
        return result;
    }
    return recv_slowly(chan, self, element);
}

int gyre_chan_try_send(gyre_sender sender, const void *element)
{
    struct gyre_chan *chan = sender.chan;
    int result;

    if (!chan)
        return -EAGAIN;
    chan_check(chan);
    spin_lock(&chan->lock);
    result = gyre_chan_put(chan, element);
    if (result == RESULT_NONE) {
        spin_unlock(&chan->lock);
        return -EAGAIN;
    }
    return result;
}

int gyre_chan_try_recv(gyre_receiver receiver, void *element)
{
    struct gyre_chan *chan = receiver.chan;
    int result;

    if (!chan)
        return -EAGAIN;
    chan_check(chan);
    spin_lock(&chan->lock);
    result = gyre_chan_take(chan, element);
    if (result == RESULT_NONE) {
        spin_unlock(&chan->lock);
        return -EAGAIN;
    }
    return result;
}

/* --- closing --------------------------------------------------------------------------------- */

/* Claims all that wait; appends them, linked by `next`, to what ends at *end. */
static struct gyre_waiter **claim_all(struct chan_queue *queue, struct gyre_waiter **end,
                                      int result)
{
    struct gyre_case *waiting;

    while ((waiting = claim_first(queue))) {
        waiting->result = result;
        *end = &waiting->waiter;
        end = &waiting->waiter.next;
    }
    return end;
}

static void close_chan(struct gyre_chan *chan, int error)
{
    struct gyre_waiter *claimed = NULL, **senders, **end;

    if (!chan)
        gyre_panic("close of nil channel");
    if (error > 0)
        gyre_panic("gyre_chan_close_error with %d, which is no error", error);
    chan_check(chan);
    spin_lock(&chan->lock);
    if (chan_closed(chan))
        gyre_chan_panic(chan, "close of closed");
    atomic_store_explicit(&chan->closed, true, memory_order_relaxed);
    chan->close_error = error;
    senders = claim_all(&chan->receivers, &claimed, error);
    end = claim_all(&chan->senders, senders, RESULT_CLOSED);
    *end = NULL;
    spin_unlock(&chan->lock);
    while (claimed) {
        struct gyre_waiter *waiter = claimed;
        struct gyre_case *waiting = case_of(waiter);

        claimed = waiter->next;
        if (waiting->result != RESULT_CLOSED)
            zero_element(chan, waiting->element);
        explore_point();
        gyre_ready(waiter->coro);
    }
}

void gyre_chan_close(gyre_sender sender)
{
    close_chan(sender.chan, 0);
}

void gyre_chan_close_error(gyre_sender sender, int error)
{
    close_chan(sender.chan, error);
}

/* --- size ------------------------------------------------------------------------------------ */

size_t gyre_chan_len(gyre_receiver receiver)
{
    struct gyre_chan *chan = receiver.chan;
    size_t count;

    if (!chan || chan->embedded)
        return 0;
    chan_check(chan);
    spin_lock(&chan->lock);
    count = chan_count(chan);
    spin_unlock(&chan->lock);
    return count;
}

size_t gyre_chan_cap(gyre_receiver receiver)
{
    struct gyre_chan *chan = receiver.chan;

    if (!chan || chan->embedded)
        return 0;
    chan_check(chan);
    return chan->capacity;
}

/* --- made and released ----------------------------------------------------------------------- */

void gyre_chan_init(struct gyre_chan *chan, size_t element_size, size_t capacity)
{
    memset(chan, 0, sizeof *chan);
    chan->element_size = (uint32_t)element_size;
    chan->capacity = (uint32_t)capacity;
    atomic_store_explicit(&chan->references, 1, memory_order_relaxed);
}

static int make(gyre_channel *channel, size_t element_size, size_t capacity,
                const struct gyre_chan_options *options, void *made_by)
{
    struct gyre_chan_options known = GYRE_CHAN_OPTIONS_INIT;
    bool recorded = gyre_checks;
    struct gyre_chan *chan;

    *channel = (gyre_channel){{NULL}, {NULL}};
    if (options && grow_copy(&known, sizeof known, OPTIONS_LEAST, options, options->size))
        return -EINVAL;
    if (element_size > ELEMENT_MAX || capacity > capacity_max)
        return -EINVAL;
    chan = gyre_chan_allocate(sizeof *chan + element_size * capacity, recorded, made_by);
    if (!chan)
        return -ENOMEM;
    gyre_chan_init(chan, element_size, capacity);
    chan->recorded = recorded;
    chan->name = known.name;
    chan->drop = known.drop;
    atomic_store_explicit(&chan->references, 2, memory_order_relaxed);
    *channel = (gyre_channel){{chan}, {chan}};
    return 0;
}

int gyre_chan_make(gyre_channel *channel, size_t element_size, size_t capacity)
{
    return make(channel, element_size, capacity, NULL, __builtin_return_address(0));
}

int gyre_chan_make_options(gyre_channel *channel, size_t element_size, size_t capacity,
                           const struct gyre_chan_options *options)
{
    return make(channel, element_size, capacity, options, __builtin_return_address(0));
}

static void hold(struct gyre_chan *chan)
{
    if (!chan)
        return;
    chan_check(chan);
    /* Relaxed: the caller holds it already. */
    atomic_fetch_add_explicit(&chan->references, 1, memory_order_relaxed);
}

CALLS_PROGRAM static void dispose(struct gyre_chan *chan)
{
    if (chan_first(&chan->senders) || chan_first(&chan->receivers))
        gyre_chan_panic(chan, "a coroutine waits at the last release of");
    if (chan->embedded) {
        chan->drop(chan);
        return;
    }
    if (chan->drop)
        for (uint32_t i = 0; i < chan_count(chan); i++)
            chan->drop(slot(chan, (uint64_t)chan->head + i));
    gyre_chan_free(chan);
}

CALLS_PROGRAM static void release(struct gyre_chan *chan)
{
    uint32_t before;

    if (!chan)
        return;
    chan_check(chan);
    /* Release what this holder did; acquire all of it before the memory is reused. */
    before = atomic_fetch_sub_explicit(&chan->references, 1, memory_order_acq_rel);
    if (before == 1)
        dispose(chan);
}

gyre_sender gyre_chan_hold_sender(gyre_sender sender)
{
    hold(sender.chan);
    return sender;
}

gyre_receiver gyre_chan_hold_receiver(gyre_receiver receiver)
{
    hold(receiver.chan);
    return receiver;
}

gyre_channel gyre_chan_hold(gyre_channel channel)
{
    hold(channel.sender.chan);
    hold(channel.receiver.chan);
    return channel;
}

CALLS_PROGRAM void gyre_chan_release_sender(gyre_sender sender)
{
    release(sender.chan);
}

CALLS_PROGRAM void gyre_chan_release_receiver(gyre_receiver receiver)
{
    release(receiver.chan);
}

CALLS_PROGRAM void gyre_chan_release(gyre_channel channel)
{
    release(channel.sender.chan);
    release(channel.receiver.chan);
}
