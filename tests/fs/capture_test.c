/* gyre_process_capture: nothing deadlocks, nothing grows without end, nobody is left. */
#include "harness.h"
#include "process_child.h"

#include <signal.h>

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SHELL(script)  ARGUMENTS("sh", "-c", script)

static void expect_text(const char *text, const char *wanted)
{
    EXPECT(text && strcmp(text, wanted) == 0);
}

static void free_all(struct gyre_capture *capture)
{
    gyre_capture_free(capture);
    EXPECT(!capture->output && !capture->error);
    EXPECT(!has_children());
}

INSIDE(capture, both_outputs)
{
    struct gyre_capture capture;

    EXPECT_EQ(
        gyre_process_capture(&capture, SHELL("echo one; echo two >&2; exit 4"), NULL, 0, 0, NULL),
        0);
    expect_text(capture.output, "one\n");
    expect_text(capture.error, "two\n");
    EXPECT_EQ(capture.output_size, 4);
    EXPECT_EQ(capture.error_size, 4);
    EXPECT(capture.status.exited && capture.status.code == 4);
    free_all(&capture);
    return 0;
}

INSIDE(capture, nothing)
{
    struct gyre_capture capture;

    EXPECT_EQ(gyre_process_capture(&capture, ARGUMENTS("cat"), NULL, 0, 0, NULL), 0);
    expect_text(capture.output, "");
    expect_text(capture.error, "");
    free_all(&capture);
    EXPECT_EQ(gyre_process_capture(&capture, ARGUMENTS("/nowhere"), NULL, 0, 0, NULL), -ENOENT);
    EXPECT(!capture.output && !capture.error && !capture.output_size);
    free_all(&capture);
    return 0;
}

INSIDE(capture, much_through_small_pipes)
{
    enum { SIZE = 10 << 20 };
    char *input = malloc(SIZE);
    struct gyre_capture capture;

    for (size_t i = 0; i < SIZE; i++)
        input[i] = (char)(i * 2654435761u >> 13);
    EXPECT_EQ(gyre_process_capture(&capture, SHELL("tee /dev/stderr"), input, SIZE, SIZE, NULL), 0);
    EXPECT_EQ(capture.output_size, SIZE);
    EXPECT_EQ(capture.error_size, SIZE);
    EXPECT(capture.output_size == SIZE && memcmp(capture.output, input, SIZE) == 0);
    EXPECT(capture.error_size == SIZE && memcmp(capture.error, input, SIZE) == 0);
    free_all(&capture);
    free(input);
    return 0;
}

/* A write to a pipe that nobody reads must not raise SIGPIPE, on whichever thread it is done. */
INSIDE(capture, who_does_not_read)
{
    static char input[4 << 20];
    struct gyre_capture capture;

    EXPECT_EQ(
        gyre_process_capture(&capture, SHELL("exec <&-; echo done"), input, sizeof input, 0, NULL),
        0);
    expect_text(capture.output, "done\n");
    EXPECT(capture.status.exited && capture.status.code == 0);
    free_all(&capture);
    EXPECT_EQ(gyre_process_capture(&capture, ARGUMENTS("true"), input, sizeof input, 0, NULL), 0);
    EXPECT_EQ(capture.status.code, 0);
    free_all(&capture);
    return 0;
}

INSIDE(capture, limit)
{
    struct gyre_capture capture;

    EXPECT_EQ(gyre_process_capture(&capture, ARGUMENTS("yes"), NULL, 0, 100000, NULL), -EFBIG);
    EXPECT_EQ(capture.output_size, 100000);
    EXPECT(capture.output && memcmp(capture.output, "y\ny\n", 4) == 0);
    EXPECT(!capture.status.exited);
    free_all(&capture);
    EXPECT_EQ(gyre_process_capture(&capture, SHELL("printf 12345 >&2"), NULL, 0, 5, NULL), 0);
    expect_text(capture.error, "12345");
    free_all(&capture);
    EXPECT_EQ(gyre_process_capture(&capture, SHELL("printf 123456 >&2"), NULL, 0, 5, NULL), -EFBIG);
    expect_text(capture.error, "12345");
    free_all(&capture);
    return 0;
}

INSIDE(capture, timeout)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    struct gyre_capture capture;

    options.kill_after = 50 * GYRE_MILLISECOND;
    GYRE_TIMEOUT(50 * GYRE_MILLISECOND);
    EXPECT_EQ(gyre_process_capture(&capture,
                                   SHELL("trap 'echo ending; exit 2' TERM; echo begun;"
                                         "while :; do sleep 0.01; done"),
                                   NULL, 0, 0, &options),
              -ETIMEDOUT);
    /* However slow the machine: it may have been killed at any moment. */
    EXPECT(!capture.output_size || strncmp(capture.output, "begun\n", 6) == 0 ||
           strcmp(capture.output, "ending\n") == 0);
    free_all(&capture);
    EXPECT_EQ(gyre_process_capture(&capture, SHELL("exit"), NULL, 0, 0, NULL), -ETIMEDOUT);
    free_all(&capture);
    return 0;
}

/* What it prints at its end is still wanted, and must not stop it. */
INSIDE(capture, ending_is_listened_to)
{
    struct gyre_context *context;
    struct gyre_capture capture;
    struct gyre_signal_watch *watch;

    EXPECT_EQ(gyre_signal_watch(&watch, SIGUSR1), 0);
    EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &context), 0);
    {
        GYRE_WITH_CONTEXT(context);
        EXPECT_EQ(gyre_signal_cancels(SIGUSR1), 0);
        EXPECT_EQ(gyre_process_capture(
                      &capture,
                      SHELL("trap 'head -c 200000 /dev/zero; exit 2' TERM; kill -USR1 $PPID;"
                            "while :; do sleep 0.01; done"),
                      NULL, 0, 0, NULL),
                  -ECANCELED);
    }
    EXPECT_EQ(capture.output_size, 200000);
    EXPECT(capture.status.exited && capture.status.code == 2);
    free_all(&capture);
    gyre_context_release(context);
    gyre_signal_stop(watch);
    return 0;
}

/* A process left behind has the pipes: they are given up after kill_after. */
INSIDE(capture, left_behind)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    struct gyre_capture capture;
    int64_t began = gyre_now();

    options.kill_after = 50 * GYRE_MILLISECOND;
    EXPECT_EQ(
        gyre_process_capture(&capture, SHELL("echo first; sleep 20 & exit 0"), "x", 1, 0, &options),
        0);
    expect_text(capture.output, "first\n");
    EXPECT(gyre_now() - began < 10 * GYRE_SECOND);
    EXPECT_EQ(capture.status.code, 0);
    free_all(&capture);
    return 0;
}

static int capture_one(void *number)
{
    char text[16];
    struct gyre_capture capture;

    snprintf(text, sizeof text, "%d", *(int *)number);
    EXPECT_EQ(gyre_process_capture(&capture, ARGUMENTS("cat"), text, strlen(text), 0, NULL), 0);
    expect_text(capture.output, text);
    gyre_capture_free(&capture);
    return 0;
}

INSIDE(capture, many_at_once)
{
    {
        GYRE_GROUP(all);
        for (int i = 0; i < 50; i++)
            EXPECT_EQ(gyre_group_go_copy(&all, capture_one, &i, sizeof i), 0);
        EXPECT_EQ(gyre_group_wait(&all), 0);
    }
    EXPECT(!has_children());
    return 0;
}

static int capture_in_test(void *unused)
{
    struct gyre_capture capture;

    (void)unused;
    GYRE_TIMEOUT(GYRE_HOUR); /* the test's clock stands still while it runs */
    EXPECT_EQ(gyre_process_capture(&capture, SHELL("sleep 0.05; echo late"), NULL, 0, 0, NULL), 0);
    expect_text(capture.output, "late\n");
    gyre_capture_free(&capture);
    return 0;
}

Test(capture, in_a_test)
{
    cr_assert_eq(gyre_test(capture_in_test, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}
