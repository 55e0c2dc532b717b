/*
 * A child started from a coroutine sees the CPUs that the program was given, not the one that its
 * worker is bound to, whichever library was linked; 77 where io_uring is forbidden. With an
 * argument: in an all-static program what can't reach the C library's function says so, and
 * fork does as elsewhere.
 */
#define _GNU_SOURCE
#include <gyre.h>

#include <errno.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const char command[] = "test $(nproc) -eq $ORIGINAL";

static int by_popen(void)
{
    FILE *child = popen(command, "r");

    return child ? pclose(child) : -1;
}

static char *const shell[] = {"sh", "-c", (char *)command, NULL};

static int wait_for(pid_t child)
{
    int status;

    return waitpid(child, &status, 0) == child ? status : -1;
}

static int by_posix_spawn(void)
{
    pid_t child;
    int error = posix_spawn(&child, "/bin/sh", NULL, NULL, shell, environ);

    return error ? error : wait_for(child);
}

static int by_posix_spawnp(void)
{
    pid_t child;
    int error = posix_spawnp(&child, "sh", NULL, NULL, shell, environ);

    return error ? error : wait_for(child);
}

static int by_fork(void)
{
    pid_t child = fork();

    if (child == 0) {
        execv("/bin/sh", shell);
        _exit(127);
    }
    return wait_for(child);
}

static int start(void *arg)
{
    (void)arg;
    if (system(command) || by_popen() || by_posix_spawn() || by_posix_spawnp() || by_fork()) {
        printf("a child sees other CPUs\n");
        return 1;
    }
    return 0;
}

static int refused(void)
{
    if (system(NULL) || system(command) != -1 || errno != ENOSYS)
        return 0;
    errno = 0;
    return !popen(command, "r") && errno == ENOSYS && by_posix_spawn() == ENOSYS &&
           by_posix_spawnp() == ENOSYS;
}

static int start_static(void *arg)
{
    (void)arg;
    if (!refused() || by_fork()) {
        printf("not refused, or a child sees other CPUs\n");
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    char count[16];
    cpu_set_t cpus;
    int result;

    (void)argv;
    if (sched_getaffinity(0, sizeof cpus, &cpus))
        return 1;
    snprintf(count, sizeof count, "%d", CPU_COUNT(&cpus));
    setenv("ORIGINAL", count, 1);
    if (argc > 1 ? !refused() : system(command)) /* outside, before there is a runtime */
        return 1;
    options.pinning = GYRE_PINNING_ON;
    result = gyre_run_options(argc > 1 ? start_static : start, NULL, &options);
    return result == -1 || result == -38 ? 77 : result;
}
