/*
 * Contexts as channels.
 *
 * A context's done channel hangs on its node: it is made once, at the first call, and closed by a
 * watch, or at the latest when the node's memory is given back, so that whoever kept the channel
 * and not the context does not wait for ever. The node's reference is one of the channel's.
 */
#include "sync/context.h"

#include "base/panic.h"
#include "sched/context_watch.h"
#include "sync/chan.h"

#include <errno.h>
#include <stdlib.h>

struct done {
    struct context_attachment attachment;
    struct context_watch watch;
    struct gyre_chan chan; /* last: its buffer follows, which is empty */
};

static void close_done(struct context_watch *watch)
{
    struct done *done = container_of(watch, struct done, watch);

    gyre_chan_close((gyre_sender){&done->chan});
}

/* Nobody ends the context any more. */
static void release_done(struct context_attachment *attachment)
{
    struct done *done = container_of(attachment, struct done, attachment);

    if (!done->chan.closed)
        close_done(&done->watch);
    gyre_chan_release_receiver((gyre_receiver){&done->chan});
}

static void free_done(void *chan)
{
    free(container_of(chan, struct done, chan));
}

static struct done *make_done(void)
{
    struct done *done = aligned_alloc(_Alignof(struct done), sizeof *done);

    if (!done)
        return NULL;
    done->attachment.release = release_done;
    done->watch.call = close_done;
    gyre_chan_init(&done->chan, 0, 0);
    done->chan.embedded = true;
    done->chan.drop = free_done;
    done->chan.name = "done";
    return done;
}

/* Whoever comes first: its channel is everybody's. */
static struct done *attach(struct gyre_context *context, struct done *done)
{
    struct context_attachment *other = NULL;

    /* Release: pairs with the acquires here and in gyre_context_done_chan. */
    if (!atomic_compare_exchange_strong_explicit(&context->attachment, &other, &done->attachment,
                                                 memory_order_acq_rel, memory_order_acquire)) {
        free(done);
        return container_of(other, struct done, attachment);
    }
    if (!gyre_context_watch(context, &done->watch))
        close_done(&done->watch);
    return done;
}

int gyre_context_done_chan(struct gyre_context *context, struct gyre_chan **chan)
{
    struct context_attachment *attachment;
    struct done *done;

    *chan = NULL;
    if (context->endless)
        return 0;
    attachment = atomic_load_explicit(&context->attachment, memory_order_acquire);
    if (attachment) {
        *chan = &container_of(attachment, struct done, attachment)->chan;
        return 0;
    }
    done = make_done();
    if (!done)
        return -ENOMEM;
    *chan = &attach(context, done)->chan;
    return 0;
}

int gyre_context_done(struct gyre_context *context, gyre_receiver *done)
{
    if (!context)
        gyre_panic("gyre_context_done of a NULL context");
    return gyre_context_done_chan(context, &done->chan);
}
