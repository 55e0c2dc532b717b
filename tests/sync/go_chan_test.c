/*
 * What Go's own tests of channels ask for, asked of this library: the situations of
 * runtime/chan_test.go and test/chan; those of select are in go_select_test.c. Where Go sleeps to
 * be sure that somebody waits, these look.
 */
#include "go.h"

#include <stdlib.h>

/* --- TestChan -----------------------------------------------------------------------------------
 */

enum { MAP = 400, P = 4 };

static struct chan_case {
    ints c, done, turn;
    atomic_int passed;
    unsigned char received[MAP];
} at;

static int recv_once(void *arg)
{
    (void)arg;
    ints_recv(at.c.receiver, NULL);
    atomic_fetch_add(&at.passed, 1);
    return ints_send(at.done.sender, 0);
}

static int send_once(void *arg)
{
    (void)arg;
    EXPECT_EQ(ints_send(at.c.sender, 0), 0);
    atomic_fetch_add(&at.passed, 1);
    return ints_send(at.done.sender, 0);
}

static int recv_closed(void *arg)
{
    int v = 8;

    (void)arg;
    return ints_send(at.done.sender, ints_recv(at.c.receiver, &v) == 0 && v == 0);
}

static int send_range(void *arg)
{
    int count = (int)(intptr_t)arg;

    for (int i = 0; i < count; i++)
        EXPECT_EQ(ints_send(at.c.sender, i), 0);
    return 0;
}

static int recv_range(void *arg)
{
    unsigned char counts[MAP] = {0};
    int v;

    (void)arg;
    for (int i = 0; i < MAP; i++) {
        EXPECT_EQ(ints_recv(at.c.receiver, &v), 1);
        counts[v]++;
    }
    EXPECT_EQ(ints_send(at.done.sender, 1), 0);
    EXPECT_EQ(ints_recv(at.turn.receiver, NULL), 1); /* one after the other */
    for (int i = 0; i < MAP; i++)
        at.received[i] = (unsigned char)(at.received[i] + counts[i]);
    return ints_send(at.done.sender, 2);
}

static void receiving_from_an_empty_one_blocks(size_t capacity)
{
    at.c = ints_of(capacity);
    at.passed = 0;
    GO(recv_once, NULL);
    GO(recv_once, NULL);
    await_receivers(plain(at.c), 2);
    EXPECT_EQ(at.passed, 0);
    EXPECT_EQ(ints_try_recv(at.c.receiver, NULL), -EAGAIN);
    EXPECT_EQ(ints_send(at.c.sender, 0), 0);
    EXPECT_EQ(ints_send(at.c.sender, 0), 0);
    EXPECT_EQ(ints_recv(at.done.receiver, NULL), 1);
    EXPECT_EQ(ints_recv(at.done.receiver, NULL), 1);
    ints_release(at.c);
}

static void sending_to_a_full_one_blocks(size_t capacity)
{
    at.c = ints_of(capacity);
    at.passed = 0;
    for (int i = 0; i < (int)capacity; i++)
        EXPECT_EQ(ints_send(at.c.sender, i), 0);
    GO(send_once, NULL);
    await_senders(plain(at.c), 1);
    EXPECT_EQ(at.passed, 0);
    EXPECT_EQ(ints_try_send(at.c.sender, 0), -EAGAIN);
    EXPECT_EQ(ints_recv(at.c.receiver, NULL), 1);
    EXPECT_EQ(ints_recv(at.done.receiver, NULL), 1);
    EXPECT_EQ(ints_len(at.c.receiver), capacity);
    ints_release(at.c);
}

static void closing_gives_zero(size_t capacity)
{
    int v;

    at.c = ints_of(capacity);
    for (int i = 0; i < (int)capacity; i++)
        EXPECT_EQ(ints_send(at.c.sender, i), 0);
    ints_close(at.c.sender);
    for (int i = 0; i < (int)capacity; i++) {
        EXPECT_EQ(ints_recv(at.c.receiver, &v), 1);
        EXPECT_EQ(v, i);
    }
    for (int i = 0; i < 2; i++) {
        v = 9;
        EXPECT_EQ(ints_recv(at.c.receiver, &v), 0);
        EXPECT_EQ(v, 0);
    }
    ints_release(at.c);
    at.c = ints_of(capacity);
    GO(recv_closed, NULL);
    await_receivers(plain(at.c), 1);
    ints_close(at.c.sender);
    EXPECT_EQ(ints_recv(at.done.receiver, &v), 1);
    EXPECT_EQ(v, 1);
    ints_release(at.c);
}

static void integers_pass(size_t capacity)
{
    int v;

    at.c = ints_of(capacity);
    GO(send_range, (void *)100);
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(ints_recv(at.c.receiver, &v), 1);
        EXPECT_EQ(v, i);
    }
    memset(at.received, 0, sizeof at.received);
    for (int i = 0; i < P; i++)
        GO(send_range, (void *)MAP);
    for (int i = 0; i < P; i++)
        GO(recv_range, NULL);
    for (int i = 0; i < P; i++) {
        EXPECT_EQ(ints_recv(at.done.receiver, &v), 1);
        EXPECT_EQ(v, 1);
    }
    for (int i = 0; i < P; i++) {
        EXPECT_EQ(ints_send(at.turn.sender, 0), 0);
        EXPECT_EQ(ints_recv(at.done.receiver, &v), 1);
        EXPECT_EQ(v, 2);
    }
    for (int i = 0; i < MAP; i++)
        EXPECT_EQ(at.received[i], P);
    ints_release(at.c);
}

static void len_and_cap(size_t capacity)
{
    at.c = ints_of(capacity);
    EXPECT_EQ(ints_len(at.c.receiver), 0);
    EXPECT_EQ(ints_cap(at.c.receiver), capacity);
    for (int i = 0; i < (int)capacity; i++)
        EXPECT_EQ(ints_send(at.c.sender, i), 0);
    EXPECT_EQ(ints_len(at.c.receiver), capacity);
    EXPECT_EQ(ints_cap(at.c.receiver), capacity);
    ints_release(at.c);
}

INSIDE(go_chan, all_that_holds_of_every_capacity)
{
    at.done = ints_of(0);
    at.turn = ints_of(0);
    for (size_t capacity = 0; capacity < 20; capacity++) {
        receiving_from_an_empty_one_blocks(capacity);
        sending_to_a_full_one_blocks(capacity);
        closing_gives_zero(capacity);
        integers_pass(capacity);
        len_and_cap(capacity);
    }
    ints_release(at.done);
    ints_release(at.turn);
    return 0;
}

/* --- TestMultiConsumer
 * ---------------------------------------------------------------------------- */

enum { WORK = 23, ITEMS = 20000 };

static const int primes[10] = {2, 3, 7, 11, 13, 17, 19, 23, 27, 31};

static struct consumers {
    ints q, r;
    gyre_handle workers[WORK];
} multi;

static int consume(void *arg)
{
    int v;

    while (ints_recv(multi.q.receiver, &v) > 0) {
        if (primes[(intptr_t)arg % 10] == v)
            gyre_yield(); /* mixes up the order */
        EXPECT_EQ(ints_send(multi.r.sender, v), 0);
    }
    return 0;
}

static int feed(void *arg)
{
    (void)arg;
    for (int i = 0; i < ITEMS; i++)
        EXPECT_EQ(ints_send(multi.q.sender, primes[i % 10]), 0);
    ints_close(multi.q.sender);
    for (int i = 0; i < WORK; i++)
        EXPECT_EQ(gyre_join(multi.workers[i], NULL), 0);
    ints_close(multi.r.sender);
    return 0;
}

INSIDE(go_chan, many_consumers_get_it_all_between_them)
{
    int count = 0, sum = 0, expected = 0, v;

    multi.q = ints_of(WORK * 3);
    multi.r = ints_of(WORK * 3);
    for (intptr_t i = 0; i < WORK; i++)
        EXPECT(!gyre_spawn(&multi.workers[i], consume, (void *)i));
    GO(feed, NULL);
    while (ints_recv(multi.r.receiver, &v) > 0) {
        count++;
        sum += v;
    }
    for (int i = 0; i < ITEMS; i++)
        expected += primes[i % 10];
    EXPECT_EQ(count, ITEMS);
    EXPECT_EQ(sum, expected);
    ints_release(multi.q);
    ints_release(multi.r);
    return 0;
}

/* --- TestShrinkStackDuringBlockedSend: waiting deep down, and the stack used between
 * --------------- */

static ints deep_channel;

static __attribute__((noinline)) int deep(int levels, int number)
{
    volatile char frame[2048];

    memset((char *)frame, number, sizeof frame);
    if (levels ? deep(levels - 1, number) : ints_send(deep_channel.sender, number))
        return 1;
    for (size_t i = 0; i < sizeof frame; i++)
        if (frame[i] != (char)number)
            return 1;
    return 0;
}

static int send_from_the_deep(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++)
        EXPECT_EQ(deep(i * 2, i), 0);
    ints_close(deep_channel.sender);
    return 0;
}

INSIDE(go_chan, a_deep_stack_waits_in_a_send)
{
    int v;

    deep_channel = ints_of(0);
    GO(send_from_the_deep, NULL);
    for (int i = 0; i < 10; i++) {
        await_senders(plain(deep_channel), 1);
        EXPECT_EQ(ints_recv(deep_channel.receiver, &v), 1);
        EXPECT_EQ(v, i);
    }
    EXPECT_EQ(ints_recv(deep_channel.receiver, &v), 0);
    ints_release(deep_channel);
    return 0;
}

/* --- fifo
 * ----------------------------------------------------------------------------------------- */

enum { CHAIN = 10 };

static ints chain_value, chain[CHAIN + 1];

static int chain_link(void *arg)
{
    intptr_t i = (intptr_t)arg;
    int v;

    EXPECT_EQ(ints_recv(chain[i].receiver, NULL), 1);
    EXPECT_EQ(ints_recv(chain_value.receiver, &v), 1);
    EXPECT_EQ(v, i);
    return ints_send(chain[i + 1].sender, 1);
}

INSIDE(go_chan, an_unbuffered_one_is_a_pure_fifo)
{
    chain_value = ints_of(0);
    for (intptr_t i = 0; i <= CHAIN; i++)
        chain[i] = ints_of(0);
    for (intptr_t i = 0; i < CHAIN; i++)
        GO(chain_link, (void *)i);
    EXPECT_EQ(ints_send(chain[0].sender, 0), 0);
    for (int i = 0; i < CHAIN; i++)
        EXPECT_EQ(ints_send(chain_value.sender, i), 0);
    EXPECT_EQ(ints_recv(chain[CHAIN].receiver, NULL), 1);
    for (intptr_t i = 0; i <= CHAIN; i++)
        ints_release(chain[i]);
    ints_release(chain_value);
    return 0;
}

/* --- goroutines
 * ----------------------------------------------------------------------------------- */

enum { DAISIES = 2000 };

static ints daisies[DAISIES + 1];

static int daisy(void *arg)
{
    intptr_t i = (intptr_t)arg;
    int v = 0;

    EXPECT_EQ(ints_recv(daisies[i + 1].receiver, &v), 1);
    return ints_send(daisies[i].sender, v);
}

INSIDE(go_chan, a_long_daisy_chain_is_torn_down)
{
    int v;

    for (intptr_t i = 0; i <= DAISIES; i++)
        daisies[i] = ints_of(0);
    for (intptr_t i = 0; i < DAISIES; i++)
        GO(daisy, (void *)i);
    EXPECT_EQ(ints_send(daisies[DAISIES].sender, 1), 0);
    EXPECT_EQ(ints_recv(daisies[0].receiver, &v), 1);
    EXPECT_EQ(v, 1);
    for (intptr_t i = 0; i <= DAISIES; i++)
        ints_release(daisies[i]);
    return 0;
}

/* --- nonblock
 * ------------------------------------------------------------------------------------- */

struct nonblock {
    gyre_channel c, strobe;
    unsigned char element[32];
    size_t size;
};

static int nonblock_receiver(void *arg)
{
    struct nonblock *n = arg;
    unsigned char element[32];

    EXPECT_EQ(gyre_chan_recv(n->c.receiver, element), 1);
    EXPECT(!memcmp(element, n->element, n->size));
    return gyre_chan_send(n->strobe.sender, NULL);
}

static int nonblock_sender(void *arg)
{
    struct nonblock *n = arg;

    EXPECT_EQ(gyre_chan_send(n->c.sender, n->element), 0);
    return gyre_chan_send(n->strobe.sender, NULL);
}

static void nonblock(size_t size, size_t capacity)
{
    struct nonblock n = {.c = channel_of(size, capacity), .strobe = channel_of(0, 0)};
    unsigned char element[32];

    n.size = size;
    memset(n.element, (int)size + 3, size);
    EXPECT_EQ(gyre_chan_try_recv(n.c.receiver, element), -EAGAIN);
    GO(nonblock_receiver, &n);
    while (gyre_chan_try_send(n.c.sender, n.element))
        gyre_yield();
    EXPECT_EQ(gyre_chan_recv(n.strobe.receiver, NULL), 1);
    GO(nonblock_sender, &n);
    if (capacity)
        EXPECT_EQ(gyre_chan_recv(n.strobe.receiver, NULL), 1);
    while (gyre_chan_try_recv(n.c.receiver, element) < 0)
        gyre_yield();
    EXPECT(!memcmp(element, n.element, size));
    if (!capacity)
        EXPECT_EQ(gyre_chan_recv(n.strobe.receiver, NULL), 1);
    gyre_chan_release(n.c);
    gyre_chan_release(n.strobe);
}

INSIDE(go_chan, the_try_forms_meet_those_who_wait)
{
    static const size_t sizes[] = {4, 8, 1, 16};

    for (int i = 0; i < 4; i++)
        for (size_t capacity = 0; capacity < 2; capacity++)
            nonblock(sizes[i], capacity);
    return 0;
}

/* --- sieve1: primes by a chain of filters
 * ---------------------------------------------------------- */

struct filter {
    ints_receiver in;
    ints_sender out;
    int prime;
};

static int generate(void *arg)
{
    ints_sender out = *(ints_sender *)arg;

    for (int i = 2; !ints_send(out, i); i++)
        ;
    return 0;
}

static int filter(void *arg)
{
    const struct filter *f = arg;
    int n;

    while (ints_recv(f->in, &n) > 0)
        if (n % f->prime && ints_send(f->out, n))
            break;
    return 0;
}

INSIDE(go_chan, a_sieve_finds_the_primes)
{
    static const int wanted[] = {2,  3,  5,  7,  11, 13, 17, 19, 23, 29, 31, 37, 41,
                                 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97};
    enum { PRIMES = sizeof wanted / sizeof *wanted };
    ints channels[PRIMES + 1];
    struct filter filters[PRIMES];
    gyre_handle handles[PRIMES + 1];
    int prime;
    struct gyre_context *context;
    GYRE_CANCELLABLE();

    context = gyre_context_current();
    channels[0] = ints_of(0);
    EXPECT(!gyre_spawn(&handles[0], generate, &channels[0].sender));
    for (int i = 0; i < PRIMES; i++) {
        EXPECT_EQ(ints_recv(channels[i].receiver, &prime), 1);
        EXPECT_EQ(prime, wanted[i]);
        channels[i + 1] = ints_of(0);
        filters[i] = (struct filter){channels[i].receiver, channels[i + 1].sender, prime};
        EXPECT(!gyre_spawn(&handles[i + 1], filter, &filters[i]));
    }
    gyre_context_cancel(context);
    gyre_context_release(context);
    GYRE_SHIELD();
    for (int i = 0; i <= PRIMES; i++) {
        EXPECT_EQ(gyre_join(handles[i], NULL), 0);
        ints_release(channels[i]);
    }
    return 0;
}

/* --- zerosize
 * --------------------------------------------------------------------------------------
 */

INSIDE(go_chan, elements_without_a_size)
{
    gyre_channel c = channel_of(0, 1000), d = channel_of(0, 0);

    for (int i = 0; i < 1000; i++)
        EXPECT_EQ(gyre_chan_try_send(c.sender, NULL), 0);
    EXPECT_EQ(gyre_chan_try_send(c.sender, NULL), -EAGAIN);
    EXPECT_EQ(gyre_chan_len(c.receiver), 1000);
    gyre_chan_close(d.sender);
    EXPECT_EQ(gyre_chan_recv(d.receiver, NULL), 0);
    gyre_chan_release(c);
    gyre_chan_release(d);
    return 0;
}
