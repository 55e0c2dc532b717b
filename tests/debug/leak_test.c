/* What a test leaves behind is named, each kind; and GYRE_DEBUG=checks does so in any program. */
#include "messages.h"

#include "base/checks.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int sleep_for_ever(void *arg)
{
    (void)arg;
    return gyre_sleep(INT64_MAX);
}

/* --- coroutines ------------------------------------------------------------------------------ */

static int leave_sleeper(void *arg)
{
    (void)arg;
    gyre_go_at("pool.c:57\0worker", sleep_for_ever, NULL);
    return 0;
}

Test(leak, a_coroutine_is_named_with_its_place_and_what_it_waits_for)
{
    note_messages();
    cr_assert_eq(gyre_test(leave_sleeper, NULL), -ENOTRECOVERABLE);
    said_and_failed("gyre: leak: 1 coroutine did not end before the main one:\n"
                    "  2 \"worker\", started at pool.c:57, sleeping\n");
}

static int fail_and_leave(void *arg)
{
    leave_sleeper(arg);
    return -EIO;
}

Test(leak, what_the_function_returned_goes_before)
{
    note_messages();
    cr_assert_eq(gyre_test(fail_and_leave, NULL), -EIO);
    said_and_failed("gyre: leak: 1 coroutine did not end before the main one:\n"
                    "  2 \"worker\", started at pool.c:57, sleeping\n");
}

static int yield_for_ever(void *arg)
{
    (void)arg;
    while (!gyre_yield())
        ;
    return 0;
}

static int leave_yielder(void *arg)
{
    (void)arg;
    gyre_go_at("pool.c:58\0spinner", yield_for_ever, NULL);
    return 0;
}

Test(leak, one_that_never_parks_is_one)
{
    note_messages();
    cr_assert_eq(gyre_test(leave_yielder, NULL), -ENOTRECOVERABLE);
    said_and_failed("gyre: leak: 1 coroutine did not end before the main one:\n"
                    "  2 \"spinner\", started at pool.c:58, yielding\n");
}

static int read_for_ever(void *arg)
{
    char byte;

    return (int)gyre_read(*(int *)arg, &byte, 1);
}

static int leave_reader(void *arg)
{
    gyre_go_at("pool.c:59\0reader", read_for_ever, arg);
    return gyre_yield();
}

Test(leak, one_that_waits_for_the_kernel_is_one)
{
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    note_messages();
    cr_assert_eq(gyre_test(leave_reader, &fds[0]), -ENOTRECOVERABLE);
    said_and_failed("gyre: leak: 1 coroutine did not end before the main one:\n"
                    "  2 \"reader\", started at pool.c:59, in an operation of the kernel's\n");
    close(fds[0]);
    close(fds[1]);
}

static int end_after_a_while(void *arg)
{
    int fds[2];

    gyre_waitgroup_done(arg);
    for (int i = 0; i < 100; i++)
        gyre_yield();
    GYRE_EXPECT(pipe(fds) == 0);
    GYRE_EXPECT(gyre_close(fds[0]) == 0);
    return gyre_close(fds[1]);
}

/* Told that the work is done, the test ends before those who did it. */
static int outrun_the_others(void *arg)
{
    gyre_waitgroup group = GYRE_WAITGROUP_INIT;

    gyre_waitgroup_add(&group, 20);
    for (int i = 0; i < 20; i++)
        GYRE_EXPECT(gyre_go(end_after_a_while, &group) == 0);
    return arg ? 0 : gyre_waitgroup_wait(&group);
}

Test(leak, those_about_to_end_are_none)
{
    struct gyre_test_options options = GYRE_TEST_OPTIONS_INIT;

    note_messages();
    for (options.shuffle = 0; options.shuffle <= 1; options.shuffle++)
        cr_assert_eq(gyre_test_run(outrun_the_others, NULL, &options), 0, "%s", messages);
    options.real_clock = 1;
    for (options.workers = 1; options.workers <= 5; options.workers++)
        cr_assert_eq(gyre_test_run(outrun_the_others, NULL, &options), 0, "%s", messages);
}

static int forget_to_join(void *arg)
{
    gyre_handle handle;

    (void)arg;
    gyre_spawn_at("pool.c:60\0child", &handle, nothing, NULL, NULL);
    return gyre_yield();
}

Test(leak, one_that_nobody_joined_is_named)
{
    note_messages();
    cr_assert_eq(gyre_test(forget_to_join, NULL), -ENOTRECOVERABLE);
    said_and_failed("gyre: leak: 1 coroutine ended and was never joined or detached:\n"
                    "  2 \"child\", started at pool.c:60, ended\n");
}

static int join_and_detach(void *arg)
{
    gyre_handle handle;

    (void)arg;
    for (int i = 0; i < 100; i++) {
        GYRE_EXPECT(gyre_spawn(&handle, nothing, NULL) == 0);
        if (i % 3 == 0)
            gyre_yield();
        if (i % 2)
            GYRE_EXPECT(gyre_join(handle, NULL) == 0);
        else
            gyre_detach(handle);
    }
    return 0;
}

Test(leak, joined_and_detached_ones_are_none)
{
    note_messages();
    cr_assert_eq(gyre_test(join_and_detach, NULL), 0);
    cr_assert_str_eq(messages, "");
}

/* --- contexts, channels ---------------------------------------------------------------------- */

/* One line that begins so, and goes on with a place. */
static void said_place(const char *start)
{
    take_verdict();
    cr_assert_eq(strncmp(messages, start, strlen(start)), 0, "%s", messages);
    cr_assert_not_null(strstr(messages, "+0x"), "%s", messages);
    cr_assert_eq(strchr(messages, '\n'), messages + strlen(messages) - 1, "%s", messages);
}

static int keep_context(void *arg)
{
    struct gyre_context *context;

    (void)arg;
    GYRE_CANCELLABLE();
    context = gyre_context_current();
    GYRE_EXPECT(context != NULL);
    return 0;
}

Test(leak, a_context_is_named_with_who_made_it)
{
    note_messages();
    cr_assert_eq(gyre_test(keep_context, NULL), -ENOTRECOVERABLE);
    said_place("gyre: leak: a context was not released, made by ");
}

static int use_contexts(void *arg)
{
    struct gyre_context *context;

    (void)arg;
    GYRE_TIMEOUT(GYRE_HOUR);
    context = gyre_context_current();
    {
        GYRE_CANCELLABLE();
        GYRE_EXPECT(gyre_sleep(GYRE_MINUTE) == 0);
    }
    gyre_context_release(context);
    return 0;
}

Test(leak, released_contexts_are_none)
{
    note_messages();
    cr_assert_eq(gyre_test(use_contexts, NULL), 0);
    cr_assert_str_eq(messages, "");
}

static int keep_channel(void *arg)
{
    static gyre_channel channel; /* where LeakSanitizer still sees it */
    struct gyre_chan_options options = GYRE_CHAN_OPTIONS_INIT;

    options.name = arg;
    GYRE_EXPECT(gyre_chan_make_options(&channel, 4, 10, &options) == 0);
    gyre_chan_release_sender(channel.sender);
    return 0;
}

Test(leak, a_channel_is_named_with_who_made_it)
{
    note_messages();
    cr_assert_eq(gyre_test(keep_channel, "results"), -ENOTRECOVERABLE);
    said_place("gyre: leak: a channel was not released, \"results\", made by ");
    note_messages();
    cr_assert_eq(gyre_test(keep_channel, NULL), -ENOTRECOVERABLE);
    said_place("gyre: leak: a channel was not released, made by ");
    /* That of an earlier test is not told of again. */
    note_messages();
    cr_assert_eq(gyre_test(nothing, NULL), 0);
    cr_assert_str_eq(messages, "");
}

static int use_channel(void *arg)
{
    gyre_channel channel;

    (void)arg;
    GYRE_EXPECT(gyre_chan_make(&channel, 0, 1) == 0);
    GYRE_EXPECT(gyre_chan_send(channel.sender, NULL) == 0);
    GYRE_EXPECT(gyre_chan_recv(channel.receiver, NULL) == 1);
    gyre_chan_release(channel);
    return 0;
}

Test(leak, a_released_channel_is_none)
{
    note_messages();
    cr_assert_eq(gyre_test(use_channel, NULL), 0);
    cr_assert_str_eq(messages, "");
}

/* --- descriptors ----------------------------------------------------------------------------- */

static int leave_open(void *arg)
{
    int *fd = arg;

    *fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return *fd >= 0 ? 0 : -errno;
}

Test(leak, a_descriptor_is_named_with_what_it_is)
{
    char wanted[100];
    int fd;

    note_messages();
    cr_assert_eq(gyre_test(leave_open, &fd), -ENOTRECOVERABLE);
    snprintf(wanted, sizeof wanted, "gyre: leak: descriptor %d, /dev/null\n", fd);
    said_and_failed(wanted);
    /* Open before, it is none of the next test's. */
    note_messages();
    cr_assert_eq(gyre_test(nothing, NULL), 0);
    cr_assert_str_eq(messages, "");
    close(fd);
}

static int open_many(void *arg)
{
    int fds[2];

    (void)arg;
    for (int i = 0; i < 200; i++) {
        GYRE_EXPECT(pipe(fds) == 0);
        GYRE_EXPECT(gyre_close(fds[0]) == 0);
        GYRE_EXPECT(gyre_close(fds[1]) == 0);
    }
    GYRE_EXPECT(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 900) == 900);
    return gyre_close(900);
}

Test(leak, closed_descriptors_are_none)
{
    note_messages();
    cr_assert_eq(gyre_test(open_many, NULL), 0);
    cr_assert_str_eq(messages, "");
}

/* --- in any program -------------------------------------------------------------------------- */

static int leave_everything(void *arg)
{
    forget_to_join(arg);
    leave_sleeper(arg);
    keep_channel(arg);
    return keep_context(arg);
}

Test(leak, checks_report_in_any_program_and_fail_none)
{
    const bool before = gyre_checks;

    setenv("GYRE_DEBUG", "checks", 1);
    for (unsigned workers = 1; workers <= 3; workers++) {
        note_messages();
        cr_assert_eq(run_with_workers(workers, leave_everything, NULL), 0);
        cr_assert_not_null(strstr(messages, "leak: 1 coroutine did not end before the main one:"));
        cr_assert_not_null(strstr(messages, "leak: 1 coroutine ended and was never joined"));
        cr_assert_not_null(strstr(messages, "leak: a context was not released, made by "));
        cr_assert_not_null(strstr(messages, "leak: a channel was not released, made by "));
        cr_assert_null(strstr(messages, "test failed"));
    }
    unsetenv("GYRE_DEBUG");
    cr_assert_eq(gyre_checks, before);
    if (before)
        return;
    note_messages();
    cr_assert_eq(gyre_run(leave_everything, NULL), 0);
    cr_assert_str_eq(messages, "");
}
