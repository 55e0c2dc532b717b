/* Channels: Go's axioms, elements, cancellation, foreign threads. */
#include "../sched/inside.h"
#include "queues.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

static const size_t sizes[] = {0, 1, 2, 3, 4, 8, 16, 24, 4096, 65536};
static const size_t capacities[] = {0, 1, 2, 3, 7, 64};

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* --- one coroutine on the other side ------------------------------------------------------------
 */

struct peer {
    gyre_channel channel;
    void *element;
    int result;
    atomic_int done;
    gyre_handle handle;
};

static int peer_send(void *arg)
{
    struct peer *peer = arg;

    peer->result = gyre_chan_send(peer->channel.sender, peer->element);
    atomic_store(&peer->done, 1);
    return 0;
}

static int peer_recv(void *arg)
{
    struct peer *peer = arg;

    peer->result = gyre_chan_recv(peer->channel.receiver, peer->element);
    atomic_store(&peer->done, 1);
    return 0;
}

static void start(struct peer *peer, gyre_fn fn, gyre_channel channel, void *element)
{
    *peer = (struct peer){.channel = channel, .element = element, .result = INT_MIN};
    EXPECT(!gyre_spawn(&peer->handle, fn, peer));
}

static int end(struct peer *peer)
{
    EXPECT(!gyre_join(peer->handle, NULL));
    return peer->result;
}

/* --- making --------------------------------------------------------------------------------- */

Test(chan, a_channel_is_made_before_the_runtime_runs)
{
    gyre_channel c;

    cr_assert_eq(gyre_chan_make(&c, 4, 2), 0);
    cr_assert_eq(c.sender.chan, c.receiver.chan);
    cr_assert_eq(gyre_chan_cap(c.receiver), 2);
    cr_assert_eq(gyre_chan_len(c.receiver), 0);
    gyre_chan_release(c);
}

Test(chan, sizes_out_of_range_are_refused_and_leave_nil)
{
    gyre_channel c = channel_of(1, 1), kept = c;

    cr_assert_eq(gyre_chan_make(&c, 65537, 0), -EINVAL);
    cr_assert_null(c.sender.chan);
    cr_assert_null(c.receiver.chan);
    c = kept;
    cr_assert_eq(gyre_chan_make(&c, 1, ((size_t)1 << 31) + 1), -EINVAL);
    cr_assert_null(c.sender.chan);
    cr_assert_eq(gyre_chan_make(&c, 0, SIZE_MAX), -EINVAL);
    gyre_chan_release(kept);
}

Test(chan, what_does_not_fit_memory_is_refused)
{
    gyre_channel c;

#if !defined(__SANITIZE_ADDRESS__)
    cr_assert_eq(gyre_chan_make(&c, 65536, (size_t)1 << 31), -ENOMEM);
    cr_assert_null(c.sender.chan);
    cr_assert_null(c.receiver.chan);
#endif
    cr_assert_eq(gyre_chan_make(&c, 0, (size_t)1 << 31), 0); /* signals take no room */
    cr_assert_eq(gyre_chan_cap(c.receiver), (size_t)1 << 31);
    gyre_chan_release(c);
}

Test(chan, options_may_come_from_an_older_or_a_newer_program)
{
    struct {
        struct gyre_chan_options known;
        long more;
    } newer = {{sizeof newer, "newer", NULL}, 0};
    struct gyre_chan_options options = GYRE_CHAN_OPTIONS_INIT;
    gyre_channel c;

    options.size = offsetof(struct gyre_chan_options, drop);
    cr_assert_eq(gyre_chan_make_options(&c, 4, 0, &options), 0);
    gyre_chan_release(c);
    options.size = sizeof options.size;
    cr_assert_eq(gyre_chan_make_options(&c, 4, 0, &options), -EINVAL);
    cr_assert_null(c.sender.chan);
    cr_assert_eq(gyre_chan_make_options(&c, 4, 0, &newer.known), 0);
    gyre_chan_release(c);
    newer.more = 1;
    cr_assert_eq(gyre_chan_make_options(&c, 4, 0, &newer.known), -EINVAL);
}

Test(chan, an_unbuffered_channel_takes_96_bytes)
{
    cr_assert_leq(sizeof(struct gyre_chan), 96);
}

/* --- elements and order ---------------------------------------------------------------------- */

static void fill(unsigned char *element, size_t size, unsigned number)
{
    for (size_t i = 0; i < size; i++)
        element[i] = (unsigned char)(number * 7 + i * 13 + i / 256 + 1);
}

/* Exactly this element, and not a byte beyond it. */
static bool filled(const unsigned char *element, size_t size, unsigned number)
{
    for (size_t i = 0; i < size; i++)
        if (element[i] != (unsigned char)(number * 7 + i * 13 + i / 256 + 1))
            return false;
    return element[size] == 0xee;
}

static unsigned char *room(size_t size)
{
    unsigned char *element = malloc(size + 1);

    memset(element, 0xee, size + 1);
    return element;
}

static void pass_through(size_t size, size_t capacity)
{
    enum { COUNT = 9 };
    gyre_channel c = channel_of(size, capacity);
    unsigned char *out = room(size), *in = room(size);
    struct peer peer;

    /* From a sender that waits, to a receiver that waits. */
    for (unsigned i = 0; i < COUNT; i++) {
        fill(out, size, i);
        start(&peer, i % 2 ? peer_send : peer_recv, c, i % 2 ? out : in);
        if (i % 2 == 0) {
            await_receivers(c, 1);
            EXPECT_EQ(gyre_chan_send(c.sender, out), 0);
            EXPECT_EQ(end(&peer), 1);
        } else {
            if (!capacity)
                await_senders(c, 1);
            EXPECT_EQ(gyre_chan_recv(c.receiver, in), 1);
            EXPECT_EQ(end(&peer), 0);
        }
        EXPECT(filled(in, size, i));
        memset(in, 0xee, size + 1);
    }
    /* Through the buffer, around its end, and from a sender that waits for room. */
    for (size_t turn = 0; turn < 3 && capacity && capacity * size < 1 << 18; turn++) {
        for (unsigned i = 0; i < capacity; i++) {
            fill(out, size, i);
            EXPECT_EQ(gyre_chan_send(c.sender, out), 0);
            memset(out, 0, size); /* it was copied */
        }
        EXPECT_EQ(gyre_chan_len(c.receiver), capacity);
        fill(out, size, (unsigned)capacity);
        EXPECT_EQ(gyre_chan_try_send(c.sender, out), -EAGAIN);
        start(&peer, peer_send, c, out);
        await_senders(c, 1);
        for (unsigned i = 0; i <= capacity; i++) {
            EXPECT_EQ(gyre_chan_recv(c.receiver, in), 1);
            EXPECT(filled(in, size, i));
        }
        EXPECT_EQ(end(&peer), 0);
        EXPECT_EQ(gyre_chan_try_recv(c.receiver, in), -EAGAIN);
        EXPECT(filled(in, size, (unsigned)capacity)); /* untouched */
        fill(out, size, 0);
        EXPECT_EQ(gyre_chan_send(c.sender, out), 0); /* the head moves on */
        EXPECT_EQ(gyre_chan_recv(c.receiver, NULL), 1);
    }
    free(in);
    free(out);
    gyre_chan_release(c);
}

INSIDE(chan, elements_of_any_size_pass_whole)
{
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (size_t j = 0; j < COUNT_OF(capacities); j++)
            pass_through(sizes[i], capacities[j]);
    return 0;
}

INSIDE(chan, signals_need_no_element)
{
    for (size_t i = 0; i < COUNT_OF(capacities); i++) {
        gyre_channel c = channel_of(0, capacities[i]);
        struct peer peer;

        for (size_t n = 0; n < capacities[i]; n++)
            EXPECT_EQ(gyre_chan_send(c.sender, NULL), 0);
        start(&peer, peer_send, c, NULL);
        await_senders(c, 1);
        for (size_t n = 0; n <= capacities[i]; n++)
            EXPECT_EQ(gyre_chan_recv(c.receiver, NULL), 1);
        EXPECT_EQ(end(&peer), 0);
        gyre_chan_release(c);
    }
    return 0;
}

INSIDE(chan, a_received_element_may_be_dropped)
{
    gyre_channel c = channel_of(4, 0);
    struct peer peer;
    int n = 5;

    start(&peer, peer_recv, c, NULL);
    await_receivers(c, 1);
    EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
    EXPECT_EQ(end(&peer), 1);
    start(&peer, peer_send, c, &n);
    EXPECT_EQ(gyre_chan_recv(c.receiver, NULL), 1);
    EXPECT_EQ(end(&peer), 0);
    start(&peer, peer_recv, c, NULL);
    await_receivers(c, 1);
    gyre_chan_close(c.sender);
    EXPECT_EQ(end(&peer), 0);
    gyre_chan_release(c);
    return 0;
}

INSIDE(chan, unbuffered_is_a_rendezvous)
{
    gyre_channel c = channel_of(4, 0);
    struct peer peer;
    int n = 1, got = 0;

    EXPECT_EQ(gyre_chan_try_send(c.sender, &n), -EAGAIN);
    start(&peer, peer_send, c, &n);
    await_senders(c, 1);
    for (int i = 0; i < 20; i++)
        gyre_yield();
    EXPECT_EQ(atomic_load(&peer.done), 0);
    n = 2; /* still the sender's own until somebody takes it */
    EXPECT_EQ(gyre_chan_recv(c.receiver, &got), 1);
    EXPECT_EQ(got, 2);
    EXPECT_EQ(end(&peer), 0);
    gyre_chan_release(c);
    return 0;
}

enum { QUEUE = 12 };

static void in_turn(bool sending)
{
    struct peer peers[QUEUE];
    int numbers[QUEUE], got;
    gyre_channel c = channel_of(4, sending ? 2 : 0);

    if (sending) {
        numbers[0] = -2;
        EXPECT_EQ(gyre_chan_send(c.sender, numbers), 0);
        numbers[0] = -1;
        EXPECT_EQ(gyre_chan_send(c.sender, numbers), 0);
    }
    for (int i = 0; i < QUEUE; i++) {
        numbers[i] = sending ? i : -1;
        start(&peers[i], sending ? peer_send : peer_recv, c, &numbers[i]);
        if (sending)
            await_senders(c, (unsigned)i + 1);
        else
            await_receivers(c, (unsigned)i + 1);
    }
    for (int i = 0; i < QUEUE + 2 * sending; i++) {
        if (!sending) {
            EXPECT_EQ(gyre_chan_send(c.sender, &i), 0);
        } else {
            EXPECT_EQ(gyre_chan_recv(c.receiver, &got), 1);
            EXPECT_EQ(got, i - 2);
        }
    }
    for (int i = 0; i < QUEUE; i++) {
        EXPECT_EQ(end(&peers[i]), !sending);
        EXPECT_EQ(numbers[i], i);
    }
    gyre_chan_release(c);
}

INSIDE(chan, who_waits_is_served_in_order)
{
    in_turn(true);
    in_turn(false);
    return 0;
}

/* The one in the middle gives up; the others keep their places. */
INSIDE(chan, who_gives_up_leaves_the_queue_in_order)
{
    for (int leaves = 0; leaves < 4; leaves++) {
        struct peer peers[4];
        int numbers[4] = {0, 1, 2, 3}, got;
        gyre_channel c = channel_of(4, 0);
        struct gyre_context *context = NULL;

        for (int i = 0; i < 4; i++) {
            if (i == leaves) {
                GYRE_CANCELLABLE();
                context = gyre_context_current();
                start(&peers[i], peer_send, c, &numbers[i]);
                await_senders(c, (unsigned)i + 1);
                gyre_context_cancel(context);
                gyre_context_release(context);
                EXPECT_EQ(gyre_context_error(), -ECANCELED);
            } else {
                start(&peers[i], peer_send, c, &numbers[i]);
                await_senders(c, (unsigned)i + (i < leaves));
            }
            if (i == leaves) {
                EXPECT_EQ(end(&peers[i]), -ECANCELED);
                await_senders(c, (unsigned)i);
            }
        }
        for (int i = 0; i < 4; i++) {
            if (i == leaves)
                continue;
            EXPECT_EQ(gyre_chan_recv(c.receiver, &got), 1);
            EXPECT_EQ(got, i);
            EXPECT_EQ(end(&peers[i]), 0);
        }
        gyre_chan_release(c);
    }
    return 0;
}

/* --- closing --------------------------------------------------------------------------------- */

INSIDE(chan, a_closed_channel_is_drained_and_then_gives_zero)
{
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        size_t size = sizes[i];
        unsigned char *element = room(size);
        gyre_channel c = channel_of(size, 3);

        for (unsigned n = 0; n < 3; n++) {
            fill(element, size, n);
            EXPECT_EQ(gyre_chan_send(c.sender, element), 0);
        }
        gyre_chan_close(c.sender);
        EXPECT_EQ(gyre_chan_len(c.receiver), 3);
        for (unsigned n = 0; n < 3; n++) {
            EXPECT_EQ(n == 1 ? gyre_chan_try_recv(c.receiver, element)
                             : gyre_chan_recv(c.receiver, element),
                      1);
            EXPECT(filled(element, size, n));
        }
        for (int n = 0; n < 4; n++) {
            memset(element, 0xaa, size);
            EXPECT_EQ(n % 2 ? gyre_chan_try_recv(c.receiver, element)
                            : gyre_chan_recv(c.receiver, element),
                      0);
            for (size_t k = 0; k < size; k++)
                EXPECT(!element[k]);
            EXPECT_EQ(element[size], 0xee);
        }
        EXPECT_EQ(gyre_chan_recv(c.receiver, NULL), 0);
        EXPECT_EQ(gyre_chan_cap(c.receiver), 3);
        gyre_chan_release(c);
        free(element);
    }
    return 0;
}

INSIDE(chan, a_close_wakes_all_receivers_with_zero)
{
    for (int error = 0; error >= -5; error -= 5) {
        struct peer peers[QUEUE];
        int numbers[QUEUE];
        gyre_channel c = channel_of(4, (size_t)-error);

        for (int i = 0; i < QUEUE; i++) {
            numbers[i] = 77;
            start(&peers[i], peer_recv, c, &numbers[i]);
        }
        await_receivers(c, QUEUE);
        gyre_chan_close_error(c.sender, error);
        for (int i = 0; i < QUEUE; i++) {
            EXPECT_EQ(end(&peers[i]), error);
            EXPECT_EQ(numbers[i], 0);
        }
        gyre_chan_release(c);
    }
    return 0;
}

/* Every error comes through as it is, those that the library uses itself too. */
INSIDE(chan, an_error_closed_with_follows_the_last_element)
{
    static const int errors[] = {-1,      -EIO,  -EAGAIN, -ECANCELED,  -ETIMEDOUT,  -EINVAL,
                                 -ENOMEM, -4095, INT_MIN, INT_MIN + 1, INT_MIN + 2, -INT_MAX};

    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        gyre_channel c = channel_of(4, 2);
        int n = 3;

        EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
        gyre_chan_close_error(c.sender, errors[i]);
        n = 0;
        EXPECT_EQ(gyre_chan_recv(c.receiver, &n), 1);
        EXPECT_EQ(n, 3);
        EXPECT_EQ(gyre_chan_recv(c.receiver, &n), errors[i]);
        EXPECT_EQ(n, 0);
        n = 9;
        EXPECT_EQ(gyre_chan_try_recv(c.receiver, &n), errors[i]);
        EXPECT_EQ(n, 0);
        EXPECT_EQ(gyre_chan_len(c.receiver), 0);
        gyre_chan_release(c);
    }
    for (size_t i = 0; i < COUNT_OF(errors); i++) { /* to one that waits */
        gyre_channel c = channel_of(4, 0);
        struct peer peer;
        int n = 3;

        start(&peer, peer_recv, c, &n);
        await_receivers(c, 1);
        gyre_chan_close_error(c.sender, errors[i]);
        EXPECT_EQ(end(&peer), errors[i]);
        EXPECT_EQ(n, 0);
        gyre_chan_release(c);
    }
    return 0;
}

/* --- nil --------------------------------------------------------------------------------------
 */

INSIDE(chan, nil_waits_until_the_context_ends)
{
    gyre_channel nil = {{NULL}, {NULL}};
    int n = 5;

    EXPECT_EQ(gyre_chan_try_send(nil.sender, &n), -EAGAIN);
    EXPECT_EQ(gyre_chan_try_recv(nil.receiver, &n), -EAGAIN);
    EXPECT_EQ(gyre_chan_len(nil.receiver), 0);
    EXPECT_EQ(gyre_chan_cap(nil.receiver), 0);
    EXPECT(!gyre_chan_hold(nil).sender.chan);
    gyre_chan_hold_sender(nil.sender);
    gyre_chan_hold_receiver(nil.receiver);
    gyre_chan_release_sender(nil.sender);
    gyre_chan_release_receiver(nil.receiver);
    gyre_chan_release(nil);
    {
        int64_t begin = gyre_now();
        GYRE_TIMEOUT(2 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_chan_recv(nil.receiver, &n), -ETIMEDOUT);
        EXPECT(gyre_now() - begin >= 2 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_chan_send(nil.sender, &n), -ETIMEDOUT);
    }
    for (int sending = 0; sending < 2; sending++) {
        struct peer peer;
        GYRE_CANCELLABLE();
        struct gyre_context *context = gyre_context_current();

        start(&peer, sending ? peer_send : peer_recv, nil, &n);
        gyre_yield();
        gyre_context_cancel(context);
        gyre_context_release(context);
        {
            GYRE_SHIELD();
            EXPECT_EQ(end(&peer), -ECANCELED);
        }
    }
    EXPECT_EQ(n, 5);
    return 0;
}

INSIDE(chan, a_release_from_the_coroutine_just_served_is_fine)
{
    for (int i = 0; i < 200; i++) {
        gyre_channel c = channel_of(4, 0);
        struct peer peer;
        int n = i, got = -1;

        start(&peer, peer_recv, gyre_chan_hold(c), &got);
        EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
        gyre_chan_release(c);
        EXPECT_EQ(end(&peer), 1);
        EXPECT_EQ(got, i);
        gyre_chan_release(c);
    }
    return 0;
}

/* --- cancellation ----------------------------------------------------------------------------- */

INSIDE(chan, an_ended_context_is_seen_at_entry)
{
    gyre_channel c = channel_of(4, 4);
    int n = 1;

    EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
    {
        GYRE_TIMEOUT(0);
        while (!gyre_context_error())
            gyre_yield();
        n = 8;
        EXPECT_EQ(gyre_chan_send(c.sender, &n), -ETIMEDOUT);
        EXPECT_EQ(gyre_chan_recv(c.receiver, &n), -ETIMEDOUT);
        EXPECT_EQ(n, 8);
        EXPECT_EQ(gyre_chan_len(c.receiver), 1);
        EXPECT_EQ(gyre_chan_try_send(c.sender, &n), 0); /* these don't look */
        EXPECT_EQ(gyre_chan_try_recv(c.receiver, &n), 1);
        EXPECT_EQ(n, 1);
        gyre_chan_close(c.sender);
        EXPECT_EQ(gyre_chan_recv(c.receiver, &n), -ETIMEDOUT);
        EXPECT_EQ(gyre_chan_try_recv(c.receiver, &n), 1);
        EXPECT_EQ(n, 8);
    }
    EXPECT_EQ(gyre_chan_recv(c.receiver, &n), 0);
    gyre_chan_release(c);
    return 0;
}

INSIDE(chan, a_wait_ends_with_the_context_and_leaves_nothing_behind)
{
    for (size_t i = 0; i < COUNT_OF(capacities); i++) {
        gyre_channel c = channel_of(4, capacities[i]);
        int n = 5, got = 7;

        {
            GYRE_TIMEOUT(GYRE_MILLISECOND);
            EXPECT_EQ(gyre_chan_recv(c.receiver, &got), -ETIMEDOUT);
        }
        EXPECT_EQ(got, 7);
        await_receivers(c, 0);
        for (size_t k = 0; k < capacities[i]; k++)
            EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
        {
            GYRE_TIMEOUT(GYRE_MILLISECOND);
            n = 6;
            EXPECT_EQ(gyre_chan_send(c.sender, &n), -ETIMEDOUT);
        }
        await_senders(c, 0);
        for (size_t k = 0; k < capacities[i]; k++) {
            EXPECT_EQ(gyre_chan_recv(c.receiver, &got), 1);
            EXPECT_EQ(got, 5);
        }
        EXPECT_EQ(gyre_chan_try_recv(c.receiver, &got), -EAGAIN);
        gyre_chan_release(c);
    }
    return 0;
}

/* The element comes first, then the cancel, and only then does the waiter run. */
INSIDE(chan, what_was_handed_over_wins_against_the_cancel)
{
    gyre_channel c = channel_of(4, 0);

    for (int sending = 0; sending < 2; sending++) {
        struct peer peer;
        int n = 3, got = 0;
        GYRE_CANCELLABLE();
        struct gyre_context *context = gyre_context_current();

        start(&peer, sending ? peer_send : peer_recv, c, sending ? &n : &got);
        if (sending) {
            await_senders(c, 1);
            EXPECT_EQ(gyre_chan_try_recv(c.receiver, &got), 1);
        } else {
            await_receivers(c, 1);
            EXPECT_EQ(gyre_chan_try_send(c.sender, &n), 0);
        }
        gyre_context_cancel(context);
        gyre_context_release(context);
        EXPECT_EQ(got, 3);
        {
            GYRE_SHIELD();
            EXPECT_EQ(end(&peer), !sending);
        }
    }
    gyre_chan_release(c);
    return 0;
}

/* The same with the cancel first: nothing may be handed to one that has been woken already. */
INSIDE(chan, who_was_cancelled_is_passed_over)
{
    gyre_channel c = channel_of(4, 0);

    for (int sending = 0; sending < 2; sending++) {
        struct peer peer, other;
        int n = 3, got = 0, other_n = 4;
        {
            GYRE_CANCELLABLE();
            struct gyre_context *context = gyre_context_current();

            start(&peer, sending ? peer_send : peer_recv, c, sending ? &n : &got);
            if (sending)
                await_senders(c, 1);
            else
                await_receivers(c, 1);
            {
                GYRE_SHIELD();
                start(&other, sending ? peer_send : peer_recv, c, &other_n);
                if (sending)
                    await_senders(c, 2);
                else
                    await_receivers(c, 2);
            }
            gyre_context_cancel(context);
            gyre_context_release(context);
            if (sending) {
                EXPECT_EQ(gyre_chan_try_recv(c.receiver, &got), 1);
                EXPECT_EQ(got, 4);
            } else {
                n = 5;
                EXPECT_EQ(gyre_chan_try_send(c.sender, &n), 0);
            }
            GYRE_SHIELD();
            EXPECT_EQ(end(&peer), -ECANCELED);
            EXPECT_EQ(end(&other), !sending);
        }
        if (!sending) {
            EXPECT_EQ(got, 0);
            EXPECT_EQ(other_n, 5);
        }
    }
    gyre_chan_release(c);
    return 0;
}

static int shielded_recv(void *arg)
{
    GYRE_SHIELD();
    return peer_recv(arg);
}

/* The cancel reaches the coroutine, which goes on waiting, for it is shielded. */
INSIDE(chan, a_shielded_wait_goes_on_in_its_place)
{
    gyre_channel c = channel_of(4, 0);
    struct peer peer, behind;
    int n = 3, got = 0, got_behind = 0;

    {
        GYRE_CANCELLABLE();
        struct gyre_context *context = gyre_context_current();

        start(&peer, shielded_recv, c, &got);
        await_receivers(c, 1);
        {
            GYRE_SHIELD();
            start(&behind, peer_recv, c, &got_behind);
            await_receivers(c, 2);
        }
        gyre_context_cancel(context);
        gyre_context_release(context);
        for (int i = 0; i < 10; i++)
            gyre_yield();
        EXPECT_EQ(atomic_load(&peer.done), 0);
    }
    await_receivers(c, 2);
    for (; n < 5; n++)
        EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
    EXPECT_EQ(end(&peer), 1);
    EXPECT_EQ(end(&behind), 1);
    EXPECT_EQ(got, 3);
    EXPECT_EQ(got_behind, 4);
    gyre_chan_release(c);
    return 0;
}

/* --- foreign threads -------------------------------------------------------------------------- */

enum { FOREIGN = 300 };

static void *foreign_send(void *arg)
{
    gyre_channel *c = arg;

    for (int i = 1; i <= FOREIGN;)
        if (gyre_chan_try_send(c->sender, &i) == 0)
            i++;
        else
            sched_yield();
    gyre_chan_close_error(c->sender, -EPIPE);
    gyre_chan_release_sender(c->sender);
    return NULL;
}

static void *foreign_recv(void *arg)
{
    gyre_channel *c = arg;
    intptr_t sum = 0;
    int n, got;

    while ((got = gyre_chan_try_recv(c->receiver, &n)) != -EPIPE) {
        if (got == 1)
            sum += n;
        else
            sched_yield();
    }
    return (void *)sum;
}

INSIDE(chan, foreign_threads_try_and_close)
{
    for (size_t capacity = 0; capacity < 3; capacity += 2) {
        gyre_channel c = channel_of(4, capacity);
        pthread_t thread;
        void *sum;
        int n, got;

        gyre_chan_hold_sender(c.sender);
        pthread_create(&thread, NULL, foreign_send, &c);
        for (n = 1; n <= FOREIGN; n++) {
            EXPECT_EQ(gyre_chan_recv(c.receiver, &got), 1);
            EXPECT_EQ(got, n);
        }
        EXPECT_EQ(gyre_chan_recv(c.receiver, &got), -EPIPE);
        pthread_join(thread, NULL);
        gyre_chan_release(c);

        c = channel_of(4, capacity);
        pthread_create(&thread, NULL, foreign_recv, &c);
        for (n = 1; n <= FOREIGN; n++)
            EXPECT_EQ(gyre_chan_send(c.sender, &n), 0);
        gyre_chan_close_error(c.sender, -EPIPE);
        pthread_join(thread, &sum);
        EXPECT_EQ((intptr_t)sum, FOREIGN * (FOREIGN + 1) / 2);
        gyre_chan_release(c);
    }
    return 0;
}
