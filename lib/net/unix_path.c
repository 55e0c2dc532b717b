/*
 * Guarantees
 * - Of several starters at once one gets the path, the others -EADDRINUSE, and nobody removes a
 *   socket that somebody serves. What is no socket is never removed.
 * - The path never has more permissions than it was to have.
 *
 * Stale is a socket to which a connect is refused. Between that look and its removal another
 * starter may have put a fresh one there: so both happen under a lock of the folder (flock, no file
 * is left behind), and so do bind and listen, for a socket that does not listen yet looks stale.
 * Programs that don't take the lock are not kept out; nor is anybody where the folder can't be
 * read, or its file system has no locks.
 *
 * Rejected: binding to another name and renaming it over the path, which replaces whatever is there
 * by then; a lock file beside it, which stays and can be removed under its holder.
 *
 * fchmod before bind sets the new inode's permissions, less the umask, which is the whole
 * process's and is not touched; what it took away is given back afterwards.
 */
#include "net/unix_path.h"

#include <gyre/coro.h>

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LOCK_TRIES = 1000 };

static const int64_t lock_pause = GYRE_MILLISECOND;

struct unix_path {
    int folder; /* keeps its place, wherever the process goes */
    dev_t device;
    ino_t inode;
    char name[sizeof((struct sockaddr_un *)0)->sun_path];
};

static struct unix_path *create(const char *text)
{
    struct unix_path *path = calloc(1, sizeof *path);
    char folder[sizeof path->name + 1] = ".";
    const char *slash = strrchr(text, '/');
    int error;

    if (!path)
        return NULL;
    strcpy(path->name, slash ? slash + 1 : text);
    if (slash)
        memcpy(folder, text, (size_t)(slash - text) + 1);
    path->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (path->folder < 0 && errno == EACCES)
        path->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (path->folder >= 0)
        return path;
    error = errno;
    free(path);
    errno = error;
    return NULL;
}

static void destroy(struct unix_path *path)
{
    close(path->folder);
    free(path);
}

/* Held for some system calls that don't wait, unless by a stranger. */
static int lock(struct unix_path *path)
{
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        int error;

        if (!flock(path->folder, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK)
            return 0;
        error = gyre_sleep(lock_pause);
        if (error)
            return error;
    }
    return -EADDRINUSE;
}

/* Removes what is left of a process that has died. 0: there is room now. */
static int take_over(struct unix_path *path, int type, const struct gyre_address *address)
{
    struct stat found;
    int fd, error;

    if (fstatat(path->folder, path->name, &found, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(found.st_mode))
        return -EADDRINUSE;
    fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    error = connect(fd, (const struct sockaddr *)&address->storage, address->length) ? errno : 0;
    close(fd);
    if (error != ECONNREFUSED)
        return error == ENOENT ? 0 : -EADDRINUSE;
    return unlinkat(path->folder, path->name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int bind_once(int fd, const struct gyre_address *address)
{
    return bind(fd, (const struct sockaddr *)&address->storage, address->length) < 0 ? -errno : 0;
}

/* With the lock. */
static int bind_path(struct unix_path *path, int fd, int type, const struct gyre_address *address)
{
    struct stat found;
    int error = bind_once(fd, address);

    if (error == -EADDRINUSE) {
        error = take_over(path, type, address);
        if (!error)
            error = bind_once(fd, address);
    }
    if (error)
        return error;
    if (fstatat(path->folder, path->name, &found, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    path->device = found.st_dev;
    path->inode = found.st_ino;
    return 0;
}

static void unlink_if_ours(const struct unix_path *path)
{
    struct stat found;

    if (!fstatat(path->folder, path->name, &found, AT_SYMLINK_NOFOLLOW) &&
        found.st_dev == path->device && found.st_ino == path->inode)
        unlinkat(path->folder, path->name, 0);
}

static int open_path(struct unix_path *path, int fd, mode_t mode, int backlog)
{
    struct stat found;

    if (backlog >= 0 && listen(fd, backlog) < 0)
        return -errno;
    if (!mode)
        return 0;
    if (fstatat(path->folder, path->name, &found, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if ((found.st_mode & 07777) == mode)
        return 0;
    return fchmodat(path->folder, path->name, mode, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int gyre_unix_path_bind(int fd, int type, const struct gyre_address *address, mode_t mode,
                        int backlog, struct unix_path **made)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&address->storage;
    struct unix_path *path;
    int error;

    if (mode & ~(mode_t)0777 || (mode && !un->sun_path[0]))
        return -EINVAL;
    if (!un->sun_path[0]) {
        error = bind_once(fd, address);
        if (!error && backlog >= 0 && listen(fd, backlog) < 0)
            error = -errno;
        if (!error && made)
            *made = NULL;
        return error;
    }
    path = create(un->sun_path);
    if (!path)
        return -errno;
    error = mode && fchmod(fd, mode) < 0 ? -errno : lock(path);
    if (error) {
        destroy(path);
        return error;
    }
    error = bind_path(path, fd, type, address);
    if (!error) {
        error = open_path(path, fd, mode, backlog);
        if (error)
            unlink_if_ours(path);
    }
    flock(path->folder, LOCK_UN);
    if (error || !made)
        destroy(path);
    else
        *made = path;
    return error;
}

void gyre_unix_path_remove(struct unix_path *path)
{
    if (!path)
        return;
    unlink_if_ours(path);
    destroy(path);
}

void gyre_unix_path_leave(struct unix_path *path)
{
    if (path)
        destroy(path);
}
