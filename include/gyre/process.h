/*
 * gyre/process.h - starting programs, talking to them, waiting for them.
 *
 *     const char *const arguments[] = {"sort", "-n", NULL};
 *     struct gyre_process_options options = GYRE_PROCESS_INIT;
 *     struct gyre_process process;
 *
 *     options.input = options.output = GYRE_PROCESS_PIPE;
 *     error = gyre_process_start(&process, arguments, &options);
 *
 * A child gets the affinity and signal mask that gyre_run's caller had, the default action of all
 * signals that are not ignored, of SIGPIPE and SIGCHLD in any case; and of the descriptors only the
 * three of the options and those in `pass`, whatever others have opened without O_CLOEXEC (where
 * close_range(2) is forbidden, these too). A struct gyre_process is its owner's memory, to be kept
 * while any call has it.
 *
 * The end of the context ends the calls that wait for a child; the child itself it ends in
 * gyre_process_capture alone. One that was started runs on until gyre_process_end, or until
 * gyre_process_release, which kills. Its end of input is sent by closing the pipe:
 *
 *     gyre_close(process.input);
 *     process.input = -1; // or gyre_process_release closes that number again
 *
 * Reference: posix_spawn(3), pidfd_open(2), waitid(2).
 */
#ifndef GYRE_PROCESS_H
#define GYRE_PROCESS_H

#include <gyre/base.h>

GYRE_BEGIN_DECLS

/* For input, output and error of the options; any number >= 0 is a descriptor to be used. */
enum {
    GYRE_PROCESS_INHERIT = -1, /* the same as ours: the default */
    GYRE_PROCESS_NULL = -2,    /* /dev/null */
    GYRE_PROCESS_PIPE = -3,    /* a pipe, whose other end is in struct gyre_process */
    GYRE_PROCESS_OUTPUT = -4   /* error only: where output goes */
};

struct gyre_process_options {
    size_t size;                    /* sizeof (struct gyre_process_options) */
    int input, output, error;       /* see above */
    const char *directory;          /* to start in; NULL: ours */
    const char *const *environment; /* "NAME=value", NULL-terminated; NULL: ours */
    const int *pass;                /* descriptors >= 3 the child has under the same numbers */
    size_t pass_count;
    int new_group;      /* nonzero: leads a process group of its own; signals go to it */
    int64_t kill_after; /* ns between SIGTERM and SIGKILL when it is ended; 0: 5 s */
};

#define GYRE_PROCESS_INIT                                                                          \
    {                                                                                              \
        sizeof(struct gyre_process_options), GYRE_PROCESS_INHERIT, GYRE_PROCESS_INHERIT,           \
            GYRE_PROCESS_INHERIT, NULL, NULL, NULL, 0, 0, 0                                        \
    }

/* A child. -1 where there is no descriptor. The numbers are for reading; but whoever has closed
 * input, output or error sets it to -1. */
struct gyre_process {
    pid_t pid;
    int pidfd;
    int input;         /* to write to: its standard input */
    int output, error; /* to read from */
    int64_t kill_after;
    int new_group;
    int waited, status; /* private */
};

/* How one ended. */
struct gyre_process_status {
    int exited; /* nonzero: by itself; code is its exit status */
    int code;   /* exit status, or the signal that killed it */
    int core;   /* nonzero: it left a core */
};

/*
 * Starts arguments[0], looked up in our PATH unless it has a slash (a relative one is seen from
 * the directory), with NULL-terminated arguments; options may be NULL. Parks: the start runs on a
 * helper thread (gyre/blocking.h), until the program is executed. On success *process must be given
 * to gyre_process_wait (or _end) and then gyre_process_release. Returns 0; -ENOENT, -EACCES,
 * -ENOEXEC and others of execve(2), for the program and for the directory; -EINVAL, -EBADF (one of
 * the options is not open), -EMFILE, -EAGAIN, -ENOMEM; -ECANCELED, -ETIMEDOUT: none was started. Of
 * a failed one nothing is left, *process is as it was. Only from a coroutine. Go: exec.Cmd.Start.
 */
GYRE_API int gyre_process_start(struct gyre_process *process, const char *const arguments[],
                                const struct gyre_process_options *options);

/*
 * Waits until it has ended (its pidfd is polled through the ring). Returns 0 and *status (may be
 * NULL), as often as asked, also to several that wait at once; -ECANCELED, -ETIMEDOUT: it still
 * runs; -ECHILD: somebody else has reaped it (a SIGCHLD handler, or SIG_IGN). Parks. Only from a
 * coroutine. Go: Cmd.Wait.
 */
GYRE_API int gyre_process_wait(struct gyre_process *process, struct gyre_process_status *status);

/* Sends a signal, to its group where it leads one, and to it should it have left that; can't hit
 * another process. Returns 0; -ESRCH: it has been waited for; -EINVAL; -EPERM (it has changed its
 * user). Never parks. From any thread. Go: Process.Signal. */
GYRE_API int gyre_process_kill(struct gyre_process *process, int signal);

/*
 * Makes it end and waits: SIGTERM, after kill_after SIGKILL (at once when there is no memory for
 * the time limit). Is not cancelled; bounded by the kernel's killing. Fine for one that has ended.
 * Returns 0; -ECHILD; what gyre_process_kill returns where it can't be killed (-EPERM): it still
 * runs. Parks. Only from a coroutine. Go: what CommandContext does, with Cmd.WaitDelay.
 */
GYRE_API int gyre_process_end(struct gyre_process *process, struct gyre_process_status *status);

/* Closes its descriptors. One that was not waited for is killed (SIGKILL) and reaped first (or left
 * alone, where it can't be killed). Parks, is not cancelled. Only from a coroutine; nobody may be
 * in another call on it. Go: none. */
GYRE_API void gyre_process_release(struct gyre_process *process);

/* What a program printed. */
struct gyre_capture {
    char *output, *error; /* malloc'd, NUL-terminated; free them (gyre_capture_free) */
    size_t output_size, error_size;
    struct gyre_process_status status;
};

/*
 * Runs a program to its end: input (input_size bytes; 0: it gets /dev/null) is written to it, as
 * far as it reads; what it prints is collected, each at most limit bytes (0: 16 MiB). options may
 * be NULL; its input, output and error are not looked at. When the context ends, or a limit is
 * passed, it is ended as by gyre_process_end. Processes that it leaves behind with its outputs open
 * are listened to for kill_after more, no longer. Returns 0 and *capture, whatever its exit status;
 * -ECANCELED, -ETIMEDOUT, -ECHILD, -EFBIG (the limit), -ENOMEM: *capture has what came so far; or
 * what start returns, *capture empty. *capture is overwritten. Parks. Only from a coroutine. Go:
 * Cmd.Output.
 */
GYRE_API int gyre_process_capture(struct gyre_capture *capture, const char *const arguments[],
                                  const void *input, size_t input_size, size_t limit,
                                  const struct gyre_process_options *options);
/* Frees what it has, and empties it. Never parks. From any thread. */
GYRE_API void gyre_capture_free(struct gyre_capture *capture);

GYRE_END_DECLS

#endif
