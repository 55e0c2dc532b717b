/*
 * Starting a program, on a helper thread: execve may have to read from a slow disk, and until it is
 * done, or has failed, the thread that starts it waits.
 *
 * The child is made by clone(2) with this process's memory lent to it until it executes, as
 * posix_spawn does: no page tables are copied, and it reports by a store why it failed. It makes
 * plain system calls only, on a stack of its own, with all signals blocked and every handler taken
 * off: nothing of the program's runs in it. Whoever failed is reaped here, so no zombie is left.
 *
 * Rejected: posix_spawn, which returns a number. Where SIGCHLD is ignored, or somebody waits for
 * any child, that may stand for another process before pidfd_open has it; CLONE_PIDFD can't be
 * late. It also does not exist in programs that are linked statically (sched/children.c).
 */
#include "base/macros.h"
#include "fs/process.h"

#include <gyre/blocking.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif

#ifdef GYRE_TSAN
/* The name that ThreadSanitizer does not interpose: it takes every clone for a fork. */
int __clone(int (*fn)(void *), void *stack, int flags, void *argument, ...);
#define clone __clone
#endif

enum { CHILD_STACK = 32 << 10, SIGNALS = 64, KERNEL_MASK = SIGNALS / 8, STANDARD = 3 };

extern char **environ;

struct start {
    const char *const *arguments;
    const struct gyre_process_options *options;
    struct gyre_process made;
    int ours[STANDARD], theirs[STANDARD]; /* ends of pipes; -1 */
    int null;                             /* /dev/null, or -1 */

    /* What the child reads, and its answer. */
    int sources[STANDARD]; /* GYRE_PROCESS_INHERIT, _OUTPUT or a descriptor */
    const char *path;      /* to look arguments[0] up in; NULL: as it is */
    char *candidate;       /* room for a name from there */
    char *const *environment;
    sigset_t mask;
    int error;
};

/* --- the child --------------------------------------------------------------------------------
 */

/* In the parent's memory: sanitizers must not take it for one of its threads. */
#define IN_CHILD __attribute__((noinline, no_sanitize("address", "thread", "undefined")))

/* Ignored signals stay ignored, nohup(1) relies on it; but SIGPIPE and SIGCHLD, which servers
 * ignore for themselves, and whose neglect breaks other programs. */
IN_CHILD static void reset_signals(void)
{
    for (int number = 1; number <= SIGNALS; number++) {
        /* The kernel's structure: the handler comes first, and zeros are SIG_DFL. */
        unsigned long action[8] = {0};

        if (number != SIGPIPE && number != SIGCHLD &&
            (syscall(SYS_rt_sigaction, number, NULL, action, KERNEL_MASK) ||
             action[0] == (unsigned long)SIG_IGN || action[0] == (unsigned long)SIG_DFL))
            continue;
        for (size_t i = 0; i < ARRAY_SIZE(action); i++)
            action[i] = 0;
        syscall(SYS_rt_sigaction, number, action, NULL, KERNEL_MASK);
    }
}

IN_CHILD static bool place(struct start *start)
{
    int *sources = start->sources;

    /* What others have opened without O_CLOEXEC. Where the kernel refuses, it is inherited. */
    syscall(SYS_close_range, STANDARD, ~0U, CLOSE_RANGE_CLOEXEC);
    for (size_t i = 0; i < start->options->pass_count; i++)
        if (syscall(SYS_fcntl, start->options->pass[i], F_SETFD, 0) < 0)
            return false;
    /* Out of the way of the three. */
    for (int i = 0; i < STANDARD; i++)
        if (sources[i] >= 0 && sources[i] < STANDARD && sources[i] != i) {
            sources[i] = (int)syscall(SYS_fcntl, sources[i], F_DUPFD_CLOEXEC, STANDARD);
            if (sources[i] < 0)
                return false;
        }
    for (int i = 0; i < STANDARD; i++) {
        int source = sources[i] == GYRE_PROCESS_OUTPUT ? STDOUT_FILENO : sources[i];
        bool inherits = source == GYRE_PROCESS_INHERIT;
        long result = inherits || source == i ? syscall(SYS_fcntl, i, F_SETFD, 0)
                                              : syscall(SYS_dup3, source, i, 0);

        if (result < 0 && !inherits) /* what we don't have it doesn't either */
            return false;
    }
    return true;
}

IN_CHILD static void execute(struct start *start)
{
    const char *name = start->arguments[0], *from = start->path;
    bool forbidden = false;

    if (!from) {
        syscall(SYS_execve, name, start->arguments, start->environment);
        return;
    }
    for (;;) {
        char *to = start->candidate;

        while (*from && *from != ':')
            *to++ = *from++;
        if (to != start->candidate)
            *to++ = '/';
        for (const char *c = name; (*to = *c); c++)
            to++;
        syscall(SYS_execve, start->candidate, start->arguments, start->environment);
        if (errno == EACCES)
            forbidden = true;
        else if (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG)
            return;
        if (!*from++)
            break;
    }
    errno = forbidden ? EACCES : ENOENT;
}

IN_CHILD static int child(void *argument)
{
    struct start *start = argument;

    reset_signals();
    if ((!start->options->new_group || !syscall(SYS_setpgid, 0, 0)) && place(start) &&
        (!start->options->directory || !syscall(SYS_chdir, start->options->directory)) &&
        !syscall(SYS_rt_sigprocmask, SIG_SETMASK, &start->mask, NULL, KERNEL_MASK))
        execute(start);
    start->error = -errno;
    syscall(SYS_exit_group, 127);
    return 127;
}

/* --- the parent's part, on the helper ----------------------------------------------------------
 */

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* What is ours must not have a number that the child inherits, be it one that we have closed. */
static bool out_of_the_way(int *fd)
{
    int low = *fd;

    if (low >= STANDARD)
        return true;
    *fd = fcntl(low, F_DUPFD_CLOEXEC, STANDARD);
    close(low);
    return *fd >= 0;
}

static int prepare_pipe(struct start *start, int which)
{
    bool reads = which == STDIN_FILENO; /* the child */
    int ends[2], error = 0;

    if (pipe2(ends, O_CLOEXEC))
        return -errno;
    for (int i = 0; i < 2; i++)
        if (!out_of_the_way(&ends[i]))
            error = -errno;
    if (error) {
        close_one(&ends[0]);
        close_one(&ends[1]);
        return error;
    }
    start->theirs[which] = start->sources[which] = ends[!reads];
    start->ours[which] = ends[reads];
    return 0;
}

static int prepare_standard(struct start *start)
{
    const struct gyre_process_options *options = start->options;
    const int wanted[STANDARD] = {options->input, options->output, options->error};
    int error = 0;

    for (int i = 0; i < STANDARD && !error; i++) {
        start->sources[i] = wanted[i];
        if (wanted[i] == GYRE_PROCESS_PIPE) {
            error = prepare_pipe(start, i);
        } else if (wanted[i] == GYRE_PROCESS_NULL) {
            if (start->null < 0)
                start->null = open("/dev/null", O_RDWR | O_CLOEXEC);
            if (start->null < 0 || !out_of_the_way(&start->null))
                error = -errno;
            start->sources[i] = start->null;
        }
    }
    return error;
}

static int prepare_path(struct start *start)
{
    const char *name = start->arguments[0];

    if (!*name || strchr(name, '/'))
        return 0;
    start->path = getenv("PATH");
    if (!start->path)
        start->path = "/bin:/usr/bin";
    start->candidate = malloc(strlen(start->path) + strlen(name) + 2);
    return start->candidate ? 0 : -ENOMEM;
}

static int clone_child(struct start *start)
{
    char *stack = malloc(CHILD_STACK);
    sigset_t all;
    int result, pidfd = -1;

    if (!stack)
        return -ENOMEM;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &start->mask); /* a helper's is that of gyre_run's caller */
    result = clone(child, stack + CHILD_STACK, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
                   start, &pidfd);
    if (result < 0)
        result = -errno;
    pthread_sigmask(SIG_SETMASK, &start->mask, NULL);
    free(stack);
    if (result < 0)
        return result;
    if (start->error) {
        siginfo_t info;

        gyre_process_waitid(pidfd, &info, WEXITED);
        close(pidfd);
        return start->error;
    }
    start->made.pid = result;
    start->made.pidfd = pidfd;
    return 0;
}

/* Before a number that is none could become one of ours. */
static int check_open(const struct gyre_process_options *options)
{
    const int wanted[STANDARD] = {options->input, options->output, options->error};

    for (int i = 0; i < STANDARD; i++)
        if (wanted[i] >= 0 && fcntl(wanted[i], F_GETFD) < 0)
            return -EBADF;
    for (size_t i = 0; i < options->pass_count; i++)
        if (fcntl(options->pass[i], F_GETFD) < 0)
            return -EBADF;
    return 0;
}

static int start_on_helper(void *argument)
{
    struct start *start = argument;
    int error = check_open(start->options);

    if (!error)
        error = prepare_standard(start);
    if (!error)
        error = prepare_path(start);
    if (!error)
        error = clone_child(start);
    for (int i = 0; i < STANDARD; i++) {
        close_one(&start->theirs[i]);
        if (error)
            close_one(&start->ours[i]);
    }
    close_one(&start->null);
    free(start->candidate);
    return error;
}

/* --- starting ---------------------------------------------------------------------------------
 */

static bool may_be(int descriptor, bool error)
{
    return descriptor >= GYRE_PROCESS_PIPE || (error && descriptor == GYRE_PROCESS_OUTPUT);
}

static bool are_valid(const struct gyre_process_options *options)
{
    if (options->size < sizeof *options || !may_be(options->input, false) ||
        !may_be(options->output, false) || !may_be(options->error, true) ||
        options->kill_after < 0 || (options->pass_count && !options->pass))
        return false;
    for (size_t i = 0; i < options->pass_count; i++)
        if (options->pass[i] < STANDARD)
            return false; /* input, output and error are for these */
    return true;
}

int gyre_process_start(struct gyre_process *process, const char *const arguments[],
                       const struct gyre_process_options *options)
{
    static const struct gyre_process_options defaults = GYRE_PROCESS_INIT;
    struct start start = {.arguments = arguments,
                          .options = options ? options : &defaults,
                          .ours = {-1, -1, -1},
                          .theirs = {-1, -1, -1},
                          .null = -1};
    int error;

    if (!process || !arguments || !arguments[0] || !are_valid(start.options))
        return -EINVAL;
    start.environment =
        start.options->environment ? (char *const *)start.options->environment : environ;
    error = gyre_blocking(start_on_helper, &start);
    if (error)
        return error;
    start.made.input = start.ours[STDIN_FILENO];
    start.made.output = start.ours[STDOUT_FILENO];
    start.made.error = start.ours[STDERR_FILENO];
    start.made.new_group = start.options->new_group;
    start.made.kill_after =
        start.options->kill_after ? start.options->kill_after : KILL_AFTER_DEFAULT * GYRE_SECOND;
    *process = start.made;
    return 0;
}
