/*
 * Lives of the runtime, each with one group of its calls, in which the n-th failure of a kind comes
 * while they are made, for every n until none does: each call ends in success or an error that says
 * why, never in a crash or a hang, and nothing is left behind: no descriptor, thread, memory, file
 * or child. Each life is a child process. Besides single failures a process that may open no more
 * than n descriptors. Starting and ending a runtime are io/life_fault's.
 */
#include "faulty.h"

#include "descriptors.h"
#include "faulty_groups.h"

#include <gyre.h>
#include <gyre/blocking.h>
#include <gyre/embed.h>
#include <gyre/process.h>
#include <gyre/resolve.h>
#include <gyre/service.h>
#include <gyre/signal.h>

#include <dirent.h>
#include <ftw.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

/* --- helpers, processes, signals ---------------------------------------------------------------
 */

static int nothing(void *unused)
{
    (void)unused;
    return 0;
}

static int wait_for_byte(void *fd)
{
    char byte;

    return read(*(int *)fd, &byte, 1) == 1 ? 0 : -EIO;
}

static void drop(void *copy, int result)
{
    (void)copy;
    (void)result;
}

/* One that its caller leaves behind, if a helper has begun it by then. */
static int abandon(int fds[2])
{
    struct gyre_blocking_counts counts = {.size = sizeof counts};
    int result;

    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        result = gyre_blocking_detached(wait_for_byte, &fds[0], sizeof fds[0], drop);
    }
    if (write(fds[1], "a", 1) != 1)
        return -EIO;
    while (!gyre_blocking_count(&counts) && counts.busy)
        gyre_yield();
    return result == -ETIMEDOUT ? 0 : result;
}

static int try_helpers(void)
{
    int fds[2], result;

    TRY(gyre_blocking(nothing, NULL));
    TRY(gyre_blocking_detached(nothing, &result, sizeof result, NULL));
    TRY(gyre_pipe(fds));
    result = abandon(fds);
    gyre_close(fds[0]);
    gyre_close(fds[1]);
    return result;
}

static int try_processes(void)
{
    static const char *const cat[] = {"cat", NULL};
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    struct gyre_process process;
    struct gyre_capture capture;
    int result;

    options.input = options.output = GYRE_PROCESS_PIPE;
    options.error = GYRE_PROCESS_NULL;
    TRY(gyre_process_start(&process, cat, &options));
    result = gyre_process_end(&process, NULL);
    if (!result)
        result = gyre_process_wait(&process, NULL);
    gyre_process_release(&process);
    TRY(result);
    result = gyre_process_capture(&capture, cat, "text", 4, 0, NULL);
    gyre_capture_free(&capture);
    return result;
}

static int try_signals(void)
{
    struct gyre_signal_watch *watch;
    struct gyre_signal signal;
    int result;

    GYRE_CANCELLABLE();
    TRY(gyre_signal_cancels(SIGUSR2));
    TRY(gyre_signal_watch(&watch, SIGUSR1));
    raise(SIGUSR1);
    result = gyre_signals_recv(gyre_signal_channel(watch), &signal);
    gyre_signal_stop(watch);
    return result < 0 ? result : 0;
}

/* --- names, services, embedding ----------------------------------------------------------------
 */

static int try_names(void)
{
    struct gyre_addresses addresses;
    struct gyre_address address;
    char name[64];
    int fd, result = gyre_resolve("one.test", 80, GYRE_FAMILY_ANY, &addresses);

    if (result == -EOPNOTSUPP)
        return 0;
    TRY(result);
    gyre_addresses_free(&addresses);
    TRY(gyre_address_from(&address, "127.0.0.1:0"));
    TRY(gyre_resolve_address(&address, name, sizeof name));
    fd = gyre_udp_dial("one.test:9");
    TRY(fd);
    gyre_close(fd);
    fd = gyre_tcp_dial("one.test:1");
    if (fd >= 0)
        gyre_close(fd);
    return fd == -ECONNREFUSED ? 0 : fd;
}

static int try_service(void)
{
    static const char *const arguments[] = {"false", NULL};
    struct gyre_listener *listener;
    int result;

    TRY(gyre_service_listen(&listener, "web", "127.0.0.1:0"));
    result = gyre_service_notify("READY=1");
    if (result == 1)
        result = gyre_service_restart(&listener, NULL, 1, arguments, -1);
    gyre_listener_close(listener);
    return result == -ECHILD ? 0 : result;
}

static void note_done(void *arg, int result)
{
    *(int *)arg += 1 + result;
}

/* Outside a runtime. */
static int try_embedding(void)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    struct gyre_runtime *runtime;
    struct pollfd finished = {.events = POLLIN};
    int result, count = 0;

    options.workers = 2;
    TRY(gyre_start(&runtime, NULL, NULL, &options));
    result = gyre_call(runtime, nothing, NULL);
    if (!result)
        result = gyre_submit(runtime, nothing, &count, note_done);
    finished.fd = gyre_finish_fd(runtime);
    while (!result && !count && poll(&finished, 1, -1) > 0)
        if (gyre_finish(runtime) < 0)
            result = -EPROTO;
    gyre_stop(runtime);
    return result;
}

/* --- lives -------------------------------------------------------------------------------------
 */

enum {
    OUTSIDE = 1 << 0,  /* makes the runtime itself */
    ACCEPTS = 1 << 1,  /* waits for as long as there is no descriptor for a connection */
    AT_FIRST = 1 << 2, /* what the process does once belongs to it */
};

static const struct group {
    const char *name;
    int (*make)(void);
    unsigned flags;
} groups[] = {
    {"files", try_files, 0},
    {"fifo", try_fifo, 0},
    {"trees", try_trees, 0},
    {"splice", try_splice, 0},
    {"streams", try_streams, 0},
    {"polls", try_polls, 0},
    {"events", try_events, 0},
    {"datagrams", try_datagrams, 0},
    {"unix", try_unix, ACCEPTS},
    {"feeds", try_feeds, 0},
    {"connections", try_connections, ACCEPTS},
    {"helpers", try_helpers, 0},
    {"processes", try_processes, 0},
    {"signals", try_signals, 0},
    {"names", try_names, 0},
    {"service", try_service, AT_FIRST},
    {"embedding", try_embedding, OUTSIDE},
};

static const struct kind {
    enum fault_kind kind;
    int error;
    long most;
} kinds[] = {
    {MEMORY, ENOMEM, 300},     {PAGES, ENOMEM, 100},    {THREAD, EAGAIN, 20},
    {DESCRIPTOR, EMFILE, 100}, {SETTING, ENOBUFS, 100}, {RING, ENOMEM, 50},
    {ENTER, EAGAIN, 40},       {ENTER, ENOMEM, 40},     {NO_DESCRIPTORS, EMFILE, 60},
};

static const struct group *group;

static int inside(void *unused)
{
    int result;

    (void)unused;
    fault_arm();
    result = group->make();
    fault_disarm();
    return result < 0 ? result : 0;
}

static int run(void)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    int result;

    options.workers = 2;
    options.grace = 5 * GYRE_SECOND;
    if (!(group->flags & OUTSIDE))
        return gyre_run_options(inside, NULL, &options);
    fault_arm();
    result = group->make();
    fault_disarm();
    return result;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    return where->level ? remove(path) : 0;
}

static int manager; /* a socket that nobody reads in earnest */

static void empty_place(void)
{
    char state[64];

    while (recv(manager, state, sizeof state, MSG_DONTWAIT) > 0)
        ;
    nftw(place, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Only temporary files have a name of their own choice. */
static bool temporary_is_left(void)
{
    const struct dirent *entry;
    DIR *directory = opendir(place);
    bool found = false;

    while (directory && (entry = readdir(directory)))
        found = found || (entry->d_name[0] == '.' && strlen(entry->d_name) > 2);
    if (directory)
        closedir(directory);
    return found;
}

/* In the child. NULL: all is well. */
static const char *check_life(void)
{
    int descriptors, result;
    bool hit;
    long used;

    if (!(group->flags & AT_FIRST)) {
        fault.kind = NO_FAULT;
        if (run())
            return "fails without a fault";
        empty_place();
    }
    open_descriptors();
    descriptors = open_descriptors();
    used = atomic_load(&live_blocks);
    fault.kind = fault.wanted;
    result = run();
    hit = fault.kind == NO_DESCRIPTORS ? result < 0 : fault.hit;
    fault.kind = NO_FAULT;
    if (result < 0 && !hit)
        return "failed without a fault";
    if (result < 0 && result != -fault.error && result != -ENOMEM && result != -EAGAIN &&
        result != -EMFILE) {
        fprintf(stderr, "%s\n", strerror(-result));
        return "another error";
    }
    if (temporary_is_left())
        return "a temporary file is left";
    empty_place();
    if (open_descriptors() != descriptors)
        return "descriptors leaked";
    if (!threads_end())
        return "threads left";
    if (waitpid(-1, NULL, WNOHANG) != -1)
        return "a child is left";
    if (!(group->flags & AT_FIRST) && atomic_load(&live_blocks) != used)
        return "memory leaked";
    if (run())
        return "no second life";
    empty_place();
    fault.hit = hit;
    return NULL;
}

static void ignore_message(void *user, const char *line, size_t length)
{
    (void)user;
    (void)line;
    (void)length;
}

/* Returns 0: not reached, 1: fine, -1: bad. */
static int one(const struct kind *kind, long nth)
{
    int status;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (!child) {
        const char *problem;

        alarm(60);
        gyre_set_message_handler(ignore_message, NULL);
        fault.wanted = kind->kind;
        fault.error = kind->error;
        fault.nth = nth;
        problem = check_life();
        if (problem)
            fprintf(stderr, "%s, failure %ld of %s (%s): %s\n", group->name, nth,
                    fault_names[kind->kind], strerror(kind->error), problem);
        exit(problem ? 2 : fault.hit);
    }
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) <= 2)
        return WEXITSTATUS(status) == 2 ? -1 : WEXITSTATUS(status);
    printf("%s, failure %ld of %s (%s): %s\n", group->name, nth, fault_names[kind->kind],
           strerror(kind->error),
           !WIFSIGNALED(status)          ? "exits"
           : WTERMSIG(status) == SIGALRM ? "hangs"
                                         : strsignal(WTERMSIG(status)));
    return -1;
}

static void write_names(const char *variable, const char *name, const char *text)
{
    static char paths[3][80];
    static int count;
    char *path = paths[count++];
    FILE *file;

    snprintf(path, sizeof *paths, "%s%s", place, name);
    file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    setenv(variable, path, 1);
}

/* A manager that listens, and files that tell of names. */
static void set_up(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[60];

    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (!mkdtemp(place))
        exit(1);
    snprintf(name, sizeof name, "@%s", place);
    memcpy(address.sun_path + 1, name + 1, strlen(name + 1));
    if (bind(manager, (struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))))
        exit(1);
    setenv("NOTIFY_SOCKET", name, 1);
    write_names("GYRE_HOSTS", "-hosts", "127.0.0.1 one.test\n::1 one.test\n");
    write_names("GYRE_RESOLV_CONF", "-resolv", "nameserver 127.0.0.1\n");
    write_names("GYRE_NSSWITCH", "-nsswitch", "hosts: files\n");
}

static void tear_down(void)
{
    unlink(getenv("GYRE_HOSTS"));
    unlink(getenv("GYRE_RESOLV_CONF"));
    unlink(getenv("GYRE_NSSWITCH"));
    rmdir(place);
}

int main(int argc, char **argv)
{
    int bad = 0;

    fault_set_up();
    set_up();
    for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
        group = &groups[g];
        if (argc > 1 && strcmp(argv[1], group->name))
            continue;
        printf("%s:", group->name);
        for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
            long n = 1;
            int result = 1, misses = 0;

            if (kinds[k].kind == NO_DESCRIPTORS && group->flags & ACCEPTS)
                continue;
            /* Workers race, so that the count differs from life to life. */
            for (; n <= kinds[k].most && misses < 2; n++) {
                result = one(&kinds[k], n);
                bad += result < 0;
                misses = result == 0 ? misses + 1 : 0;
            }
            printf(" %ld of %s", n - 1 - misses, fault_names[kinds[k].kind]);
        }
        printf("\n");
    }
    if (argc == 1)
        bad += fault_unseen();
    tear_down();
    return bad != 0;
}
