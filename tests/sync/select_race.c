/*
 * Selects against each other and everything else, over the same few channels in opposite orders.
 * Aimed at: two selects that find each other while both take all locks; one claimed through one
 * channel while another channel, its timer and its context all try; the commit that still releases
 * locks while the select is resumed elsewhere; a select without any lock that its context ends; its
 * array, reused at once, and its stack, gone at once; a look at all channels that is no single
 * moment.
 */
#include "../sched/stress.h"
#include "queues.h"

enum { CHANNELS = 4, ACTORS = 12, CASES = 9, LONERS = 8 };

static gyre_channel channels[CHANNELS];
static gyre_channel stop;
static atomic_long sent, received;
static atomic_ulong rounds_done;

/* Overwrites what a select that has returned left on the stack: a late look finds nonsense. */
static __attribute__((noinline)) void scribble(void)
{
    volatile unsigned char old[3000];

    for (size_t i = 0; i < sizeof old; i++)
        old[i] = 0xdb;
}

/* --- everybody with everybody
 * --------------------------------------------------------------------- */

struct order {
    unsigned first, step; /* in which order an actor names the channels */
};

static unsigned fill_cases(struct random *random, const struct order *order,
                           struct gyre_case *cases, int *in, const int *out)
{
    unsigned count = 0;

    for (unsigned i = 0; i < CHANNELS; i++) {
        unsigned c = (order->first + i * order->step) % CHANNELS, way = random_below(random, 4);

        if (way != 0)
            cases[count++] = gyre_case_recv(channels[c].receiver, in);
        if (way != 1)
            cases[count++] = gyre_case_send(channels[c].sender, out);
    }
    return count;
}

static int actor(void *arg)
{
    struct random random = stress_random();
    const struct order *order = arg;
    struct gyre_case cases[CASES + 1];
    long balance[2] = {0};

    for (;;) {
        int in = 0, out = 1 + (int)random_below(&random, 1000), chosen;
        unsigned count = fill_cases(&random, order, cases, &in, &out), last = count;

        cases[count++] = gyre_case_recv(stop.receiver, NULL);
        if (random_below(&random, 3) == 0)
            cases[count++] = gyre_case_after(random_below(&random, 20000));
        if (random_below(&random, 3) == 0) {
            GYRE_TIMEOUT(random_below(&random, 30000));
            chosen = gyre_select_n(cases, count);
        } else {
            chosen = gyre_select_n(cases, count);
        }
        CHECK(chosen >= 0 || chosen == -ETIMEDOUT, "%d", chosen);
        if (chosen == (int)last)
            break;
        if (chosen >= 0 && cases[chosen].kind == GYRE_CASE_RECV) {
            CHECK(cases[chosen].result == 1 && in > 0 && in <= 1000, "%d", in);
            balance[1] += in;
        } else {
            CHECK(in == 0, "%d came with case %d", in, chosen);
        }
        if (chosen >= 0 && cases[chosen].kind == GYRE_CASE_SEND)
            balance[0] += out;
        atomic_fetch_add_explicit(&rounds_done, 1, memory_order_relaxed);
    }
    atomic_fetch_add(&sent, balance[0]);
    atomic_fetch_add(&received, balance[1]);
    return 0;
}

static int opposite_orders(void *arg)
{
    static struct order orders[ACTORS];
    gyre_handle handles[ACTORS];
    int n;

    (void)arg;
    stop = channel_of(0, 0);
    for (unsigned c = 0; c < CHANNELS; c++)
        channels[c] = channel_of(sizeof(int), c % 2);
    atomic_store(&sent, 0);
    atomic_store(&received, 0);
    for (unsigned i = 0; i < ACTORS; i++) {
        orders[i] = (struct order){i / 2, i % 2 ? 1 : CHANNELS - 1};
        CHECK(!gyre_spawn(&handles[i], actor, &orders[i]), "no memory");
    }
    while (stress_goes_on())
        CHECK(!gyre_sleep(GYRE_MILLISECOND), "the outer context ended");
    gyre_chan_close(stop.sender);
    for (unsigned i = 0; i < ACTORS; i++)
        CHECK(!gyre_join(handles[i], NULL), "join");
    for (unsigned c = 0; c < CHANNELS; c++) {
        struct gyre_chan *chan = channels[c].sender.chan;

        CHECK(!chan_first(&chan->senders) && !chan_first(&chan->receivers), "left in a queue");
        while (gyre_chan_try_recv(channels[c].receiver, &n) == 1)
            atomic_fetch_add(&received, n);
        gyre_chan_release(channels[c]);
    }
    gyre_chan_release(stop);
    CHECK(sent == received, "%ld sent, %ld received", sent, received);
    return 0;
}

/* --- without a channel: nothing but time and the context
 * ------------------------------------------ */

static atomic_bool over;
static _Atomic(struct gyre_context *) shared[LONERS];

static __attribute__((noinline)) int select_alone(struct random *random, unsigned index)
{
    struct gyre_case cases[] = {gyre_case_after(random_below(random, 3) ? GYRE_HOUR : 5000)};
    GYRE_CANCELLABLE();

    gyre_context_release(atomic_exchange(&shared[index], gyre_context_current()));
    return gyre_select_n(cases, random_below(random, 4) != 0);
}

static int loner(void *arg)
{
    struct random random = stress_random();

    while (!atomic_load(&over)) {
        int chosen = select_alone(&random, (unsigned)(uintptr_t)arg);

        scribble();
        CHECK(chosen == 0 || chosen == -ECANCELED, "%d", chosen);
        atomic_fetch_add_explicit(&rounds_done, 1, memory_order_relaxed);
    }
    return 0;
}

static void cancel_some(struct random *random)
{
    struct gyre_context *context = atomic_exchange(&shared[random_below(random, LONERS)], NULL);

    if (!context)
        return;
    gyre_context_cancel(context);
    gyre_context_release(context);
}

static void *foreign_canceller(void *arg)
{
    struct random random = stress_random();

    while (!atomic_load(&over)) {
        cancel_some(&random);
        if (random_below(&random, 20) == 0)
            sched_yield();
    }
    return arg;
}

static int loners(void *arg)
{
    struct random random = stress_random();
    gyre_handle handles[LONERS];
    pthread_t thread;

    (void)arg;
    atomic_store(&over, false);
    thread = race_thread(foreign_canceller, NULL);
    for (uintptr_t i = 0; i < LONERS; i++)
        CHECK(!gyre_spawn(&handles[i], loner, (void *)i), "no memory");
    while (stress_goes_on()) {
        cancel_some(&random);
        gyre_yield();
    }
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < LONERS; i++)
        for (;;) {
            GYRE_TIMEOUT(GYRE_MILLISECOND / 4);
            if (!gyre_join(handles[i], NULL))
                break;
            for (int k = 0; k < 4 * LONERS; k++)
                cancel_some(&random);
        }
    for (unsigned i = 0; i < LONERS; i++)
        gyre_context_release(atomic_exchange(&shared[i], NULL));
    return 0;
}

/* --- one select, every way to wake it at the same moment
 * ------------------------------------------ */

struct target {
    gyre_channel in, out, closing;
    struct gyre_context *context;
    atomic_int arrived;
    int result, received;
    long deadline;
};

static int target_select(void *arg)
{
    struct target *t = arg;
    int number = 5;
    struct gyre_case cases[] = {
        gyre_case_recv(t->in.receiver, &t->received), gyre_case_send(t->out.sender, &number),
        gyre_case_recv(t->closing.receiver, NULL), gyre_case_after(t->deadline)};
    GYRE_WITH_CONTEXT(t->context);

    t->result = gyre_select(cases);
    if (t->result == 2)
        CHECK(cases[2].result == 0, "%d", cases[2].result);
    return 0;
}

static int cancel_target(void *arg)
{
    gyre_context_cancel(((struct target *)arg)->context);
    return 0;
}

static int close_target(void *arg)
{
    gyre_chan_close(((struct target *)arg)->closing.sender);
    return 0;
}

static int send_to_target(void *arg)
{
    int number = 9;

    return gyre_chan_try_send(((struct target *)arg)->in.sender, &number);
}

static int receive_from_target(void *arg)
{
    int number = 0, got = gyre_chan_try_recv(((struct target *)arg)->out.receiver, &number);

    CHECK(got == -EAGAIN || (got == 1 && number == 5), "%d, %d", got, number);
    return got;
}

static int one_target(void *arg)
{
    static const gyre_fn others[] = {send_to_target, receive_from_target, close_target,
                                     cancel_target};
    struct random random = stress_random();
    unsigned long ways[5] = {0};

    (void)arg;
    while (stress_goes_on()) {
        struct target t = {0};
        gyre_handle handles[5];
        int results[4];

        t.in = channel_of(sizeof(int), 0);
        t.out = channel_of(sizeof(int), 0);
        t.closing = channel_of(0, 0);
        t.deadline = random_below(&random, 4) ? GYRE_HOUR : 20000 + random_below(&random, 60000);
        {
            GYRE_CANCELLABLE();
            t.context = gyre_context_current();
            CHECK(!gyre_spawn(&handles[4], target_select, &t), "no memory");
            if (t.deadline == GYRE_HOUR && random_below(&random, 8))
                await_senders(t.out, 1);
            GYRE_SHIELD();
            for (unsigned i = 0, first = random_below(&random, 4); i < 4; i++) {
                unsigned who = (first + i) % 4;

                CHECK(!gyre_spawn(&handles[who], others[who], &t), "no memory");
            }
            for (int i = 0; i < 4; i++)
                CHECK(!gyre_join(handles[i], &results[i]), "join");
            CHECK(!gyre_join(handles[4], NULL), "join");
        }
        CHECK(t.result >= -ECANCELED && t.result < 4, "%d", t.result);
        CHECK((t.result == 0) == (results[0] == 0) && (t.result == 0) == (t.received == 9),
              "chose %d, sent to: %d, received %d", t.result, results[0], t.received);
        CHECK((t.result == 1) == (results[1] == 1), "chose %d, received from: %d", t.result,
              results[1]);
        ways[t.result < 0 ? 4 : t.result]++;
        gyre_context_release(t.context);
        gyre_chan_release(t.in);
        gyre_chan_release(t.out);
        gyre_chan_release(t.closing);
    }
    printf("in %lu, out %lu, closed %lu, late %lu, cancelled %lu\n", ways[0], ways[1], ways[2],
           ways[3], ways[4]);
    return 0;
}

/* --- one of two is ready at every moment, so a default never is taken
 * ----------------------------- */

enum { BETWEEN = 200 };

static gyre_channel ends[2];
static atomic_ulong asked, answered;

static int looker(void *arg)
{
    gyre_channel idle = channel_of(sizeof(int), 0);
    struct gyre_case cases[BETWEEN + 3];
    unsigned long number = 0;

    (void)arg;
    cases[0] = gyre_case_recv(ends[1].receiver, NULL);
    for (int i = 1; i <= BETWEEN; i++)
        cases[i] = gyre_case_recv(idle.receiver, NULL);
    cases[BETWEEN + 1] = gyre_case_recv(ends[0].receiver, NULL);
    cases[BETWEEN + 2] = gyre_case_default();
    for (;;) {
        for (int spins = 0; atomic_load(&asked) == number && !atomic_load(&over); spins++)
            if (spins > 1000)
                gyre_yield();
        if (atomic_load(&over))
            break;
        number++;
        CHECK(gyre_select(cases) != BETWEEN + 2, "the default, though one was ready");
        atomic_store(&answered, number);
    }
    gyre_chan_release(idle);
    return 0;
}

static int one_moment(void *arg)
{
    struct random random = stress_random();
    unsigned long number = 0;
    gyre_handle handle;
    int n = 1;

    (void)arg;
    ends[0] = channel_of(sizeof n, 1);
    ends[1] = channel_of(sizeof n, 1);
    atomic_store(&over, false);
    atomic_store(&asked, 0);
    atomic_store(&answered, 0);
    CHECK(!gyre_spawn(&handle, looker, NULL), "no memory");
    while (stress_goes_on()) {
        CHECK(!gyre_chan_send(ends[0].sender, &n), "send");
        atomic_store(&asked, ++number);
        stress_pause(&random);
        CHECK(!gyre_chan_send(ends[1].sender, &n), "send");
        gyre_chan_try_recv(ends[0].receiver, NULL);
        for (int spins = 0; atomic_load(&answered) < number; spins++)
            if (spins > 1000)
                gyre_yield();
        gyre_chan_try_recv(ends[0].receiver, NULL);
        gyre_chan_try_recv(ends[1].receiver, NULL);
    }
    atomic_store(&over, true);
    CHECK(!gyre_join(handle, NULL), "join");
    gyre_chan_release(ends[0]);
    gyre_chan_release(ends[1]);
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_slice /= 4;
    stress_run("opposite orders", opposite_orders);
    stress_run("loners", loners);
    stress_run("one target", one_target);
    stress_run("one moment", one_moment);
    printf("%lu selects\n", rounds_done);
    return 0;
}
