/*
 * Every call on files that goes to the disk, against a context that has ended before (nothing is
 * changed), one that ends at any moment meanwhile (all of it is done, or nothing), and signals to
 * every thread whose handler does not restart (they are not noticed).
 */
#include "cancel.h"

#include <gyre/datagram.h>
#include <gyre/directory.h>
#include <gyre/file.h>
#include <gyre/net.h>
#include <gyre/process.h>

#include <fcntl.h>
#include <ftw.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/xattr.h>

enum {
    PARTLY = 1 << 0,     /* may be done in part when the context ends meanwhile */
    ATTRIBUTES = 1 << 1, /* needs extended attributes */
};

enum { SIZE = 16 << 10 };

struct state {
    char directory[32];
    char file[48], new[48], empty[48], link[48], tree[48], below[48];
    int dirfd, fd, pipe[2], sockets[2];
    struct gyre_buffers *buffers;
    char buffer[SIZE];
};

/* --- the directory: as it was made, or torn down ----------------------------------------------
 */

static const char content[SIZE] = "content";

static void make_file(const char *path)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

    CHECK_EQ(write(fd, content, SIZE), SIZE);
    CHECK_EQ(close(fd), 0);
}

static void make(struct state *s)
{
    char path[64];

    strcpy(s->directory, "/var/tmp/gyre-cancel-XXXXXX");
    CHECK(mkdtemp(s->directory));
    snprintf(s->file, sizeof s->file, "%s/file", s->directory);
    snprintf(s->new, sizeof s->new, "%s/new", s->directory);
    snprintf(s->empty, sizeof s->empty, "%s/empty", s->directory);
    snprintf(s->link, sizeof s->link, "%s/link", s->directory);
    snprintf(s->tree, sizeof s->tree, "%s/tree", s->directory);
    snprintf(s->below, sizeof s->below, "%s/tree/new/er", s->directory);
    make_file(s->file);
    (void)setxattr(s->file, "user.key", "value", 5, 0);
    CHECK_EQ(mkdir(s->empty, 0700), 0);
    CHECK_EQ(symlink("file", s->link), 0);
    CHECK_EQ(mkdir(s->tree, 0700), 0);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%d", s->tree, i);
        CHECK_EQ(mkdir(path, 0700), 0);
        snprintf(path, sizeof path, "%s/%d/file", s->tree, i);
        make_file(path);
    }
    s->dirfd = open(s->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    s->fd = open(s->file, O_RDWR | O_CLOEXEC);
    CHECK(s->dirfd >= 0 && s->fd >= 0);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static void destroy(struct state *s)
{
    CHECK_EQ(close(s->fd), 0);
    CHECK_EQ(close(s->dirfd), 0);
    CHECK_EQ(nftw(s->directory, remove_one, 10, FTW_DEPTH | FTW_PHYS), 0);
}

static uint64_t print;
static bool with_times;

static void add_print(const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        print = (print ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3;
}

static int print_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    char bytes[SIZE + 1];
    ssize_t n;

    (void)kind;
    (void)where;
    print ^= 0xcbf29ce484222325;
    add_print(path, strlen(path));
    add_print(&status->st_mode, sizeof status->st_mode);
    if (with_times)
        add_print(&status->st_ctim, sizeof status->st_ctim);
    n = lgetxattr(path, "user.key", bytes, SIZE);
    add_print(bytes, n > 0 ? (size_t)n : 0);
    if (S_ISREG(status->st_mode)) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        CHECK((n = read(fd, bytes, sizeof bytes)) >= 0);
        CHECK_EQ(close(fd), 0);
        add_print(bytes, (size_t)n);
    }
    return 0;
}

static uint64_t add_up;

static int print_and_add(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    int result;

    print = 0;
    result = print_one(path, status, kind, where);
    add_up += print; /* in whatever order */
    return result;
}

/* Of names, modes, contents, attributes; with times, of whether anything was changed at all. */
static uint64_t fingerprint(const struct state *s, bool times)
{
    add_up = 0;
    with_times = times;
    CHECK_EQ(nftw(s->directory, print_and_add, 10, FTW_PHYS), 0);
    return add_up;
}

/* --- the calls ---------------------------------------------------------------------------------
 */

static long opened(int fd)
{
    return fd >= 0 ? close(fd) : fd;
}

static int visit(const struct gyre_visit *visited, void *unused)
{
    (void)unused;
    return visited->error;
}

#define CALL(name, ...)                                                                            \
    static long call_##name(struct state *s)                                                       \
    {                                                                                              \
        return (__VA_ARGS__);                                                                      \
    }
#define PIECE (&(struct iovec){s->buffer, SIZE})

CALL(open, opened(gyre_open(s->file, O_RDONLY, 0)))
CALL(create, opened(gyre_openat(s->dirfd, "new", O_CREAT | O_EXCL | O_WRONLY, 0600)))
CALL(openat2, opened(gyre_openat2(s->dirfd, "file", &(struct open_how){.flags = O_RDWR},
                                  sizeof(struct open_how))))
CALL(pread, gyre_pread(s->fd, s->buffer, SIZE, 0))
CALL(pwrite, gyre_pwrite(s->fd, s->buffer, SIZE, 0))
CALL(preadv, gyre_preadv(s->fd, PIECE, 1, 0, 0))
CALL(pwritev, gyre_pwritev(s->fd, PIECE, 1, 0, 0))
CALL(pread_all, gyre_pread_all(s->fd, s->buffer, SIZE, 0, NULL))
CALL(pwrite_all, gyre_pwrite_all(s->fd, s->buffer, SIZE, 0, NULL))
CALL(pread_buffer, gyre_pread_buffer(s->fd, s->buffers, 0, SIZE, 0))
CALL(pwrite_buffer, gyre_pwrite_buffer(s->fd, s->buffers, 0, SIZE, 0))
CALL(fsync, gyre_fsync(s->fd))
CALL(fdatasync, gyre_fdatasync(s->fd))
CALL(sync_file_range, gyre_sync_file_range(s->fd, 0, SIZE, SYNC_FILE_RANGE_WRITE))
CALL(fallocate, gyre_fallocate(s->fd, 0, 0, 2 * SIZE))
CALL(ftruncate, gyre_ftruncate(s->fd, 1))
CALL(truncate, gyre_truncate(s->file, 1))
CALL(fadvise, gyre_fadvise(s->fd, 0, SIZE, POSIX_FADV_WILLNEED))
CALL(madvise, gyre_madvise(gyre_buffers_at(s->buffers, 0), SIZE, MADV_WILLNEED))
CALL(stat, gyre_stat(s->file, &(struct stat){0}))
CALL(lstat, gyre_lstat(s->link, &(struct stat){0}))
CALL(fstat, gyre_fstat(s->fd, &(struct stat){0}))
CALL(statx, gyre_statx(s->dirfd, "file", 0, STATX_ALL, &(struct statx){0}))
CALL(chmod, gyre_chmod(s->file, 0400))
CALL(fchmodat, gyre_fchmodat(s->dirfd, "file", 0400, 0))
CALL(fchownat, gyre_fchownat(s->dirfd, "file", getuid(), getgid(), 0))
CALL(utimensat, gyre_utimensat(s->dirfd, "file", NULL, 0))
CALL(rename, gyre_rename(s->file, s->new))
CALL(renameat2, gyre_renameat2(s->dirfd, "file", s->dirfd, "new", RENAME_NOREPLACE))
CALL(unlink, gyre_unlink(s->file))
CALL(unlinkat, gyre_unlinkat(s->dirfd, "empty", AT_REMOVEDIR))
CALL(rmdir, gyre_rmdir(s->empty))
CALL(link, gyre_link(s->file, s->new))
CALL(linkat, gyre_linkat(s->dirfd, "file", s->dirfd, "new", 0))
CALL(symlink, gyre_symlink("file", s->new))
CALL(symlinkat, gyre_symlinkat("file", s->dirfd, "new"))
CALL(mkdir, gyre_mkdir(s->new, 0700))
CALL(mkdirat, gyre_mkdirat(s->dirfd, "new", 0700))
CALL(readlinkat, gyre_readlinkat(s->dirfd, "link", s->buffer, SIZE))
CALL(getxattr, gyre_getxattr(s->file, "user.key", s->buffer, SIZE))
CALL(fgetxattr, gyre_fgetxattr(s->fd, "user.key", s->buffer, SIZE))
CALL(setxattr, gyre_setxattr(s->file, "user.key", "other", 5, 0))
CALL(fsetxattr, gyre_fsetxattr(s->fd, "user.key", "other", 5, 0))
CALL(listxattr, gyre_listxattr(s->file, s->buffer, SIZE))
CALL(removexattr, gyre_removexattr(s->file, "user.key"))
CALL(write_file, gyre_write_file(s->file, "new", 3, 0600))
CALL(copy_file, gyre_copy_file(s->file, s->new))
CALL(mkdir_all, gyre_mkdir_all(s->below, 0700))
CALL(remove_all, gyre_remove_all(s->tree))
CALL(walk, gyre_walk(s->directory, 1, visit, NULL))
CALL(walk_parallel, gyre_walk(s->directory, 3, visit, NULL))

static long call_mkdir_temp(struct state *s)
{
    char path[100];

    return gyre_mkdir_temp(s->new, path, sizeof path);
}

static long call_read_file(struct state *s)
{
    char *data = NULL;
    size_t size = 77;
    int error = gyre_read_file(s->file, &data, &size, 0);

    CHECK(error ? !data && size == 77 : size == SIZE);
    free(data);
    return error;
}

static long call_directory(struct state *s)
{
    struct gyre_directory *directory;
    struct gyre_entry entry;
    int error = gyre_directory_openat(&directory, s->dirfd, ".");

    if (error)
        return error;
    do
        error = gyre_directory_next(directory, &entry);
    while (error == 1);
    gyre_directory_close(directory);
    return error;
}

static long call_splice(struct state *s)
{
    off_t offset = 0;
    ssize_t n = gyre_splice(s->fd, &offset, s->pipe[1], NULL, 100, 0);

    CHECK_EQ(offset, n > 0 ? n : 0);
    for (ssize_t i = 0; i < n; i++)
        CHECK_EQ(read(s->pipe[0], s->buffer, 1), 1);
    return n;
}

static long call_sendfile(struct state *s)
{
    size_t done = 0;
    ssize_t n = gyre_sendfile_all(s->sockets[0], s->fd, 0, SIZE, &done);

    for (ssize_t got; done; done -= (size_t)got)
        CHECK((got = recv(s->sockets[1], s->buffer, done < SIZE ? done : SIZE, 0)) > 0);
    return n;
}

static long call_process(struct state *s)
{
    static const char *const arguments[] = {"true", NULL};
    struct gyre_process process;
    struct gyre_process_status status;
    int error = gyre_process_start(&process, arguments, NULL);

    (void)s;
    if (error)
        return error;
    error = gyre_process_wait(&process, &status);
    CHECK(error || (status.exited && !status.code));
    gyre_process_release(&process);
    return error;
}

static long call_capture(struct state *s)
{
    static const char *const arguments[] = {"cat", NULL};
    struct gyre_capture capture;
    int error = gyre_process_capture(&capture, arguments, content, SIZE, 0, NULL);

    (void)s;
    CHECK(error || capture.output_size == SIZE);
    gyre_capture_free(&capture);
    return error;
}

#define ROW(name, flags)                                                                           \
    {                                                                                              \
#name, call_##name, flags                                                                  \
    }

static const struct call {
    const char *name;
    long (*call)(struct state *s);
    unsigned flags;
} calls[] = {
    ROW(open, 0),
    ROW(create, 0),
    ROW(openat2, 0),
    ROW(pread, 0),
    ROW(pwrite, PARTLY),
    ROW(preadv, 0),
    ROW(pwritev, PARTLY),
    ROW(pread_all, 0),
    ROW(pwrite_all, PARTLY),
    ROW(pread_buffer, 0),
    ROW(pwrite_buffer, PARTLY),
    ROW(fsync, 0),
    ROW(fdatasync, 0),
    ROW(sync_file_range, 0),
    ROW(fallocate, PARTLY),
    ROW(ftruncate, 0),
    ROW(truncate, 0),
    ROW(fadvise, 0),
    ROW(madvise, 0),
    ROW(stat, 0),
    ROW(lstat, 0),
    ROW(fstat, 0),
    ROW(statx, 0),
    ROW(chmod, 0),
    ROW(fchmodat, 0),
    ROW(fchownat, 0),
    ROW(utimensat, 0),
    ROW(rename, 0),
    ROW(renameat2, 0),
    ROW(unlink, 0),
    ROW(unlinkat, 0),
    ROW(rmdir, 0),
    ROW(link, 0),
    ROW(linkat, 0),
    ROW(symlink, 0),
    ROW(symlinkat, 0),
    ROW(mkdir, 0),
    ROW(mkdirat, 0),
    ROW(readlinkat, 0),
    ROW(getxattr, ATTRIBUTES),
    ROW(fgetxattr, ATTRIBUTES),
    ROW(setxattr, ATTRIBUTES),
    ROW(fsetxattr, ATTRIBUTES),
    ROW(listxattr, ATTRIBUTES),
    ROW(removexattr, ATTRIBUTES),
    ROW(read_file, 0),
    ROW(write_file, 0),
    ROW(copy_file, 0),
    ROW(mkdir_all, PARTLY),
    ROW(mkdir_temp, 0),
    ROW(remove_all, PARTLY),
    ROW(directory, 0),
    ROW(walk, 0),
    ROW(walk_parallel, 0),
    ROW(splice, 0),
    ROW(sendfile, 0),
    ROW(process, 0),
    ROW(capture, 0),
};

/* --- the matrix --------------------------------------------------------------------------------
 */

static struct random chance;
static bool have_attributes;

static void ended_before(const struct call *call, struct state *s)
{
    uint64_t before = fingerprint(s, true);

    CHECK_EQ(attempt_ended(call->call, s), -ECANCELED);
    CHECK_EQ(fingerprint(s, true), before);
}

static void ended_meanwhile(const struct call *call, struct state *s)
{
    uint64_t before = fingerprint(s, false);
    struct attempt attempt;
    gyre_handle canceller;

    attempt_start(&attempt, call->call, s);
    for (unsigned turns = random_below(&chance, 5); turns; turns--)
        gyre_yield();
    CHECK_EQ(gyre_spawn(&canceller, attempt_cancel, &attempt), 0);
    for (unsigned spins = random_below(&chance, 2000); spins; spins--)
        cpu_relax();
    CHECK_EQ(gyre_join(canceller, NULL), 0);
    if (attempt_end(&attempt) >= 0)
        return;
    CHECK_EQ(attempt.result, -ECANCELED);
    if (!(call->flags & PARTLY))
        CHECK_EQ(fingerprint(s, false), before);
}

static void signals_meanwhile(const struct call *call, struct state *s)
{
    CHECK(call->call(s) >= 0);
}

static void each_call(void (*check)(const struct call *, struct state *), const char *what,
                      struct state *s)
{
    static char phase[100];

    stress_phase = phase;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        if (calls[i].flags & ATTRIBUTES && !have_attributes)
            continue;
        snprintf(phase, sizeof phase, "%s, %s, %u workers", calls[i].name, what,
                 gyre_worker_count());
        make(s);
        check(&calls[i], s);
        destroy(s);
    }
}

static int all(void *unused)
{
    const char *phase = stress_phase;
    struct state *s = calloc(1, sizeof *s);

    (void)unused;
    CHECK(s);
    CHECK_EQ(gyre_pipe(s->pipe), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->sockets), 0);
    CHECK_EQ(gyre_buffers_create(&s->buffers, 1, SIZE), 0);
    make(s);
    have_attributes = getxattr(s->file, "user.key", s->buffer, SIZE) == 5;
    destroy(s);
    each_call(ended_before, "context ended before", s);
    for (unsigned long i = 0; i < stress_rounds(8) + 1; i++)
        each_call(ended_meanwhile, "context ends", s);
    storm_begin();
    for (unsigned long i = 0; i < stress_rounds(2) + 1; i++)
        each_call(signals_meanwhile, "signals", s);
    storm_end();
    gyre_buffers_destroy(s->buffers);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(close(s->pipe[i]), 0);
        CHECK_EQ(close(s->sockets[i]), 0);
    }
    free(s);
    stress_phase = phase;
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    chance = stress_random(1);
    stress_run_each("calls on files", 0, all);
    return 0;
}
