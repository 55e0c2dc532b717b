/* A file, a name, a program, a signal, a directory watched, a tree walked and removed, a counter, a
 * splice and a datagram: calls that need more of the kernel than rings, for a sandbox to let
 * through. Says which one it does not. 77 where io_uring is forbidden. */
#include <gyre.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

static const char *folder = "calls.work";
static const char *file = "calls.work/file";

static int files(void)
{
    char *data;
    size_t size;
    struct stat status;
    int error = gyre_write_file(file, "hello", 5, 0600);

    if (error || (error = gyre_read_file(file, &data, &size, 0)))
        return error;
    free(data);
    if ((error = gyre_stat(file, &status)) || (error = gyre_copy_file(file, "calls.work/copy")) ||
        (error = gyre_chmod(file, 0644)) || (error = gyre_truncate(file, 3)))
        return error;
    return size == 5 && status.st_size == 5 ? 0 : -EIO;
}

static int names(void)
{
    struct gyre_addresses addresses;
    int error = gyre_resolve("localhost", 80, GYRE_FAMILY_ANY, &addresses);

    if (!error) {
        gyre_addresses_free(&addresses);
        /* Who is asked answers, or is not there; a name is what needs sockets. */
        error = gyre_resolve("name.invalid", 80, GYRE_FAMILY_ANY, &addresses);
        if (!error)
            gyre_addresses_free(&addresses);
        else if (error == -ENOENT || error == -ENODATA || error == -EAGAIN ||
                 error == -EOPNOTSUPP || gyre_context_error() == -ETIMEDOUT)
            error = 0;
    }
    return error;
}

static int programs(void)
{
    static const char *const arguments[] = {"cat", NULL};
    static const char *const sleeper[] = {"sleep", "1000", NULL};
    struct gyre_capture capture;
    struct gyre_process process;
    int error = gyre_process_capture(&capture, arguments, "hello", 5, 0, NULL);

    if (!error && (capture.output_size != 5 || !capture.status.exited))
        error = -EIO;
    gyre_capture_free(&capture);
    if (error || (error = gyre_process_start(&process, sleeper, NULL)))
        return error;
    error = gyre_process_end(&process, NULL);
    gyre_process_release(&process);
    return error;
}

static int signals(void)
{
    struct gyre_signal_watch *watch;
    struct gyre_signal one;
    int error = gyre_signal_watch(&watch, SIGUSR1);

    if (error)
        return error;
    kill(getpid(), SIGUSR1);
    error = gyre_signals_recv(gyre_signal_channel(watch), &one);
    gyre_signal_stop(watch);
    return error < 0 ? error : one.number == SIGUSR1 ? 0 : -EIO;
}

static int watches(void)
{
    struct gyre_inotify inotify;
    const struct inotify_event *event;
    int watch, error;

    memset(&inotify, 0, sizeof inotify);
    if ((error = gyre_inotify_open(&inotify)))
        return error;
    watch = gyre_inotify_add(&inotify, folder, IN_CREATE);
    error = watch < 0 ? watch : gyre_mkdir("calls.work/new", 0700);
    if (!error)
        error = gyre_inotify_next(&inotify, &event);
    gyre_inotify_close(&inotify);
    return error < 0 ? error : 0;
}

static int polls(void)
{
    struct pollfd both[2];
    uint64_t value;
    int fds[2], error;
    int counter = gyre_event_open(0, 0);

    if (counter < 0)
        return counter;
    if ((error = gyre_pipe(fds)))
        return error;
    both[0] = (struct pollfd){counter, POLLIN, 0};
    both[1] = (struct pollfd){fds[0], POLLIN, 0};
    error = gyre_poll_many(both, 2, GYRE_MILLISECOND);
    if (!error && !(error = gyre_event_add(counter, 1)))
        error = gyre_event_take(counter, &value);
    gyre_close(fds[0]);
    gyre_close(fds[1]);
    gyre_close(counter);
    return error;
}

static int splices(void)
{
    int fds[2], in = gyre_open(file, O_RDONLY, 0), error;
    ssize_t n;

    if (in < 0)
        return in;
    if ((error = gyre_pipe(fds)))
        return error;
    n = gyre_splice(in, NULL, fds[1], NULL, 3, 0);
    gyre_close(fds[0]);
    gyre_close(fds[1]);
    gyre_close(in);
    return n < 0 ? (int)n : 0;
}

static int datagrams(void)
{
    char address[GYRE_ADDRESS_SIZE], buffer[8];
    int to = gyre_udp_bind("127.0.0.1:0", 0), from;
    ssize_t n;

    if (to < 0)
        return to;
    gyre_local_address(to, address, sizeof address);
    if ((from = gyre_udp_dial(address)) < 0)
        return from;
    if ((n = gyre_write(from, "x", 1)) == 1)
        n = gyre_recvfrom(to, buffer, sizeof buffer, 0, NULL);
    gyre_close(from);
    gyre_close(to);
    return n < 0 ? (int)n : 0;
}

static int visit(const struct gyre_visit *visit, void *arg)
{
    ++*(int *)arg;
    return visit->error;
}

static int trees(void)
{
    int count = 0, error = gyre_walk(folder, 1, visit, &count);

    if (!error && count != 4) /* itself, file, copy, new */
        error = -EIO;
    return error ? error : gyre_remove_all(folder);
}

static int start(void *arg)
{
    static const struct {
        const char *name;
        int (*call)(void);
    } all[] = {{"files", files},     {"names", names},         {"programs", programs},
               {"signals", signals}, {"watches", watches},     {"polls", polls},
               {"splices", splices}, {"datagrams", datagrams}, {"trees", trees}};
    int *result = arg;

    *result = gyre_remove_all(folder);
    if (!*result)
        *result = gyre_mkdir_all(folder, 0700);
    for (size_t i = 0; !*result && i < sizeof all / sizeof *all; i++) {
        GYRE_TIMEOUT(20 * GYRE_SECOND);
        if ((*result = all[i].call()))
            printf("%s: %s\n", all[i].name, strerror(-*result));
    }
    return 0;
}

int main(void)
{
    int result, error = gyre_run(start, &result);

    if (error == -EPERM || error == -ENOSYS)
        return 77;
    return error || result;
}
