/*
 * Files as a whole: read, replaced, copied.
 *
 * Replacing. What is written goes to a temporary in the same directory, whose name is then changed:
 * that is one step for whoever looks. Until then an error, or the end of the context, leaves the
 * old file; from then on nothing ends the call, so that -ECANCELED never means that the new file is
 * there. All names are relative to the descriptor of the directory, which is opened first: moved or
 * not, it is one directory from beginning to end, and its fsync can't fail for want of descriptors.
 *
 * Rejected: O_TMPFILE and linkat(2), which replaces nothing, so that a second name and a rename
 * would still be needed.
 */
#include "sched/park.h"

#include <gyre/blocking.h>
#include <gyre/context.h>
#include <gyre/file.h>
#include <gyre/io.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum { READ_FIRST = 4096, COPY_PIECE = 16 << 20, COPY_BUFFER = 256 << 10, NAME_TRIES = 100 };

/* --- reading -----------------------------------------------------------------------------------
 */

struct content {
    char *data;
    size_t size, capacity; /* capacity and one more are allocated */
};

static int enlarge(struct content *content, size_t capacity)
{
    char *data = capacity < SIZE_MAX ? realloc(content->data, capacity + 1) : NULL;

    if (!data)
        return -ENOMEM;
    content->data = data;
    content->capacity = capacity;
    return 0;
}

/* Until the end, in pieces as large as there is room; most bytes and one more, to tell if there are
 * more. */
static int read_content(int fd, struct content *content, size_t most)
{
    for (;;) {
        size_t done = 0, room = content->capacity - content->size;
        ssize_t n = gyre_read_all(fd, content->data + content->size, room, &done);

        content->size += done;
        if (n < 0)
            return (int)n;
        if (content->size > most)
            return -EFBIG;
        if (done < room)
            return 0;
        n = enlarge(content, content->capacity * 2);
        if (n)
            return (int)n;
    }
}

/* The size that the file says it has is only where to start: it may grow, or say 0 (/proc). */
static int read_open(int fd, struct content *content, size_t most)
{
    size_t expected = 0;
    struct stat status;
    int error = gyre_fstat(fd, &status);

    if (error)
        return error;
    if (S_ISREG(status.st_mode) && status.st_size > 0)
        expected = (size_t)status.st_size;
    if (expected > most)
        return -EFBIG;
    /* One more, so that the end is seen without another round. */
    error = enlarge(content, expected ? expected + 1 : READ_FIRST);
    return error ? error : read_content(fd, content, most);
}

int gyre_read_file(const char *path, char **data, size_t *size, size_t limit)
{
    struct content content = {0};
    int error, fd = gyre_open(path, O_RDONLY, 0);
    char *shorter;

    if (fd < 0)
        return fd;
    error = read_open(fd, &content, limit ? limit : SIZE_MAX);
    gyre_close(fd);
    if (error) {
        free(content.data);
        return error;
    }
    content.data[content.size] = '\0';
    shorter = content.capacity > content.size + 1 ? realloc(content.data, content.size + 1) : NULL;
    *data = shorter ? shorter : content.data;
    if (size)
        *size = content.size;
    return 0;
}

/* --- replacing ---------------------------------------------------------------------------------
 */

struct replacement {
    int dirfd, fd;
    const char *name; /* in the directory: what is to be replaced */
    char temporary[32];
};

static void name_temporary(struct replacement *replacement)
{
    uint64_t number;

    /* Without entropy yet, the address and the clock will do: O_EXCL decides. */
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) != sizeof number)
        number = (uint64_t)gyre_now() * 0x9e3779b97f4a7c15u ^ (uintptr_t)replacement;
    snprintf(replacement->temporary, sizeof replacement->temporary, ".gyre-%016llx",
             (unsigned long long)number);
}

static int open_directory(struct replacement *replacement, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    char *directory;
    int fd;

    replacement->name = path + length;
    if (!*replacement->name)
        return *path ? -EISDIR : -ENOENT;
    directory = length ? strndup(path, length) : NULL;
    if (length && !directory)
        return -ENOMEM;
    fd = gyre_open(directory ? directory : ".", O_RDONLY | O_DIRECTORY, 0);
    free(directory);
    replacement->dirfd = fd;
    return fd < 0 ? fd : 0;
}

/* Opens the temporary to write to. 0 or -errno. */
static int begin(struct replacement *replacement, const char *path, mode_t mode)
{
    int error = open_directory(replacement, path);

    if (error)
        return error;
    for (int tries = 0;; tries++) {
        name_temporary(replacement);
        replacement->fd = gyre_openat(replacement->dirfd, replacement->temporary,
                                      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
        if (replacement->fd >= 0)
            return 0;
        if (replacement->fd != -EEXIST || tries == NAME_TRIES)
            break;
    }
    error = replacement->fd;
    gyre_close(replacement->dirfd);
    return error;
}

/* All is written, or not (error): the new file takes the place of the old one, or goes. */
static int end(struct replacement *replacement, int error, bool durable)
{
    int closed;

    if (!error && durable)
        error = gyre_fsync(replacement->fd);
    closed = gyre_close(replacement->fd);
    if (!error)
        error = closed;
    if (!error)
        error = gyre_renameat2(replacement->dirfd, replacement->temporary, replacement->dirfd,
                               replacement->name, 0);
    {
        GYRE_SHIELD();
        if (error)
            gyre_unlinkat(replacement->dirfd, replacement->temporary, 0);
        else if (durable)
            error = gyre_fsync(replacement->dirfd);
        gyre_close(replacement->dirfd);
    }
    return error;
}

int gyre_write_file(const char *path, const void *data, size_t size, mode_t mode)
{
    struct replacement replacement = {0};
    int error = begin(&replacement, path, mode);
    ssize_t n = 0;

    if (error)
        return error;
    if (size)
        n = gyre_write_all(replacement.fd, data, size, NULL);
    return end(&replacement, n < 0 ? (int)n : 0, true);
}

/* --- copying -----------------------------------------------------------------------------------
 */

struct copy {
    int in, out;
    mode_t mode;
    ssize_t moved; /* by the last piece */
};

static int copy_piece(void *arg)
{
    struct copy *copy = arg;

    do
        copy->moved = copy_file_range(copy->in, NULL, copy->out, NULL, COPY_PIECE, 0);
    while (copy->moved < 0 && errno == EINTR);
    return copy->moved < 0 ? -errno : 0;
}

static int set_mode(void *arg)
{
    const struct copy *copy = arg;

    return fchmod(copy->out, copy->mode) < 0 ? -errno : 0;
}

/* What says that these two files can't be copied in that way, not that copying failed. */
static bool unsupported(int error)
{
    return error == -EXDEV || error == -EINVAL || error == -EOPNOTSUPP || error == -ENOSYS ||
           error == -EPERM;
}

/* By hand, from where both files are. */
static int copy_bytes(const struct copy *copy)
{
    char *buffer = malloc(COPY_BUFFER);
    ssize_t n = buffer ? 1 : -ENOMEM;

    while (n > 0) {
        n = gyre_read(copy->in, buffer, COPY_BUFFER);
        if (n > 0)
            n = gyre_write_all(copy->out, buffer, (size_t)n, NULL);
    }
    free(buffer);
    return (int)n;
}

static int copy_content(struct copy *copy)
{
    int error;

    do
        error = gyre_blocking(copy_piece, copy);
    while (!error && copy->moved > 0);
    /* Nothing at all may also mean a file without a size of its own (/proc): reading tells. */
    return !error || unsupported(error) ? copy_bytes(copy) : error;
}

static int copy_open(int in, const char *to)
{
    struct replacement replacement = {0};
    struct copy copy = {.in = in};
    struct stat status;
    int error = gyre_fstat(in, &status);

    if (error)
        return error;
    if (!S_ISREG(status.st_mode))
        return S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    /* Nobody may open it who may not open the original. */
    error = begin(&replacement, to, 0600);
    if (error)
        return error;
    copy.out = replacement.fd;
    copy.mode = status.st_mode & 07777;
    error = copy_content(&copy);
    if (!error)
        error = gyre_blocking(set_mode, &copy);
    return end(&replacement, error, false);
}

int gyre_copy_file(const char *from, const char *to)
{
    /* Not to wait for the other end of a named pipe, which is refused anyway. */
    int in = gyre_open(from, O_RDONLY | O_NONBLOCK, 0), error;

    if (in < 0)
        return in;
    error = copy_open(in, to);
    gyre_close(in);
    return error;
}
