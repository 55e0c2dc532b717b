/*
 * A worker's timers, and the handler of the signals that they and the watchdog send.
 *
 * The handler runs on the alternate stack, whatever it interrupts. It is alone on its thread and
 * never waits: not for a lock that the interrupted code may hold, not for memory.
 */
#include "base/clock.h"
#include "base/message.h"
#include "base/signal.h"
#include "coro/overflow.h"
#include "coro/preempt.h"
#include "sched/handover.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/*
 * A refused tick is tried again after 30 us, then each 60 us while somebody waits: who calls
 * libraries nearly all the time, and is in code of its own one time in hundreds, is caught there
 * after some tens of milliseconds. That costs its worker some microseconds each, and up to 30 in a
 * virtual machine. After a section that put a tick off it comes soon.
 */
enum { RETRY_FIRST = 30000, RETRY_NEXT = 60000, RETRY_SOON = 50000 };

/* CPU time is counted by the kernel's ticks; below that a quantum is one of real time. */
#define CPU_CLOCK_MIN (4 * GYRE_MILLISECOND)

#ifdef PREEMPT_SIGNALS

/* What our signals carry, by address. */
static char tick_cookie, retry_cookie, serve_cookie, report_cookie;

static struct sigaction previous;

static void arm_retry(struct preemption *preempt, long after)
{
    struct itimerspec time = {.it_value.tv_nsec = after};

    if (preempt->retrying)
        timer_settime(preempt->retry_timer, 0, &time, NULL);
}

/* --- the handler -------------------------------------------------------------------------------
 */

/* Submissions and cancels of a coroutine's that this worker's next poll would see to. */
static void serve(struct worker *worker)
{
    struct mailbox_message *message;

    worker->handling = true;
    if (ring_unsubmitted(&worker->ring))
        gyre_ring_enter(&worker->ring, false, 0);
    message = mailbox_take_all(&worker->mailbox);
    while (message) {
        struct mailbox_message *next = message->next;

        message->handle(worker, message);
        message = next;
    }
    if (ring_unsubmitted(&worker->ring))
        gyre_ring_enter(&worker->ring, false, 0);
    worker->handling = false;
    if (!worker->alone) {
        full_barrier();
        gyre_wake_one();
    }
}

/* Whether anything would run, here or now, if the coroutine gave way. */
static bool somebody_waits(struct worker *worker)
{
    return has_local_work(worker) || ring_completed(&worker->ring) ||
           !inject_empty(&worker->inject) || !inject_empty(&worker->own) ||
           timers_next(&worker->timers) <= clock_now();
}

static void refuse(struct worker *worker, struct gyre_coro *coro, enum gyre_refusal refusal,
                   const ucontext_t *context, bool cramped)
{
    struct preemption *preempt = &worker->preempt;

    preempt_count_one(&preempt->refused[refusal]);
    gyre_preempt_ask(worker);
    if (refusal == GYRE_REFUSED_RUNTIME) {
        worker->budget = 1;
    } else if (!cramped && (ring_unsubmitted(&worker->ring) || !mailbox_empty(&worker->mailbox)) &&
               gyre_gate_outside_runtime(worker, coro, context)) {
        serve(worker);
    }
    if (refusal == GYRE_REFUSED_MODE || !somebody_waits(worker))
        return;
    arm_retry(preempt, preempt->retried ? RETRY_NEXT : RETRY_FIRST);
    preempt->retried = true;
}

static _Unwind_Reason_Code note_frame(struct _Unwind_Context *frame, void *argument)
{
    struct stuck_report *report = argument;
    void *pc = (void *)_Unwind_GetIP(frame);

    if (report->count == REPORT_FRAMES || !pc)
        return _URC_END_OF_STACK;
    /* Without the handler's own. */
    if (report->count || pc == report->interrupted)
        report->frames[report->count++] = pc;
    return _URC_NO_REASON;
}

static void report(struct worker *worker, struct gyre_coro *coro, const ucontext_t *context)
{
    struct stuck_report *report = &worker->preempt.report;

    /* It went on meanwhile, or the last one is being printed. Acquire: pairs with the release of
     * the watchdog that has printed it. */
    if (atomic_load_explicit(&report->progress, memory_order_relaxed) !=
            atomic_load_explicit(&worker->progress, memory_order_relaxed) ||
        atomic_load_explicit(&report->ready, memory_order_acquire))
        return;
    report->id = coro->id;
    report->started = coro_started_at(coro);
    strncpy(report->name, coro_name(coro), sizeof report->name - 1);
    report->interrupted = (void *)preempt_pc(context);
    report->count = 0;
    if (gyre_gate_may_walk(coro, context))
        gyre_gate_walk(note_frame, report);
    if (!report->count)
        report->frames[report->count++] = report->interrupted;
    /* Release: pairs with the acquire of the watchdog that prints it. */
    atomic_store_explicit(&report->ready, true, memory_order_release);
    gyre_run_attend(gyre_runtime_instance);
}

/* Whether the running coroutine has had its quantum: it was picked before the last tick. */
static bool had_its_quantum(struct worker *worker, const char *cookie)
{
    struct preemption *preempt = &worker->preempt;
    uint64_t progress = atomic_load_explicit(&worker->progress, memory_order_relaxed);

    if (cookie == &tick_cookie) {
        preempt_count_one(&preempt->ticks);
        worker->next_poll = 0; /* whoever parks next: some picks may be a quantum each */
    }
    if (progress == preempt->seen)
        return true;
    preempt->retried = false;
    if (cookie == &tick_cookie)
        preempt->seen = progress;
    return false;
}

/* cramped: on a signal stack that the program made, of who knows what size: nothing that takes
 * more room than the kernel's own frame does. */
static __attribute__((noinline)) void on_signal(struct worker *worker, const char *cookie,
                                                ucontext_t *context, bool cramped)
{
    struct gyre_coro *coro = worker->running;
    int refusal;

    preempt_count_one(&worker->preempt.heard);
    if (cookie == &retry_cookie)
        worker->preempt.soon = false;
    /* What the watchdog sends comes after it has seen no progress. */
    if (!had_its_quantum(worker, cookie) && (cookie == &tick_cookie || cookie == &retry_cookie))
        return;
    if (!coro)
        return; /* the loop, which looks at everything anyway */
    refusal = cramped ? GYRE_REFUSED_STACK : gyre_gate(worker, coro, context);
    /* Not who merely had to wait for a processor. */
    if (cookie == &report_cookie && !cramped && refusal != GATE_OPEN)
        report(worker, coro, context);
    if (refusal == GATE_OPEN) {
        preempt_count_one(&worker->preempt.preempted);
        worker->preempt.retried = false;
        gyre_preempt_inject(context, gyre_preempt_here);
    } else {
        refuse(worker, coro, (enum gyre_refusal)refusal, context, cramped);
    }
}

/* Whose signal it is: the address of a cookie, or NULL for the program's. */
static const char *cookie_of(const siginfo_t *info)
{
    static const char *const cookies[] = {&tick_cookie, &retry_cookie, &serve_cookie,
                                          &report_cookie};

    if (info->si_code != SI_TIMER && (info->si_code != SI_QUEUE || info->si_pid != getpid()))
        return NULL;
    for (size_t i = 0; i < ARRAY_SIZE(cookies); i++)
        if (info->si_value.sival_ptr == cookies[i])
            return cookies[i];
    return NULL;
}

static void handle(int signal, siginfo_t *info, void *context)
{
    const char *cookie = cookie_of(info);
    struct worker *worker = worker_current();
    int saved = errno;

#ifdef __x86_64__
    /* The kernel leaves a program's wish to be told of unaligned accesses on: these are ours. */
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~(1ull << 18));
#endif
    if (!cookie) {
        gyre_signal_pass_on(signal, info, context, &previous, __builtin_frame_address(0));
    } else if (worker) {
        on_signal(worker, cookie, context, !gyre_overflow_on_signal_stack(&saved));
    }
    errno = saved;
}

/* --- signals and timers ------------------------------------------------------------------------
 */

static int make_timer(clockid_t clock, void *cookie, timer_t *timer)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGURG};

    event.sigev_value.sival_ptr = cookie;
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    return timer_create(clock, &event, timer) ? -errno : 0;
}

/*
 * The kernel compares CPU time with what was asked for at each of its own ticks. A quantum of two
 * and a half of them would last two and three by turns, and among an even number of hogs the same
 * ones would always get three.
 */
static int64_t whole_ticks(int64_t quantum)
{
    struct timespec tick;

    if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) || tick.tv_sec || tick.tv_nsec <= 0 ||
        quantum < tick.tv_nsec)
        return quantum;
    return quantum - quantum % tick.tv_nsec;
}

static int start_timers(struct worker *worker)
{
    int64_t quantum = gyre_runtime_instance->options.quantum;
    bool real = quantum < CPU_CLOCK_MIN;
    int64_t period = real ? quantum : whole_ticks(quantum);
    struct timespec time = {period / GYRE_SECOND, period % GYRE_SECOND};
    struct itimerspec interval = {time, time};
    struct preemption *preempt = &worker->preempt;
    int error = make_timer(real ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID, &tick_cookie,
                           &preempt->tick_timer);

    if (error)
        return error;
    preempt->ticking = true;
    if (timer_settime(preempt->tick_timer, 0, &interval, NULL))
        return -errno;
    /* Where ticks come that often, the next is as good as a try in between. */
    if (!real)
        preempt->retrying = !make_timer(CLOCK_MONOTONIC, &retry_cookie, &preempt->retry_timer);
    return 0;
}

void gyre_tick_start(struct worker *worker)
{
    static atomic_bool told;
    sigset_t mask;
    int error;

    sigemptyset(&mask);
    sigaddset(&mask, SIGURG);
    pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    memcpy(&worker->preempt.mask, &mask, sizeof worker->preempt.mask);
    if (gyre_runtime_instance->options.quantum < 0)
        return;
    worker->preempt.once[0] = dlsym(RTLD_DEFAULT, "_ZSt15__once_callable");
    worker->preempt.once[1] = dlsym(RTLD_DEFAULT, "_ZSt11__once_call");
    error = start_timers(worker);
    if (error && !atomic_exchange_explicit(&told, true, memory_order_relaxed))
        gyre_message("a coroutine may keep its worker for ever: no timer for preemption: %s",
                     strerror(-error));
}

void gyre_tick_stop(struct worker *worker)
{
    struct preemption *preempt = &worker->preempt;

    if (preempt->ticking)
        timer_delete(preempt->tick_timer);
    if (preempt->retrying)
        timer_delete(preempt->retry_timer);
}

void gyre_tick_silence(struct worker *worker)
{
    const struct itimerspec never = {0};

    if (worker->preempt.ticking)
        timer_settime(worker->preempt.tick_timer, 0, &never, NULL);
}

/* Once until it has fired: sections that follow each other closely would put it off for ever. */
void gyre_tick_retry(struct worker *worker)
{
    if (worker->preempt.soon)
        return;
    worker->preempt.soon = true;
    arm_retry(&worker->preempt, RETRY_SOON);
}

void gyre_tick_signal(struct worker *worker, bool report)
{
    union sigval value = {.sival_ptr = report ? &report_cookie : &serve_cookie};

    pthread_sigqueue(worker->thread, SIGURG, value);
}

int gyre_tick_install(void)
{
    struct sigaction action = {.sa_sigaction = handle,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};

    /* Only what the handler itself may cause comes through: its stack is not made for others'. */
    sigfillset(&action.sa_mask);
    sigdelset(&action.sa_mask, SIGSEGV);
    sigdelset(&action.sa_mask, SIGBUS);
    sigdelset(&action.sa_mask, SIGILL);
    sigdelset(&action.sa_mask, SIGFPE);
    sigdelset(&action.sa_mask, SIGTRAP);
    sigdelset(&action.sa_mask, SIGABRT);
    /* Asked first: the handler may be called before a sigaction that replaces has told. */
    if (sigaction(SIGURG, NULL, &previous) || sigaction(SIGURG, &action, NULL))
        return -errno;
    return 0;
}

bool gyre_tick_installed(void)
{
    struct sigaction now;

    return sigaction(SIGURG, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
           now.sa_sigaction == handle;
}

void gyre_tick_remove(void)
{
    if (gyre_tick_installed())
        sigaction(SIGURG, &previous, NULL);
}

#else

int gyre_tick_install(void)
{
    return 0;
}

bool gyre_tick_installed(void)
{
    return true;
}

void gyre_tick_remove(void)
{
}

void gyre_tick_start(struct worker *worker)
{
    (void)worker;
}

void gyre_tick_stop(struct worker *worker)
{
    (void)worker;
}

void gyre_tick_silence(struct worker *worker)
{
    (void)worker;
}

void gyre_tick_retry(struct worker *worker)
{
    (void)worker;
}

void gyre_tick_signal(struct worker *worker, bool report)
{
    (void)worker;
    (void)report;
}

#endif
