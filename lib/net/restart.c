/*
 * Starting a successor, and knowing when it serves.
 *
 * Between the two is a pair of stream sockets: the successor says one byte when it is ready. Its
 * end, by whatever way, closes its side, so one receive waits for both. Rejected: a NOTIFY_SOCKET
 * of our own in its environment; all else that it has to tell the manager would have to be passed
 * on, by a process that is about to end.
 *
 * The listeners' sockets are shared, not copied: there is one queue of connections in the kernel,
 * from which either process accepts. Nobody is refused as long as one of them has it open.
 *
 * The program is the file that this one was started from: of that name, so a new version that was
 * moved to its place is what starts.
 */
#include "net/service.h"

#include "base/macros.h"
#include "net/listener.h"
#include "sched/worker.h"

#include <gyre/context.h>
#include <gyre/io.h>
#include <gyre/net.h>
#include <gyre/process.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

extern char **environ;

struct succession {
    const char **environment; /* the entries are the environment's own, but for `variable` */
    char *variable;           /* SERVICE_INHERITED=... */
    int *pass;                /* ends[1], then the listeners' */
    char *command;            /* what arguments points into */
    const char **arguments;
    int ends[2];
};

/* --- the environment and the descriptors ------------------------------------------------------ */

/* Those that mean this process alone. */
static bool is_ours(const char *entry)
{
    static const char *const names[] = {
        "LISTEN_PID=",     "LISTEN_FDS=",   "LISTEN_FDNAMES=",
        "LISTEN_PIDFDID=", "WATCHDOG_PID=", (SERVICE_INHERITED "=")};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!strncmp(entry, names[i], strlen(names[i])))
            return true;
    return false;
}

static int copy_environment(struct succession *succession)
{
    size_t count = 0, kept = 0;

    while (environ && environ[count])
        count++;
    succession->environment = calloc(count + 2, sizeof *succession->environment);
    if (!succession->environment)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (!is_ours(environ[i]))
            succession->environment[kept++] = environ[i];
    succession->environment[kept] = succession->variable;
    return 0;
}

static int name_descriptors(struct succession *succession, struct gyre_listener *const *listeners,
                            const char *const *names, size_t count)
{
    size_t size = 0;
    FILE *text = open_memstream(&succession->variable, &size);

    succession->pass = calloc(count + 1, sizeof *succession->pass);
    if (!text || !succession->pass) {
        if (text)
            fclose(text);
        return -ENOMEM;
    }
    succession->pass[0] = succession->ends[1];
    fprintf(text, SERVICE_INHERITED "=%ld:%d", (long)getpid(), succession->ends[1]);
    for (size_t i = 0; i < count; i++) {
        succession->pass[i + 1] = gyre_listener_fd(listeners[i]);
        fprintf(text, ":%d=%s", succession->pass[i + 1], names && names[i] ? names[i] : "");
    }
    return fclose(text) ? -ENOMEM : 0;
}

/* --- the program ------------------------------------------------------------------------------ */

/* From /proc, which never waits. */
static ssize_t read_command(char **command)
{
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    size_t room = 0, used = 0;
    ssize_t got = fd < 0 ? -errno : 1;

    *command = NULL;
    while (got > 0) {
        if (used + 1 >= room) {
            char *larger = realloc(*command, room = room ? 2 * room : 4096);

            if (!larger) {
                got = -ENOMEM;
                break;
            }
            *command = larger;
        }
        got = read(fd, *command + used, room - used - 1);
        if (got < 0)
            got = errno == EINTR ? 1 : -errno;
        else
            used += (size_t)got;
    }
    if (fd >= 0)
        close(fd);
    return got < 0 ? got : (ssize_t)used;
}

static int program_path(char path[PATH_MAX])
{
    static const char deleted[] = " (deleted)";
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    size_t end = sizeof deleted - 1;

    if (length < 0)
        return -errno;
    path[length] = 0;
    if ((size_t)length > end && !strcmp(path + length - end, deleted))
        path[(size_t)length - end] = 0;
    return 0;
}

/* Our own, the first one replaced by the program's path. */
static int same_arguments(struct succession *succession, const char *path)
{
    ssize_t size = read_command(&succession->command);
    size_t count = 0, used = 0;

    if (size < 0)
        return (int)size;
    if (!succession->command)
        return -ENOMEM;
    succession->command[size] = 0;
    for (ssize_t i = 0; i < size; i++)
        count += !succession->command[i];
    succession->arguments = calloc(count + 2, sizeof *succession->arguments);
    if (!succession->arguments)
        return -ENOMEM;
    for (char *at = succession->command; at < succession->command + size; at += strlen(at) + 1)
        succession->arguments[used++] = at;
    succession->arguments[0] = path;
    return 0;
}

/* --- the succession --------------------------------------------------------------------------- */

static void release(struct succession *succession)
{
    for (int i = 0; i < 2; i++)
        if (succession->ends[i] >= 0)
            gyre_close(succession->ends[i]);
    free(succession->environment);
    free(succession->variable);
    free(succession->pass);
    free(succession->command);
    free(succession->arguments);
}

static int start(struct gyre_process *process, struct succession *succession, size_t count,
                 const char *const *arguments)
{
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    char path[PATH_MAX];
    int error = 0;

    if (!arguments) {
        error = program_path(path);
        if (!error)
            error = same_arguments(succession, path);
        arguments = succession->arguments;
    }
    options.environment = succession->environment;
    options.pass = succession->pass;
    options.pass_count = count + 1;
    return error ? error : gyre_process_start(process, arguments, &options);
}

/* 0, -ECHILD, or why the context has ended. */
static int await_ready(int fd, int64_t timeout)
{
    ssize_t got;
    char byte;

    if (timeout >= 0) {
        GYRE_TIMEOUT(timeout);
        got = gyre_recv(fd, &byte, 1, 0);
    } else {
        got = gyre_recv(fd, &byte, 1, 0);
    }
    if (got == -ECANCELED || got == -ETIMEDOUT)
        return (int)got;
    return got > 0 ? 0 : -ECHILD;
}

static int succeed(struct succession *succession, size_t count, const char *const *arguments,
                   int64_t timeout)
{
    struct gyre_process process;
    char state[40];
    int error = start(&process, succession, count, arguments);

    if (error)
        return error;
    gyre_close(succession->ends[1]); /* so that the successor's end is seen */
    succession->ends[1] = -1;
    error = await_ready(succession->ends[0], timeout);
    if (error) {
        gyre_process_end(&process, NULL);
        gyre_process_release(&process);
        return error;
    }
    /* It stays: only what refers to it goes. */
    gyre_close(process.pidfd);
    snprintf(state, sizeof state, "MAINPID=%ld", (long)process.pid);
    gyre_service_tell_manager(state);
    return (int)process.pid;
}

static int check(struct gyre_listener *const *listeners, const char *const *names, size_t count)
{
    if (count > SERVICE_FDS_MAX || (count && !listeners))
        return -EINVAL;
    for (size_t i = 0; i < count; i++)
        if (!listeners[i] || (names && names[i] && !gyre_service_name_valid(names[i])))
            return -EINVAL;
    return 0;
}

int gyre_service_restart(struct gyre_listener *const *listeners, const char *const *names,
                         size_t count, const char *const *arguments, int64_t timeout)
{
    struct succession succession = {.ends = {-1, -1}};
    int result = check(listeners, names, count);

    coro_required("gyre_service_restart");
    if (result)
        return result;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, succession.ends) < 0)
        return -errno;
    result = name_descriptors(&succession, listeners, names, count);
    if (!result)
        result = copy_environment(&succession);
    if (!result)
        result = succeed(&succession, count, arguments, timeout);
    for (size_t i = 0; i < count && result > 0; i++)
        gyre_listener_passed(listeners[i]);
    release(&succession);
    return result;
}
