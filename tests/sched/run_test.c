/* gyre_run: what it returns, what it refuses and how it says so, what is left after it. */
#include "inside.h"

#include <dirent.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static int give(void *arg)
{
    return *(int *)arg;
}

static int never(void *arg)
{
    (void)arg;
    EXPECT(!"called");
    return 0;
}

static int count_entries(const char *path)
{
    DIR *dir = opendir(path);
    int count = 0;

    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static size_t mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    size_t count = 0;
    int c;

    while ((c = getc(maps)) != EOF)
        count += c == '\n';
    fclose(maps);
    return count;
}

Test(run, returns_what_the_function_returned)
{
    static const int results[] = {0, 7, -1, -EINVAL, INT_MIN, INT_MAX};

    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        int result = results[i];

        cr_assert_eq(gyre_run(give, &result), results[i]);
        cr_assert_eq(gyre_run_options(give, &result, NULL), results[i]);
    }
}

Test(run, of_null_is_refused)
{
    note_messages();
    cr_assert_eq(gyre_run(NULL, NULL), -EINVAL);
    cr_assert_str_eq(messages, "gyre: cannot start: gyre_run of a NULL function\n");
}

INSIDE(run, inside_a_coroutine_is_refused)
{
    note_messages();
    EXPECT_EQ(gyre_run(never, NULL), -EDEADLK);
    EXPECT(!strcmp(messages, "gyre: gyre_run called inside a coroutine\n"));
    gyre_set_message_handler(NULL, NULL);
    return 0;
}

static void *run_second(void *arg)
{
    *(int *)arg = gyre_run(never, NULL);
    return NULL;
}

INSIDE(run, beside_another_is_refused)
{
    pthread_t thread;
    int result = 0;

    note_messages();
    EXPECT_EQ(pthread_create(&thread, NULL, run_second, &result), 0);
    pthread_join(thread, NULL);
    EXPECT_EQ(result, -EBUSY);
    EXPECT(!strcmp(messages, "gyre: cannot start: a runtime runs in this process already\n"));
    gyre_set_message_handler(NULL, NULL);
    return 0;
}

static int idle(void *arg)
{
    (void)arg;
    return gyre_sleep(GYRE_SECOND);
}

static int spawn_some(void *arg)
{
    gyre_handle handles[10];
    static struct gyre_local key = {free};

    (void)arg;
    gyre_local_set(&key, malloc(100));
    for (int i = 0; i < 10; i++) {
        EXPECT_EQ(gyre_spawn(&handles[i], idle, NULL), 0);
        EXPECT_EQ(gyre_go(idle, NULL), 0);
    }
    for (int i = 0; i < 5; i++)
        gyre_detach(handles[i]);
    GYRE_TIMEOUT(GYRE_MILLISECOND);
    return gyre_join(handles[9], NULL) == -ETIMEDOUT ? 0 : 1;
}

/* Threads that ended stay in /proc for a moment. */
static void await_threads(int count)
{
    for (int i = 0; i < 1000 && count_entries("/proc/self/task") != count; i++)
        sched_yield();
    cr_assert_eq(count_entries("/proc/self/task"), count);
}

Test(run, a_hundred_times_leaves_nothing_behind)
{
    int descriptors = 0, threads = 0;
    size_t maps = 0, used = 0;

    for (int i = 0; i < 100; i++) {
        cr_assert_eq(run_with_workers(1 + (unsigned)i % 3, spawn_some, NULL), 0);
        if (i == 9) {
            descriptors = count_entries("/proc/self/fd");
            threads = count_entries("/proc/self/task");
            maps = mappings();
            used = (size_t)mallinfo2().uordblks;
        }
    }
    cr_assert_eq(count_entries("/proc/self/fd"), descriptors);
    await_threads(threads);
#if !defined(__SANITIZE_ADDRESS__)
    cr_assert_leq(mappings(), maps + 4, "%zu mappings, then %zu", maps, mappings());
    cr_assert_leq((size_t)mallinfo2().uordblks, used + 4096);
#else
    (void)maps, (void)used;
#endif
}

Test(run, leaves_affinity_and_signals_as_they_were)
{
    cpu_set_t before, after;
    sigset_t mask, mask_after;
    struct sigaction segv, segv_after;
    int zero = 0;

    sched_getaffinity(0, sizeof before, &before);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    sigaction(SIGSEGV, NULL, &segv);
    cr_assert_eq(gyre_run(give, &zero), 0);
    sched_getaffinity(0, sizeof after, &after);
    cr_assert(CPU_EQUAL(&before, &after));
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    for (int s = 1; s < 64; s++)
        cr_assert_eq(sigismember(&mask, s), sigismember(&mask_after, s));
    sigaction(SIGSEGV, NULL, &segv_after);
    cr_assert_eq(segv.sa_handler, segv_after.sa_handler);
}

/* --- options --------------------------------------------------------------------------------- */

static int note_workers(void *arg)
{
    *(unsigned *)arg = gyre_worker_count();
    return 0;
}

Test(options, workers_are_as_many_as_asked)
{
    unsigned seen = 0;

    for (unsigned workers = 1; workers <= 9; workers += 4) {
        cr_assert_eq(run_with_workers(workers, note_workers, &seen), 0);
        cr_assert_eq(seen, workers);
    }
}

Test(options, workers_default_to_the_affinity_mask)
{
    cpu_set_t all, one;
    unsigned seen = 0;

    sched_getaffinity(0, sizeof all, &all);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all)) {
            CPU_SET(cpu, &one);
            break;
        }
    sched_setaffinity(0, sizeof one, &one);
    cr_assert_eq(gyre_run(note_workers, &seen), 0);
    cr_assert_eq(seen, 1);
}

static void refused(const struct gyre_options *options, const char *message)
{
    note_messages();
    cr_assert_eq(gyre_run_options(never, NULL, options), -EINVAL);
    cr_assert_str_eq(messages, message);
    gyre_set_message_handler(NULL, NULL);
}

Test(options, that_make_no_sense_are_refused)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 1025;
    refused(&options, "gyre: cannot start: an option makes no sense; workers: at most 1024\n");
    options = (struct gyre_options)GYRE_OPTIONS_INIT;
    options.pinning = 3;
    refused(&options,
            "gyre: cannot start: an option makes no sense; pinning: one of enum gyre_pinning\n");
    options.pinning = (enum gyre_pinning) - 1;
    refused(&options,
            "gyre: cannot start: an option makes no sense; pinning: one of enum gyre_pinning\n");
    options = (struct gyre_options)GYRE_OPTIONS_INIT;
    options.stack_size = SIZE_MAX;
    refused(&options, "gyre: cannot start: an option makes no sense; stack_size: at most 1 GiB\n");
    options = (struct gyre_options)GYRE_OPTIONS_INIT;
    options.ring_entries = 3;
    refused(&options, "gyre: cannot start: an option makes no sense; ring_entries: 4 to 32768\n");
    options.ring_entries = 65536;
    refused(&options, "gyre: cannot start: an option makes no sense; ring_entries: 4 to 32768\n");
    options = (struct gyre_options)GYRE_OPTIONS_INIT;
    options.helpers = 1025;
    refused(&options, "gyre: cannot start: an option makes no sense; helpers: at most 1024\n");
}

Test(options, all_zero_are_not_initialised)
{
    struct gyre_options options = {0};

    note_messages();
    cr_assert_eq(gyre_run_options(never, NULL, &options), -EINVAL);
    cr_assert_str_eq(messages,
                     "gyre: cannot start: options not initialised with GYRE_OPTIONS_INIT, "
                     "or of a newer version\n");
}

static int note_stack(void *arg)
{
    char here;

    *(uintptr_t *)arg = (uintptr_t)&here;
    return gyre_yield();
}

Test(options, smallest_and_largest_sizes_work)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    uintptr_t address = 0;

    options.stack_size = 1;
    options.ring_entries = 4;
    options.seed = UINT64_MAX;
    options.grace = INT64_MAX;
    cr_assert_eq(gyre_run_options(note_stack, &address, &options), 0);
    cr_assert_neq(address, 0);
    options.stack_size = (size_t)1 << 30;
    options.ring_entries = 4096;
    options.workers = 1;
    cr_assert_eq(gyre_run_options(note_stack, &address, &options), 0);
}

/* --- the environment -------------------------------------------------------------------------- */

static void nonsense(const char *name, const char *value, const char *wanted)
{
    char message[300];

    setenv(name, value, 1);
    snprintf(message, sizeof message, "gyre: cannot start: %s=%s makes no sense; it takes %s\n",
             name, value, wanted);
    note_messages();
    cr_assert_eq(gyre_run(never, NULL), -EINVAL, "%s=%s", name, value);
    cr_assert_str_eq(messages, message);
    gyre_set_message_handler(NULL, NULL);
    unsetenv(name);
}

Test(environment, nonsense_is_named_and_refused)
{
    static const char *const workers[] = {"0",   "-1", "",   " 2",   "2 ",
                                          "x",   "2x", "0x", "1025", "99999999999999999999",
                                          "1.5", "+2", "1k", "two"};
    static const char *const sizes[] = {
        "0", "-1", "1g", "k", "1kk", "1025m", "1 k", "", "18446744073709551616m", "m1"};

    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++)
        nonsense("GYRE_WORKERS", workers[i], "a number from 1 to 1024");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        nonsense("GYRE_STACK_SIZE", sizes[i], "bytes, up to 1024m, with k or m behind it");
    nonsense("GYRE_PINNING", "yes", "auto, off or on");
    nonsense("GYRE_PINNING", "", "auto, off or on");
    nonsense("GYRE_PINNING", "on ", "auto, off or on");
    nonsense("GYRE_RING_ENTRIES", "3", "a number from 4 to 32768");
    nonsense("GYRE_RING_ENTRIES", "32769", "a number from 4 to 32768");
    nonsense("GYRE_HELPERS", "0", "a number from 1 to 1024");
    nonsense("GYRE_HELPERS", "1025", "a number from 1 to 1024");
    nonsense("GYRE_GRACE", "-1", "milliseconds");
    nonsense("GYRE_GRACE", "1s", "milliseconds");
    nonsense("GYRE_GRACE", "9223372036854775807", "milliseconds");
    nonsense("GYRE_SEED", "0", "a number from 1");
    nonsense("GYRE_DEBUG", "rings", "topics separated by commas: ring, checks, preempt");
    nonsense("GYRE_DEBUG", "all,ring", "topics separated by commas: ring, checks, preempt");
}

Test(environment, overrides_the_program)
{
    unsigned seen = 0;

    setenv("GYRE_WORKERS", "3", 1);
    setenv("GYRE_PINNING", "off", 1);
    setenv("GYRE_STACK_SIZE", "256k", 1);
    setenv("GYRE_RING_ENTRIES", "8", 1);
    setenv("GYRE_GRACE", "100", 1);
    setenv("GYRE_SEED", "0x2a", 1);
    cr_assert_eq(run_with_workers(1, note_workers, &seen), 0);
    cr_assert_eq(seen, 3);
}

Test(environment, a_leading_zero_is_not_octal)
{
    unsigned seen = 0;

    setenv("GYRE_WORKERS", "010", 1);
    cr_assert_eq(gyre_run(note_workers, &seen), 0);
    cr_assert_eq(seen, 10);
}

Test(environment, debug_ring_says_what_was_taken)
{
    int zero = 0;

    setenv("GYRE_DEBUG", ",ring,", 1);
    note_messages();
    cr_assert_eq(gyre_run(give, &zero), 0);
    cr_assert_eq(strncmp(messages, "gyre: ring: ", 12), 0);
}

/* --- what can't be had ------------------------------------------------------------------------ */

static int first_free_descriptor(void)
{
    int fd = dup(STDOUT_FILENO);

    close(fd);
    return fd;
}

Test(run, without_descriptors_says_so_and_works_later)
{
    struct rlimit limit, few;
    int zero = 0;

    getrlimit(RLIMIT_NOFILE, &limit);
    few = limit;
    few.rlim_cur = (rlim_t)first_free_descriptor();
    setrlimit(RLIMIT_NOFILE, &few);
    note_messages();
    cr_assert_eq(gyre_run(never, NULL), -EMFILE);
    cr_assert_eq(
        strncmp(messages, "gyre: cannot start: no descriptor left for a ring (EMFILE)\n", 58), 0,
        "%s", messages);
    setrlimit(RLIMIT_NOFILE, &limit);
    cr_assert_eq(gyre_run(give, &zero), 0);
    few.rlim_cur += 3; /* for some workers' rings */
    setrlimit(RLIMIT_NOFILE, &few);
    cr_assert_eq(run_with_workers(30, never, NULL), -EMFILE);
    setrlimit(RLIMIT_NOFILE, &limit);
    cr_assert_eq(run_with_workers(30, give, &zero), 0);
}

static int stack_of_main(void *arg)
{
    char large[4 << 20];

    memset(large, 1, sizeof large);
    __asm__ volatile("" : : "r"(large) : "memory");
    *(size_t *)arg = gyre_stack_used();
    return 0;
}

Test(run, main_has_the_stack_of_a_main_thread)
{
    size_t used = 0;

    cr_assert_eq(gyre_run(stack_of_main, &used), 0);
    cr_assert_geq(used, (size_t)4 << 20);
    cr_assert_leq(used, ((size_t)4 << 20) + (64 << 10));
}
