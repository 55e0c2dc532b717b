/*
 * gyre_run: starts the workers, waits, ends them.
 *
 * The caller's thread is no worker. It sleeps until the main coroutine has ended, then drives the
 * shutdown; so it can report and return though every worker is stuck in a coroutine that won't
 * end, and its affinity and signal mask are never touched.
 *
 * Shutdown. The phase turns to STOPPING: nothing can be spawned any more. The root context ends,
 * which reaches every scope; coroutines directly under the root are linked nowhere, so all control
 * blocks are looked at, again each millisecond, until none lives or the grace is over.
 */

#include "base/checks.h"
#include "base/clock.h"
#include "base/message.h"
#include "base/panic.h"
#include "base/restart.h"
#include "base/text.h"
#include "coro/overflow.h"
#include "sched/children.h"
#include "sched/ending.h"
#include "sched/helpers.h"
#include "sched/options.h"
#include "sched/quiet.h"
#include "sched/report.h"
#include "sched/spawn.h"
#include "sched/visit.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STACK_OF_MAIN = 8 << 20 };

struct main_call {
    gyre_fn fn; /* NULL: there is no main coroutine */
    void *arg;
    struct run_background *background; /* or NULL: it ends when fn does */
};

/* Set while a runtime runs or was left behind: there is one at a time. */
static atomic_bool runtime_taken;

/* The only waits of threads that are not workers. */
void gyre_run_futex_wait(_Atomic(uint32_t) *word, uint32_t value, int64_t timeout)
{
    struct timespec time = {timeout / GYRE_SECOND, timeout % GYRE_SECOND};

    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout < 0 ? NULL : &time, NULL, 0);
}

void gyre_run_futex_wake(_Atomic(uint32_t) *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

void gyre_run_attend(struct gyre_runtime *runtime)
{
    /* Seq_cst: comes before the wake, and after what there is to see. */
    atomic_fetch_add_explicit(&runtime->attention, 1, memory_order_seq_cst);
    gyre_run_futex_wake(&runtime->attention, INT32_MAX);
}

static void set_phase(struct gyre_runtime *runtime, uint32_t phase)
{
    /* Release: pairs with the acquires of the loops and of spawning. */
    atomic_store_explicit(&runtime->phase, phase, memory_order_seq_cst);
    gyre_run_attend(runtime);
}

/* --- the workers' threads ------------------------------------------------------------------- */

static int start_on_thread(struct worker *worker)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;
    sigset_t blocked;
    int error;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGPIPE); /* a broken pipe is an error value here */
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    if (runtime->pinned)
        gyre_cpus_bind(&runtime->cpus, gyre_cpus_nth(&runtime->cpus, worker->index));
    error = gyre_ring_init(&worker->ring, runtime->options.ring_entries);
    if (error)
        return error;
    error = gyre_overflow_thread_init();
    if (error) {
        gyre_ring_destroy(&worker->ring);
        return error;
    }
    gyre_worker_set_current(worker);
    worker->exceptions = exceptions_globals();
    fpu_control_save(&worker->fpu);
    gyre_tick_start(worker);
    return 0;
}

static void wait_reported(struct gyre_runtime *runtime, unsigned count)
{
    uint32_t reported;

    /* Acquire: what the threads did before they reported is seen. */
    while ((reported = atomic_load_explicit(&runtime->reported, memory_order_acquire)) < count)
        gyre_run_futex_wait(&runtime->reported, reported, -1);
}

static void report_and_wait(struct gyre_runtime *runtime, uint32_t go)
{
    /* Release: pairs with the acquire of the thread that counts them. */
    atomic_fetch_add_explicit(&runtime->reported, 1, memory_order_release);
    gyre_run_futex_wake(&runtime->reported, INT32_MAX);
    while (atomic_load_explicit(&runtime->go, memory_order_acquire) == go)
        gyre_run_futex_wait(&runtime->go, go, -1);
}

static void *worker_thread(void *argument)
{
    struct worker *worker = argument;
    struct gyre_runtime *runtime = gyre_runtime_instance;
    char name[16];

    snprintf(name, sizeof name, "gyre-%u", worker->index);
    pthread_setname_np(pthread_self(), name);
    worker->start_error = start_on_thread(worker);
    report_and_wait(runtime, 0);
    if (atomic_load_explicit(&runtime->go, memory_order_relaxed) == 1) {
        gyre_worker_loop(worker);
        /* Another worker may be about to wake this ring: it stays until all have left their loops.
         */
        report_and_wait(runtime, 1);
    }
    if (!worker->start_error) {
        gyre_tick_stop(worker);
        gyre_overflow_thread_exit();
        gyre_ring_destroy(&worker->ring);
    }
    return NULL;
}

static void release_threads(struct gyre_runtime *runtime, uint32_t go)
{
    atomic_store_explicit(&runtime->go, go, memory_order_release);
    gyre_run_futex_wake(&runtime->go, INT32_MAX);
}

static void join_threads(struct gyre_runtime *runtime, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        pthread_join(runtime->workers[i].thread, NULL);
}

static int start_threads(struct gyre_runtime *runtime)
{
    unsigned started = 0;
    int error = 0;

    while (started < runtime->worker_count && !error) {
        struct worker *worker = &runtime->workers[started];

        error = -pthread_create(&worker->thread, NULL, worker_thread, worker);
        if (!error)
            started++;
    }
    if (error)
        gyre_message("cannot start: no thread for worker %u: %s", started, strerror(-error));
    wait_reported(runtime, started);
    for (unsigned i = 0; i < started && !error; i++) {
        error = runtime->workers[i].start_error;
        if (error)
            gyre_ring_explain(error);
    }
    if (error) {
        release_threads(runtime, 2);
        join_threads(runtime, started);
    }
    return error;
}

/* --- the runtime ---------------------------------------------------------------------------- */

static size_t main_stack_size(void)
{
    struct rlimit limit;
    size_t size = STACK_OF_MAIN;

    if (!getrlimit(RLIMIT_STACK, &limit) && limit.rlim_cur != RLIM_INFINITY)
        size = limit.rlim_cur;
    return size > STACK_SIZE_MAX ? STACK_SIZE_MAX : size;
}

static uint64_t fresh_seed(void)
{
    uint64_t seed = 0;

    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed || !seed)
        seed = (uint64_t)clock_real() | 1;
    return seed;
}

static void destroy_workers(struct gyre_runtime *runtime, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        gyre_worker_destroy(&runtime->workers[i]);
    free(runtime->workers);
    runtime->workers = NULL;
}

static int create_workers(struct gyre_runtime *runtime)
{
    size_t size = runtime->worker_count * sizeof *runtime->workers;
    int error = 0;

    runtime->workers = aligned_alloc(_Alignof(struct worker), size);
    if (!runtime->workers)
        return -ENOMEM;
    memset(runtime->workers, 0, size);
    for (unsigned i = 0; i < runtime->worker_count; i++) {
        error = gyre_worker_init(&runtime->workers[i], runtime, i);
        if (error) {
            destroy_workers(runtime, i);
            break;
        }
    }
    return error;
}

static void choose_workers(struct gyre_runtime *runtime)
{
    const struct gyre_options *options = &runtime->options;
    const struct cpus *cpus = &runtime->cpus;

    runtime->worker_count = options->workers ? options->workers : cpus->recommended;
    if (runtime->settings && runtime->settings->alone)
        runtime->worker_count = 1;
    runtime->pinned = options->pinning == GYRE_PINNING_ON ||
                      (options->pinning == GYRE_PINNING_AUTO &&
                       runtime->worker_count == cpus->usable && cpus->recommended == cpus->usable);
}

static void destroy_runtime(struct gyre_runtime *runtime)
{
    destroy_workers(runtime, runtime->worker_count);
    gyre_context_root_destroy(&runtime->contexts);
    gyre_stack_pool_destroy(&runtime->stacks);
    gyre_cpus_destroy(&runtime->cpus);
    free(runtime);
}

static int create_parts(struct gyre_runtime *runtime)
{
    int error = gyre_cpus_init(&runtime->cpus);

    if (error)
        return error;
    choose_workers(runtime);
    error = gyre_stack_pool_init(&runtime->stacks, runtime->options.stack_size,
                                 sizeof(struct gyre_coro));
    if (error)
        goto no_stacks;
    error = gyre_context_root_init(&runtime->contexts, runtime->worker_count);
    if (error)
        goto no_contexts;
    error = create_workers(runtime);
    if (!error)
        return 0;
    gyre_context_root_destroy(&runtime->contexts);
no_contexts:
    gyre_stack_pool_destroy(&runtime->stacks);
no_stacks:
    gyre_cpus_destroy(&runtime->cpus);
    return error;
}

static int create_runtime(struct gyre_runtime **created, const struct gyre_options *options,
                          struct run_settings *settings)
{
    struct gyre_runtime *runtime = aligned_alloc(_Alignof(struct gyre_runtime), sizeof *runtime);
    int error;

    if (!runtime)
        return -ENOMEM;
    memset(runtime, 0, sizeof *runtime);
    runtime->options = *options;
    runtime->settings = settings;
    if (!runtime->options.seed)
        runtime->options.seed = fresh_seed();
    if (settings) {
        settings->seed = runtime->options.seed;
        runtime->options.quantum = -1; /* a test's schedule is its seed's */
    }
    runtime->next_id = 1;
    error = create_parts(runtime);
    if (error)
        free(runtime);
    else
        *created = runtime;
    return error;
}

static void report_leaks(struct gyre_runtime *runtime, enum report_kind kind)
{
    struct gyre_coro *self = coro_current();
    size_t left = gyre_report_count(runtime, kind, self);
    const char *plural = left == 1 ? "" : "s";

    if (!left)
        return;
    if (kind == REPORT_ALIVE)
        gyre_message("leak: %zu coroutine%s did not end before the main one:", left, plural);
    else
        gyre_message("leak: %zu coroutine%s ended and %s never joined or detached:", left, plural,
                     left == 1 ? "was" : "were");
    gyre_report_lines(runtime, kind, self);
    if (runtime->settings)
        runtime->settings->leaks += left;
}

/* The main coroutine is about to end. What is being cancelled already was not forgotten. */
static void check_coroutines(struct gyre_runtime *runtime)
{
    if (context_error(&runtime->contexts.root))
        return;
    if (gyre_quiet_settle())
        report_leaks(runtime, REPORT_ALIVE);
    report_leaks(runtime, REPORT_UNJOINED);
}

static void report_context(void *made_by)
{
    char place[256] = "?";

    if (made_by)
        gyre_backtrace_name(made_by, place, sizeof place);
    gyre_message("leak: a context was not released, made by %s", place);
}

/* All have ended. What a deadlock has broken off may have left more than the program would. */
static void check_objects(struct gyre_runtime *runtime)
{
    struct run_settings *settings = runtime->settings;
    size_t leaks;

    if (settings && settings->deadlocked)
        return;
    leaks = gyre_contexts_leaked(runtime, report_context);
    if (gyre_checks_channels)
        leaks += gyre_checks_channels();
    if (settings)
        settings->leaks += leaks;
}

CALLS_PROGRAM static int run_main(void *argument)
{
    const struct main_call *call = argument;
    struct gyre_runtime *runtime = gyre_runtime_instance;
    int result = call->fn(call->arg);

    /* They may take their time and start coroutines: that is still the program's, not its end. */
    gyre_local_destroy_all(coro_current());
    atomic_store_explicit(&runtime->main_result, result, memory_order_relaxed);
    if (call->background)
        return result;
    if (unlikely(gyre_checks))
        check_coroutines(runtime);
    set_phase(runtime, PHASE_STOPPING);
    return result;
}

static int start_main(struct gyre_runtime *runtime, struct main_call *call)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    struct gyre_coro *coro = NULL;
    int error;

    options.stack_size = main_stack_size();
    /* On its own stack: it may be left behind by who called gyre_run. */
    options.copy = call;
    options.copy_size = sizeof *call;
    error = gyre_coro_create(NULL, "gyre_run\0main", NULL, run_main, NULL, &options,
                             &runtime->contexts.root, &coro);
    if (!call->background) /* where it may end long before the runtime, it is one like all others */
        runtime->main = coro;
    if (!error)
        gyre_ready(coro);
    else
        gyre_message("cannot start: no memory for the main coroutine's stack of %zu bytes",
                     options.stack_size);
    return error;
}

/* --- shutdown ------------------------------------------------------------------------------- */

static void interrupt_alive(struct stack_block *block, void *unused)
{
    struct gyre_coro *coro = container_of(block, struct gyre_coro, stack);

    (void)unused;
    if (coro_alive(coro))
        gyre_coro_interrupt(coro);
}

static int64_t grace_of(const struct gyre_runtime *runtime)
{
    return runtime->options.grace < 0 ? 0 : runtime->options.grace;
}

/* Returns true when every coroutine, and every function on a helper thread, has ended; false when
 * the grace was over. The main coroutine has said that it ends, and is on its way: no straggler. */
static bool await_end(struct gyre_runtime *runtime)
{
    int64_t limit = clock_after(clock_real(), grace_of(runtime));

    gyre_context_end(&runtime->contexts.root, -ECANCELED);
    while (gyre_coro_live(runtime) || helpers_pending()) {
        /* The count of living ones includes who has ended but for the last few instructions. */
        if (clock_real() >= limit &&
            (gyre_report_count(runtime, REPORT_ALIVE, runtime->main) || helpers_left(false)))
            return false;
        gyre_stack_each(&runtime->stacks, interrupt_alive, NULL);
        /* Nobody signals the last end: it would cost every coroutine's. */
        gyre_watchdog_wait(runtime, atomic_load_explicit(&runtime->attention, memory_order_seq_cst),
                           GYRE_MILLISECOND);
    }
    return true;
}

static int give_up(struct gyre_runtime *runtime)
{
    long grace = (long)(grace_of(runtime) / GYRE_MILLISECOND);
    size_t coroutines = gyre_report_count(runtime, REPORT_ALIVE, runtime->main);
    size_t functions = helpers_left(false);

    if (coroutines) {
        gyre_message("shutdown: %zu coroutine%s did not end within the grace of %ld ms:",
                     coroutines, coroutines == 1 ? "" : "s", grace);
        gyre_report_lines(runtime, REPORT_ALIVE, runtime->main);
    }
    if (functions) {
        gyre_message("shutdown: %zu function%s of gyre_blocking_detached did not return within the "
                     "grace of %ld ms:",
                     functions, functions == 1 ? "" : "s", grace);
        helpers_left(true);
    }
    if (!runtime->options.keep_stragglers)
        abort();
    return -EBUSY;
}

/* Threads of the program's that woke the last coroutines, and are not done with waking. */
static void await_foreigners(struct gyre_runtime *runtime)
{
    /* Acquire: pairs with the release in foreign_leave. */
    while (atomic_load_explicit(&runtime->foreigners, memory_order_acquire))
        sched_yield();
}

static void stop_workers(struct gyre_runtime *runtime)
{
    await_foreigners(runtime);
    set_phase(runtime, PHASE_STOPPED);
    full_barrier(); /* pairs with the one behind publish_sleep */
    for (unsigned i = 0; i < runtime->worker_count; i++)
        gyre_worker_notify(&runtime->workers[i]);
    wait_reported(runtime, 2 * runtime->worker_count);
    release_threads(runtime, 2);
    join_threads(runtime, runtime->worker_count);
}

/*
 * Until the main coroutine has ended. Should the program end the root context before that, then
 * those directly under it, who are linked nowhere, are looked for here, again and again: they don't
 * pay for a barrier when they park.
 */
static void await_main(struct gyre_runtime *runtime)
{
    for (;;) {
        uint32_t attention = atomic_load_explicit(&runtime->attention, memory_order_seq_cst);
        int64_t timeout = -1;

        if (atomic_load_explicit(&runtime->phase, memory_order_acquire) != PHASE_RUNNING)
            return;
        if (context_error(&runtime->contexts.root)) {
            gyre_stack_each(&runtime->stacks, interrupt_alive, NULL);
            timeout = GYRE_MILLISECOND;
        }
        gyre_watchdog_wait(runtime, attention, timeout);
    }
}

/* --- errors --------------------------------------------------------------------------------- */

static int describe(char *buffer, unsigned long size)
{
    struct gyre_coro *self = coro_current();

    if (!self)
        return 0;
    return snprintf(buffer, size, "coroutine %lu \"%s\", started at %s", (unsigned long)self->id,
                    coro_name(self), coro_started_at(self));
}

/* In a signal handler: no formatting functions that may allocate; snprintf of glibc does not for
 * these. */
static void report_overflow(struct stack_block *block, void *address)
{
    struct gyre_coro *coro = container_of(block, struct gyre_coro, stack);

    (void)address;
    gyre_message("panic: stack overflow in coroutine %lu \"%s\", its stack has %zu bytes, started "
                 "at %s",
                 (unsigned long)coro->id, coro_name(coro), (size_t)1 << block->shift,
                 coro_started_at(coro));
}

/* --- gyre_run ------------------------------------------------------------------------------- */

static int run(struct gyre_runtime *runtime, struct main_call *call, struct debug_topics debug)
{
    char line[200];
    int error = start_threads(runtime);

    if (error)
        return error;
    if (debug.ring) {
        gyre_ring_describe(&runtime->workers[0].ring, line, sizeof line);
        gyre_message("%s", line);
    }
    error = call->fn ? start_main(runtime, call) : 0;
    if (error) {
        release_threads(runtime, 2);
        join_threads(runtime, runtime->worker_count);
        return error;
    }
    runtime->background = call->background;
    gyre_visits_open(runtime);
    if (call->background)
        call->background->started(call->background, runtime);
    release_threads(runtime, 1);
    await_main(runtime);
    gyre_visits_close();
    if (!await_end(runtime))
        return give_up(runtime);
    helpers_end();
    stop_workers(runtime);
    gyre_endings_call();
    if (unlikely(gyre_checks)) {
        if (call->background)
            report_leaks(runtime, REPORT_UNJOINED);
        check_objects(runtime);
    }
    return atomic_load_explicit(&runtime->main_result, memory_order_relaxed);
}

static int run_with(struct main_call *call, const struct gyre_options *options,
                    struct debug_topics debug, struct run_settings *settings)
{
    const bool checks = gyre_checks;
    struct gyre_runtime *runtime;
    sigset_t mask;
    int result;

    gyre_checks_run++;
    gyre_checks = checks || debug.checks || (settings && settings->checks);
    if (settings && settings->virtual_clock)
        clock_set_virtual(QUIET_START);
    result = create_runtime(&runtime, options, settings);
    if (result) {
        gyre_message("cannot start: %s", strerror(-result));
        goto over;
    }
    gyre_runtime_instance = runtime;
    gyre_panic_describe = describe;
    gyre_backtrace_prepare();
    gyre_restart_init();
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    gyre_children_set_original(runtime->pinned ? &runtime->cpus : NULL, &mask);
    result = gyre_overflow_install(&runtime->stacks, report_overflow);
    if (!result)
        result = gyre_preempt_start(runtime);
    if (result)
        gyre_message("cannot start: the signal handlers, or the map of the process's code: %s",
                     strerror(-result));
    if (!result) {
        result = run(runtime, call, debug);
        if (debug.preempt)
            gyre_preempt_describe(runtime);
    }
    /* Only the shutdown leaves the phase at STOPPING: then threads still use all of this. */
    if (atomic_load_explicit(&runtime->phase, memory_order_relaxed) == PHASE_STOPPING) {
        if (call->background)
            call->background->left_behind = true;
        return result;
    }
    gyre_preempt_stop(runtime);
    gyre_overflow_remove();
    gyre_children_set_original(NULL, NULL);
    gyre_runtime_instance = NULL;
    destroy_runtime(runtime);
over:
    gyre_checks = checks;
    clock_set_virtual(0);
    /* Last, and once: from here on another thread may start a runtime. */
    atomic_store_explicit(&runtime_taken, false, memory_order_release);
    return result;
}

static int run_checked(struct main_call *call, const struct gyre_options *options,
                       struct run_settings *settings)
{
    struct gyre_options resolved;
    struct debug_topics debug;
    int error = gyre_options_resolve(&resolved, options, &debug);

    if (error)
        return error;
    /* Acquire: pairs with the release at the end of the last run. */
    if (atomic_exchange_explicit(&runtime_taken, true, memory_order_acquire)) {
        gyre_message("cannot start: a runtime runs in this process already");
        return -EBUSY;
    }
    return run_with(call, &resolved, debug, settings);
}

int gyre_run_settings(gyre_fn fn, void *arg, const struct gyre_options *options,
                      struct run_settings *settings)
{
    struct main_call call = {fn, arg, NULL};

    if (coro_current()) {
        gyre_message("gyre_run called inside a coroutine");
        return -EDEADLK;
    }
    if (!fn) {
        gyre_message("cannot start: gyre_run of a NULL function");
        return -EINVAL;
    }
    return run_checked(&call, options, settings);
}

int gyre_run_background(gyre_fn fn, void *arg, const struct gyre_options *options,
                        struct run_background *background)
{
    struct main_call call = {fn, arg, background};

    return run_checked(&call, options, NULL);
}

void gyre_run_end(struct gyre_runtime *runtime)
{
    set_phase(runtime, PHASE_STOPPING);
}

int gyre_run_options(gyre_fn fn, void *arg, const struct gyre_options *options)
{
    return gyre_run_settings(fn, arg, options, NULL);
}

int gyre_run(gyre_fn fn, void *arg)
{
    return gyre_run_options(fn, arg, NULL);
}
