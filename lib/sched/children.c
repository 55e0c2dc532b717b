/*
 * Children get the affinity and the signal mask that gyre_run's caller had, not a worker's.
 *
 * fork has a hook for it. posix_spawn, and what the C library builds on it (system, popen), has
 * none and starts the child inside the library, so these four are interposed: round the real call
 * the worker takes the original affinity and mask. vfork and clone by hand are not covered; they
 * inherit the worker's.
 *
 * The real call is the next one of that name among the shared objects. An all-static program has
 * none, so these four fail there with ENOSYS as long as gyre is linked. Rejected: the C library's
 * private names for them (__libc_system), which a program that is linked dynamically lacks.
 */
#include "sched/children.h"

#include "sched/worker.h"

#include <dlfcn.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>

static const struct cpus *original_cpus;
static sigset_t original_mask;
static bool active;

struct loan {
    bool taken;
    sigset_t mask;
};

void gyre_children_take_original(void)
{
    if (original_cpus)
        gyre_cpus_unbind(original_cpus);
    pthread_sigmask(SIG_SETMASK, &original_mask, NULL);
}

static void give_original(void)
{
    if (active && worker_current())
        gyre_children_take_original();
}

void gyre_children_set_original(const struct cpus *cpus, const sigset_t *mask)
{
    static bool registered;

    original_cpus = cpus;
    active = mask;
    if (mask) {
        original_mask = *mask;
        if (!registered)
            registered = !pthread_atfork(NULL, NULL, give_original);
    }
}

/* Workers block SIGPIPE; what a write to a broken pipe left pending must not strike while the
 * original mask is lent. */
static void forget_broken_pipes(void)
{
    const struct timespec none = {0, 0};
    sigset_t pending, only;

    sigemptyset(&only);
    sigaddset(&only, SIGPIPE);
    if (!sigpending(&pending) && sigismember(&pending, SIGPIPE))
        sigtimedwait(&only, NULL, &none);
}

static struct loan borrow(void)
{
    struct loan loan = {active && worker_current(), {{0}}};

    if (!loan.taken)
        return loan;
    forget_broken_pipes();
    pthread_sigmask(SIG_SETMASK, NULL, &loan.mask);
    give_original();
    return loan;
}

static void pay_back(const struct loan *loan)
{
    struct worker *worker = worker_current();

    if (!loan->taken)
        return;
    if (original_cpus)
        gyre_cpus_bind(original_cpus, gyre_cpus_nth(original_cpus, worker->index));
    pthread_sigmask(SIG_SETMASK, &loan->mask, NULL);
}

/* NULL in an all-static program. */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

GYRE_API int posix_spawn(pid_t *restrict pid, const char *restrict path,
                         const posix_spawn_file_actions_t *restrict actions,
                         const posix_spawnattr_t *restrict attributes, char *const argv[restrict],
                         char *const envp[restrict])
{
    __typeof__(&posix_spawn) next = NEXT(posix_spawn);
    struct loan loan;
    int result;

    if (!next)
        return ENOSYS;
    loan = borrow();
    result = next(pid, path, actions, attributes, argv, envp);
    pay_back(&loan);
    return result;
}

GYRE_API int posix_spawnp(pid_t *restrict pid, const char *restrict file,
                          const posix_spawn_file_actions_t *restrict actions,
                          const posix_spawnattr_t *restrict attributes, char *const argv[restrict],
                          char *const envp[restrict])
{
    __typeof__(&posix_spawnp) next = NEXT(posix_spawnp);
    struct loan loan;
    int result;

    if (!next)
        return ENOSYS;
    loan = borrow();
    result = next(pid, file, actions, attributes, argv, envp);
    pay_back(&loan);
    return result;
}

GYRE_API int system(const char *command)
{
    __typeof__(&system) next = NEXT(system);
    struct loan loan;
    int result, error;

    if (!next) {
        errno = ENOSYS;
        return command ? -1 : 0; /* of NULL: no, there is no shell to be had */
    }
    loan = borrow();
    result = next(command);
    error = errno;
    pay_back(&loan);
    errno = error;
    return result;
}

GYRE_API FILE *popen(const char *command, const char *type)
{
    __typeof__(&popen) next = NEXT(popen);
    struct loan loan;
    FILE *result;
    int error;

    if (!next) {
        errno = ENOSYS;
        return NULL;
    }
    loan = borrow();
    result = next(command, type);
    error = errno;
    pay_back(&loan);
    errno = error;
    return result;
}
