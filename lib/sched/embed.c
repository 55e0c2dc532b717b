/*
 * A runtime in the background of a program with threads and a loop of its own.
 *
 * gyre_start makes one thread, gyre-main, which does what gyre_run's caller does, and waits until
 * that has said how it started. gyre_stop begins the shutdown and joins it.
 *
 * What outlives what. Callers hold a runtime that another thread may stop: everything here asks
 * visit.h first, and touches nothing of the runtime after the visit. A call's record is on the
 * stack of its caller, which stays until the coroutine has told; the coroutine always runs, if only
 * to find that the runtime shuts down, so it always tells. The record may be gone as soon as
 * `ended` is set: the wake that follows only names its address. A submission's record is its own
 * until it is in `ended`, then of who takes it from there.
 *
 * `ended` is a stack that is only ever taken whole, so nothing of it can be reused under a push.
 * Whoever pushes onto an empty one writes the eventfd; whoever takes reads the eventfd before.
 * So where something is in it, the eventfd is readable or about to be; the reverse can be
 * false for a moment. Rejected: to let gyre_stop drop what nobody has finished; its arguments would
 * never be freed.
 */
#include "base/message.h"
#include "base/panic.h"
#include "base/text.h"
#include "sched/options.h"
#include "sched/park.h"
#include "sched/spawn.h"
#include "sched/visit.h"

#include <gyre/embed.h>

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

struct submission {
    gyre_fn fn;
    void *arg;
    gyre_done_fn done;
    int result;
    struct embedding *embedding;
    struct submission *next; /* in ended */
};

/* From gyre_start to the end of gyre_stop; left behind with what it leaves behind. */
struct embedding {
    struct run_background background;
    struct gyre_runtime *runtime; /* NULL: did not start */
    gyre_fn fn;
    void *arg;
    const struct gyre_options *options;
    pthread_t thread;
    int fd; /* the eventfd */
    int result;
    _Atomic(uint32_t) told; /* how it started: a futex */
    atomic_bool stopping;
    _Atomic(struct submission *) ended; /* newest first */
};

struct call {
    gyre_fn fn;
    void *arg;
    int result;
    _Atomic(uint32_t) ended; /* a futex */
};

/* In a visit. NULL: the runtime is gyre_run's. */
static struct embedding *embedding_of(const struct gyre_runtime *runtime)
{
    struct run_background *background = runtime->background;

    return background ? container_of(background, struct embedding, background) : NULL;
}

/* --- telling a thread ------------------------------------------------------------------------ */

static void tell(_Atomic(uint32_t) *word)
{
    /* Release: pairs with the acquire in await. What holds the word may be gone after this. */
    atomic_store_explicit(word, 1, memory_order_release);
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await(_Atomic(uint32_t) *word)
{
    while (!atomic_load_explicit(word, memory_order_acquire))
        gyre_run_futex_wait(word, 0, -1);
}

/* --- starting and stopping ------------------------------------------------------------------- */

static void started(struct run_background *background, struct gyre_runtime *runtime)
{
    struct embedding *embedding = container_of(background, struct embedding, background);

    embedding->runtime = runtime;
    tell(&embedding->told);
}

static void *run_in_background(void *argument)
{
    struct embedding *embedding = argument;

    pthread_setname_np(pthread_self(), "gyre-main");
    embedding->result = gyre_run_background(embedding->fn, embedding->arg, embedding->options,
                                            &embedding->background);
    if (!embedding->runtime)
        tell(&embedding->told);
    return NULL;
}

static int start(struct embedding *embedding)
{
    int error = -pthread_create(&embedding->thread, NULL, run_in_background, embedding);

    if (error) {
        gyre_message("cannot start: no thread: %s", strerror(-error));
        return error;
    }
    await(&embedding->told);
    if (embedding->runtime)
        return 0;
    pthread_join(embedding->thread, NULL);
    return embedding->result;
}

int gyre_start(struct gyre_runtime **runtime, gyre_fn fn, void *arg,
               const struct gyre_options *options)
{
    struct embedding *embedding;
    int error;

    if (worker_current()) {
        gyre_message("gyre_start called inside a coroutine");
        return -EDEADLK;
    }
    if (!runtime)
        return -EINVAL;
    embedding = calloc(1, sizeof *embedding);
    if (!embedding)
        return -ENOMEM;
    embedding->background.started = started;
    embedding->fn = fn;
    embedding->arg = arg;
    embedding->options = options;
    embedding->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    error = embedding->fd < 0 ? -errno : start(embedding);
    if (!error) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the runtime leads to it */
        *runtime = embedding->runtime;
        return 0;
    }
    if (embedding->fd >= 0)
        close(embedding->fd);
    free(embedding);
    return error;
}

/* The oldest first. */
static struct submission *take_ended(struct embedding *embedding)
{
    struct submission *taken, *oldest = NULL;
    uint64_t count;

    (void)!read(embedding->fd, &count, sizeof count);
    /* Acquire: pairs with the release in submission_ended. */
    taken = atomic_exchange_explicit(&embedding->ended, NULL, memory_order_acquire);
    while (taken) {
        struct submission *next = taken->next;

        taken->next = oldest;
        oldest = taken;
        taken = next;
    }
    return oldest;
}

/* They may call gyre_submit, and gyre_stop. */
CALLS_PROGRAM static int finish_all(struct submission *submission)
{
    int count = 0;

    while (submission) {
        struct submission *next = submission->next;

        submission->done(submission->arg, submission->result);
        free(submission);
        submission = next;
        count++;
    }
    return count;
}

int gyre_stop(struct gyre_runtime *runtime)
{
    struct embedding *embedding;
    bool first;
    int result;

    if (worker_current()) {
        gyre_message("gyre_stop called inside a coroutine");
        return -EDEADLK;
    }
    if (!gyre_visit_begin(runtime))
        return -EINVAL;
    embedding = embedding_of(runtime);
    first =
        embedding && !atomic_exchange_explicit(&embedding->stopping, true, memory_order_relaxed);
    if (first)
        gyre_run_end(runtime);
    gyre_visit_end();
    if (!first)
        return -EINVAL;
    pthread_join(embedding->thread, NULL);
    result = embedding->result;
    finish_all(take_ended(embedding));
    if (embedding->background.left_behind)
        return result;
    close(embedding->fd);
    free(embedding);
    return result;
}

/* --- calls and submissions ------------------------------------------------------------------- */

static void call_ended(void *argument, int result)
{
    struct call *call = argument;

    call->result = result;
    tell(&call->ended);
}

CALLS_PROGRAM static int run_call(void *argument)
{
    const struct call *call = argument;
    int error = coro_error(coro_current());

    return error ? error : call->fn(call->arg);
}

static void submission_ended(void *argument, int result)
{
    struct submission *submission = argument;
    struct embedding *embedding = submission->embedding;
    struct submission *newest;
    const uint64_t one = 1;

    submission->result = result;
    newest = atomic_load_explicit(&embedding->ended, memory_order_relaxed);
    do
        submission->next = newest;
    /* Release: pairs with the acquire in take_ended. Then the submission may be gone. */
    while (!atomic_compare_exchange_weak_explicit(&embedding->ended, &newest, submission,
                                                  memory_order_release, memory_order_relaxed));
    if (!newest)
        (void)!write(embedding->fd, &one, sizeof one);
}

CALLS_PROGRAM static int run_submission(void *argument)
{
    const struct submission *submission = argument;
    int error = coro_error(coro_current());

    return error ? error : submission->fn(submission->arg);
}

/* In a visit. */
static int start_telling(struct gyre_runtime *runtime, const char *site, gyre_fn fn, void *arg,
                         struct coro_end at_end)
{
    return gyre_coro_start(site, fn, arg, NULL, &runtime->contexts.root, at_end);
}

int gyre_call(struct gyre_runtime *runtime, gyre_fn fn, void *arg)
{
    struct call call = {.fn = fn, .arg = arg};
    int error;

    if (worker_current())
        gyre_panic("gyre_call in a coroutine, whose worker it would block");
    if (!fn)
        return -EINVAL;
    if (!gyre_visit_begin(runtime))
        return -ECANCELED;
    error = start_telling(runtime, "gyre_call\0call", run_call, &call,
                          (struct coro_end){call_ended, &call});
    gyre_visit_end();
    if (error)
        return error;
    await(&call.ended);
    return call.result;
}

static int submit(struct gyre_runtime *runtime, struct submission *submission)
{
    submission->embedding = embedding_of(runtime);
    if (!submission->embedding)
        return -EINVAL;
    return start_telling(runtime, "gyre_submit\0submitted", run_submission, submission,
                         (struct coro_end){submission_ended, submission});
}

int gyre_submit(struct gyre_runtime *runtime, gyre_fn fn, void *arg, gyre_done_fn done)
{
    struct submission *submission;
    int error = -ECANCELED;

    if (!fn || !done)
        return -EINVAL;
    submission = malloc(sizeof *submission);
    if (!submission)
        return -ENOMEM;
    *submission = (struct submission){.fn = fn, .arg = arg, .done = done};
    if (gyre_visit_begin(runtime)) {
        error = submit(runtime, submission);
        gyre_visit_end();
    }
    if (error)
        free(submission);
    return error;
}

int gyre_finish_fd(struct gyre_runtime *runtime)
{
    struct embedding *embedding;
    int fd;

    if (!gyre_visit_begin(runtime))
        return -ECANCELED;
    embedding = embedding_of(runtime);
    fd = embedding ? embedding->fd : -EINVAL;
    gyre_visit_end();
    return fd;
}

int gyre_finish(struct gyre_runtime *runtime)
{
    struct submission *ended = NULL;
    struct embedding *embedding;

    if (!gyre_visit_begin(runtime))
        return -ECANCELED;
    embedding = embedding_of(runtime);
    if (embedding)
        ended = take_ended(embedding);
    gyre_visit_end();
    return embedding ? finish_all(ended) : -EINVAL;
}
