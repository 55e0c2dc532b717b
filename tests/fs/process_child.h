/* What the tests of processes share. */
#ifndef GYRE_TESTS_FS_PROCESS_CHILD_H
#define GYRE_TESTS_FS_PROCESS_CHILD_H

#include <gyre/process.h>

#include <errno.h>
#include <stdbool.h>
#include <sys/wait.h>

/* Whether this process has a child, zombies too. */
static inline bool has_children(void)
{
    siginfo_t info;

    return !waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || errno != ECHILD;
}

#endif
