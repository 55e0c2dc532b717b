/*
 * Making and removing directories with all that is above or below: system calls in a row, on a
 * helper thread, for one at a time through the ring each costs a kernel worker.
 *
 * Removing goes in steps of some STEP_CALLS system calls, between which the end of the context is
 * seen. It is safe against others who change the tree meanwhile: every name is taken relative to
 * the descriptor of the directory it was read from, and a directory is opened without following a
 * link. So nothing is removed but what was below the path at some moment. The chain of directories
 * is on the heap; only the OPEN_LEVELS innermost are open, one further out is opened again, as
 * "..", and must be the same (-ESTALE: it was moved, and nobody knows where to).
 *
 * What can't be removed is left, with the directories above it, all else goes, and the first error
 * is returned.
 *
 * Rejected: lists of all names before the first is removed (memory; the rest of a batch is kept
 * instead, and directories whose entries come back are read again).
 */
#include "fs/dirent.h"
#include "sched/park.h"

#include <gyre/blocking.h>
#include <gyre/file.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { STEP_CALLS = 256, OPEN_LEVELS = 32, ROUNDS = 8, TRIES = 8, MORE = 1 };

/* --- removing ----------------------------------------------------------------------------------
 */

struct level {
    struct level *outer;
    int fd; /* -1: closed, to save descriptors */
    dev_t device;
    ino_t inode;
    off_t position; /* in the directory, while it is closed */
    char *rest;     /* of the batch, while the walk is further in */
    size_t rest_size;
    unsigned rounds; /* times that it was not empty at its end */
    bool ended, failed;
    char name[NAME_MAX + 1]; /* in outer */
};

struct removal {
    const char *path;
    struct level *top;
    int error; /* the first */
    unsigned calls;
    size_t at, filled; /* of the batch, which is top's */
    _Alignas(struct dirent_raw) char batch[DIRENT_BATCH];
};

static void fail(struct removal *removal, int error)
{
    if (removal->top)
        removal->top->failed = true;
    if (!removal->error)
        removal->error = error;
}

/* Saves what the top level needs while another is on top. */
static int set_aside(struct removal *removal)
{
    struct level *level = removal->top;
    size_t rest = removal->filled - removal->at;

    if (!level)
        return 0;
    level->rest = malloc(rest + 1);
    if (!level->rest)
        return -ENOMEM;
    memcpy(level->rest, removal->batch + removal->at, rest);
    level->rest_size = rest;
    return 0;
}

/* Closes the one that is no longer among the innermost. */
static int save_descriptors(struct removal *removal)
{
    struct level *level = removal->top;
    struct stat status;

    for (int i = 1; level && i < OPEN_LEVELS; i++)
        level = level->outer;
    if (!level || level->fd < 0)
        return 0;
    if (fstat(level->fd, &status) < 0)
        return -errno;
    level->device = status.st_dev;
    level->inode = status.st_ino;
    level->position = lseek(level->fd, 0, SEEK_CUR);
    close(level->fd);
    level->fd = -1;
    return 0;
}

/* Into a directory: 0 or -errno, and then all is as before. */
static int push_level(struct removal *removal, int dirfd, const char *name)
{
    struct level *level = calloc(1, sizeof *level);
    int error = level ? save_descriptors(removal) : -ENOMEM;

    if (error) {
        free(level);
        return error;
    }
    removal->calls += 2;
    level->fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    error = level->fd < 0 ? -errno : set_aside(removal);
    if (error) {
        if (level->fd >= 0)
            close(level->fd);
        free(level);
        return error;
    }
    if (removal->top)
        memcpy(level->name, name, strlen(name) + 1);
    level->outer = removal->top;
    removal->top = level;
    removal->at = removal->filled = 0;
    return 0;
}

/* One that was closed, from the one inside. */
static int reopen(struct level *outer, const struct level *inner)
{
    int fd = openat(inner->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;
    struct stat status;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &status) < 0)
        error = -errno;
    else if (status.st_dev != outer->device || status.st_ino != outer->inode)
        error = -ESTALE;
    if (error) {
        close(fd);
        return error;
    }
    outer->fd = fd;
    /* Where that can't be, what is left is found when the directory turns out not to be empty. */
    if (lseek(fd, outer->position, SEEK_SET) < 0)
        outer->ended = true;
    return 0;
}

static void take_up(struct removal *removal, struct level *level)
{
    removal->top = level;
    removal->at = removal->filled = 0;
    if (!level)
        return;
    memcpy(removal->batch, level->rest, level->rest_size);
    removal->filled = level->rest_size;
    free(level->rest);
    level->rest = NULL;
}

/* Whether the top level's directory is gone; or is to be read again: entries came meanwhile. */
static bool remove_emptied(struct removal *removal, bool *again)
{
    struct level *level = removal->top;
    int dirfd = level->outer ? level->outer->fd : AT_FDCWD;
    const char *name = level->outer ? level->name : removal->path;

    *again = false;
    if (level->failed)
        return false;
    if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return true;
    if ((errno == ENOTEMPTY || errno == EEXIST) && level->rounds < ROUNDS &&
        lseek(level->fd, 0, SEEK_SET) == 0) {
        level->rounds++;
        level->ended = false;
        *again = true;
    } else if (level->outer && errno == ENOTDIR) {
        return true; /* its name is another's now: found when outer is not empty */
    } else {
        fail(removal, -errno);
    }
    return false;
}

/* The top level's directory has been emptied, as far as it could be: remove it, and out of it. */
static int pop_level(struct removal *removal)
{
    struct level *level = removal->top, *outer = level->outer;
    int error = outer && outer->fd < 0 ? reopen(outer, level) : 0;
    bool again;

    if (error)
        return error; /* nobody knows where this is */
    removal->calls += 2;
    if (!remove_emptied(removal, &again)) {
        if (again)
            return 0;
        if (outer)
            outer->failed = true;
    }
    close(level->fd);
    free(level);
    take_up(removal, outer);
    return 0;
}

/* What an unlink of a directory says. */
static bool is_directory(int error)
{
    return error == -EISDIR || error == -EPERM;
}

/* A directory that can't be entered may be empty all the same. */
static int remove_closed(struct removal *removal, int dirfd, const char *name, int error)
{
    removal->calls++;
    return unlinkat(dirfd, name, AT_REMOVEDIR) == 0 ? 0 : error;
}

/* What it was when it was read is a hint: somebody may put one for the other, and again. */
static void remove_entry(struct removal *removal, const struct dirent_raw *raw)
{
    int dirfd = removal->top->fd, error = -EISDIR;

    for (int tries = 0; tries < TRIES; tries++) {
        int entered;

        if (raw->type != DT_DIR || tries) {
            removal->calls++;
            error = unlinkat(dirfd, raw->name, 0) < 0 ? -errno : 0;
            if (!is_directory(error))
                break;
        }
        entered = push_level(removal, dirfd, raw->name);
        if (!entered)
            return;
        if (entered != -ENOTDIR && entered != -ELOOP) {
            error = remove_closed(removal, dirfd, raw->name, entered);
            break;
        }
    }
    if (error && error != -ENOENT)
        fail(removal, error);
}

/* Something in the top level: 0, or -errno: it can't go on at all. */
static int advance(struct removal *removal)
{
    struct level *level = removal->top;
    int n;

    if (removal->at < removal->filled) {
        struct dirent_raw *raw = dirent_at(removal->batch, removal->at);

        removal->at += raw->length;
        if (!dirent_is_dots(raw->name))
            remove_entry(removal, raw);
        return 0;
    }
    if (level->ended)
        return pop_level(removal);
    removal->calls += 2;
    n = dirent_read(level->fd, removal->batch, &level->ended);
    if (n < 0) {
        fail(removal, n);
        level->ended = true;
    }
    removal->at = 0;
    removal->filled = n > 0 ? (size_t)n : 0;
    return 0;
}

static int remove_step(void *arg)
{
    struct removal *removal = arg;

    removal->calls = 0;
    while (removal->top) {
        int error = advance(removal);

        if (error)
            return removal->error ? removal->error : error;
        if (removal->calls >= STEP_CALLS)
            return MORE;
    }
    return removal->error;
}

static size_t without_slashes(const char *path)
{
    size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/')
        length--;
    return length;
}

static bool ends_in_dots(const char *path)
{
    size_t length = without_slashes(path), dots = 0;

    while (dots < length && path[length - dots - 1] == '.')
        dots++;
    return (dots == 1 || dots == 2) && (dots == length || path[length - dots - 1] == '/');
}

/* With a slash behind its name, a link that somebody has put there meanwhile would be followed. */
static int enter_root(struct removal *removal)
{
    char *name = strndup(removal->path, without_slashes(removal->path));
    int error = name ? push_level(removal, AT_FDCWD, name) : -ENOMEM;

    free(name);
    return error;
}

/* What is no directory, or an empty one, goes at once. */
static int remove_begin(void *arg)
{
    struct removal *removal = arg;
    int error;

    if (ends_in_dots(removal->path))
        return -EINVAL;
    if (unlink(removal->path) == 0 || errno == ENOENT)
        return 0;
    if (!is_directory(-errno))
        return -errno;
    if (rmdir(removal->path) == 0 || errno == ENOENT)
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -errno;
    error = enter_root(removal);
    return error ? error : MORE;
}

int gyre_remove_all(const char *path)
{
    struct removal *removal = calloc(1, sizeof *removal);
    int error;

    coro_required("gyre_remove_all");
    if (!removal)
        return -ENOMEM;
    removal->path = path;
    error = gyre_blocking(remove_begin, removal);
    while (error == MORE)
        error = gyre_blocking(remove_step, removal);
    while (removal->top) {
        struct level *level = removal->top;

        removal->top = level->outer;
        if (level->fd >= 0)
            close(level->fd);
        free(level->rest);
        free(level);
    }
    free(removal);
    return error;
}

/* --- making ------------------------------------------------------------------------------------
 */

struct making {
    const char *path;
    mode_t mode;
};

static int make_one(const char *path, mode_t mode)
{
    struct stat status;
    int error;

    if (mkdir(path, mode) == 0)
        return 0;
    error = -errno;
    /* Other errors, too, come from what is there: a file system that is read-only. */
    if (error != -ENOENT && stat(path, &status) == 0)
        return S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
    return error;
}

static int make_all(void *arg)
{
    const struct making *making = arg;
    size_t size = strlen(making->path) + 1;
    char path[PATH_MAX];
    int error;

    if (size > sizeof path)
        return -ENAMETOOLONG;
    error = make_one(making->path, making->mode);
    if (error != -ENOENT || size == 1)
        return error;
    memcpy(path, making->path, size);
    for (char *at = path + 1; *at; at++) {
        if (*at != '/' || at[-1] == '/')
            continue;
        *at = '\0';
        error = make_one(path, making->mode);
        *at = '/';
        if (error)
            return error;
    }
    return make_one(path, making->mode);
}

int gyre_mkdir_all(const char *path, mode_t mode)
{
    struct making making = {path, mode};

    coro_required("gyre_mkdir_all");
    return gyre_blocking(make_all, &making);
}

static int make_temporary(void *arg)
{
    return mkdtemp(arg) ? 0 : -errno;
}

int gyre_mkdir_temp(const char *prefix, char *path, size_t size)
{
    static const char pattern[] = "XXXXXX";
    size_t length = strlen(prefix);
    char *made;
    int error;

    coro_required("gyre_mkdir_temp");
    if (length >= size || size - length < sizeof pattern)
        return -ENOBUFS;
    made = malloc(length + sizeof pattern);
    if (!made)
        return -ENOMEM;
    memcpy(made, prefix, length);
    memcpy(made + length, pattern, sizeof pattern);
    error = gyre_blocking(make_temporary, made);
    if (!error)
        memcpy(path, made, length + sizeof pattern);
    free(made);
    return error;
}
