/* What process_start.c and process.c share. */
#ifndef GYRE_LIB_FS_PROCESS_H
#define GYRE_LIB_FS_PROCESS_H

#include <gyre/process.h>

#include <signal.h>
#include <sys/wait.h>

enum {
    WAIT_PIDFD = 3, /* P_PIDFD, which the C library has since glibc 2.36 */
    KILL_AFTER_DEFAULT = 5
};

/* process->waited; only who moves it from RUNS to HELD may reap, or rely on its number. */
enum { PROCESS_RUNS, PROCESS_HELD, PROCESS_WAITED, PROCESS_LOST };

/* waitid of a pidfd, tried again when a signal breaks it off. 0 or -errno; info->si_pid is 0 when
 * nothing has ended. */
int gyre_process_waitid(int pidfd, siginfo_t *info, int options);

#endif
