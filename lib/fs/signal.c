/*
 * Signals as values. A handler, on whichever thread the kernel chooses, writes what came to a pipe;
 * the pipe is under a multishot poll on the ring of the first worker that watched anything, whose
 * completion starts a timer that is due at once: its function, which may take locks, reads the pipe
 * and hands out. No coroutine and no thread waits for it.
 *
 * A signal that every thread blocks, as a program may have done before gyre_run, reaches no
 * handler: a signalfd beside the pipe reads those.
 *
 * Invariants (under `lock`)
 * - `users[n]` counts the watches of signal n; ours is its handler, and it is in the signalfd's
 *   mask, while there are any. `previous[n]` is what the handler was before.
 * - A watch is `on` while it is in the list. Who takes it out lets go of its signals.
 * - Descriptors and polls, once made, stay until the runtime ends.
 *
 * The handler runs whenever it likes: it counts itself in `inside` before it looks for the pipe,
 * and who closes that waits for the count. Neither is the polls' being in flight a reason for a
 * test not to be quiet (ring->background).
 *
 * Rejected: to block what is watched in all the runtime's threads, for a signalfd alone. Threads of
 * the program's own take it then; system(3) and children get the mask, or the time for which they
 * are lent the old one lets signals through; preemption has a mask to compare with; and a thread
 * that is stuck in a library could not be told.
 */
#include "base/clock.h"
#include "base/grow.h"
#include "io/operation.h"
#include "sched/context_node.h"
#include "sched/context_watch.h"
#include "sched/ending.h"

#include <gyre/signal.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { SIGNALS = 64, ROOM = 16, BATCH = 16 };

struct gyre_signal_watch {
    struct list link;
    struct gyre_signal_watch *next; /* among those whose contexts are to be ended */
    uint64_t signals;               /* bit n - 1: signal n */
    bool on;
    gyre_signals channel;
    /* Or, with a context, it is to be cancelled. */
    struct gyre_context *context;
    struct context_watch on_end;
    _Atomic(uint32_t) references; /* the list's, and on_end's */
};

/* What is polled. */
struct source {
    struct ring_target target;
    struct mailbox_message message; /* to the owner: to poll it (again) */
    int fd;
};

static struct {
    struct spinlock lock;
    struct list watches;
    unsigned users[SIGNALS + 1];
    struct sigaction previous[SIGNALS + 1];
    struct worker *owner; /* NULL: nothing was made yet */
    struct source handled, blocked;
    struct timer dispatch;
    _Atomic(bool) dispatching; /* the timer was started, and has not begun */
    struct ending ending;
} hub = {.watches = {&hub.watches, &hub.watches}, .handled.fd = -1, .blocked.fd = -1};

static _Atomic(int) pipe_end = -1; /* to write to */
static _Atomic(pid_t) pipe_owner;
static _Atomic(unsigned) inside;

static uint64_t bit_of(int number)
{
    return (uint64_t)1 << (number - 1);
}

/* --- the handler ------------------------------------------------------------------------------
 */

static struct gyre_signal signal_of(const siginfo_t *info)
{
    struct gyre_signal signal = {.number = info->si_signo, .code = info->si_code};

    if (info->si_code == SI_TIMER) {
        signal.value = (int64_t)(intptr_t)info->si_value.sival_ptr;
        return signal;
    }
    signal.pid = info->si_pid;
    signal.uid = info->si_uid;
    if (info->si_signo == SIGCHLD && info->si_code > 0)
        signal.status = info->si_status;
    else if (info->si_code == SI_QUEUE || info->si_code == SI_MESGQ)
        signal.value = (int64_t)(intptr_t)info->si_value.sival_ptr;
    return signal;
}

/* In a child of fork, which has not executed yet: not ours. */
static void give_back(int number)
{
    sigaction(number, &hub.previous[number], NULL);
    kill(getpid(), number);
}

static void on_signal(int number, siginfo_t *info, void *unused)
{
    int saved = errno, fd;

    (void)unused;
    /* Seq_cst, both: either this finds the pipe gone, or who closes it sees the count. */
    atomic_fetch_add_explicit(&inside, 1, memory_order_seq_cst);
    fd = atomic_load_explicit(&pipe_end, memory_order_seq_cst);
    if (getpid() != atomic_load_explicit(&pipe_owner, memory_order_relaxed)) {
        give_back(number);
    } else if (fd >= 0) {
        struct gyre_signal signal = signal_of(info);
        ssize_t written = write(fd, &signal, sizeof signal);

        (void)written; /* thousands wait already: it is dropped */
    }
    /* Release: the pipe is used no more; pairs with the acquire in close_pipe. */
    atomic_fetch_sub_explicit(&inside, 1, memory_order_release);
    errno = saved;
}

/* --- whose signals are ours, under the lock ----------------------------------------------------
 */

static bool may_be_watched(int number)
{
    switch (number) {
    case SIGURG: /* preemption's */
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGKILL:
    case SIGSTOP:
        return false;
    default:
        return number > 0 && number <= SIGNALS;
    }
}

static bool is_ours(int number)
{
    struct sigaction now;

    return !sigaction(number, NULL, &now) && now.sa_flags & SA_SIGINFO &&
           now.sa_sigaction == on_signal;
}

static int install(int number)
{
    struct sigaction action = {.sa_sigaction = on_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};

    /* Its stack may be small, and what it may cause itself must come through. */
    sigfillset(&action.sa_mask);
    sigdelset(&action.sa_mask, SIGSEGV);
    sigdelset(&action.sa_mask, SIGBUS);
    /* Asked first: the handler may be called before a sigaction that replaces has told. */
    if (sigaction(number, NULL, &hub.previous[number]) || sigaction(number, &action, NULL))
        return -errno;
    return 0;
}

static void show_blocked(void)
{
    sigset_t mask;

    sigemptyset(&mask);
    for (int number = 1; number <= SIGNALS; number++)
        if (hub.users[number])
            sigaddset(&mask, number);
    signalfd(hub.blocked.fd, &mask, 0);
}

static void let_go(uint64_t signals)
{
    for (int number = 1; number <= SIGNALS; number++)
        if (signals & bit_of(number) && !--hub.users[number] && is_ours(number))
            sigaction(number, &hub.previous[number], NULL);
    show_blocked();
}

static int take(uint64_t signals)
{
    uint64_t taken = 0;
    int error = 0;

    for (int number = 1; number <= SIGNALS && !error; number++) {
        if (!(signals & bit_of(number)))
            continue;
        if (!hub.users[number])
            error = install(number);
        if (!error) {
            hub.users[number]++;
            taken |= bit_of(number);
        }
    }
    if (error)
        let_go(taken);
    else
        show_blocked();
    return error;
}

/* --- handing out ------------------------------------------------------------------------------
 */

static void drop(struct gyre_signal_watch *watch, unsigned references)
{
    /* Release what this one did, acquire what the other did, before it is freed. */
    if (atomic_fetch_sub_explicit(&watch->references, references, memory_order_acq_rel) !=
        references)
        return;
    gyre_context_release(watch->context);
    free(watch);
}

/* True: it was on. */
static bool take_out(struct gyre_signal_watch *watch)
{
    if (!watch->on)
        return false;
    watch->on = false;
    list_remove(&watch->link);
    let_go(watch->signals);
    return true;
}

/* What ends a context goes to ended: that is done without the lock. */
static void hand_out(const struct gyre_signal *signal, struct gyre_signal_watch **ended)
{
    struct list *item = hub.watches.next;

    while (item != &hub.watches) {
        struct gyre_signal_watch *watch = container_of(item, struct gyre_signal_watch, link);

        item = item->next;
        if (!(watch->signals & bit_of(signal->number)))
            continue;
        if (!watch->context) {
            gyre_signals_try_send(watch->channel.sender, *signal);
        } else {
            take_out(watch);
            watch->next = *ended;
            *ended = watch;
        }
    }
}

static bool hand_out_handled(struct gyre_signal_watch **ended)
{
    struct gyre_signal signals[BATCH];
    ssize_t size = read(hub.handled.fd, signals, sizeof signals);

    for (ssize_t i = 0; i < size / (ssize_t)sizeof *signals; i++)
        hand_out(&signals[i], ended);
    return size == sizeof signals;
}

static bool hand_out_blocked(struct gyre_signal_watch **ended)
{
    struct signalfd_siginfo infos[BATCH];
    ssize_t size = read(hub.blocked.fd, infos, sizeof infos);

    for (ssize_t i = 0; i < size / (ssize_t)sizeof *infos; i++) {
        const struct signalfd_siginfo *info = &infos[i];
        struct gyre_signal signal = {.number = (int)info->ssi_signo,
                                     .code = info->ssi_code,
                                     .pid = (pid_t)info->ssi_pid,
                                     .uid = info->ssi_uid,
                                     .status = info->ssi_status,
                                     .value = (int64_t)info->ssi_ptr};

        hand_out(&signal, ended);
    }
    return size == sizeof infos;
}

static void start_dispatch(void)
{
    if (!atomic_exchange_explicit(&hub.dispatching, true, memory_order_acq_rel))
        gyre_wheel_start(&worker_current()->timers, &hub.dispatch, clock_now());
}

static void dispatch(struct timer *unused)
{
    struct gyre_signal_watch *ended = NULL;
    bool more;

    (void)unused;
    /* Before the pipe is read: what comes later starts the timer again. */
    atomic_exchange_explicit(&hub.dispatching, false, memory_order_acq_rel);
    spin_lock(&hub.lock);
    more = hand_out_handled(&ended);
    more |= hand_out_blocked(&ended);
    spin_unlock(&hub.lock);
    if (more)
        start_dispatch();
    while (ended) {
        struct gyre_signal_watch *watch = ended;

        ended = watch->next;
        gyre_context_end_cause(watch->context, -ECANCELED, -EINTR);
        drop(watch, 1);
    }
}

/* --- the polls --------------------------------------------------------------------------------
 */

static void poll_source(void *argument, struct mailbox_message *message)
{
    struct source *source = container_of(message, struct source, message);
    struct worker *worker = argument;
    struct io_uring_sqe *sqe = gyre_operation_entry(worker);

    if (!sqe) {
        mailbox_push(&worker->mailbox, message);
        return;
    }
    io_uring_prep_poll_multishot(sqe, source->fd, POLLIN);
    sqe->user_data = ring_user_data(&source->target, 0);
    atomic_fetch_add_explicit(&worker->ring.background, 1, memory_order_relaxed);
}

static void complete(struct ring_target *target, void *reaper, int result, unsigned flags,
                     unsigned generation)
{
    struct source *source = container_of(target, struct source, target);

    (void)reaper;
    (void)result;
    (void)generation;
    start_dispatch();
    if (flags & IORING_CQE_F_MORE)
        return;
    atomic_fetch_sub_explicit(&hub.owner->ring.background, 1, memory_order_relaxed);
    mailbox_push(&hub.owner->mailbox, &source->message);
    full_barrier();
    gyre_worker_notify(hub.owner);
}

static void begin_poll(struct source *source)
{
    source->target.complete = complete;
    source->message.handle = poll_source;
    mailbox_push(&hub.owner->mailbox, &source->message);
}

/* --- made and unmade ---------------------------------------------------------------------------
 */

static void close_pipe(void)
{
    int fd = atomic_exchange_explicit(&pipe_end, -1, memory_order_seq_cst);

    /* Seq_cst, and acquire: see on_signal. */
    while (atomic_load_explicit(&inside, memory_order_seq_cst))
        sched_yield();
    close(fd);
    close(hub.handled.fd);
    close(hub.blocked.fd);
    hub.handled.fd = hub.blocked.fd = -1;
}

/* No thread of the runtime is left. Watches that nobody stopped are their owners' leaks. */
static void end(void)
{
    while (!list_empty(&hub.watches)) {
        struct gyre_signal_watch *watch =
            container_of(hub.watches.next, struct gyre_signal_watch, link);

        take_out(watch);
        if (watch->context)
            drop(watch, 1 + gyre_context_unwatch(watch->context, &watch->on_end));
    }
    close_pipe();
    hub.owner = NULL;
    atomic_store_explicit(&hub.dispatching, false, memory_order_relaxed);
}

static int make_descriptors(void)
{
    sigset_t none;
    int ends[2], error;

    sigemptyset(&none);
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
        return -errno;
    hub.blocked.fd = signalfd(-1, &none, SFD_CLOEXEC | SFD_NONBLOCK);
    if (hub.blocked.fd < 0) {
        error = -errno;
        close(ends[0]);
        close(ends[1]);
        return error;
    }
    hub.handled.fd = ends[0];
    atomic_store_explicit(&pipe_owner, getpid(), memory_order_relaxed);
    atomic_store_explicit(&pipe_end, ends[1], memory_order_seq_cst);
    return 0;
}

/* With the lock. */
static int begin(void)
{
    int error;

    if (hub.owner)
        return 0;
    error = make_descriptors();
    if (error)
        return error;
    hub.owner = worker_current();
    hub.dispatch.fire = dispatch;
    hub.ending.call = end;
    gyre_ending_add(&hub.ending);
    begin_poll(&hub.handled);
    begin_poll(&hub.blocked);
    return 0;
}

/* Puts it on. */
static int begin_watch(struct gyre_signal_watch *watch)
{
    int error;

    spin_lock(&hub.lock);
    error = begin();
    if (!error)
        error = take(watch->signals);
    if (!error) {
        watch->on = true;
        list_append(&hub.watches, &watch->link);
    }
    spin_unlock(&hub.lock);
    return error;
}

/* Makes one that is not on yet. */
static int make_watch(struct gyre_signal_watch **made, const int *numbers)
{
    struct gyre_signal_watch *watch;
    uint64_t signals = 0;

    if (!numbers || !*numbers)
        return -EINVAL;
    for (; *numbers; numbers++) {
        if (!may_be_watched(*numbers))
            return -EINVAL;
        signals |= bit_of(*numbers);
    }
    watch = calloc(1, sizeof *watch);
    if (!watch)
        return -ENOMEM;
    watch->signals = signals;
    *made = watch;
    return 0;
}

/* --- watching ---------------------------------------------------------------------------------
 */

int gyre_signal_watch_all(struct gyre_signal_watch **watch, const int *signals)
{
    static const struct gyre_chan_options named = {sizeof named, "signals", NULL};
    struct gyre_signal_watch *made;
    int error;

    coro_required("gyre_signal_watch");
    error = make_watch(&made, signals);
    if (error)
        return error;
    error = gyre_signals_make_options(&made->channel, ROOM, &named);
    if (error) {
        free(made);
        return error;
    }
    error = begin_watch(made);
    if (error) {
        gyre_signals_release(made->channel);
        free(made);
        return error;
    }
    *watch = made;
    return 0;
}

gyre_signals_receiver gyre_signal_channel(struct gyre_signal_watch *watch)
{
    return watch->channel.receiver;
}

void gyre_signal_stop(struct gyre_signal_watch *watch)
{
    coro_required("gyre_signal_stop");
    if (!watch)
        return;
    spin_lock(&hub.lock);
    take_out(watch);
    spin_unlock(&hub.lock);
    gyre_signals_close(watch->channel.sender);
    gyre_signals_release(watch->channel);
    free(watch);
}

int gyre_signal_wait_all(struct gyre_signal *signal, const int *signals)
{
    struct gyre_signal_watch *watch;
    struct gyre_signal came;
    int result;

    coro_required("gyre_signal_wait");
    result = gyre_signal_watch_all(&watch, signals);
    if (result)
        return result;
    result = gyre_signals_recv(watch->channel.receiver, &came);
    gyre_signal_stop(watch);
    if (result < 0)
        return result;
    if (signal)
        *signal = came;
    return came.number;
}

/* --- cancelling -------------------------------------------------------------------------------
 */

static void context_ended(struct context_watch *on_end)
{
    struct gyre_signal_watch *watch = container_of(on_end, struct gyre_signal_watch, on_end);
    bool was_on;

    spin_lock(&hub.lock);
    was_on = take_out(watch);
    spin_unlock(&hub.lock);
    drop(watch, 1 + was_on);
}

int gyre_signal_cancels_all(const int *signals)
{
    struct gyre_coro *self = coro_required("gyre_signal_cancels");
    struct gyre_context *context = coro_context(self);
    struct gyre_signal_watch *watch;
    int error = context_error(context);

    if (error)
        return error;
    if (context->passed)
        context = context->parent;
    if (context->immortal || context->endless)
        return -EINVAL;
    error = make_watch(&watch, signals);
    if (error)
        return error;
    watch->context = gyre_context_hold(context);
    watch->on_end.call = context_ended;
    atomic_store_explicit(&watch->references, 2, memory_order_relaxed);
    error = begin_watch(watch);
    if (error)
        drop(watch, 2);
    else if (!gyre_context_watch(context, &watch->on_end))
        context_ended(&watch->on_end); /* a signal was faster */
    return error;
}
