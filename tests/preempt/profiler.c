/*
 * A profiler as any program may have one: SIGPROF for each millisecond of CPU time, and a backtrace
 * in its handler, wherever that meets a thread; on the interrupted stack, or with PROFILER=onstack
 * on the alternate one. To be loaded before a program by LD_PRELOAD; says at the end how much it
 * saw, and fails where that is nothing.
 */
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { DEPTH = 64 };

static _Atomic(unsigned long) samples, frames, endless;
static pid_t process;

static void sample(int signal, siginfo_t *info, void *context)
{
    int saved = errno, depth;
    void *found[DEPTH];

    (void)signal;
    (void)info;
    (void)context;
    depth = backtrace(found, DEPTH);
    samples++;
    frames += (unsigned long)depth;
    endless += depth == DEPTH;
    errno = saved;
}

__attribute__((constructor)) static void start(void)
{
    const char *where = getenv("PROFILER");
    struct itimerval often = {{0, 1000}, {0, 1000}};
    struct sigaction action = {.sa_sigaction = sample, .sa_flags = SA_SIGINFO | SA_RESTART};
    void *found[DEPTH];

    if (where && strcmp(where, "onstack") == 0)
        action.sa_flags |= SA_ONSTACK;
    backtrace(found, DEPTH); /* loads what it needs, which allocates */
    process = getpid();
    sigaction(SIGPROF, &action, NULL);
    setitimer(ITIMER_PROF, &often, NULL);
}

__attribute__((destructor)) static void stop(void)
{
    struct itimerval never = {{0, 0}, {0, 0}};
    char text[100];
    int n;

    if (getpid() != process)
        return;
    setitimer(ITIMER_PROF, &never, NULL);
    n = snprintf(text, sizeof text, "profiler: %lu samples, %lu frames, %lu without an end\n",
                 samples, frames, endless);
    if (write(STDERR_FILENO, text, (size_t)n) != n || samples == 0)
        _exit(1);
}
