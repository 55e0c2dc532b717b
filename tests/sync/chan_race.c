/*
 * Channels against everything at once. Aimed at: the claim of a waiter against the end of its
 * context, after the hand-over and before; a waiter unlinked by itself against one unlinked by a
 * waker; the commit of a wait against its wake, and against the end of its context; a close against
 * all of these; threads that are no workers on the other side. What passes through are descriptors
 * and counted tokens: afterwards none is lost, doubled or left open.
 */
#include "../sched/stress.h"
#include "queues.h"

#include <fcntl.h>
#include <sys/eventfd.h>

enum { SENDERS = 8, RECEIVERS = 8, ROUND = 40 };

static atomic_int live, made, taken, given_up;
static atomic_bool over;
static gyre_channel channel;
static _Atomic(struct gyre_context *) shared[4];

static void check(int error)
{
    CHECK(error == -ECANCELED || error == -ETIMEDOUT, "%d", error);
}

/* --- tokens: one is alive from where it is made to where it is dropped ---------------------------
 */

static atomic_uchar tokens[1 << 20];

static unsigned make_token(void)
{
    unsigned token = (unsigned)atomic_fetch_add(&made, 1) % (1 << 20);

    atomic_fetch_add(&live, 1);
    CHECK(atomic_exchange(&tokens[token], 1) == 0, "token %u lives", token);
    return token;
}

static void drop_token(void *element)
{
    unsigned token = *(unsigned *)element;

    CHECK(atomic_exchange(&tokens[token], 0) == 1, "token %u twice", token);
    atomic_fetch_sub(&live, 1);
}

/* --- cancellation storms -------------------------------------------------------------------------
 */

static void share(struct random *random, struct gyre_context *context)
{
    gyre_context_release(atomic_exchange(&shared[random_below(random, 4)], context));
}

static void cancel_some(struct random *random)
{
    struct gyre_context *context = atomic_exchange(&shared[random_below(random, 4)], NULL);

    if (!context)
        return;
    stress_pause(random);
    gyre_context_cancel(context);
    gyre_context_release(context);
}

static int canceller(void *arg)
{
    struct random random = stress_random();

    (void)arg;
    while (!atomic_load(&over)) {
        cancel_some(&random);
        gyre_yield();
    }
    return 0;
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

static int send_token(struct random *random, unsigned token)
{
    GYRE_CANCELLABLE();
    share(random, gyre_context_current());
    stress_pause(random);
    return gyre_chan_send(channel.sender, &token);
}

static int token_sender(void *arg)
{
    struct random random = stress_random();

    (void)arg;
    while (!atomic_load(&over)) {
        unsigned token = make_token();
        int error = random_below(&random, 8) ? send_token(&random, token)
                                             : gyre_chan_try_send(channel.sender, &token);

        if (error) {
            if (error != -EAGAIN)
                check(error);
            drop_token(&token); /* still ours */
            atomic_fetch_add(&given_up, 1);
        }
        if (random_below(&random, 16) == 0)
            gyre_yield();
    }
    return 0;
}

static int receive_token(struct random *random, unsigned *token)
{
    GYRE_CANCELLABLE();
    share(random, gyre_context_current());
    stress_pause(random);
    return gyre_chan_recv(channel.receiver, token);
}

static int token_receiver(void *arg)
{
    struct random random = stress_random();
    unsigned token;

    (void)arg;
    for (;;) {
        int got = random_below(&random, 8) ? receive_token(&random, &token)
                                           : gyre_chan_try_recv(channel.receiver, &token);

        if (got == 1) {
            drop_token(&token);
            atomic_fetch_add(&taken, 1);
        } else if (got == 0) {
            return 0;
        } else if (got != -EAGAIN) {
            check(got);
        }
        if (random_below(&random, 16) == 0)
            gyre_yield();
    }
}

static void join_all(const gyre_handle *handles, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        CHECK(!gyre_join(handles[i], NULL), "join");
}

static unsigned capacity;

static int cancel_storm(void *arg)
{
    struct gyre_chan_options options = GYRE_CHAN_OPTIONS_INIT;
    gyre_handle senders[SENDERS], receivers[RECEIVERS], cancels;
    pthread_t thread;

    (void)arg;
    options.drop = drop_token;
    CHECK(!gyre_chan_make_options(&channel, sizeof(unsigned), capacity, &options), "no memory");
    atomic_store(&over, false);
    thread = race_thread(foreign_canceller, NULL);
    CHECK(!gyre_spawn(&cancels, canceller, NULL), "no memory");
    for (int i = 0; i < SENDERS; i++)
        CHECK(!gyre_spawn(&senders[i], token_sender, NULL), "no memory");
    for (int i = 0; i < RECEIVERS; i++)
        CHECK(!gyre_spawn(&receivers[i], token_receiver, NULL), "no memory");
    while (stress_goes_on())
        CHECK(!gyre_sleep(GYRE_MILLISECOND), "the outer context ended");
    atomic_store(&over, true);
    join_all(senders, SENDERS);
    gyre_chan_close(channel.sender);
    join_all(receivers, RECEIVERS);
    CHECK(!gyre_join(cancels, NULL), "join");
    pthread_join(thread, NULL);
    for (int i = 0; i < 4; i++)
        gyre_context_release(atomic_exchange(&shared[i], NULL));
    CHECK(gyre_chan_len(channel.receiver) == 0, "not drained");
    gyre_chan_release(channel);
    CHECK(atomic_load(&live) == 0, "%d tokens are lost", live);
    return 0;
}

/* --- descriptors, dropped wherever the channel goes away ----------------------------------------
 */

static void drop_descriptor(void *element)
{
    CHECK(!close(*(int *)element), "a descriptor was closed twice");
}

static int count_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 512; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static int descriptor_sender(void *arg)
{
    gyre_sender *sender = arg;
    struct random random = stress_random();
    int fd = eventfd(0, EFD_CLOEXEC);

    CHECK(fd >= 0, "no descriptor");
    GYRE_TIMEOUT(random_below(&random, 60000));
    if (gyre_chan_send(*sender, &fd) < 0)
        drop_descriptor(&fd);
    gyre_chan_release_sender(*sender);
    return 0;
}

static int descriptor_receiver(void *arg)
{
    gyre_receiver *receiver = arg;
    struct random random = stress_random();
    int fd = -1;

    GYRE_TIMEOUT(random_below(&random, 60000));
    if (gyre_chan_recv(*receiver, &fd) == 1)
        drop_descriptor(&fd);
    gyre_chan_release_receiver(*receiver);
    return 0;
}

static int descriptors(void *arg)
{
    struct gyre_chan_options options = GYRE_CHAN_OPTIONS_INIT;
    struct random random = stress_random();
    int before;

    (void)arg;
    options.drop = drop_descriptor;
    before = count_descriptors();
    while (stress_goes_on()) {
        gyre_handle handles[ROUND];
        gyre_channel c;

        CHECK(!gyre_chan_make_options(&c, sizeof(int), random_below(&random, 6), &options),
              "no memory");
        for (int i = 0; i < ROUND; i++) {
            bool sends = random_below(&random, 2);
            struct gyre_spawn_options spawn = GYRE_SPAWN_INIT;

            if (sends)
                gyre_chan_hold_sender(c.sender);
            else
                gyre_chan_hold_receiver(c.receiver);
            spawn.copy = sends ? (void *)&c.sender : (void *)&c.receiver;
            spawn.copy_size = sizeof c.sender;
            CHECK(!gyre_spawn_options(&handles[i], sends ? descriptor_sender : descriptor_receiver,
                                      NULL, &spawn),
                  "no memory");
        }
        gyre_chan_release(c); /* the last of them frees it, with what is left inside */
        join_all(handles, ROUND);
    }
    CHECK(count_descriptors() == before, "%d descriptors before, %d now", before,
          count_descriptors());
    return 0;
}

/* --- close storms
 * --------------------------------------------------------------------------------- */

static atomic_int woken;

static int wait_for_close(void *arg)
{
    gyre_channel *c = arg;
    struct random random = stress_random();
    int n = 7, got;

    stress_pause(&random);
    if (random_below(&random, 2)) {
        got = gyre_chan_recv(c->receiver, &n);
    } else {
        struct gyre_case cases[] = {gyre_case_recv(c->receiver, &n),
                                    gyre_case_recv(c->receiver, &n)};
        int chosen = gyre_select(cases);

        CHECK(chosen >= 0, "%d", chosen);
        got = cases[chosen].result;
    }
    CHECK(got == -EPIPE && n == 0, "%d, %d", got, n);
    atomic_fetch_add(&woken, 1);
    gyre_chan_release_receiver(c->receiver);
    return 0;
}

static void *foreign_close(void *arg)
{
    gyre_channel *c = arg;
    struct random random = stress_random();

    stress_pause(&random);
    gyre_chan_close_error(c->sender, -EPIPE);
    gyre_chan_release_sender(c->sender);
    return NULL;
}

static int closes(void *arg)
{
    struct random random = stress_random();

    (void)arg;
    while (stress_goes_on()) {
        gyre_handle handles[ROUND];
        gyre_channel c = channel_of(sizeof(int), 0);
        bool from_thread = random_below(&random, 4) == 0;
        pthread_t thread = 0;

        atomic_store(&woken, 0);
        for (int i = 0; i < ROUND; i++) {
            gyre_chan_hold_receiver(c.receiver);
            CHECK(!gyre_spawn(&handles[i], wait_for_close, &c), "no memory");
            if (i == ROUND / 2 && from_thread)
                thread = race_thread(foreign_close, &c);
        }
        for (unsigned i = random_below(&random, 3); i; i--)
            gyre_yield();
        if (from_thread)
            pthread_join(thread, NULL);
        else
            foreign_close(&c);
        join_all(handles, ROUND);
        CHECK(woken == ROUND, "%d woken", woken);
        gyre_chan_release_receiver(c.receiver);
    }
    return 0;
}

/* --- threads that are no workers
 * ------------------------------------------------------------------ */

static void *foreign_sender(void *arg)
{
    struct random random = stress_random();

    while (!atomic_load(&over)) {
        unsigned token = make_token();

        while (gyre_chan_try_send(channel.sender, &token) == -EAGAIN) {
            if (atomic_load(&over)) {
                drop_token(&token);
                return arg;
            }
            if (random_below(&random, 10) == 0)
                sched_yield();
        }
    }
    return arg;
}

static void *foreign_receiver(void *arg)
{
    unsigned token;
    int got;

    while ((got = gyre_chan_try_recv(channel.receiver, &token))) {
        if (got == 1)
            drop_token(&token);
        else
            sched_yield();
    }
    return arg;
}

static int plain_sender(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        unsigned token = make_token();

        CHECK(!gyre_chan_send(channel.sender, &token), "send");
    }
    return 0;
}

static int foreigners(void *arg)
{
    gyre_handle senders[3], receivers[3];
    pthread_t threads[2];

    (void)arg;
    channel = channel_of(sizeof(unsigned), capacity);
    atomic_store(&over, false);
    for (int i = 0; i < 3; i++) {
        CHECK(!gyre_spawn(&senders[i], plain_sender, NULL), "no memory");
        CHECK(!gyre_spawn(&receivers[i], token_receiver, NULL), "no memory");
    }
    threads[0] = race_thread(foreign_sender, NULL);
    threads[1] = race_thread(foreign_receiver, NULL);
    while (stress_goes_on())
        CHECK(!gyre_sleep(GYRE_MILLISECOND), "the outer context ended");
    atomic_store(&over, true);
    join_all(senders, 3);
    pthread_join(threads[0], NULL);
    gyre_chan_close(channel.sender);
    join_all(receivers, 3);
    pthread_join(threads[1], NULL);
    for (int i = 0; i < 4; i++)
        gyre_context_release(atomic_exchange(&shared[i], NULL));
    gyre_chan_release(channel);
    CHECK(atomic_load(&live) == 0, "%d tokens are lost", live);
    return 0;
}

/* --- a context that ends once, while its coroutine begins to wait where nobody comes
 * -------------- */

static _Atomic(struct gyre_context *) lone;

static void *cancel_the_lone(void *arg)
{
    struct random random = stress_random();

    while (!atomic_load(&over)) {
        struct gyre_context *context = atomic_exchange(&lone, NULL);

        if (!context)
            continue;
        stress_pause(&random);
        gyre_context_cancel(context);
        gyre_context_release(context);
    }
    return arg;
}

static int wait_somehow(struct random *random, gyre_channel idle)
{
    struct gyre_case cases[] = {gyre_case_recv(idle.receiver, NULL),
                                gyre_case_send(idle.sender, NULL)};
    GYRE_CANCELLABLE();

    atomic_store(&lone, gyre_context_current());
    stress_pause(random);
    switch (random_below(random, 5)) {
    case 0:
        return gyre_chan_recv(idle.receiver, NULL);
    case 1:
        return gyre_chan_send(idle.sender, NULL);
    case 2:
        return gyre_chan_recv((gyre_receiver){NULL}, NULL);
    case 3:
        return gyre_select_n(NULL, 0);
    default:
        return gyre_select(cases);
    }
}

static int lone_waits(void *arg)
{
    struct random random = stress_random();
    gyre_channel idle = channel_of(0, 0);
    pthread_t thread;

    (void)arg;
    atomic_store(&over, false);
    thread = race_thread(cancel_the_lone, NULL);
    while (stress_goes_on()) {
        int error = wait_somehow(&random, idle);

        CHECK(error == -ECANCELED, "%d", error);
    }
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    gyre_chan_release(idle);
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_slice /= 7;
    for (capacity = 0; capacity < 4; capacity += 3) {
        stress_run("cancels", cancel_storm);
        stress_run("foreigners", foreigners);
    }
    stress_run("descriptors", descriptors);
    stress_run("closes", closes);
    stress_run("lone waits", lone_waits);
    printf("%d tokens, %d received, %d not sent\n", made, taken, given_up);
    return 0;
}
