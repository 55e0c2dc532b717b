/* A runtime in the background: started, called from threads, its ends collected by a loop, stopped,
 * again and again. */
#include "../io/descriptors.h"
#include "inside.h"

#include "sched/worker.h"

#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int count_threads(void)
{
    DIR *directory = opendir("/proc/self/task");
    int count = -2;

    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

/* 0 where the sanitizer does not tell. */
static size_t memory_in_use(void)
{
    return mallinfo2().uordblks;
}

static int seven(void *unused)
{
    (void)unused;
    return 7;
}

static int add_one(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int sleep_long(void *arg)
{
    int error;

    if (arg)
        atomic_fetch_add((atomic_int *)arg, 1);
    error = gyre_sleep(GYRE_HOUR);
    return error == -ECANCELED ? -EINTR : error; /* tells it from a call that was never made */
}

static int sleep_hour(void *unused)
{
    (void)unused;
    return sleep_long(NULL);
}

static int sleep_little(void *unused)
{
    (void)unused;
    gyre_sleep(GYRE_MILLISECOND);
    gyre_yield();
    return 5;
}

static struct gyre_runtime *start_with(unsigned workers, gyre_fn fn, void *arg)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    struct gyre_runtime *runtime = NULL;

    options.workers = workers;
    cr_assert_eq(gyre_start(&runtime, fn, arg, &options), 0);
    cr_assert(runtime);
    return runtime;
}

Test(embed, a_call_gives_what_the_function_returned)
{
    for (unsigned workers = 1; workers <= 5; workers += 2) {
        struct gyre_runtime *runtime = start_with(workers, NULL, NULL);

        cr_assert_eq(gyre_call(runtime, seven, NULL), 7);
        cr_assert_eq(gyre_call(runtime, sleep_little, NULL), 5);
        cr_assert_eq(gyre_call(runtime, NULL, NULL), -EINVAL);
        cr_assert_eq(gyre_stop(runtime), 0);
    }
}

Test(embed, it_runs_on_though_its_function_has_returned)
{
    struct gyre_runtime *runtime = start_with(2, seven, NULL);

    for (int i = 0; i < 100; i++)
        cr_assert_eq(gyre_call(runtime, seven, NULL), 7);
    cr_assert_eq(gyre_stop(runtime), 7);
}

Test(embed, stop_cancels_the_function_and_returns_its_result)
{
    atomic_int begun = 0;
    struct gyre_runtime *runtime = start_with(2, sleep_long, &begun);

    cr_assert_eq(gyre_stop(runtime), -EINTR);
    cr_assert_eq(begun, 1);
}

Test(embed, a_hundred_starts_in_a_row_leave_nothing_behind)
{
    int descriptors = 0, threads = 0;
    size_t memory = SIZE_MAX;

    for (int i = 0; i < 100; i++) {
        atomic_int count = 0;
        struct gyre_runtime *runtime = start_with(1 + i % 3, i % 2 ? seven : NULL, NULL);

        cr_assert_eq(gyre_call(runtime, add_one, &count), 0);
        cr_assert_eq(gyre_runtime_go(runtime, sleep_long, NULL), 0);
        cr_assert_eq(gyre_stop(runtime), i % 2 ? 7 : 0);
        cr_assert_eq(count, 1);
        if (i == 20) {
            descriptors = open_descriptors();
            threads = count_threads();
            memory = memory_in_use();
        }
    }
    cr_assert_eq(open_descriptors(), descriptors);
    cr_assert_eq(count_threads(), threads);
    cr_assert_leq(memory_in_use(), memory + 16384);
    cr_assert_eq(gyre_run(seven, NULL), 7);
}

static int start_inside(void *unused)
{
    struct gyre_runtime *runtime = NULL;

    (void)unused;
    EXPECT_EQ(gyre_start(&runtime, NULL, NULL, NULL), -EDEADLK);
    EXPECT_EQ(gyre_stop(gyre_runtime_current()), -EDEADLK);
    EXPECT(!runtime);
    return 0;
}

Test(embed, there_is_one_runtime_at_a_time)
{
    struct gyre_runtime *runtime = start_with(1, NULL, NULL), *second = NULL;

    note_messages();
    cr_assert_eq(gyre_start(&second, NULL, NULL, NULL), -EBUSY);
    cr_assert_eq(gyre_run(seven, NULL), -EBUSY);
    cr_assert_eq(gyre_call(runtime, start_inside, NULL), 0);
    cr_assert_eq(second, NULL);
    cr_assert_eq(failed_expectations, 0);
    cr_assert_eq(gyre_stop(runtime), 0);
}

Test(embed, errors_of_the_start_reach_the_caller)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    struct rlimit limit, none;
    struct gyre_runtime *runtime = NULL;
    int descriptors = open_descriptors(), threads = count_threads(), lowest = dup(0);

    close(lowest);
    note_messages();
    cr_assert_eq(gyre_start(NULL, NULL, NULL, NULL), -EINVAL);
    options.workers = 5000;
    cr_assert_eq(gyre_start(&runtime, NULL, NULL, &options), -EINVAL);
    getrlimit(RLIMIT_NOFILE, &limit);
    for (rlim_t room = 0; room < 2; room++) {
        none = limit;
        none.rlim_cur = (rlim_t)lowest + room;
        setrlimit(RLIMIT_NOFILE, &none);
        cr_assert_eq(gyre_start(&runtime, NULL, NULL, NULL), -EMFILE);
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    cr_assert_eq(runtime, NULL);
    cr_assert_eq(open_descriptors(), descriptors);
    cr_assert_eq(count_threads(), threads);
    runtime = start_with(1, NULL, NULL);
    cr_assert_eq(gyre_stop(runtime), 0);
}

Test(embed, a_stopped_runtime_refuses)
{
    struct gyre_runtime *runtime = start_with(1, NULL, NULL);

    cr_assert_eq(gyre_stop(runtime), 0);
    cr_assert_eq(gyre_stop(runtime), -EINVAL);
    cr_assert_eq(gyre_stop(NULL), -EINVAL);
    cr_assert_eq(gyre_call(runtime, seven, NULL), -ECANCELED);
    cr_assert_eq(gyre_submit(runtime, seven, NULL, NULL), -EINVAL);
    cr_assert_eq(gyre_finish(runtime), -ECANCELED);
    cr_assert_eq(gyre_finish_fd(runtime), -ECANCELED);
}

/* --- threads that call ----------------------------------------------------------------------- */

struct caller {
    pthread_t thread;
    struct gyre_runtime *runtime;
    gyre_fn fn;
    void *arg;
    int result;
};

static void *call(void *argument)
{
    struct caller *caller = argument;

    caller->result = gyre_call(caller->runtime, caller->fn, caller->arg);
    return NULL;
}

static void start_caller(struct caller *caller, struct gyre_runtime *runtime, gyre_fn fn, void *arg)
{
    *caller = (struct caller){.runtime = runtime, .fn = fn, .arg = arg};
    cr_assert_eq(pthread_create(&caller->thread, NULL, call, caller), 0);
}

Test(embed, who_waits_when_it_stops_gets_the_result)
{
    struct gyre_runtime *runtime = start_with(2, NULL, NULL);
    struct caller callers[8];
    atomic_int begun = 0;

    for (int i = 0; i < 8; i++)
        start_caller(&callers[i], runtime, sleep_long, &begun);
    while (begun < 8)
        sched_yield();
    cr_assert_eq(gyre_stop(runtime), 0);
    for (int i = 0; i < 8; i++) {
        pthread_join(callers[i].thread, NULL);
        cr_assert_eq(callers[i].result, -EINTR);
    }
}

static atomic_int held, let_go, called;

/* The only worker is busy: nothing else begins. */
GYRE_NO_PREEMPT static int hold_worker(void *unused)
{
    (void)unused;
    atomic_store(&held, 1);
    while (!atomic_load(&let_go))
        sched_yield();
    return 0;
}

static void *stop(void *argument)
{
    struct caller *caller = argument;

    caller->result = gyre_stop(caller->runtime);
    return NULL;
}

Test(embed, who_waits_when_it_stops_and_was_not_begun_is_told)
{
    struct gyre_runtime *runtime = start_with(1, NULL, NULL);
    struct caller holder, caller, stopper = {.runtime = runtime};

    start_caller(&holder, runtime, hold_worker, NULL);
    while (!held)
        sched_yield();
    start_caller(&caller, runtime, add_one, &called);
    while (gyre_runtime_coro_count(runtime) < 2)
        sched_yield();
    cr_assert_eq(pthread_create(&stopper.thread, NULL, stop, &stopper), 0);
    while (!context_error(&runtime->contexts.root)) /* it stays while the worker is held */
        sched_yield();
    atomic_store(&let_go, 1);
    pthread_join(stopper.thread, NULL);
    cr_assert_eq(stopper.result, 0);
    pthread_join(holder.thread, NULL);
    pthread_join(caller.thread, NULL);
    cr_assert_eq(holder.result, 0);
    cr_assert_eq(caller.result, -ECANCELED);
    cr_assert_eq(called, 0);
}

static int stay(void *unused)
{
    (void)unused;
    atomic_store(&held, 1);
    GYRE_SHIELD();
    while (!atomic_load(&let_go))
        gyre_sleep(GYRE_MILLISECOND);
    return 3;
}

Test(embed, stragglers_are_left_behind_and_still_tell)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    struct gyre_runtime *runtime, *second = NULL;
    struct caller caller;

    note_messages();
    options.keep_stragglers = 1;
    options.grace = -1;
    cr_assert_eq(gyre_start(&runtime, NULL, NULL, &options), 0);
    start_caller(&caller, runtime, stay, NULL);
    while (!held)
        sched_yield();
    cr_assert_eq(gyre_stop(runtime), -EBUSY);
    cr_assert_eq(gyre_call(runtime, seven, NULL), -ECANCELED);
    cr_assert_eq(gyre_start(&second, NULL, NULL, NULL), -EBUSY);
    atomic_store(&let_go, 1);
    pthread_join(caller.thread, NULL);
    cr_assert_eq(caller.result, 3);
}

static void never_done(void *unused, int result)
{
    (void)unused;
    EXPECT_EQ(result, 0);
}

static int call_from_thread(void *unused)
{
    struct caller caller;

    (void)unused;
    caller = (struct caller){.runtime = gyre_runtime_current(), .fn = seven};
    EXPECT_EQ(pthread_create(&caller.thread, NULL, call, &caller), 0);
    EXPECT_EQ(gyre_sleep(10 * GYRE_MILLISECOND), 0);
    EXPECT_EQ(pthread_join(caller.thread, NULL), 0);
    EXPECT_EQ(caller.result, 7);
    EXPECT_EQ(gyre_submit(gyre_runtime_current(), seven, NULL, never_done), -EINVAL);
    return 0;
}

Test(embed, threads_call_a_runtime_of_gyre_run_too)
{
    cr_assert_eq(run_with_workers(2, call_from_thread, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}

/* --- a loop that submits --------------------------------------------------------------------- */

static pthread_t loop_thread;
static int done_count, done_sum;

static void note_done(void *arg, int result)
{
    cr_assert(pthread_equal(pthread_self(), loop_thread));
    cr_assert_eq(arg, &done_count);
    done_count++;
    done_sum += result;
}

static bool readable(int fd, int timeout)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, timeout) == 1;
}

static void finish_until(struct gyre_runtime *runtime, int count)
{
    int fd = gyre_finish_fd(runtime), finished = 0;

    while (finished < count) {
        int now;

        cr_assert(readable(fd, 10000));
        now = gyre_finish(runtime);
        cr_assert_geq(now, 0);
        finished += now;
    }
    cr_assert_eq(finished, count);
}

Test(embed, what_was_submitted_is_finished_on_the_loop)
{
    struct gyre_runtime *runtime = start_with(2, NULL, NULL);

    loop_thread = pthread_self();
    cr_assert_eq(gyre_submit(runtime, NULL, NULL, note_done), -EINVAL);
    cr_assert_eq(gyre_finish(runtime), 0);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 10; i++)
            cr_assert_eq(gyre_submit(runtime, seven, &done_count, note_done), 0);
        finish_until(runtime, 10);
    }
    cr_assert_eq(done_count, 1000);
    cr_assert_eq(done_sum, 7000);
    cr_assert_eq(gyre_stop(runtime), 0);
}

Test(embed, stop_finishes_what_was_not)
{
    struct gyre_runtime *runtime = start_with(2, NULL, NULL);

    loop_thread = pthread_self();
    cr_assert_eq(gyre_submit(runtime, seven, &done_count, note_done), 0);
    cr_assert(readable(gyre_finish_fd(runtime), 10000));
    for (int i = 0; i < 3; i++)
        cr_assert_eq(gyre_submit(runtime, sleep_hour, &done_count, note_done), 0);
    cr_assert_eq(gyre_stop(runtime), 0);
    cr_assert_eq(done_count, 4);
}

static struct gyre_runtime *own;

static void stop_in_done(void *arg, int result)
{
    (void)arg;
    done_count++;
    if (result == 7)
        cr_assert_eq(gyre_stop(own), 0);
    else
        cr_assert_eq(gyre_submit(own, seven, NULL, stop_in_done), -ECANCELED);
}

Test(embed, done_may_stop_the_runtime)
{
    own = start_with(2, NULL, NULL);
    cr_assert_eq(gyre_submit(own, sleep_long, NULL, stop_in_done), 0);
    cr_assert_eq(gyre_submit(own, seven, NULL, stop_in_done), 0);
    cr_assert(readable(gyre_finish_fd(own), 10000));
    cr_assert_eq(gyre_finish(own), 1);
    cr_assert_eq(done_count, 2);
}

static int submit_inside(void *unused)
{
    (void)unused;
    return gyre_submit(gyre_runtime_current(), seven, &done_count, note_done);
}

Test(embed, a_coroutine_has_something_done_on_the_loop)
{
    struct gyre_runtime *runtime = start_with(2, NULL, NULL);

    loop_thread = pthread_self();
    cr_assert_eq(gyre_call(runtime, submit_inside, NULL), 0);
    finish_until(runtime, 1);
    cr_assert_eq(done_sum, 7);
    cr_assert_eq(gyre_stop(runtime), 0);
}

/* --- failures -------------------------------------------------------------------------------- */

static atomic_int fail_in; /* the n-th of the calls below from now on fails; 0: none */

static bool fails(void)
{
    return atomic_load(&fail_in) > 0 && atomic_fetch_sub(&fail_in, 1) == 1;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags)
{
    if (!fails())
        return __real_eventfd(count, flags);
    errno = EMFILE;
    return -1;
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument)
{
    return fails() ? EAGAIN : __real_pthread_create(thread, attributes, run, argument);
}

Test(embed, each_failure_of_the_start_leaves_nothing_behind)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    struct gyre_runtime *runtime = NULL;
    int descriptors = open_descriptors(), threads = count_threads(), failures = 0, n = 1;

    note_messages();
    options.workers = 2;
    for (int left = 0; !left; n++) {
        int error;

        messages_length = 0;
        atomic_store(&fail_in, n);
        error = gyre_start(&runtime, seven, NULL, &options);
        left = atomic_exchange(&fail_in, 0);
        if (error) {
            failures++;
            cr_assert(error == -ENOMEM || error == -EMFILE || error == -EAGAIN, "%d", error);
        } else {
            cr_assert_eq(gyre_stop(runtime), 7);
        }
        cr_assert_eq(open_descriptors(), descriptors);
        cr_assert_eq(count_threads(), threads);
    }
    cr_assert_geq(failures, 6, "%d", failures);
}

Test(embed, without_memory_nothing_is_submitted)
{
    struct gyre_runtime *runtime = start_with(1, NULL, NULL);

    loop_thread = pthread_self();
    atomic_store(&fail_in, 1);
    cr_assert_eq(gyre_submit(runtime, seven, &done_count, note_done), -ENOMEM);
    cr_assert_eq(gyre_stop(runtime), 0);
    cr_assert_eq(done_count, 0);
}

/* --- the host -------------------------------------------------------------------------------- */

Test(embed, the_callers_mask_and_affinity_stay)
{
    sigset_t mask, after;
    cpu_set_t cpus, cpus_after;
    struct gyre_runtime *runtime;

    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    sched_getaffinity(0, sizeof cpus, &cpus);
    runtime = start_with(2, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        pthread_sigmask(SIG_SETMASK, NULL, &after);
        sched_getaffinity(0, sizeof cpus_after, &cpus_after);
        for (int signal = 1; signal < SIGRTMAX; signal++)
            cr_assert_eq(sigismember(&after, signal), sigismember(&mask, signal));
        cr_assert(CPU_EQUAL(&cpus, &cpus_after));
        if (!i)
            cr_assert_eq(gyre_stop(runtime), 0);
    }
}

Test(embed, a_child_of_the_host_may_exec)
{
    struct gyre_runtime *runtime = start_with(2, NULL, NULL);
    int status;
    pid_t child = fork();

    if (!child) {
        execlp("true", "true", NULL);
        _exit(1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_eq(gyre_call(runtime, seven, NULL), 7);
    cr_assert_eq(gyre_stop(runtime), 0);
}
