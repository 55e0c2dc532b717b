/* gyre_test: what it returns, and what it says. */
#include "messages.h"

#include "../coro/child.h"

#include <pthread.h>

static int give(void *arg)
{
    return *(int *)arg;
}

static int return_of(int result)
{
    note_messages();
    return gyre_test(give, &result);
}

Test(test, returns_0_and_says_nothing_when_all_is_well)
{
    cr_assert_eq(return_of(0), 0);
    cr_assert_str_eq(messages, "");
}

Test(test, returns_what_the_function_returned)
{
    cr_assert_eq(return_of(-EIO), -EIO);
    said_and_failed("");
    cr_assert_eq(return_of(7), 7);
    said_and_failed("");
}

static int line;

/* The two that fail stand in the lines after `line`. */
static int expect_in_vain(void *arg)
{
    int one = 1;

    GYRE_EXPECT(one == 1);
    line = __LINE__;
    GYRE_EXPECT(one == 2);
    GYRE_EXPECT(arg);
    return 0;
}

Test(test, an_expectation_that_fails_is_named_and_the_test_goes_on)
{
    char wanted[400];

    note_messages();
    cr_assert_eq(gyre_test(expect_in_vain, NULL), -ENOTRECOVERABLE);
    snprintf(wanted, sizeof wanted,
             "gyre: %s:%d: does not hold: one == 2\ngyre: %s:%d: does not hold: arg\n", __FILE__,
             line + 1, __FILE__, line + 2);
    said_and_failed(wanted);
    /* The next test begins anew. */
    cr_assert_eq(return_of(0), 0);
    cr_assert_str_eq(messages, "");
}

static void *expect_on_a_thread(void *arg)
{
    gyre_test_fail("thread.c", 5, arg);
    return NULL;
}

static int start_thread(void *arg)
{
    pthread_t thread;

    GYRE_EXPECT(pthread_create(&thread, NULL, expect_on_a_thread, arg) == 0);
    pthread_join(thread, NULL);
    return 0;
}

Test(test, an_expectation_may_fail_on_any_thread)
{
    note_messages();
    cr_assert_eq(gyre_test(start_thread, "x > 0"), -ENOTRECOVERABLE);
    said_and_failed("gyre: thread.c:5: does not hold: x > 0\n");
}

static int run_inside(void *arg)
{
    (void)arg;
    return gyre_test(run_inside, NULL) == -EDEADLK ? 0 : -EIO;
}

Test(test, cannot_start_where_gyre_run_cannot)
{
    note_messages();
    cr_assert_eq(gyre_test(NULL, NULL), -EINVAL);
    cr_assert_str_eq(messages, "gyre: cannot start: gyre_run of a NULL function\n");
    note_messages();
    cr_assert_eq(gyre_test(run_inside, NULL), 0);
    cr_assert_str_eq(messages, "gyre: gyre_run called inside a coroutine\n");
}

Test(test, options_that_make_no_sense_are_refused)
{
    struct gyre_test_options options = {0};

    note_messages();
    cr_assert_eq(gyre_test_run(give, NULL, &options), -EINVAL);
    cr_assert_str_eq(messages, "gyre: cannot start: options not initialised with "
                               "GYRE_TEST_OPTIONS_INIT, or of a newer version\n");
    note_messages();
    options = (struct gyre_test_options)GYRE_TEST_OPTIONS_INIT;
    options.workers = 2;
    cr_assert_eq(gyre_test_run(give, NULL, &options), -EINVAL);
    cr_assert_str_eq(messages, "gyre: cannot start: the virtual clock needs one worker; set "
                               "real_clock for more\n");
}

static int count_workers(void *arg)
{
    *(unsigned *)arg = gyre_worker_count();
    return gyre_sleep(GYRE_MILLISECOND);
}

Test(test, runs_on_one_worker_whatever_the_environment_says)
{
    unsigned workers = 0;

    setenv("GYRE_WORKERS", "3", 1);
    cr_assert_eq(gyre_test(count_workers, &workers), 0);
    cr_assert_eq(workers, 1);
    unsetenv("GYRE_WORKERS");
}

Test(test, runs_on_more_where_it_is_asked_to)
{
    struct gyre_test_options options = GYRE_TEST_OPTIONS_INIT;
    unsigned workers = 0;

    options.workers = 3;
    options.real_clock = 1;
    for (options.shuffle = 0; options.shuffle <= 1; options.shuffle++) {
        cr_assert_eq(gyre_test_run(count_workers, &workers, &options), 0);
        cr_assert_eq(workers, 3);
    }
}

/* --- gyre_test_wait where it makes no sense --------------------------------------------------- */

static struct child child;

static int wait_for_others(void *arg)
{
    (void)arg;
    return gyre_test_wait();
}

static void wait_outside_a_test(void)
{
    gyre_run(wait_for_others, NULL);
}

static int wait_twice(void *arg)
{
    (void)arg;
    gyre_go_at("first.c:1\0first", wait_for_others, NULL);
    gyre_yield();
    return gyre_test_wait();
}

static void wait_beside_another(void)
{
    gyre_test(wait_twice, NULL);
}

Test(test, wait_outside_a_test_panics)
{
    static const char wanted[] = "gyre: panic: gyre_test_wait outside a gyre_test with one worker\n"
                                 "  coroutine 1 \"main\", started at gyre_run\n";

    child_run(&child, wait_outside_a_test);
    cr_assert_eq(child.status, -SIGABRT);
    cr_assert_eq(strncmp(child.output, wanted, strlen(wanted)), 0, "%s", child.output);
}

Test(test, two_that_wait_at_once_panic)
{
    static const char wanted[] =
        "gyre: panic: gyre_test_wait while coroutine 2 \"first\" is in it\n"
        "  coroutine 1 \"main\", started at gyre_run\n";

    child_run(&child, wait_beside_another);
    cr_assert_eq(child.status, -SIGABRT);
    cr_assert_eq(strncmp(child.output, wanted, strlen(wanted)), 0, "%s", child.output);
}
