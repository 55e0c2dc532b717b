/* gyre/signal.h: what is watched comes as a value, to each that watches, and only as long. */
#include "harness.h"

#include <gyre/signal.h>

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

static volatile sig_atomic_t handled; /* by the program's own handler */

static void handle(int number)
{
    handled = number;
}

static void raise_process(int number)
{
    EXPECT_EQ(kill(getpid(), number), 0);
}

static bool is_default(int number)
{
    struct sigaction action;

    return !sigaction(number, NULL, &action) && action.sa_handler == SIG_DFL;
}

INSIDE(signal, received)
{
    struct gyre_signal_watch *watch;
    struct gyre_signal signal;

    EXPECT_EQ(gyre_signal_watch(&watch, SIGUSR1, SIGHUP), 0);
    raise_process(SIGUSR1);
    EXPECT_EQ(gyre_signals_recv(gyre_signal_channel(watch), &signal), 1);
    EXPECT_EQ(signal.number, SIGUSR1);
    EXPECT_EQ(signal.code, SI_USER);
    EXPECT_EQ(signal.pid, getpid());
    EXPECT_EQ(signal.uid, getuid());
    raise_process(SIGHUP);
    EXPECT_EQ(gyre_signals_recv(gyre_signal_channel(watch), &signal), 1);
    EXPECT_EQ(signal.number, SIGHUP);
    gyre_signal_stop(watch);
    EXPECT(is_default(SIGUSR1) && is_default(SIGHUP));
    gyre_signal_stop(NULL);
    return 0;
}

INSIDE(signal, value)
{
    const union sigval value = {.sival_ptr = &failed_expectations};
    struct gyre_signal_watch *watch;
    struct gyre_signal signal;

    EXPECT_EQ(gyre_signal_watch(&watch, SIGRTMIN + 1), 0);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(sigqueue(getpid(), SIGRTMIN + 1, value), 0);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(gyre_signals_recv(gyre_signal_channel(watch), &signal), 1);
        EXPECT_EQ(signal.number, SIGRTMIN + 1);
        EXPECT_EQ(signal.code, SI_QUEUE);
        EXPECT_EQ(signal.value, (intptr_t)&failed_expectations);
    }
    gyre_signal_stop(watch);
    return 0;
}

INSIDE(signal, refused)
{
    static const int refused[] = {SIGURG,  SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP,
                                  SIGKILL, SIGSTOP, 65,     -1,     32};
    struct gyre_signal_watch *watch = NULL;

    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        EXPECT_EQ(gyre_signal_watch(&watch, SIGUSR1, refused[i]), -EINVAL);
    EXPECT_EQ(gyre_signal_watch_all(&watch, (const int[]){0}), -EINVAL);
    EXPECT_EQ(gyre_signal_watch_all(&watch, NULL), -EINVAL);
    EXPECT_EQ(gyre_signal_wait(NULL, SIGURG), -EINVAL);
    EXPECT(!watch);
    EXPECT(is_default(SIGUSR1));
    return 0;
}

/* --- several -------------------------------------------------------------------------------- */

INSIDE(signal, each_watch_gets_it)
{
    struct gyre_signal_watch *watches[3];
    struct gyre_signal signal;

    EXPECT_EQ(gyre_signal_watch(&watches[0], SIGUSR1), 0);
    EXPECT_EQ(gyre_signal_watch(&watches[1], SIGUSR1, SIGUSR2), 0);
    EXPECT_EQ(gyre_signal_watch(&watches[2], SIGUSR2), 0);
    raise_process(SIGUSR1);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(gyre_signals_recv(gyre_signal_channel(watches[i]), &signal), 1);
    gyre_signal_stop(watches[1]);
    EXPECT(is_default(SIGUSR1) == false);
    raise_process(SIGUSR1);
    EXPECT_EQ(gyre_signals_recv(gyre_signal_channel(watches[0]), &signal), 1);
    EXPECT_EQ(gyre_signals_try_recv(gyre_signal_channel(watches[2]), &signal), -EAGAIN);
    gyre_signal_stop(watches[0]);
    gyre_signal_stop(watches[2]);
    return 0;
}

INSIDE(signal, more_than_fit_are_dropped)
{
    struct gyre_signal_watch *watch, *other;
    struct gyre_signal signal;
    int count = 0;

    EXPECT_EQ(gyre_signal_watch(&watch, SIGRTMIN + 2), 0);
    EXPECT_EQ(gyre_signal_watch(&other, SIGRTMIN + 3), 0);
    for (int i = 0; i < 40; i++)
        EXPECT_EQ(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = i}), 0);
    /* The lower number comes first: when this one is here, those were handed out. */
    EXPECT_EQ(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 0}), 0);
    EXPECT_EQ(gyre_signals_recv(gyre_signal_channel(other), &signal), 1);
    while (gyre_signals_try_recv(gyre_signal_channel(watch), &signal) == 1)
        count++;
    EXPECT(count >= 16 && count <= 40);
    gyre_signal_stop(watch);
    gyre_signal_stop(other);
    return 0;
}

/* --- before and after ------------------------------------------------------------------------- */

INSIDE(signal, what_was_before_comes_back)
{
    struct gyre_signal_watch *watch;
    struct gyre_signal signal;

    handled = 0;
    EXPECT(sigaction(SIGUSR1, &(struct sigaction){.sa_handler = handle}, NULL) == 0);
    EXPECT_EQ(gyre_signal_watch(&watch, SIGUSR1), 0);
    raise_process(SIGUSR1);
    EXPECT_EQ(gyre_signals_recv(gyre_signal_channel(watch), &signal), 1);
    EXPECT_EQ(handled, 0);
    gyre_signal_stop(watch);
    EXPECT_EQ(raise(SIGUSR1), 0);
    EXPECT_EQ(handled, SIGUSR1);
    EXPECT(sigaction(SIGUSR1, &(struct sigaction){.sa_handler = SIG_DFL}, NULL) == 0);
    return 0;
}

INSIDE(signal, the_programs_later_handler_stays)
{
    struct gyre_signal_watch *watch;

    EXPECT_EQ(gyre_signal_watch(&watch, SIGUSR2), 0);
    EXPECT(sigaction(SIGUSR2, &(struct sigaction){.sa_handler = handle}, NULL) == 0);
    gyre_signal_stop(watch);
    handled = 0;
    EXPECT_EQ(raise(SIGUSR2), 0);
    EXPECT_EQ(handled, SIGUSR2);
    EXPECT(sigaction(SIGUSR2, &(struct sigaction){.sa_handler = SIG_DFL}, NULL) == 0);
    return 0;
}

INSIDE(signal, stopped_channel_is_closed)
{
    struct gyre_signal_watch *watch;
    gyre_signals_receiver channel;
    struct gyre_signal signal;

    EXPECT_EQ(gyre_signal_watch(&watch, SIGUSR1), 0);
    channel = gyre_signals_hold_receiver(gyre_signal_channel(watch));
    gyre_signal_stop(watch);
    EXPECT_EQ(gyre_signals_recv(channel, &signal), 0);
    gyre_signals_release_receiver(channel);
    return 0;
}

/* --- blocked by the program --------------------------------------------------------------------
 */

static int receive_blocked(void *unused)
{
    struct gyre_signal signal;

    (void)unused;
    EXPECT_EQ(raise(SIGUSR1), 0); /* pending for this thread only: not for us */
    EXPECT_EQ(kill(getpid(), SIGTERM), 0);
    EXPECT_EQ(gyre_signal_wait(&signal, SIGTERM), SIGTERM);
    EXPECT_EQ(signal.pid, getpid());
    EXPECT_EQ(signal.code, SI_USER);
    EXPECT_EQ(sigqueue(getpid(), SIGTERM, (union sigval){.sival_ptr = &failed_expectations}), 0);
    EXPECT_EQ(gyre_signal_wait(&signal, SIGTERM), SIGTERM);
    EXPECT_EQ(signal.value, (intptr_t)&failed_expectations);
    return 0;
}

Test(signal, blocked_in_all_threads)
{
    sigset_t mask, before;

    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &mask, &before);
    run_on_each(receive_blocked);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static int send_when_watched(void *arg)
{
    while (is_default(SIGUSR1))
        gyre_yield();
    raise_process(*(int *)arg);
    return 0;
}

INSIDE(signal, wait)
{
    int number = SIGUSR1;
    struct gyre_signal signal;

    EXPECT_EQ(gyre_go_copy(send_when_watched, &number, sizeof number), 0);
    EXPECT_EQ(gyre_signal_wait(&signal, SIGUSR1, SIGUSR2), SIGUSR1);
    EXPECT_EQ(signal.number, SIGUSR1);
    {
        GYRE_TIMEOUT(10 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_signal_wait(NULL, SIGUSR1), -ETIMEDOUT);
    }
    EXPECT(is_default(SIGUSR1));
    return 0;
}

INSIDE(signal, select)
{
    struct gyre_signal_watch *watch;
    struct gyre_signal signal;

    EXPECT_EQ(gyre_signal_watch(&watch, SIGUSR1), 0);
    {
        struct gyre_case cases[] = {
            gyre_signals_case_recv(gyre_signal_channel(watch), &signal),
            gyre_case_after(5 * GYRE_MILLISECOND),
        };

        EXPECT_EQ(gyre_select(cases), 1);
    }
    raise_process(SIGUSR1);
    {
        struct gyre_case cases[] = {
            gyre_signals_case_recv(gyre_signal_channel(watch), &signal),
            gyre_case_after(GYRE_MINUTE),
        };

        EXPECT_EQ(gyre_select(cases), 0);
    }
    gyre_signal_stop(watch);
    return 0;
}

/* --- cancelling ------------------------------------------------------------------------------- */

INSIDE(signal, cancels)
{
    GYRE_CANCELLABLE();
    EXPECT_EQ(gyre_signal_cancels(SIGUSR1, SIGUSR2), 0);
    EXPECT(!is_default(SIGUSR1));
    raise_process(SIGUSR2);
    EXPECT_EQ(gyre_sleep(GYRE_MINUTE), -ECANCELED);
    EXPECT_EQ(gyre_context_cause(), -EINTR);
    EXPECT(is_default(SIGUSR1) && is_default(SIGUSR2));
    EXPECT_EQ(gyre_signal_cancels(SIGUSR1), -ECANCELED);
    return 0;
}

INSIDE(signal, cancels_until_the_scope_ends)
{
    {
        GYRE_TIMEOUT(GYRE_MINUTE);
        EXPECT_EQ(gyre_signal_cancels(SIGUSR1), 0);
        EXPECT_EQ(gyre_signal_cancels(SIGUSR1), 0);
        EXPECT(!is_default(SIGUSR1));
    }
    EXPECT(is_default(SIGUSR1));
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_signal_cancels(SIGUSR1), 0);
        EXPECT_EQ(gyre_sleep(GYRE_MINUTE), -ETIMEDOUT);
        EXPECT(is_default(SIGUSR1));
    }
    return 0;
}

INSIDE(signal, cancels_through_a_handle)
{
    struct gyre_context *context;

    EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &context), 0);
    {
        GYRE_WITH_CONTEXT(context);
        EXPECT_EQ(gyre_signal_cancels(SIGUSR1), 0);
        raise_process(SIGUSR1);
        EXPECT_EQ(gyre_sleep(GYRE_MINUTE), -ECANCELED);
    }
    EXPECT_EQ(gyre_context_error_of(context), -ECANCELED);
    EXPECT_EQ(gyre_context_cause_of(context), -EINTR);
    gyre_context_release(context);
    return 0;
}

INSIDE(signal, cancels_what_can_be_cancelled)
{
    EXPECT_EQ(gyre_signal_cancels(SIGUSR1), -EINVAL);
    {
        GYRE_SHIELD();
        EXPECT_EQ(gyre_signal_cancels(SIGUSR1), -EINVAL);
    }
    {
        GYRE_WITH_CONTEXT(gyre_context_background());
        EXPECT_EQ(gyre_signal_cancels(SIGUSR1), -EINVAL);
    }
    {
        GYRE_CANCELLABLE();
        EXPECT_EQ(gyre_signal_cancels(SIGKILL), -EINVAL);
    }
    EXPECT(is_default(SIGUSR1));
    return 0;
}

/* --- beside others ---------------------------------------------------------------------------- */

static void *sleep_on_thread(void *stop)
{
    while (!atomic_load((atomic_bool *)stop))
        usleep(100);
    return NULL;
}

/* Whichever thread the kernel gives it to. */
INSIDE(signal, foreign_threads)
{
    struct gyre_signal_watch *watch;
    struct gyre_signal signal;
    atomic_bool stop = false;
    pthread_t threads[3];

    for (int i = 0; i < 3; i++)
        EXPECT_EQ(pthread_create(&threads[i], NULL, sleep_on_thread, &stop), 0);
    EXPECT_EQ(gyre_signal_watch(&watch, SIGUSR1), 0);
    for (int i = 0; i < 100; i++) {
        if (i % 2)
            raise_process(SIGUSR1);
        else
            EXPECT_EQ(pthread_kill(threads[i % 3], SIGUSR1), 0);
        EXPECT_EQ(gyre_signals_recv(gyre_signal_channel(watch), &signal), 1);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    gyre_signal_stop(watch);
    return 0;
}

static atomic_bool over;

static int compute(void *unused)
{
    (void)unused;
    while (!atomic_load_explicit(&over, memory_order_relaxed))
        gyre_checkpoint();
    return 0;
}

/* Hogs on all workers, and signals between. */
INSIDE(signal, while_others_compute)
{
    struct gyre_signal_watch *watch;
    struct gyre_signal signal;

    atomic_store(&over, false);
    EXPECT_EQ(gyre_signal_watch(&watch, SIGUSR1), 0);
    for (int i = 0; i < 5; i++)
        EXPECT_EQ(gyre_go(compute, NULL), 0);
    for (int i = 0; i < 10; i++) {
        raise_process(SIGUSR1);
        EXPECT_EQ(gyre_signals_recv(gyre_signal_channel(watch), &signal), 1);
    }
    atomic_store(&over, true);
    gyre_signal_stop(watch);
    return 0;
}

/* A forked child is not ours: there the signal does what it did before. */
INSIDE(signal, forked_child)
{
    struct gyre_signal_watch *watch;
    struct gyre_signal signal;
    int status = 0;
    pid_t child;

    EXPECT_EQ(gyre_signal_watch(&watch, SIGTERM), 0);
    child = fork();
    if (!child) {
        for (;;)
            pause();
    }
    EXPECT_EQ(kill(child, SIGTERM), 0);
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    EXPECT_EQ(gyre_signals_try_recv(gyre_signal_channel(watch), &signal), -EAGAIN);
    gyre_signal_stop(watch);
    return 0;
}

/* --- ends ------------------------------------------------------------------------------------- */

static int leave_behind(void *watch)
{
    EXPECT_EQ(gyre_signal_watch((struct gyre_signal_watch **)watch, SIGUSR1), 0);
    return 0;
}

Test(signal, what_is_left_behind_is_undone)
{
    static struct gyre_signal_watch *left[3]; /* no leaks, to who looks for such */

    for (int i = 0; i < 3; i++) {
        int before = open_descriptors();

        cr_assert_eq(run_with_workers(2, leave_behind, &left[i]), 0);
        cr_assert(is_default(SIGUSR1));
        cr_assert_eq(open_descriptors(), before);
    }
    cr_assert_eq(failed_expectations, 0);
}

static int wait_in_test(void *unused)
{
    struct gyre_signal_watch *watch;
    struct gyre_signal signal;
    int64_t start = gyre_now();

    (void)unused;
    EXPECT_EQ(gyre_signal_watch(&watch, SIGUSR1), 0);
    EXPECT_EQ(gyre_sleep(GYRE_HOUR), 0); /* of the test's clock */
    EXPECT(gyre_now() - start >= GYRE_HOUR);
    EXPECT_EQ(raise(SIGUSR1), 0);
    EXPECT_EQ(gyre_signals_recv(gyre_signal_channel(watch), &signal), 1);
    {
        GYRE_TIMEOUT(GYRE_HOUR);
        EXPECT_EQ(gyre_signals_recv(gyre_signal_channel(watch), &signal), -ETIMEDOUT);
    }
    gyre_signal_stop(watch);
    return 0;
}

Test(signal, in_a_test)
{
    for (int i = 0; i < 20; i++)
        cr_assert_eq(gyre_test(wait_in_test, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}

static int wait_for_ever(void *unused)
{
    (void)unused;
    return gyre_signal_wait(NULL, SIGUSR1);
}

static void swallow(void *user, const char *line, size_t length)
{
    (void)user;
    (void)line;
    (void)length;
}

Test(signal, nobody_sends_it_in_a_test)
{
    gyre_set_message_handler(swallow, NULL);
    cr_assert_neq(gyre_test(wait_for_ever, NULL), 0);
    gyre_set_message_handler(NULL, NULL);
}
