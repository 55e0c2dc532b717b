/*
 * gyre/chan.h - channels, with Go's semantics, and select (gyre/select.h) over them.
 *
 *     GYRE_CHAN_TYPE(ints, int);
 *
 *     ints numbers;                              a channel: numbers.sender and numbers.receiver
 *     int n, error = ints_make(&numbers, 8);     room for 8; 0: unbuffered, a rendezvous
 *     ...
 *     ints_send(numbers.sender, 42);
 *     while (ints_recv(numbers.receiver, &n) > 0)      until it is closed and drained
 *         printf("%d\n", n);
 *     ints_release(numbers);
 *
 * Directions are types: a function that takes an ints_sender can't receive from it, and one that
 * takes a floats_sender does not compile with this one. The gyre_chan_* functions are the same
 * for elements of any size; the macro's are one-line wrappers of them.
 *
 * Handles are plain values, and counted: a new channel is held twice, once by its sender and once
 * by its receiver. Who passes a handle on to somebody who may outlive him holds it once more for
 * him (_hold_sender, _hold_receiver); everybody gives back what he holds (_release_sender,
 * _release_receiver, _release for both). The last release frees the channel, and calls drop for
 * each element still inside. A release does not close, that of the last sender neither: who then
 * receives waits until its context ends. With checks on (gyre/test.h), use after the last release
 * is a panic, and what is released only after the runtime has ended is reported.
 *
 * Elements are copied in and out, in FIFO order; a channel owns what it holds inside, a failed send
 * leaves the element with its sender. A zeroed handle is Go's nil channel: sending and receiving
 * wait for ever, that is until the context ends.
 *
 * Everything that parks looks at the ambient context (gyre/context.h) when it enters, and returns
 * -ECANCELED or -ETIMEDOUT once that has ended; an element that was handed over before counts as
 * handed over. Timeouts on a channel are GYRE_TIMEOUT around the call.
 *
 * A coroutine that finds all it asks for lets others run now and then: send, recv and select may
 * yield though they need not wait. The try forms never do: a loop of these alone must yield by
 * itself.
 *
 * Panics, as in Go: send on a closed channel, close of a closed channel, close of a nil channel.
 */
#ifndef GYRE_CHAN_H
#define GYRE_CHAN_H

#include <gyre/base.h>

GYRE_BEGIN_DECLS

struct gyre_chan; /* private */

/* The end that sends, Go's chan<- T. */
typedef struct gyre_sender {
    struct gyre_chan *chan;
} gyre_sender;

/* The end that receives, Go's <-chan T. */
typedef struct gyre_receiver {
    struct gyre_chan *chan;
} gyre_receiver;

/* Both, Go's chan T: pass on the one that is needed. */
typedef struct gyre_channel {
    gyre_sender sender;
    gyre_receiver receiver;
} gyre_channel;

struct gyre_chan_options {
    size_t size;      /* sizeof (struct gyre_chan_options); GYRE_CHAN_OPTIONS_INIT sets it */
    const char *name; /* in panics and dumps; must outlive the channel; NULL: its address */
    void (*drop)(void *element); /* disposes of an element left inside; must not park; or NULL */
};

#define GYRE_CHAN_OPTIONS_INIT                                                                     \
    {                                                                                              \
        sizeof(struct gyre_chan_options), NULL, NULL                                               \
    }

/*
 * Makes a channel of elements of element_size bytes (0 to 65,536; 0: only signals) with room for
 * capacity elements (up to 2^31; 0: unbuffered). Returns 0; -EINVAL (a size out of range), -ENOMEM;
 * then *channel is nil. Never parks. From any thread. Go: make(chan T, capacity).
 */
GYRE_API int gyre_chan_make(gyre_channel *channel, size_t element_size, size_t capacity);
GYRE_API int gyre_chan_make_options(gyre_channel *channel, size_t element_size, size_t capacity,
                                    const struct gyre_chan_options *options);

/*
 * Sends a copy of *element (may be NULL where the size is 0). Parks while there is no room and
 * nobody receives. Returns 0; -ECANCELED or -ETIMEDOUT when the context ended first: the element is
 * still the caller's. Panics when the channel is closed, or becomes so during the wait. Only from a
 * coroutine. Go: c <- v.
 */
GYRE_API int gyre_chan_send(gyre_sender sender, const void *element);

/*
 * Receives into *element (NULL: the element is dropped). Parks while it is empty and open.
 * Returns 1: an element; 0: the channel is closed and drained, and *element zeroed; the error it
 * was closed with (gyre_chan_close_error) in place of 0; -ECANCELED or -ETIMEDOUT when the
 * context ended first (gyre_context_error() tells one from the other), *element as it was. Only
 * from a coroutine. Go: v, ok := <-c.
 */
GYRE_API int gyre_chan_recv(gyre_receiver receiver, void *element);

/*
 * The same without waiting: -EAGAIN instead (always, where the channel is nil; a channel closed
 * with that very error can't be told from an empty one here). They don't look at the context. Never
 * park. From any thread while the runtime runs. Go: select with default.
 */
GYRE_API int gyre_chan_try_send(gyre_sender sender, const void *element);
GYRE_API int gyre_chan_try_recv(gyre_receiver receiver, void *element);

/*
 * Closes: receivers get what is inside, then 0 (or error, which is below zero; 0 is a plain close).
 * Whoever waits in a send panics. Never parks, never fails. From any thread while the runtime runs.
 * Panics when the channel is nil or closed, or error is above zero. Go: close(c).
 */
GYRE_API void gyre_chan_close(gyre_sender sender);
GYRE_API void gyre_chan_close_error(gyre_sender sender, int error);

/* How many elements are inside, and how many fit. 0 where it is nil. Never park. From any thread.
 * Go: len(c), cap(c). */
GYRE_API size_t gyre_chan_len(gyre_receiver receiver);
GYRE_API size_t gyre_chan_cap(gyre_receiver receiver);

/*
 * Counting (see above): hold returns the handle it was given. The last release frees the channel;
 * nobody may wait in it any more. nil is fine. Never park, never fail. From any thread.
 */
GYRE_API gyre_sender gyre_chan_hold_sender(gyre_sender sender);
GYRE_API gyre_receiver gyre_chan_hold_receiver(gyre_receiver receiver);
GYRE_API gyre_channel gyre_chan_hold(gyre_channel channel);
GYRE_API void gyre_chan_release_sender(gyre_sender sender);
GYRE_API void gyre_chan_release_receiver(gyre_receiver receiver);
GYRE_API void gyre_chan_release(gyre_channel channel);

/*
 * GYRE_CHAN_TYPE(name, type) declares the types name, name_sender and name_receiver for
 * channels of the C type, and the functions above for them, checked by the compiler:
 *
 *     int    name_make(name *channel, size_t capacity);
 *     int    name_make_options(name *channel, size_t capacity, const struct gyre_chan_options *);
 *     int    name_send(name_sender, type element);          by value
 *     int    name_recv(name_receiver, type *element);
 *     int    name_try_send(name_sender, type element);
 *     int    name_try_recv(name_receiver, type *element);
 *     void   name_close(name_sender);
 *     void   name_close_error(name_sender, int error);
 *     size_t name_len(name_receiver), name_cap(name_receiver);
 *     name_hold_sender, name_hold_receiver, name_hold,
 *     name_release_sender, name_release_receiver, name_release;
 *     name_case_send, name_case_recv                        for gyre_select: gyre/select.h
 *
 * type is a name that a * can follow: an array goes into a structure, a pointer to a function or a
 * structure without a tag gets a typedef first. name becomes a type: don't call variables by it.
 * Unless options name it, panics call such a channel by its type's name. At file scope, once
 * a translation unit, closed with a semicolon; in a header as well. For signals without a value use
 * gyre_chan_make with an element size of 0.
 */

GYRE_END_DECLS

#include <gyre/select.h>

#endif
