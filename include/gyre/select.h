/*
 * gyre/select.h - waiting for the first of several channel operations, and the typed channels.
 *
 *     struct gyre_case cases[] = {
 *         jobs_case_recv(jobs, &job),              typed: another pointer does not compile
 *         results_case_send(results, &result),
 *         gyre_case_after(GYRE_SECOND),
 *     };
 *
 *     switch (gyre_select(cases)) {
 *     case 0: if (cases[0].result <= 0) ...        the channel is closed
 *     case 1: ...                                  it was sent
 *     case 2: ...                                  a second went by
 *     default: ...                                 -ECANCELED or -ETIMEDOUT: our context
 *     }
 *
 * The cases hold all that a select needs while it waits: nothing is allocated, for three cases or a
 * thousand. A select in a loop may use the same array again; an array must not be in two selects
 * at the same time.
 */
#ifndef GYRE_SELECT_H
#define GYRE_SELECT_H

#include <gyre/chan.h>

GYRE_BEGIN_DECLS

struct gyre_context; /* gyre/context.h */

enum gyre_case_kind {
    GYRE_CASE_NEVER, /* a zeroed case is never ready */
    GYRE_CASE_SEND,
    GYRE_CASE_RECV,
    GYRE_CASE_DEFAULT,
    GYRE_CASE_AFTER,
    GYRE_CASE_DONE
};

/* Made by the gyre_case_* functions. Read `result` after the select; leave the rest alone. */
struct gyre_case {
    enum gyre_case_kind kind;
    int result; /* of the case that was chosen, as gyre_chan_recv's or gyre_chan_send's */
    void *on;   /* private from here on: what it waits for */
    void *element;
    int64_t duration;
    struct gyre_waiter {
        struct gyre_waiter *next, *previous;
        struct gyre_coro *coro;
        uint32_t state;
        uint32_t lock_order;
    } waiter;
};

/* Ready when the element can be sent; *element is read when it is. A nil channel is never
 * ready. A closed one panics when the case is chosen. Go: case c <- v. */
static inline struct gyre_case gyre_case_send(gyre_sender sender, const void *element)
{
    struct gyre_case c = {GYRE_CASE_SEND, 0, sender.chan, (void *)(uintptr_t)element, 0,
                          {0, 0, 0, 0, 0}};

    return c;
}

/* Ready when an element can be received or the channel is closed: `result` is then 1, or 0 (or
 * the error it was closed with). element may be NULL. Go: case v, ok := <-c. */
static inline struct gyre_case gyre_case_recv(gyre_receiver receiver, void *element)
{
    struct gyre_case c = {GYRE_CASE_RECV, 0, receiver.chan, element, 0, {0, 0, 0, 0, 0}};

    return c;
}

/* Chosen at once when no other is ready; at most one a select. Go: default. */
static inline struct gyre_case gyre_case_default(void)
{
    struct gyre_case c = {GYRE_CASE_DEFAULT, 0, 0, 0, 0, {0, 0, 0, 0, 0}};

    return c;
}

/* Ready duration ns after the select began, at once for 0 or less; of several the shortest
 * counts. Go: case <-time.After(d), without its timer. */
static inline struct gyre_case gyre_case_after(int64_t duration)
{
    struct gyre_case c = {GYRE_CASE_AFTER, 0, 0, 0, duration, {0, 0, 0, 0, 0}};

    return c;
}

/* Ready when that context has ended (the ambient one needs no case); the caller holds it during the
 * select. NULL panics. `result` is its error. Go: case <-ctx.Done(). */
static inline struct gyre_case gyre_case_done(struct gyre_context *context)
{
    struct gyre_case c = {GYRE_CASE_DONE, 0, context, 0, 0, {0, 0, 0, 0, 0}};

    return c;
}

/*
 * Waits until one of the cases is ready, does it, and returns its index; among several that are
 * ready it picks one at random, each with the same chance. Without a default case it parks; with no
 * case that can ever be ready, until the context ends. Any number of cases, the same channel in
 * several of them too, for sending and receiving at once.
 *
 * Returns the index; -ECANCELED or -ETIMEDOUT when the ambient context has ended, at entry even if
 * a case is ready: then no case was done. -EINVAL: two default cases, or more than 65,535. -ENOMEM:
 * a case_done's context needed memory. Panics when it chooses a send on a closed channel. Only from
 * a coroutine. Go: the select statement.
 *
 * gyre_select takes an array and counts it; gyre_select_n is for pointers.
 */
GYRE_API int gyre_select_n(struct gyre_case *cases, size_t count);

#ifdef __cplusplus
extern "C++" {
template <size_t count> inline int gyre_select(struct gyre_case (&cases)[count])
{
    return gyre_select_n(cases, count);
}
}
#else
#define GYRE_IS_POINTER_(cases)                                                                    \
    __builtin_types_compatible_p(__typeof__(cases), __typeof__(&(cases)[0]))
/* The negative size is for what is no array but a pointer. */
#define gyre_select(cases)                                                                         \
    gyre_select_n(cases, sizeof(cases) / sizeof(*(cases)) +                                        \
                             0 * sizeof(char[1 - 2 * GYRE_IS_POINTER_(cases)]))
#endif

/* A static inline function of a type that may never be called in a file. */
#define GYRE_TYPED_ __attribute__((unused)) static inline

#define GYRE_CHAN_TYPE(prefix_, type_)                                                             \
    typedef struct prefix_##_sender {                                                              \
        gyre_sender any;                                                                           \
    } prefix_##_sender;                                                                            \
    typedef struct prefix_##_receiver {                                                            \
        gyre_receiver any;                                                                         \
    } prefix_##_receiver;                                                                          \
    typedef struct prefix_ {                                                                       \
        prefix_##_sender sender;                                                                   \
        prefix_##_receiver receiver;                                                               \
    } prefix_;                                                                                     \
    GYRE_TYPED_ int prefix_##_make_options(prefix_ *channel, size_t capacity,                      \
                                           const struct gyre_chan_options *options)                \
    {                                                                                              \
        gyre_channel any;                                                                          \
        int error = gyre_chan_make_options(&any, sizeof(type_), capacity, options);                \
        channel->sender.any = any.sender;                                                          \
        channel->receiver.any = any.receiver;                                                      \
        return error;                                                                              \
    }                                                                                              \
    GYRE_TYPED_ int prefix_##_make(prefix_ *channel, size_t capacity)                              \
    {                                                                                              \
        struct gyre_chan_options options = GYRE_CHAN_OPTIONS_INIT;                                 \
        options.name = #prefix_;                                                                   \
        return prefix_##_make_options(channel, capacity, &options);                                \
    }                                                                                              \
    GYRE_TYPED_ int prefix_##_send(prefix_##_sender sender, type_ element)                         \
    {                                                                                              \
        return gyre_chan_send(sender.any, &element);                                               \
    }                                                                                              \
    GYRE_TYPED_ int prefix_##_recv(prefix_##_receiver receiver, type_ *element)                    \
    {                                                                                              \
        return gyre_chan_recv(receiver.any, element);                                              \
    }                                                                                              \
    GYRE_TYPED_ int prefix_##_try_send(prefix_##_sender sender, type_ element)                     \
    {                                                                                              \
        return gyre_chan_try_send(sender.any, &element);                                           \
    }                                                                                              \
    GYRE_TYPED_ int prefix_##_try_recv(prefix_##_receiver receiver, type_ *element)                \
    {                                                                                              \
        return gyre_chan_try_recv(receiver.any, element);                                          \
    }                                                                                              \
    GYRE_TYPED_ void prefix_##_close(prefix_##_sender sender)                                      \
    {                                                                                              \
        gyre_chan_close(sender.any);                                                               \
    }                                                                                              \
    GYRE_TYPED_ void prefix_##_close_error(prefix_##_sender sender, int error)                     \
    {                                                                                              \
        gyre_chan_close_error(sender.any, error);                                                  \
    }                                                                                              \
    GYRE_TYPED_ size_t prefix_##_len(prefix_##_receiver receiver)                                  \
    {                                                                                              \
        return gyre_chan_len(receiver.any);                                                        \
    }                                                                                              \
    GYRE_TYPED_ size_t prefix_##_cap(prefix_##_receiver receiver)                                  \
    {                                                                                              \
        return gyre_chan_cap(receiver.any);                                                        \
    }                                                                                              \
    GYRE_TYPED_ prefix_##_sender prefix_##_hold_sender(prefix_##_sender sender)                    \
    {                                                                                              \
        gyre_chan_hold_sender(sender.any);                                                         \
        return sender;                                                                             \
    }                                                                                              \
    GYRE_TYPED_ prefix_##_receiver prefix_##_hold_receiver(prefix_##_receiver receiver)            \
    {                                                                                              \
        gyre_chan_hold_receiver(receiver.any);                                                     \
        return receiver;                                                                           \
    }                                                                                              \
    GYRE_TYPED_ prefix_ prefix_##_hold(prefix_ channel)                                            \
    {                                                                                              \
        gyre_chan_hold_sender(channel.sender.any);                                                 \
        gyre_chan_hold_receiver(channel.receiver.any);                                             \
        return channel;                                                                            \
    }                                                                                              \
    GYRE_TYPED_ void prefix_##_release_sender(prefix_##_sender sender)                             \
    {                                                                                              \
        gyre_chan_release_sender(sender.any);                                                      \
    }                                                                                              \
    GYRE_TYPED_ void prefix_##_release_receiver(prefix_##_receiver receiver)                       \
    {                                                                                              \
        gyre_chan_release_receiver(receiver.any);                                                  \
    }                                                                                              \
    GYRE_TYPED_ void prefix_##_release(prefix_ channel)                                            \
    {                                                                                              \
        gyre_chan_release_sender(channel.sender.any);                                              \
        gyre_chan_release_receiver(channel.receiver.any);                                          \
    }                                                                                              \
    GYRE_TYPED_ struct gyre_case prefix_##_case_send(prefix_##_sender sender,                      \
                                                     type_ const *element)                         \
    {                                                                                              \
        return gyre_case_send(sender.any, element);                                                \
    }                                                                                              \
    GYRE_TYPED_ struct gyre_case prefix_##_case_recv(prefix_##_receiver receiver, type_ *element)  \
    {                                                                                              \
        return gyre_case_recv(receiver.any, element);                                              \
    }                                                                                              \
    struct prefix_##_sender /* takes the semicolon */

GYRE_END_DECLS

#endif
