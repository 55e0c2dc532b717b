/*
 * Waiting for a child, signals to it, its end.
 *
 * A wait polls the pidfd through the ring and then reaps with waitid, which does not block then:
 * so several may wait for one child, whoever reaps it leaves the status for the others, and the
 * end of a context never takes a status along. `waited` is the one word: a number is good for
 * kill(2) only while nobody can reap, which is while it is HELD, for a few instructions.
 *
 * Rejected: IORING_OP_WAITID. It reaps by itself, so a second one that waits gets ECHILD before the
 * first has seen the status; and where it is missing, the poll is needed all the same.
 */
#include "fs/process.h"

#include "base/spinlock.h"
#include "io/operation.h"

#include <gyre/context.h>
#include <gyre/coro.h>
#include <gyre/io.h>

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What a debugger has attached to has ended before we may reap it. */
#define TRACED_PAUSE (10 * GYRE_MILLISECOND)

int gyre_process_waitid(int pidfd, siginfo_t *info, int options)
{
    int result;

    do {
        info->si_pid = 0;
        result = waitid((idtype_t)WAIT_PIDFD, (id_t)pidfd, info, options);
    } while (result && errno == EINTR);
    return result ? -errno : 0;
}

/* RUNS: it was moved to HELD. WAITED, LOST: it is that. */
static int hold(struct gyre_process *process)
{
    for (;;) {
        int seen = PROCESS_RUNS;

        /* Acquire: pairs with let_go: the status is there. */
        if (__atomic_compare_exchange_n(&process->waited, &seen, PROCESS_HELD, false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE) ||
            seen != PROCESS_HELD)
            return seen;
        sched_yield(); /* somebody on another thread has it for one system call */
    }
}

static void let_go(struct gyre_process *process, int state)
{
    __atomic_store_n(&process->waited, state, __ATOMIC_RELEASE);
}

/* WAITED, LOST, or RUNS. */
static int reap(struct gyre_process *process)
{
    int state = hold(process);
    siginfo_t info;

    if (state != PROCESS_RUNS)
        return state;
    if (gyre_process_waitid(process->pidfd, &info, WEXITED | WNOHANG)) {
        state = PROCESS_LOST;
    } else if (info.si_pid) {
        state = PROCESS_WAITED;
        process->status =
            info.si_status * 4 + (info.si_code == CLD_EXITED) * 2 + (info.si_code == CLD_DUMPED);
    }
    let_go(process, state);
    return state;
}

static void tell(const struct gyre_process *process, struct gyre_process_status *status)
{
    if (!status)
        return;
    status->exited = process->status >> 1 & 1;
    status->core = process->status & 1;
    status->code = process->status / 4;
}

int gyre_process_wait(struct gyre_process *process, struct gyre_process_status *status)
{
    struct gyre_coro *self = coro_required("gyre_process_wait");
    int result = coro_error(self), state;

    if (result)
        return result;
    while ((state = reap(process)) == PROCESS_RUNS) {
        struct operation operation = {0};

        result = gyre_operation_poll(&operation, "gyre_process_wait", process->pidfd, POLLIN);
        if (result < 0)
            return result;
        state = reap(process);
        if (state != PROCESS_RUNS)
            break;
        result = gyre_sleep(TRACED_PAUSE);
        if (result)
            return result;
    }
    if (state == PROCESS_LOST)
        return -ECHILD;
    tell(process, status);
    return 0;
}

/* While it is held. One that leads a group may have left it, for another's. */
static int send_signal(const struct gyre_process *process, int signal)
{
    bool led = process->new_group && getpgid(process->pid) == process->pid;
    int alone, group;

    /* Also tells whether somebody else has reaped it, and its number may be another's. To be killed
     * twice does no harm, and it may be about to leave. */
    alone = (int)syscall(SYS_pidfd_send_signal, process->pidfd,
                         led && signal != SIGKILL ? 0 : signal, NULL, 0);
    if (alone)
        alone = -errno;
    if (alone || !process->new_group)
        return alone;
    group = kill(-process->pid, signal) ? -errno : 0;
    return led || group != -ESRCH ? group : 0;
}

int gyre_process_kill(struct gyre_process *process, int signal)
{
    int result = hold(process);

    if (result != PROCESS_RUNS)
        return -ESRCH;
    result = send_signal(process, signal);
    let_go(process, PROCESS_RUNS);
    return result;
}

/* In a shield: what has been killed ends. What can't be is not waited for: nothing would end that.
 */
static int kill_and_wait(struct gyre_process *process, struct gyre_process_status *status)
{
    int error = gyre_process_kill(process, SIGKILL);

    if (error && error != -ESRCH)
        return error;
    while ((error = gyre_process_wait(process, status)) == -ENOMEM)
        gyre_yield();
    return error;
}

int gyre_process_end(struct gyre_process *process, struct gyre_process_status *status)
{
    int error;

    GYRE_SHIELD();
    gyre_process_kill(process, SIGTERM);
    {
        GYRE_TIMEOUT(process->kill_after);
        error = gyre_process_wait(process, status);
    }
    /* Else it is late, or there was no memory to find out. */
    return !error || error == -ECHILD ? error : kill_and_wait(process, status);
}

static void close_end(int *fd)
{
    if (*fd >= 0)
        gyre_close(*fd);
    *fd = -1;
}

void gyre_process_release(struct gyre_process *process)
{
    coro_required("gyre_process_release");
    if (process->pidfd >= 0) {
        GYRE_SHIELD();
        kill_and_wait(process, NULL);
    }
    close_end(&process->input);
    close_end(&process->output);
    close_end(&process->error);
    close_end(&process->pidfd);
}
