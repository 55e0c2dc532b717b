/*
 * Children get the affinity and the signal mask that gyre_run's caller had, not a worker's.
 *
 * fork has a hook for it. posix_spawn, and what the C library builds on it (system, popen), has
 * none and starts the child inside the library, so these four are interposed: round the real call
 * the worker takes the original affinity and mask. vfork and clone by hand are not covered; they
 * inherit the worker's.
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

static void give_original(void)
{
    if (!active || !worker_current())
        return;
    if (original_cpus)
        gyre_cpus_unbind(original_cpus);
    pthread_sigmask(SIG_SETMASK, &original_mask, NULL);
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

static struct loan borrow(void)
{
    struct loan loan = {active && worker_current(), {{0}}};

    if (!loan.taken)
        return loan;
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

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

GYRE_API int posix_spawn(pid_t *restrict pid, const char *restrict path,
                         const posix_spawn_file_actions_t *restrict actions,
                         const posix_spawnattr_t *restrict attributes, char *const argv[restrict],
                         char *const envp[restrict])
{
    struct loan loan = borrow();
    int result = NEXT(posix_spawn)(pid, path, actions, attributes, argv, envp);

    pay_back(&loan);
    return result;
}

GYRE_API int posix_spawnp(pid_t *restrict pid, const char *restrict file,
                          const posix_spawn_file_actions_t *restrict actions,
                          const posix_spawnattr_t *restrict attributes, char *const argv[restrict],
                          char *const envp[restrict])
{
    struct loan loan = borrow();
    int result = NEXT(posix_spawnp)(pid, file, actions, attributes, argv, envp);

    pay_back(&loan);
    return result;
}

GYRE_API int system(const char *command)
{
    struct loan loan = borrow();
    int result = NEXT(system)(command), error = errno;

    pay_back(&loan);
    errno = error;
    return result;
}

GYRE_API FILE *popen(const char *command, const char *type)
{
    struct loan loan = borrow();
    FILE *result = NEXT(popen)(command, type);
    int error = errno;

    pay_back(&loan);
    errno = error;
    return result;
}
