/* gyre/process.h: programs that start, or can't, end by themselves or are ended; what they print.
 */
#include "harness.h"
#include "process_child.h"

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SHELL(script)  ARGUMENTS("sh", "-c", script)

/* Starts it and wants it to. */
static struct gyre_process start(const char *const arguments[],
                                 const struct gyre_process_options *options)
{
    struct gyre_process process = {.pidfd = -1, .input = -1, .output = -1, .error = -1};

    EXPECT_EQ(gyre_process_start(&process, arguments, options), 0);
    return process;
}

static struct gyre_process_status end_of(struct gyre_process *process)
{
    struct gyre_process_status status = {0};

    EXPECT_EQ(gyre_process_wait(process, &status), 0);
    gyre_process_release(process);
    EXPECT(!has_children());
    return status;
}

/* What it prints to its output, all of which must fit. */
static const char *printed_by(const char *const arguments[], struct gyre_process_options *options)
{
    static char text[8192];
    struct gyre_process process;
    ssize_t size;

    options->output = GYRE_PROCESS_PIPE;
    process = start(arguments, options);
    size = gyre_read_all(process.output, text, sizeof text - 1, NULL);
    EXPECT(size >= 0);
    text[size < 0 ? 0 : size] = '\0';
    EXPECT_EQ(end_of(&process).code, 0);
    return text;
}

static void expect_text(const char *text, const char *wanted)
{
    EXPECT_EQ(strcmp(text, wanted), 0);
    if (strcmp(text, wanted) != 0)
        fprintf(stderr, "\"%s\"\n", text);
}

/* --- how it ends ------------------------------------------------------------------------------ */

INSIDE(process, exit_status)
{
    struct gyre_process process = start(SHELL("exit 0"), NULL);
    struct gyre_process_status status;

    status = end_of(&process);
    EXPECT(status.exited && status.code == 0 && !status.core);
    process = start(SHELL("exit 7"), NULL);
    status = end_of(&process);
    EXPECT(status.exited && status.code == 7);
    process = start(SHELL("exit 255"), NULL);
    status = end_of(&process);
    EXPECT(status.exited && status.code == 255);
    process = start(SHELL("kill -KILL $$"), NULL);
    status = end_of(&process);
    EXPECT(!status.exited && status.code == SIGKILL);
    return 0;
}

INSIDE(process, waited_for_again)
{
    struct gyre_process process = start(SHELL("exit 3"), NULL);
    struct gyre_process_status status;

    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(gyre_process_wait(&process, &status), 0);
        EXPECT_EQ(status.code, 3);
    }
    EXPECT_EQ(gyre_process_wait(&process, NULL), 0);
    EXPECT_EQ(gyre_process_end(&process, &status), 0);
    EXPECT_EQ(status.code, 3);
    EXPECT_EQ(gyre_process_kill(&process, SIGTERM), -ESRCH);
    gyre_process_release(&process);
    gyre_process_release(&process);
    return 0;
}

static int wait_too(void *process)
{
    struct gyre_process_status status = {0};

    EXPECT_EQ(gyre_process_wait(process, &status), 0);
    EXPECT_EQ(status.code, 5);
    return 0;
}

INSIDE(process, several_wait)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    struct gyre_process process;

    options.input = GYRE_PROCESS_PIPE;
    process = start(SHELL("read line; exit 5"), &options);
    {
        GYRE_NURSERY(waiters);
        for (int i = 0; i < 10; i++)
            EXPECT_EQ(gyre_group_go(&waiters, wait_too, &process), 0);
        gyre_yield();
        EXPECT_EQ(gyre_write(process.input, "go\n", 3), 3);
    }
    end_of(&process);
    return 0;
}

/* --- what can't be started ---------------------------------------------------------------------
 */

static void expect_failure(const char *const arguments[],
                           const struct gyre_process_options *options, int wanted)
{
    struct gyre_process process = {.pid = -7};

    EXPECT_EQ(gyre_process_start(&process, arguments, options), wanted);
    EXPECT_EQ(process.pid, -7);
    EXPECT(!has_children());
}

INSIDE(process, cannot_start)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;

    options.input = options.output = options.error = GYRE_PROCESS_PIPE;
    expect_failure(ARGUMENTS("no-such-program-anywhere"), &options, -ENOENT);
    expect_failure(ARGUMENTS("/nowhere/program"), &options, -ENOENT);
    expect_failure(ARGUMENTS("/etc/passwd/program"), &options, -ENOTDIR);
    expect_failure(ARGUMENTS("/etc/passwd"), &options, -EACCES);
    expect_failure(ARGUMENTS("/etc"), &options, -EACCES);
    expect_failure(ARGUMENTS(""), &options, -ENOENT);
    options.directory = "/nowhere";
    expect_failure(SHELL("exit"), &options, -ENOENT);
    options.directory = "/etc/passwd";
    expect_failure(SHELL("exit"), &options, -ENOTDIR);
    return 0;
}

INSIDE(process, no_program)
{
    char name[] = "/tmp/gyre-process-XXXXXX";
    int fd = mkstemp(name);

    EXPECT(fd >= 0);
    EXPECT_EQ(write(fd, "no program", 10), 10);
    EXPECT_EQ(fchmod(fd, 0755), 0);
    close(fd);
    expect_failure(ARGUMENTS(name), NULL, -ENOEXEC);
    EXPECT_EQ(unlink(name), 0);
    return 0;
}

INSIDE(process, bad_options)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    const int low = 2, closed = 999;

    expect_failure(NULL, NULL, -EINVAL);
    expect_failure((const char *const[]){NULL}, NULL, -EINVAL);
    EXPECT_EQ(gyre_process_start(NULL, SHELL("exit"), NULL), -EINVAL);
    options.size = 8;
    expect_failure(SHELL("exit"), &options, -EINVAL);
    options.size = sizeof options;
    options.output = GYRE_PROCESS_OUTPUT;
    expect_failure(SHELL("exit"), &options, -EINVAL);
    options.output = closed;
    expect_failure(SHELL("exit"), &options, -EBADF);
    options.output = GYRE_PROCESS_INHERIT;
    options.kill_after = -1;
    expect_failure(SHELL("exit"), &options, -EINVAL);
    options.kill_after = 0;
    options.pass = &low;
    options.pass_count = 1;
    expect_failure(SHELL("exit"), &options, -EINVAL);
    options.pass = &closed;
    expect_failure(SHELL("exit"), &options, -EBADF);
    return 0;
}

/* Numbers that the pipes of its start would get. */
INSIDE(process, what_is_not_open_is_not_ours_by_chance)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    int first = open("/dev/null", O_RDONLY | O_CLOEXEC);

    close(first);
    options.input = options.output = GYRE_PROCESS_PIPE;
    options.pass_count = 1;
    for (int number = first; number < first + 8; number++) {
        if (fcntl(number, F_GETFD) >= 0)
            continue;
        options.pass = &number;
        expect_failure(SHELL("exit"), &options, -EBADF);
        options.pass = NULL;
        options.pass_count = 0;
        options.error = number;
        expect_failure(SHELL("exit"), &options, -EBADF);
        options.error = GYRE_PROCESS_INHERIT;
        options.pass_count = 1;
    }
    return 0;
}

/* The pipe to it gets their numbers, which it inherits. */
INSIDE(process, without_standard_descriptors)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    int saved[] = {fcntl(0, F_DUPFD_CLOEXEC, 10), fcntl(1, F_DUPFD_CLOEXEC, 10)};
    struct gyre_process process;

    close(0);
    close(1);
    options.input = GYRE_PROCESS_PIPE;
    process = start(SHELL("read line; exit 3"), &options);
    EXPECT(process.input > 2);
    EXPECT_EQ(gyre_close(process.input), 0);
    process.input = -1;
    EXPECT_EQ(end_of(&process).code, 3);
    for (int i = 0; i < 2; i++) {
        dup2(saved[i], i);
        close(saved[i]);
    }
    return 0;
}

INSIDE(process, cancelled_before)
{
    struct gyre_context *context;

    EXPECT_EQ(gyre_context_with_cancel(gyre_context_background(), &context), 0);
    gyre_context_cancel(context);
    {
        GYRE_WITH_CONTEXT(context);
        expect_failure(SHELL("exit"), NULL, -ECANCELED);
    }
    gyre_context_release(context);
    return 0;
}

/* --- what it gets ------------------------------------------------------------------------------
 */

INSIDE(process, environment)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;

    options.environment = ARGUMENTS("COLOUR=green", "SIZE=3");
    expect_text(printed_by(SHELL("echo $COLOUR $SIZE $HOME"), &options), "green 3\n");
    options.environment = NULL;
    EXPECT_EQ(setenv("COLOUR", "blue", 1), 0);
    expect_text(printed_by(SHELL("echo $COLOUR"), &options), "blue\n");
    EXPECT_EQ(unsetenv("COLOUR"), 0);
    return 0;
}

INSIDE(process, directory)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;

    options.directory = "/usr/bin";
    expect_text(printed_by(ARGUMENTS("pwd"), &options), "/usr/bin\n");
    expect_text(printed_by(ARGUMENTS("./printf", "%s", "here"), &options), "here");
    return 0;
}

INSIDE(process, path)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    char *before = strdup(getenv("PATH"));

    EXPECT_EQ(setenv("PATH", "/nowhere::/etc/passwd:/usr/bin:/bin", 1), 0);
    expect_text(printed_by(ARGUMENTS("printf", "%s", "found"), &options), "found");
    EXPECT_EQ(setenv("PATH", "/etc", 1), 0);
    expect_failure(ARGUMENTS("passwd"), NULL, -EACCES);
    EXPECT_EQ(setenv("PATH", "", 1), 0);
    expect_failure(ARGUMENTS("printf"), NULL, -ENOENT);
    EXPECT_EQ(unsetenv("PATH"), 0);
    expect_text(printed_by(ARGUMENTS("printf", "%s", "found"), &options), "found");
    EXPECT_EQ(setenv("PATH", before, 1), 0);
    free(before);
    return 0;
}

INSIDE(process, pipes)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    struct gyre_process process;
    char text[32] = "";

    options.input = options.output = options.error = GYRE_PROCESS_PIPE;
    process = start(SHELL("read line; echo \"got $line\"; echo oops >&2"), &options);
    EXPECT_EQ(gyre_write_all(process.input, "ready\n", 6, NULL), 6);
    EXPECT_EQ(gyre_read_all(process.output, text, sizeof text, NULL), 10);
    expect_text(text, "got ready\n");
    memset(text, 0, sizeof text);
    EXPECT_EQ(gyre_read_all(process.error, text, sizeof text, NULL), 5);
    expect_text(text, "oops\n");
    end_of(&process);
    return 0;
}

INSIDE(process, error_goes_where_output_goes)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;

    options.error = GYRE_PROCESS_OUTPUT;
    expect_text(printed_by(SHELL("echo one; echo two >&2"), &options), "one\ntwo\n");
    options.input = GYRE_PROCESS_NULL;
    expect_text(printed_by(ARGUMENTS("cat"), &options), "");
    return 0;
}

/* Output and error change places, by way of the pipes that a shell has them go to. */
INSIDE(process, swapped)
{
    int first[2], second[2], saved_output = dup(1), saved_error = dup(2);
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    struct gyre_process process;
    char text[16] = "";

    make_pipe(first);
    make_pipe(second);
    EXPECT_EQ(dup2(first[1], 1), 1);
    EXPECT_EQ(dup2(second[1], 2), 2);
    options.output = 2;
    options.error = 1;
    process = start(SHELL("echo output; echo error >&2"), &options);
    EXPECT_EQ(gyre_process_wait(&process, NULL), 0);
    dup2(saved_output, 1);
    dup2(saved_error, 2);
    gyre_process_release(&process);
    EXPECT_EQ(read(first[0], text, sizeof text), 6);
    expect_text(text, "error\n");
    memset(text, 0, sizeof text);
    EXPECT_EQ(read(second[0], text, sizeof text), 7);
    expect_text(text, "output\n");
    for (int i = 0; i < 2; i++) {
        close(first[i]);
        close(second[i]);
    }
    close(saved_output);
    close(saved_error);
    return 0;
}

/* Only the three, and ls's own. */
INSIDE(process, no_other_descriptor)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    int pipe[2], fds[2];

    EXPECT_EQ(fcntl(STDIN_FILENO, F_DUPFD, 100), 100); /* without O_CLOEXEC */
    make_pipe(pipe);
    make_pipe(fds);
    options.input = GYRE_PROCESS_PIPE;
    expect_text(printed_by(ARGUMENTS("ls", "/proc/self/fd"), &options), "0\n1\n2\n3\n");
    options.pass = fds;
    options.pass_count = 2;
    EXPECT_EQ(write(fds[1], "passed\n", 7), 7);
    {
        char script[100];

        snprintf(script, sizeof script, "head -n 1 <&%d; test ! -e /proc/self/fd/%d", fds[0],
                 pipe[0]);
        expect_text(printed_by(ARGUMENTS("bash", "-c", script), &options), "passed\n");
    }
    EXPECT(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    EXPECT_EQ(fcntl(100, F_GETFD), 0);
    close(100);
    for (int i = 0; i < 2; i++) {
        close(pipe[i]);
        close(fds[i]);
    }
    return 0;
}

/* The caller's mask and affinity, no handler, and SIGPIPE as it should be. */
static int print_signals(void *unused)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;

    (void)unused;
    expect_text(printed_by(ARGUMENTS("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"), &options),
                "SigBlk:\t0000000000000800\nSigIgn:\t0000000000000001\n");
    return 0;
}

Test(process, signals)
{
    sigset_t mask, before;

    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &mask, &before);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    run_on_each(print_signals);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static long caller_cpus;

static int count_cpus(void *unused)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;

    (void)unused;
    EXPECT_EQ(atol(printed_by(ARGUMENTS("nproc"), &options)), caller_cpus);
    return 0;
}

Test(process, affinity)
{
    cpu_set_t cpus;

    cr_assert_eq(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    caller_cpus = CPU_COUNT(&cpus);
    cr_assert_eq(run_with_workers(0, count_cpus, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}

INSIDE(process, group)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    struct gyre_process process;
    char byte;

    options.new_group = 1;
    options.output = GYRE_PROCESS_PIPE;
    /* A shell that is just starting a program may have signals blocked: it waits instead. */
    process = start(SHELL("sleep 1000 & echo; wait"), &options);
    EXPECT_EQ(gyre_read(process.output, &byte, 1), 1);
    EXPECT_EQ(getpgid(process.pid), process.pid);
    EXPECT_EQ(gyre_process_kill(&process, 0), 0);
    EXPECT_EQ(gyre_process_kill(&process, 999), -EINVAL);
    EXPECT_EQ(gyre_process_kill(&process, SIGTERM), 0);
    /* All of them have it open. */
    EXPECT_EQ(gyre_read(process.output, &byte, 1), 0);
    EXPECT_EQ(end_of(&process).code, SIGTERM);
    return 0;
}

INSIDE(process, that_left_its_group)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    struct gyre_process process;
    struct gyre_process_status status;
    char script[96], byte;

    options.new_group = 1;
    options.output = GYRE_PROCESS_PIPE;
    snprintf(script, sizeof script,
             "import os, time; os.setpgid(0, %d); print(flush=True); time.sleep(1000)", getpgrp());
    for (int i = 0; i < 2; i++) {
        process = start(ARGUMENTS("python3", "-c", script), &options);
        EXPECT_EQ(gyre_read(process.output, &byte, 1), 1);
        EXPECT(getpgid(process.pid) != process.pid);
        if (i)
            EXPECT_EQ(gyre_process_kill(&process, SIGTERM), 0);
        EXPECT_EQ(gyre_process_end(&process, &status), 0);
        EXPECT_EQ(status.code, SIGTERM);
        gyre_process_release(&process);
    }
    return 0;
}

/* --- ending it ---------------------------------------------------------------------------------
 */

INSIDE(process, cancelled_wait_leaves_it)
{
    struct gyre_process process = start(ARGUMENTS("sleep", "1000"), NULL);
    struct gyre_process_status status = {0};

    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_process_wait(&process, &status), -ETIMEDOUT);
        EXPECT_EQ(gyre_process_wait(&process, &status), -ETIMEDOUT);
    }
    EXPECT_EQ(kill(process.pid, 0), 0);
    {
        GYRE_CANCELLABLE();
        struct gyre_context *context = gyre_context_current();

        gyre_context_cancel(context);
        gyre_context_release(context);
        EXPECT_EQ(gyre_process_end(&process, &status), 0); /* is not cancelled */
    }
    EXPECT(!status.exited && status.code == SIGTERM);
    gyre_process_release(&process);
    EXPECT(!has_children());
    return 0;
}

INSIDE(process, stubborn)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    struct gyre_process_status status = {0};
    struct gyre_process process;
    char byte;

    options.output = GYRE_PROCESS_PIPE;
    options.kill_after = 20 * GYRE_MILLISECOND;
    process = start(SHELL("trap '' TERM; echo; while :; do sleep 0.01; done"), &options);
    EXPECT_EQ(gyre_read(process.output, &byte, 1), 1);
    EXPECT_EQ(gyre_process_end(&process, &status), 0);
    EXPECT(!status.exited && status.code == SIGKILL);
    gyre_process_release(&process);
    return 0;
}

INSIDE(process, released_unwaited)
{
    struct gyre_process process = start(ARGUMENTS("sleep", "1000"), NULL);

    gyre_process_release(&process);
    EXPECT_EQ(process.pidfd, -1);
    EXPECT(!has_children());
    return 0;
}

/* --- reaped by others --------------------------------------------------------------------------
 */

INSIDE(process, ignored_by_the_program)
{
    struct gyre_process process;

    EXPECT(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    process = start(SHELL("exit 3"), NULL);
    EXPECT_EQ(gyre_process_wait(&process, NULL), -ECHILD);
    EXPECT_EQ(gyre_process_wait(&process, NULL), -ECHILD);
    EXPECT_EQ(gyre_process_end(&process, NULL), -ECHILD);
    EXPECT_EQ(gyre_process_kill(&process, SIGTERM), -ESRCH);
    gyre_process_release(&process);
    process = start(ARGUMENTS("sleep", "1000"), NULL);
    EXPECT_EQ(gyre_process_end(&process, NULL), -ECHILD);
    gyre_process_release(&process);
    expect_failure(ARGUMENTS("/nowhere/program"), NULL, -ENOENT);
    EXPECT(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
    return 0;
}

INSIDE(process, reaped_by_another_wait)
{
    struct gyre_process process = start(SHELL("exit 3"), NULL);
    int status;

    EXPECT_EQ(waitpid(-1, &status, 0), process.pid);
    EXPECT_EQ(gyre_process_kill(&process, 0), -ESRCH);
    EXPECT_EQ(gyre_process_wait(&process, NULL), -ECHILD);
    gyre_process_release(&process);
    return 0;
}

INSIDE(process, beside_a_watch_of_its_signal)
{
    struct gyre_signal_watch *watch;
    struct gyre_signal signal;
    struct gyre_process process;

    EXPECT_EQ(gyre_signal_watch(&watch, SIGCHLD), 0);
    process = start(SHELL("exit 9"), NULL);
    EXPECT_EQ(gyre_signals_recv(gyre_signal_channel(watch), &signal), 1);
    EXPECT_EQ(signal.pid, process.pid);
    EXPECT_EQ(signal.code, CLD_EXITED);
    EXPECT_EQ(signal.status, 9);
    EXPECT_EQ(end_of(&process).code, 9);
    gyre_signal_stop(watch);
    return 0;
}

/* --- many ---------------------------------------------------------------------------------------
 */

static int run_one(void *number)
{
    char script[32];
    struct gyre_process process;
    struct gyre_process_status status;

    snprintf(script, sizeof script, "exit %d", *(int *)number % 100);
    process = start(SHELL(script), NULL);
    EXPECT_EQ(gyre_process_wait(&process, &status), 0);
    EXPECT_EQ(status.code, *(int *)number % 100);
    gyre_process_release(&process);
    return 0;
}

INSIDE(process, many_at_once)
{
    {
        GYRE_NURSERY(all);
        for (int i = 0; i < 200; i++)
            EXPECT_EQ(gyre_group_go_copy(&all, run_one, &i, sizeof i), 0);
    }
    EXPECT(!has_children());
    return 0;
}
