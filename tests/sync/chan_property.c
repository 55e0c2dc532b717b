/*
 * Random programs over a few channels, each from a seed: coroutines that send, receive and select,
 * with and without waiting, under contexts that are cancelled or time out at any moment, from
 * coroutines and from a foreign thread; whoever is the last to send on a channel closes it.
 *
 * What must hold of every program: what was sent is received exactly once and whole, what failed to
 * be sent never is, and each receiver gets the elements of one sender on one channel in the order
 * in which they were sent. At the end nobody is left in a queue and nothing in a buffer.
 *
 *     chan_property [seed of the first program [how many programs]]
 *
 * A program with one worker and no foreign thread is the same each time it is run.
 */
#include "../sched/race.h"
#include "queues.h"

#include <errno.h>
#include <string.h>

enum {
    CHANNELS_MAX = 5,
    SENDERS_MAX = 12,
    RECEIVERS_MAX = 8,
    SENT_MAX = 60, /* by one sender on one channel */
    SHARED = 6,
    CASES_MAX = 12,
    ELEMENT_LARGE = 200,
};

struct token {
    uint16_t sender, channel;
    uint32_t number;
};

union element {
    struct token token;
    unsigned char bytes[ELEMENT_LARGE];
};

struct actor {
    struct random random;
    unsigned index;
    bool receives;
    unsigned left[CHANNELS_MAX];   /* to send */
    unsigned number[CHANNELS_MAX]; /* of the next one */
    bool over[CHANNELS_MAX];       /* seen closed */
    uint32_t expected[SENDERS_MAX][CHANNELS_MAX];
    gyre_handle handle;
};

static struct program {
    uint64_t seed;
    struct random random;
    unsigned channels, senders, receivers;
    bool foreign;
    gyre_channel channel[CHANNELS_MAX];
    size_t size[CHANNELS_MAX];
    int close_error[CHANNELS_MAX];
    atomic_int active[CHANNELS_MAX]; /* who may still send */
    atomic_uchar seen[SENDERS_MAX][CHANNELS_MAX][SENT_MAX];
    struct actor actors[SENDERS_MAX + RECEIVERS_MAX];
    _Atomic(struct gyre_context *) shared[SHARED]; /* what the cancellers aim at */
    atomic_bool ended;
} program;

static atomic_ulong sends, receives, failures, cancels;

#define HOLDS(condition)                                                                           \
    CHECK(condition, "program %llu, %u workers", (unsigned long long)program.seed,                 \
          gyre_worker_count())

/* --- elements ----------------------------------------------------------------------------------
 */

static void write_element(union element *element, const struct actor *self, unsigned c)
{
    memset(element, (int)(self->index + self->number[c]), program.size[c]);
    element->token = (struct token){(uint16_t)self->index, (uint16_t)c, self->number[c]};
}

static void check_element(struct actor *self, unsigned c, const union element *element)
{
    struct token token = element->token;

    HOLDS(token.channel == c && token.sender < program.senders && token.number < SENT_MAX);
    for (size_t i = sizeof token; i < program.size[c]; i++)
        HOLDS(element->bytes[i] == (unsigned char)(token.sender + token.number));
    HOLDS(token.number >= self->expected[token.sender][c]);
    self->expected[token.sender][c] = token.number + 1;
    HOLDS(atomic_fetch_add(&program.seen[token.sender][c][token.number], 1) == 0);
    atomic_fetch_add(&receives, 1);
}

/* --- what an actor does, one step --------------------------------------------------------------
 */

static bool context_ended(int result)
{
    return result < 0 && result == gyre_context_error();
}

static void was_sent(struct actor *self, unsigned c)
{
    atomic_fetch_add(&sends, 1);
    self->number[c]++;
    if (--self->left[c] == 0 && atomic_fetch_sub(&program.active[c], 1) == 1)
        gyre_chan_close_error(program.channel[c].sender, program.close_error[c]);
}

static void was_received(struct actor *self, unsigned c, int result, const union element *element)
{
    if (result == 1) {
        check_element(self, c, element);
        return;
    }
    HOLDS(result == program.close_error[c]);
    for (size_t i = 0; i < program.size[c]; i++)
        HOLDS(!element->bytes[i]);
    self->over[c] = true;
}

static void send_one(struct actor *self, unsigned c, bool wait)
{
    union element element;
    int result;

    write_element(&element, self, c);
    result = wait ? gyre_chan_send(program.channel[c].sender, &element)
                  : gyre_chan_try_send(program.channel[c].sender, &element);
    if (result == 0) {
        was_sent(self, c);
    } else {
        HOLDS(wait ? context_ended(result) : result == -EAGAIN);
        atomic_fetch_add(&failures, 1);
    }
}

static void receive_one(struct actor *self, unsigned c, bool wait)
{
    union element element;
    int result;

    memset(&element, 0xcd, sizeof element);
    result = wait ? gyre_chan_recv(program.channel[c].receiver, &element)
                  : gyre_chan_try_recv(program.channel[c].receiver, &element);
    if (result == -EAGAIN || (wait && context_ended(result))) {
        for (size_t i = 0; i < sizeof element; i++)
            HOLDS(element.bytes[i] == 0xcd);
        atomic_fetch_add(&failures, 1);
    } else {
        was_received(self, c, result, &element);
    }
}

static struct gyre_case random_case(struct actor *self, unsigned c, union element *element)
{
    if (self->left[c] && (!self->receives || random_below(&self->random, 2))) {
        write_element(element, self, c);
        return gyre_case_send(program.channel[c].sender, element);
    }
    if (!self->receives || self->over[c])
        return gyre_case_recv((gyre_receiver){NULL}, element);
    memset(element, 0xcd, sizeof *element);
    return gyre_case_recv(program.channel[c].receiver, element);
}

static void select_some(struct actor *self)
{
    unsigned count = random_below(&self->random, CASES_MAX - 2), channel_of_case[CASES_MAX] = {0};
    union element elements[CASES_MAX];
    struct gyre_case cases[CASES_MAX];
    int chosen;

    for (unsigned i = 0; i < count; i++) {
        channel_of_case[i] = random_below(&self->random, program.channels);
        cases[i] = random_case(self, channel_of_case[i], &elements[i]);
    }
    /* None of them may ever be ready, so all have a way out. */
    if (random_below(&self->random, 2))
        cases[count] = gyre_case_default();
    else
        cases[count] = gyre_case_after(random_below(&self->random, 200000));
    chosen = gyre_select_n(cases, count + 1);
    if (chosen == (int)count || context_ended(chosen)) {
        atomic_fetch_add(&failures, 1);
        chosen = (int)count;
    }
    HOLDS(chosen >= 0);
    for (unsigned i = 0; i < count; i++)
        if (i != (unsigned)chosen && cases[i].kind == GYRE_CASE_RECV && cases[i].on)
            HOLDS(elements[i].bytes[0] == 0xcd && elements[i].bytes[7] == 0xcd);
    if (chosen == (int)count)
        return;
    if (cases[chosen].kind == GYRE_CASE_SEND)
        was_sent(self, channel_of_case[chosen]);
    else
        was_received(self, channel_of_case[chosen], cases[chosen].result, &elements[chosen]);
}

static void step(struct actor *self)
{
    unsigned c = random_below(&self->random, program.channels);
    bool may_send = self->left[c], may_receive = self->receives && !self->over[c];

    if (random_below(&self->random, 3) == 0)
        select_some(self);
    else if (may_send)
        send_one(self, c, random_below(&self->random, 4));
    else if (may_receive)
        receive_one(self, c, random_below(&self->random, 4));
    else if (random_below(&self->random, 4) == 0)
        (void)gyre_yield();
}

/* --- contexts that end -------------------------------------------------------------------------
 */

static void share(struct random *random, struct gyre_context *context)
{
    gyre_context_release(atomic_exchange(&program.shared[random_below(random, SHARED)], context));
}

static void cancel_some(struct random *random)
{
    struct gyre_context *context =
        atomic_exchange(&program.shared[random_below(random, SHARED)], NULL);

    if (!context)
        return;
    gyre_context_cancel(context);
    gyre_context_release(context);
    atomic_fetch_add(&cancels, 1);
}

/* Whoever waits depends on others, who may wait for him: none does without an end. */
static void step_in_scope(struct actor *self)
{
    bool soon = random_below(&self->random, 4) == 0;
    GYRE_TIMEOUT(soon ? random_below(&self->random, 60000) : GYRE_MILLISECOND / 2);

    if (random_below(&self->random, 2)) {
        step(self);
    } else {
        GYRE_CANCELLABLE();
        share(&self->random, gyre_context_current());
        for (unsigned i = 0; i < 3; i++)
            step(self);
    }
}

static bool has_work(const struct actor *self)
{
    for (unsigned c = 0; c < program.channels; c++)
        if (self->left[c] || (self->receives && !self->over[c]))
            return true;
    return false;
}

static int act(void *arg)
{
    struct actor *self = arg;

    while (has_work(self)) {
        step_in_scope(self);
        if (random_below(&self->random, 5) == 0)
            cancel_some(&self->random);
    }
    return 0;
}

static void *foreign(void *arg)
{
    struct random random = {program.seed ^ 77};

    while (!atomic_load(&program.ended)) {
        cancel_some(&random);
        sched_yield();
    }
    return arg;
}

/* --- programs ----------------------------------------------------------------------------------
 */

static unsigned between(unsigned least, unsigned most)
{
    return least + random_below(&program.random, most - least + 1);
}

static void make_program(void)
{
    static const size_t sizes[] = {sizeof(struct token), 24, ELEMENT_LARGE};
    static const int errors[] = {0, -EPIPE, -ENODATA};

    program.channels = between(1, CHANNELS_MAX);
    program.senders = between(1, SENDERS_MAX);
    program.receivers = between(1, RECEIVERS_MAX);
    memset(program.seen, 0, sizeof program.seen);
    memset(program.actors, 0, sizeof program.actors);
    for (unsigned c = 0; c < program.channels; c++) {
        program.size[c] = sizes[between(0, 2)];
        program.channel[c] = channel_of(program.size[c], between(0, 1) ? 0 : between(1, 4));
        program.close_error[c] = errors[between(0, 2)];
        atomic_store(&program.active[c], 0);
    }
    for (unsigned i = 0; i < program.senders + program.receivers; i++) {
        struct actor *actor = &program.actors[i];

        actor->index = i;
        actor->random.state = random_next(&program.random);
        actor->receives = i >= program.senders || between(0, 3) == 0;
        for (unsigned c = 0; c < program.channels && i < program.senders; c++) {
            actor->left[c] = between(0, 1) ? between(1, SENT_MAX) : 0;
            if (i == 0 && !actor->left[c])
                actor->left[c] = 1; /* somebody closes each */
            if (actor->left[c])
                atomic_fetch_add(&program.active[c], 1);
        }
    }
}

static void check_program(void)
{
    for (unsigned c = 0; c < program.channels; c++) {
        struct gyre_chan *chan = program.channel[c].sender.chan;

        HOLDS(!chan_first(&chan->senders) && !chan_first(&chan->receivers) && !chan_count(chan));
        for (unsigned i = 0; i < program.senders; i++)
            for (unsigned number = 0; number < SENT_MAX; number++)
                HOLDS(program.seen[i][c][number] == (number < program.actors[i].number[c]));
        gyre_chan_release(program.channel[c]);
    }
}

static int run_program(void *arg)
{
    unsigned actors;
    pthread_t thread = 0;

    (void)arg;
    make_program();
    actors = program.senders + program.receivers;
    atomic_store(&program.ended, false);
    if (program.foreign)
        thread = race_thread(foreign, NULL);
    for (unsigned i = 0; i < actors; i++)
        HOLDS(!gyre_spawn(&program.actors[i].handle, act, &program.actors[i]));
    for (unsigned i = 0; i < actors; i++)
        HOLDS(!gyre_join(program.actors[i].handle, NULL));
    atomic_store(&program.ended, true);
    if (program.foreign)
        pthread_join(thread, NULL);
    for (int i = 0; i < SHARED; i++)
        gyre_context_release(atomic_exchange(&program.shared[i], NULL));
    check_program();
    return 0;
}

static void hangs(int signal)
{
    char text[100];
    int length =
        snprintf(text, sizeof text, "program %llu hangs\n", (unsigned long long)program.seed);

    (void)signal;
    _exit(write(STDERR_FILENO, text, (size_t)length) < 0 ? 2 : 1);
}

int main(int argc, char **argv)
{
    static const unsigned workers[] = {1, 2, 5};
    uint64_t first = 0;
    unsigned long count = argc > 2 ? strtoul(argv[2], NULL, 0) : 300;

    if (argc > 1)
        first = strtoull(argv[1], NULL, 0);
    else if (getrandom(&first, 4, 0) < 0)
        first = (uint64_t)getpid();
    printf("seed %llu\n", (unsigned long long)first);
    fflush(stdout);
    signal(SIGALRM, hangs);
    for (unsigned long i = 0; i < count; i++) {
        struct gyre_options options = GYRE_OPTIONS_INIT;

        program.seed = first + i;
        program.random.state = program.seed;
        options.seed = program.seed | 1;
        options.workers = workers[between(0, 2)];
        program.foreign = between(0, 1);
        alarm(60);
        CHECK(!gyre_run_options(run_program, NULL, &options), "program %llu",
              (unsigned long long)program.seed);
    }
    printf("%lu programs: %lu sent, %lu received, %lu in vain, %lu cancelled\n", count, sends,
           receives, failures, cancels);
    CHECK(sends == receives, "from seed %llu", (unsigned long long)first);
    return 0;
}
