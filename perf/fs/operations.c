/*
 * Who does an operation's work: the submitting thread at once, the kernel later without a thread
 * (polled, or a device's completion), or one of the kernel's worker threads (iou-wrk); and what
 * cancelling one that waits for ever does. The table of docs/operations.md.
 *
 * Each operation is submitted on a fresh ring by a fresh thread, whose kernel workers carry its
 * number in their names.
 *
 * usage: operations [DIRECTORY]      on the file system to be measured; the current one
 */
#include "ring/abi.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum {
    OP_FTRUNCATE = 55,
    U32_PRIVATE = 2 | 128,
    OP_WAITID = 50,
    OP_FUTEX_WAIT = 51,
    FILE_SIZE = 8 << 20,
    PIECE = 64 << 10
};

/* What a case has at hand; made anew for each. */
struct scene {
    int file, direct, empty_pipe[2], full_pipe[2], stream[2], udp, listener, deaf, event;
    struct sockaddr_in address;
    pid_t child;
    void *buffer;
    siginfo_t info;
    struct statx status;
    uint32_t word;
};

struct measured {
    const char *operation, *situation;
    void (*prepare)(struct scene *, struct io_uring_sqe *);
    void (*before)(struct scene *);
};

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

/* --- the scene ----------------------------------------------------------------------------------
 */

static void drop_cache(struct scene *s)
{
    fsync(s->file);
    posix_fadvise(s->file, 0, 0, POSIX_FADV_DONTNEED);
}

static void dirty(struct scene *s)
{
    if (pwrite(s->file, s->buffer, PIECE, 0) < 0)
        perror("pwrite");
}

static void fill(int fd)
{
    static const char block[4096];

    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (write(fd, block, sizeof block) > 0)
        ;
    fcntl(fd, F_SETFL, 0);
}

static void write_both(struct scene *s)
{
    if (write(s->empty_pipe[1], "data", 4) != 4 || write(s->stream[1], "data", 4) != 4)
        perror("write");
}

static void fill_stream(struct scene *s)
{
    fill(s->stream[0]);
}

static void exit_child(struct scene *s)
{
    siginfo_t info;

    kill(s->child, SIGKILL);
    waitid(P_PID, (id_t)s->child, &info, WEXITED | WNOWAIT);
}

static void make_names(struct scene *s)
{
    (void)s;
    unlink("operations.new");
    rmdir("operations.directory");
    unlink("operations.link");
    mkfifo("operations.fifo", 0600);
}

static bool make_scene(struct scene *s)
{
    socklen_t length = sizeof s->address;

    memset(s, 0, sizeof *s);
    s->file = open("operations.data", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (s->file < 0 || posix_memalign(&s->buffer, 4096, PIECE))
        return false;
    memset(s->buffer, 'x', PIECE);
    for (off_t at = 0; at < FILE_SIZE; at += PIECE)
        if (pwrite(s->file, s->buffer, PIECE, at) != PIECE)
            return false;
    fsync(s->file);
    s->direct = open("operations.data", O_RDWR | O_DIRECT | O_CLOEXEC);
    if (pipe2(s->empty_pipe, O_CLOEXEC) || pipe2(s->full_pipe, O_CLOEXEC) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->stream))
        return false;
    fill(s->full_pipe[1]);
    s->event = eventfd(0, EFD_CLOEXEC);
    s->address.sin_family = AF_INET;
    s->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bind(s->udp, (struct sockaddr *)&s->address, length);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    s->deaf = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bind(s->listener, (struct sockaddr *)&s->address, length);
    listen(s->listener, 16);
    getsockname(s->listener, (struct sockaddr *)&s->address, &length);
    s->child = fork();
    if (!s->child)
        for (;;)
            pause();
    make_names(s);
    return s->child > 0;
}

static void end_scene(struct scene *s)
{
    const int fds[] = {s->file,         s->direct,       s->empty_pipe[0], s->empty_pipe[1],
                       s->full_pipe[0], s->full_pipe[1], s->stream[0],     s->stream[1],
                       s->udp,          s->listener,     s->deaf,          s->event};

    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    kill(s->child, SIGKILL);
    waitpid(s->child, NULL, 0);
    free(s->buffer);
    for (const char **name = (const char *[]){"operations.new", "operations.link",
                                              "operations.fifo", "operations.data", NULL};
         *name; name++)
        unlink(*name);
    rmdir("operations.directory");
}

/* --- the operations -----------------------------------------------------------------------------
 */

#define PREPARE(name) static void name(struct scene *s, struct io_uring_sqe *e)

PREPARE(read_file)
{
    io_uring_prep_read(e, s->file, s->buffer, 4096, 1 << 20);
}
PREPARE(read_direct)
{
    io_uring_prep_read(e, s->direct, s->buffer, 4096, 1 << 20);
}
PREPARE(write_file)
{
    io_uring_prep_write(e, s->file, s->buffer, 4096, 1 << 20);
}
PREPARE(write_new)
{
    io_uring_prep_write(e, s->file, s->buffer, 4096, FILE_SIZE + 4096);
}
PREPARE(write_direct)
{
    io_uring_prep_write(e, s->direct, s->buffer, 4096, 1 << 20);
}
PREPARE(fsync_file)
{
    io_uring_prep_fsync(e, s->file, 0);
}
PREPARE(sync_range)
{
    io_uring_prep_sync_file_range(e, s->file, PIECE, 0, 7);
}
PREPARE(allocate)
{
    io_uring_prep_fallocate(e, s->file, 0, FILE_SIZE, PIECE);
}
PREPARE(truncate_file)
{
    io_uring_prep_rw(OP_FTRUNCATE, e, s->file, NULL, 0, 4096);
}
PREPARE(advise)
{
    io_uring_prep_fadvise(e, s->file, 0, 0, POSIX_FADV_WILLNEED);
}
PREPARE(advise_memory)
{
    io_uring_prep_madvise(e, s->buffer, PIECE, MADV_WILLNEED);
}
PREPARE(open_file)
{
    (void)s;
    io_uring_prep_openat(e, AT_FDCWD, "operations.data", O_RDONLY, 0);
}
PREPARE(open_new)
{
    (void)s;
    io_uring_prep_openat(e, AT_FDCWD, "operations.new", O_RDWR | O_CREAT, 0600);
}
PREPARE(open_fifo)
{
    (void)s;
    io_uring_prep_openat(e, AT_FDCWD, "operations.fifo", O_RDONLY, 0);
}
PREPARE(status)
{
    io_uring_prep_statx(e, AT_FDCWD, "operations.data", 0, STATX_BASIC_STATS, &s->status);
}
PREPARE(rename_file)
{
    (void)s;
    io_uring_prep_renameat(e, AT_FDCWD, "operations.data", AT_FDCWD, "operations.new", 0);
}
PREPARE(unlink_file)
{
    (void)s;
    io_uring_prep_unlinkat(e, AT_FDCWD, "operations.data", 0);
}
PREPARE(make_directory)
{
    (void)s;
    io_uring_prep_mkdirat(e, AT_FDCWD, "operations.directory", 0700);
}
PREPARE(link_file)
{
    (void)s;
    io_uring_prep_linkat(e, AT_FDCWD, "operations.data", AT_FDCWD, "operations.link", 0);
}
PREPARE(link_symbolic)
{
    (void)s;
    io_uring_prep_symlinkat(e, "operations.data", AT_FDCWD, "operations.link");
}
PREPARE(set_attribute)
{
    io_uring_prep_fsetxattr(e, s->file, "user.gyre", "value", 0, 5);
}
PREPARE(get_attribute)
{
    io_uring_prep_fgetxattr(e, s->file, "user.gyre", s->buffer, 64);
}
PREPARE(splice_pipe)
{
    io_uring_prep_splice(e, s->empty_pipe[0], -1, s->stream[0], -1, 4096, 0);
}
PREPARE(tee_pipe)
{
    io_uring_prep_tee(e, s->empty_pipe[0], s->full_pipe[1], 4096, 0);
}
PREPARE(read_pipe)
{
    io_uring_prep_read(e, s->empty_pipe[0], s->buffer, 4096, (uint64_t)-1);
}
PREPARE(write_pipe)
{
    io_uring_prep_write(e, s->full_pipe[1], s->buffer, 4096, (uint64_t)-1);
}
PREPARE(read_event)
{
    io_uring_prep_read(e, s->event, s->buffer, 8, (uint64_t)-1);
}
PREPARE(receive)
{
    io_uring_prep_recv(e, s->stream[0], s->buffer, 4096, 0);
}
PREPARE(send_stream)
{
    io_uring_prep_send(e, s->stream[0], s->buffer, 4096, MSG_NOSIGNAL);
}
PREPARE(receive_datagram)
{
    io_uring_prep_recv(e, s->udp, s->buffer, 4096, 0);
}
PREPARE(accept_one)
{
    io_uring_prep_accept(e, s->listener, NULL, NULL, SOCK_CLOEXEC);
}
PREPARE(connect_one)
{
    io_uring_prep_connect(e, s->deaf, (struct sockaddr *)&s->address, sizeof s->address);
}
PREPARE(poll_pipe)
{
    io_uring_prep_poll_add(e, s->empty_pipe[0], POLLIN);
}
PREPARE(shut_down)
{
    io_uring_prep_shutdown(e, s->stream[0], SHUT_WR);
}
PREPARE(close_file)
{
    io_uring_prep_close(e, s->file);
    s->file = -1;
}
PREPARE(wait_child)
{
    io_uring_prep_rw(OP_WAITID, e, s->child, NULL, P_PID, 0);
    e->addr2 = (uint64_t)(uintptr_t)&s->info;
    e->file_index = WEXITED | WNOWAIT;
}
PREPARE(wait_futex)
{
    io_uring_prep_rw(OP_FUTEX_WAIT, e, U32_PRIVATE, &s->word, 0, 0);
    e->addr3 = UINT32_MAX;
}

#undef PREPARE

static const struct measured cases[] = {
    {"read", "regular file, cached", read_file, NULL},
    {"read", "regular file, not cached", read_file, drop_cache},
    {"read", "O_DIRECT", read_direct, NULL},
    {"write", "regular file, overwrites", write_file, NULL},
    {"write", "regular file, grows it", write_new, NULL},
    {"write", "O_DIRECT", write_direct, NULL},
    {"fsync", "dirty file", fsync_file, dirty},
    {"sync_file_range", "dirty file", sync_range, dirty},
    {"fallocate", "", allocate, NULL},
    {"ftruncate", "", truncate_file, NULL},
    {"fadvise", "WILLNEED, not cached", advise, drop_cache},
    {"madvise", "", advise_memory, NULL},
    {"openat", "existing file", open_file, NULL},
    {"openat", "O_CREAT, new", open_new, NULL},
    {"openat", "FIFO without a peer", open_fifo, NULL},
    {"statx", "", status, NULL},
    {"renameat", "", rename_file, NULL},
    {"unlinkat", "", unlink_file, NULL},
    {"mkdirat", "", make_directory, NULL},
    {"linkat", "", link_file, NULL},
    {"symlinkat", "", link_symbolic, NULL},
    {"fsetxattr", "", set_attribute, NULL},
    {"fgetxattr", "", get_attribute, NULL},
    {"splice", "pipe with data", splice_pipe, write_both},
    {"splice", "empty pipe", splice_pipe, NULL},
    {"tee", "empty pipe", tee_pipe, NULL},
    {"read", "empty pipe", read_pipe, NULL},
    {"write", "full pipe", write_pipe, NULL},
    {"read", "eventfd at 0", read_event, NULL},
    {"recv", "data there", receive, write_both},
    {"recv", "nothing there", receive, NULL},
    {"send", "room", send_stream, NULL},
    {"send", "no room", send_stream, fill_stream},
    {"recv", "UDP, nothing there", receive_datagram, NULL},
    {"accept", "nobody", accept_one, NULL},
    {"connect", "loopback", connect_one, NULL},
    {"poll", "not ready", poll_pipe, NULL},
    {"shutdown", "", shut_down, NULL},
    {"close", "regular file", close_file, NULL},
    {"waitid", "running child", wait_child, NULL},
    {"waitid", "ended child", wait_child, exit_child},
    {"futex_wait", "", wait_futex, NULL},
};

/* --- measuring ----------------------------------------------------------------------------------
 */

static int kernel_workers(pid_t thread)
{
    char wanted[32], path[300], name[64];
    struct dirent *entry;
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");

    snprintf(wanted, sizeof wanted, "iou-wrk-%d", thread);
    while (tasks && (entry = readdir(tasks))) {
        FILE *file;

        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        file = fopen(path, "re");
        if (!file)
            continue;
        if (fgets(name, sizeof name, file) && !strncmp(name, wanted, strlen(wanted)))
            count++;
        fclose(file);
    }
    if (tasks)
        closedir(tasks);
    return count;
}

static bool wait_completion(struct io_uring *ring, int milliseconds, struct io_uring_cqe *out)
{
    struct __kernel_timespec time = {0, milliseconds * 1000000ll};
    struct io_uring_cqe *cqe;

    if (io_uring_wait_cqe_timeout(ring, &cqe, &time))
        return false;
    *out = *cqe;
    io_uring_cqe_seen(ring, cqe);
    return true;
}

static const char *error_name(int result)
{
    const char *name = result < 0 ? strerrorname_np(-result) : "done";

    return name ? name : "ERESTARTSYS"; /* the kernel's own, which no program should see */
}

/* What became of one that waits, once it was cancelled. */
static void cancel(struct io_uring *ring, char *text, size_t size)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    struct io_uring_cqe cqe;
    int64_t start = now();
    int results[2] = {0};
    bool there[2] = {false};

    io_uring_prep_cancel64(sqe, 1, 0);
    sqe->user_data = 2;
    io_uring_submit(ring);
    while (!(there[0] && there[1]) && wait_completion(ring, 1000, &cqe)) {
        there[cqe.user_data - 1] = true;
        results[cqe.user_data - 1] = cqe.res;
    }
    if (!there[0])
        snprintf(text, size, "can't be cancelled (answer %d)", results[1]);
    else
        snprintf(text, size, "%s after %lld us (answer %s)", error_name(results[0]),
                 (long long)(now() - start) / 1000, error_name(results[1]));
}

static void measure(const struct measured *measured)
{
    struct io_uring ring;
    struct io_uring_cqe cqe;
    struct io_uring_sqe *sqe;
    struct scene scene;
    char text[100] = "";
    const char *how;
    bool inline_, done;

    if (!make_scene(&scene) ||
        io_uring_queue_init(8, &ring,
                            IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                                IORING_SETUP_SINGLE_ISSUER))
        exit(1);
    if (measured->before)
        measured->before(&scene);
    sqe = io_uring_get_sqe(&ring);
    measured->prepare(&scene, sqe);
    sqe->user_data = 1;
    io_uring_submit(&ring);
    inline_ = io_uring_cq_ready(&ring);
    done = wait_completion(&ring, 200, &cqe);
    how = kernel_workers(gettid()) ? "kernel worker" : inline_ ? "at once" : "polled";
    if (!done) {
        cancel(&ring, text, sizeof text);
    } else if (cqe.res < 0) {
        snprintf(text, sizeof text, "failed: %s", strerrorname_np(-cqe.res));
    } else if (!inline_ && !strcmp(how, "polled")) {
        how = "when the device has";
    }
    printf("| %s | %s | %s | %s |\n", measured->operation, measured->situation, how, text);
    fflush(stdout);
    io_uring_queue_exit(&ring);
    end_scene(&scene);
}

static void *measure_on_thread(void *measured)
{
    measure(measured);
    return NULL;
}

int main(int count, char **arguments)
{
    if (count > 1 && chdir(arguments[1])) {
        perror(arguments[1]);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    puts("| operation | situation | completes | one that waits, cancelled |\n"
         "| --- | --- | --- | --- |");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, measure_on_thread, (void *)&cases[i]))
            return 1;
        pthread_join(thread, NULL);
    }
    return 0;
}
