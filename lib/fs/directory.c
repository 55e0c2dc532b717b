/*
 * Reading a directory: batches of entries, each by one call on a helper thread. That waits for the
 * helper, whatever happens meanwhile, so nobody frees the batch under its hands; what came is given
 * out although the context may have ended (the next call tells).
 */
#include "fs/dirent.h"
#include "sched/park.h"

#include <gyre/blocking.h>
#include <gyre/directory.h>
#include <gyre/file.h>
#include <gyre/io.h>

#include <stdlib.h>

struct gyre_directory {
    _Alignas(struct dirent_raw) char batch[DIRENT_BATCH];
    int fd;
    bool ended;
    size_t at, filled;
};

int gyre_directory_openat(struct gyre_directory **directory, int dirfd, const char *path)
{
    struct gyre_directory *made = malloc(sizeof *made);
    int fd;

    coro_required("gyre_directory_open");
    if (!made)
        return -ENOMEM;
    fd = gyre_openat(dirfd, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        free(made);
        return fd;
    }
    made->fd = fd;
    made->ended = false;
    made->at = made->filled = 0;
    *directory = made;
    return 0;
}

int gyre_directory_open(struct gyre_directory **directory, const char *path)
{
    return gyre_directory_openat(directory, AT_FDCWD, path);
}

static int read_batch(void *arg)
{
    struct gyre_directory *directory = arg;

    return dirent_read(directory->fd, directory->batch, &directory->ended);
}

int gyre_directory_next(struct gyre_directory *directory, struct gyre_entry *entry)
{
    struct gyre_coro *self = coro_required("gyre_directory_next");
    int n = coro_error(self);

    while (!n) {
        struct dirent_raw *raw;

        if (directory->at == directory->filled) {
            if (directory->ended)
                return 0;
            n = gyre_blocking(read_batch, directory);
            if (n <= 0)
                return n;
            directory->at = 0;
            directory->filled = (size_t)n;
        }
        raw = dirent_at(directory->batch, directory->at);
        directory->at += raw->length;
        if (!dirent_is_dots(raw->name)) {
            *entry = (struct gyre_entry){raw->name, raw->type, raw->inode};
            return 1;
        }
        n = 0;
    }
    return n;
}

int gyre_directory_fd(const struct gyre_directory *directory)
{
    return directory->fd;
}

void gyre_directory_close(struct gyre_directory *directory)
{
    coro_required("gyre_directory_close");
    if (!directory)
        return;
    gyre_close(directory->fd);
    free(directory);
}
