/* Runs a function in a child process and keeps what it printed. */
#ifndef GYRE_TESTS_CORO_CHILD_H
#define GYRE_TESTS_CORO_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
    int status; /* exit status, or minus the signal */
    char output[16384];
};

static inline void child_run(struct child *child, void (*fn)(void))
{
    struct rlimit none = {0, 0};
    size_t length = 0;
    int fds[2], status;
    ssize_t n;
    pid_t pid;

    memset(child, 0, sizeof *child);
    if (pipe(fds) != 0)
        return;
    pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        alarm(50);
        fn();
        _exit(0);
    }
    close(fds[1]);
    while ((n = read(fds[0], child->output + length, sizeof child->output - 1 - length)) > 0)
        length += (size_t)n;
    close(fds[0]);
    waitpid(pid, &status, 0);
    child->status = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static inline bool child_said(const struct child *child, const char *text)
{
    return strstr(child->output, text) != NULL;
}

#endif
