/*
 * Watches that come and go while signals arrive: who watches from before a signal was sent gets
 * it, scopes that a signal cancels end once, and at the end all is as it was before.
 */
#include "sched/preempt.h"
#include "stress.h"

#include <gyre/signal.h>

enum { WATCHERS = 6 };

static atomic_bool over;
static atomic_ulong received, cancels;

/* Always there, so that none strikes. */
static int receive(void *arg)
{
    gyre_signals_receiver *channel = arg;
    struct gyre_signal signal;

    while (gyre_signals_recv(*channel, &signal) > 0) {
        CHECK(signal.number == SIGUSR1 || signal.number == SIGUSR2);
        atomic_fetch_add(&received, 1);
    }
    return 0;
}

static int come_and_go(void *arg)
{
    struct random random = stress_random(*(uint64_t *)arg);

    while (!atomic_load(&over)) {
        if (random_below(&random, 2)) {
            GYRE_TIMEOUT((int64_t)random_below(&random, 500) * GYRE_MICROSECOND);
            int error = gyre_signal_cancels(SIGUSR1, SIGUSR2);

            CHECK(!error || error == -ETIMEDOUT);
            if (gyre_sleep(GYRE_MILLISECOND) == -ECANCELED) {
                CHECK_EQ(gyre_context_cause(), -EINTR);
                atomic_fetch_add(&cancels, 1);
            }
        } else {
            GYRE_TIMEOUT(GYRE_MILLISECOND);
            int result = gyre_signal_wait(NULL, SIGUSR2);

            CHECK(result == SIGUSR2 || result == -ETIMEDOUT);
        }
    }
    return 0;
}

static int all(void *unused)
{
    struct gyre_signal_watch *watch;
    gyre_signals_receiver channel;
    struct gyre_signal signal;
    gyre_handle receiver;

    (void)unused;
    atomic_store(&over, false);
    CHECK_EQ(gyre_signal_watch(&watch, SIGUSR1, SIGUSR2), 0);
    channel = gyre_signals_hold_receiver(gyre_signal_channel(watch));
    CHECK_EQ(gyre_spawn(&receiver, receive, &channel), 0);
    {
        GYRE_NURSERY(watchers);
        for (uint64_t i = 0; i < WATCHERS; i++)
            CHECK_EQ(gyre_group_go_copy(&watchers, come_and_go, &i, sizeof i), 0);
        for (unsigned long i = 0; i < stress_rounds(500); i++) {
            unsigned long before = atomic_load(&received);
            struct gyre_signal_watch *own;

            CHECK_EQ(gyre_signal_watch(&own, SIGUSR1), 0);
            CHECK_EQ(kill(getpid(), SIGUSR1), 0);
            CHECK_EQ(gyre_signals_recv(gyre_signal_channel(own), &signal), 1);
            gyre_signal_stop(own);
            CHECK_EQ(raise(SIGUSR2), 0);
            while (atomic_load(&received) == before)
                gyre_yield();
        }
        atomic_store(&over, true);
    }
    gyre_signal_stop(watch);
    CHECK_EQ(gyre_join(receiver, NULL), 0);
    gyre_signals_release_receiver(channel);
    return 0;
}

#ifdef PREEMPT_SIGNALS
static int compute(void *unused)
{
    (void)unused;
    while (!atomic_load_explicit(&over, memory_order_relaxed))
        ;
    return 0;
}

/* Who computes on every worker is interrupted, with handlers of signals in between. */
static int among_hogs(void *unused)
{
    struct gyre_signal_watch *watch;
    struct gyre_signal signal;

    (void)unused;
    atomic_store(&over, false);
    CHECK_EQ(gyre_signal_watch(&watch, SIGUSR1), 0);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(gyre_go(compute, NULL), 0);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(i % 2 ? raise(SIGUSR1) : kill(getpid(), SIGUSR1), 0);
        CHECK_EQ(gyre_signals_recv(gyre_signal_channel(watch), &signal), 1);
    }
    atomic_store(&over, true);
    gyre_signal_stop(watch);
    return 0;
}
#endif

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run_each("signals", 0, all);
#ifdef PREEMPT_SIGNALS
    stress_run_each("among hogs", 0, among_hogs);
#endif
    printf("%lu received, %lu scopes cancelled\n", received, cancels);
    return 0;
}
