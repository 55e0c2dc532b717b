/*
 * The n-th allocation or system call that processes and signals need fails, for every n until none
 * does: the call says so, and leaves no process, no descriptor and no handler behind.
 */
#include "process_child.h"
#include "stress.h"

#include <gyre/signal.h>

#include <fcntl.h>
#include <sys/signalfd.h>

static atomic_int countdown; /* the n-th from now on; 0: none fails */
static atomic_bool failed;

static bool fails(void)
{
    int left = atomic_load(&countdown);

    if (!left || !atomic_compare_exchange_strong(&countdown, &left, left - 1) || left > 1)
        return false;
    atomic_store(&failed, true);
    return true;
}

#define WRAP(type, name, parameters, arguments, error)                                             \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        if (!fails())                                                                              \
            return __real_##name arguments;                                                        \
        errno = error;                                                                             \
        return (type)(error == ENOMEM ? 0 : -1);                                                   \
    }

WRAP(void *, malloc, (size_t size), (size), ENOMEM)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), ENOMEM)
WRAP(void *, realloc, (void *old, size_t size), (old, size), ENOMEM)
WRAP(int, pipe2, (int ends[2], int flags), (ends, flags), EMFILE)
WRAP(int, signalfd, (int fd, const sigset_t *mask, int flags), (fd, mask, flags), EMFILE)

static bool expected(int error)
{
    return error == -ENOMEM || error == -EMFILE || error == -EAGAIN;
}

/* 0 or what it returned, which must be an error. */
static int try_start(void)
{
    static const char *const arguments[] = {"true", NULL};
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    struct gyre_process process;
    int error;

    options.input = options.output = options.error = GYRE_PROCESS_PIPE;
    error = gyre_process_start(&process, arguments, &options);
    atomic_store(&countdown, 0);
    if (error)
        return error;
    CHECK_EQ(gyre_process_wait(&process, NULL), 0);
    gyre_process_release(&process);
    return 0;
}

static int try_capture(void)
{
    static const char *const arguments[] = {"cat", NULL};
    static char input[20000];
    struct gyre_capture result;
    int error = gyre_process_capture(&result, arguments, input, sizeof input, 0, NULL);

    atomic_store(&countdown, 0);
    if (!error && !atomic_load(&failed))
        CHECK_EQ(result.output_size, sizeof input);
    gyre_capture_free(&result);
    return error;
}

static int try_signals(void)
{
    struct gyre_signal_watch *watch;
    struct gyre_signal signal;
    int error;

    GYRE_CANCELLABLE();
    error = gyre_signal_cancels(SIGUSR2);
    if (!error)
        error = gyre_signal_watch(&watch, SIGUSR1);
    atomic_store(&countdown, 0);
    if (error)
        return error;
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(gyre_signals_recv(gyre_signal_channel(watch), &signal), 1);
    gyre_signal_stop(watch);
    return 0;
}

static void fail_each(int (*attempt)(void), const char *name)
{
    int before, error;

    CHECK_EQ(attempt(), 0); /* what is made once is there */
    before = open_descriptors();
    for (int n = 1;; n++) {
        atomic_store(&failed, false);
        atomic_store(&countdown, n);
        error = attempt();
        CHECK(!error || (atomic_load(&failed) && expected(error)));
        CHECK(!has_children());
        CHECK_EQ(open_descriptors(), before);
        if (!atomic_load(&failed)) {
            printf("%s: %d failures\n", name, n - 1);
            break;
        }
    }
}

/* The first in a run makes the descriptors. */
static int begin_signals(void *n)
{
    struct sigaction action;
    int error;

    atomic_store(&failed, false);
    atomic_store(&countdown, *(int *)n);
    error = try_signals();
    CHECK(!error || (atomic_load(&failed) && expected(error)));
    CHECK(!sigaction(SIGUSR1, NULL, &action) && action.sa_handler == SIG_DFL);
    return 0;
}

static int all(void *unused)
{
    (void)unused;
    fail_each(try_start, "start");
    fail_each(try_capture, "capture");
    fail_each(try_signals, "signals");
    return 0;
}

int main(int argc, char **argv)
{
    int n = 0;

    stress_begin(argc, argv);
    stress_run("failures", 1, 0, all);
    do {
        int before = open_descriptors();

        n++;
        CHECK_EQ(gyre_run(begin_signals, &n), 0);
        CHECK_EQ(open_descriptors(), before);
    } while (atomic_load(&failed));
    printf("first signals: %d failures\n", n - 1);
    return 0;
}
