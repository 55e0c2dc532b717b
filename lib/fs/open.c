/*
 * Opening files.
 *
 * An open may wait for ever: that of a FIFO for its other end, that of a device for a carrier or
 * another user. The kernel tries at once, without waiting, only where the name is cached; else a
 * kernel worker thread waits, one of the few that serve the files of this ring. So what may wait is
 * opened with O_NONBLOCK, which is taken off afterwards, and the other end of a FIFO is waited for
 * here, by polling (inotify tells that somebody opened it). A device is opened as with O_NONBLOCK:
 * as the kernel's own first try does.
 *
 * Rejected: a look at the kind first (another kernel worker's turn for each file), and waiting for
 * a writer by poll: it tells of the first byte, and who opens two FIFOs crosswise waits for ever.
 */
#include "fs/run.h"

#include <gyre/file.h>
#include <gyre/io.h>
#include <gyre/time.h>

#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>

/* How often to look where inotify is refused: no instance left, or no right to read the FIFO. */
static const int64_t look_again = 10 * GYRE_MILLISECOND;

struct opening {
    const char *call;
    const char *path;
    int dirfd;
    bool how_given;
    size_t how_size;
    union {
        struct open_how how;
        char how_bytes[128]; /* of a later kernel's */
    };
};

/* --- one open --------------------------------------------------------------------------------- */

static int open_once(struct opening *opening)
{
    struct io_uring_sqe entry = {0};
    struct open_how *how = &opening->how;

    if (!opening->how_given) {
        io_uring_prep_openat(&entry, opening->dirfd, opening->path, (int)how->flags,
                             (mode_t)how->mode);
        return gyre_file_run(opening->call, opening->dirfd, &entry,
                             PLAIN(SYS_openat, opening->dirfd, address_of(opening->path),
                                   (long)how->flags, (long)how->mode));
    }
    io_uring_prep_openat2(&entry, opening->dirfd, opening->path, how);
    entry.len = (unsigned)opening->how_size;
    return gyre_file_run(opening->call, opening->dirfd, &entry,
                         PLAIN(SYS_openat2, opening->dirfd, address_of(opening->path),
                               address_of(how), (long)opening->how_size));
}

/* --- FIFOs ------------------------------------------------------------------------------------ */

static bool is_fifo(int fd)
{
    struct statx status;

    return !statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status) &&
           S_ISFIFO(status.stx_mode);
}

/* A descriptor that is readable once somebody has opened the file of fd, or -1. */
static int watch_opens(int fd)
{
    char path[40];
    int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (notify >= 0 && inotify_add_watch(notify, path, IN_OPEN) < 0) {
        close(notify);
        notify = -1;
    }
    return notify;
}

/* Until somebody has opened it, or so. 0, or why not to go on. */
static int await_open(const char *call, int notify)
{
    struct operation operation = {0};
    char events[512];
    int result;

    if (notify < 0)
        return gyre_sleep(look_again);
    result = gyre_operation_poll(&operation, call, notify, POLLIN);
    if (result < 0)
        return result;
    while (read(notify, events, sizeof events) > 0)
        ;
    return 0;
}

/*
 * Whether the FIFO has a writer, or had one since fd was opened. tee(2) takes nothing away: it says
 * EAGAIN for an empty pipe with a writer, 0 for one without.
 */
static int has_had_writer(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int scratch[2], result;

    if (poll(&poll_fd, 1, 0) > 0)
        return 1;
    if (pipe2(scratch, O_CLOEXEC) < 0)
        return -errno;
    result = tee(fd, scratch[1], 1, SPLICE_F_NONBLOCK) != 0;
    close(scratch[0]);
    close(scratch[1]);
    return result;
}

/* fd is the reading end. Returns it, or the error with which it was closed. */
static int await_writer(const char *call, int fd)
{
    int notify = watch_opens(fd), result;

    while (!(result = has_had_writer(fd)) && !(result = await_open(call, notify)))
        ;
    if (notify >= 0)
        gyre_close(notify);
    if (result > 0)
        return fd;
    close(fd);
    return result;
}

/* ENXIO: a FIFO without a reader, or something else that has no other end. */
static int await_reader(struct opening *opening)
{
    const struct open_how how = opening->how;
    int path, notify, result;

    /* Where it is, without opening it. */
    opening->how.flags = O_PATH | O_CLOEXEC | (how.flags & (uint64_t)O_NOFOLLOW);
    opening->how.mode = 0;
    path = open_once(opening);
    opening->how = how;
    if (path < 0)
        return path;
    if (!is_fifo(path)) {
        close(path);
        return -ENXIO;
    }
    notify = watch_opens(path);
    while ((result = open_once(opening)) == -ENXIO && !(result = await_open(opening->call, notify)))
        ;
    if (notify >= 0)
        gyre_close(notify);
    close(path);
    return result;
}

/* --- any file --------------------------------------------------------------------------------- */

static bool may_wait(uint64_t flags)
{
    const uint64_t fresh = O_CREAT | O_EXCL;

    return !(flags & (O_NONBLOCK | O_PATH | O_DIRECTORY)) && (flags & fresh) != fresh;
}

/* No socket, so that the first read need not find out. */
static void note_kind(int fd, enum descriptor_kind kind)
{
    struct descriptor *descriptor = gyre_descriptor_get(fd);

    if (descriptor)
        atomic_store_explicit(&descriptor->kind, (uint8_t)kind, memory_order_relaxed);
}

static int open_waiting(struct opening *opening)
{
    const uint64_t access = opening->how.flags & O_ACCMODE;
    int fd, off = 0;

    opening->how.flags |= O_NONBLOCK;
    fd = open_once(opening);
    if (fd == -EAGAIN) {
        /* Somebody holds a lease (fcntl(2)), and has a limited time to give it up. */
        opening->how.flags &= ~(uint64_t)O_NONBLOCK;
        return open_once(opening);
    }
    if (fd == -ENXIO && access == O_WRONLY)
        fd = await_reader(opening);
    if (fd < 0)
        return fd;
    ioctl(fd, FIONBIO, &off);
    if (lseek(fd, 0, SEEK_CUR) >= 0)
        note_kind(fd, KIND_FILE);
    else if (access == O_RDONLY && is_fifo(fd))
        return await_writer(opening->call, fd);
    return fd;
}

static int open_file(struct opening *opening)
{
    opening->how.flags |= O_CLOEXEC;
    return may_wait(opening->how.flags) ? open_waiting(opening) : open_once(opening);
}

int gyre_openat(int dirfd, const char *path, int flags, mode_t mode)
{
    struct opening opening = {.call = "gyre_openat", .path = path, .dirfd = dirfd};

    opening.how.flags = (unsigned)flags;
    opening.how.mode = mode;
    return open_file(&opening);
}

int gyre_open(const char *path, int flags, mode_t mode)
{
    struct opening opening = {.call = "gyre_open", .path = path, .dirfd = AT_FDCWD};

    opening.how.flags = (unsigned)flags;
    opening.how.mode = mode;
    return open_file(&opening);
}

int gyre_openat2(int dirfd, const char *path, const struct open_how *how, size_t how_size)
{
    struct opening opening = {
        .call = "gyre_openat2", .path = path, .dirfd = dirfd, .how_given = true};

    coro_required(opening.call);
    if (how_size < sizeof *how)
        return -EINVAL;
    if (how_size > sizeof opening.how_bytes)
        return -E2BIG;
    memcpy(opening.how_bytes, how, how_size);
    opening.how_size = how_size;
    return open_file(&opening);
}
