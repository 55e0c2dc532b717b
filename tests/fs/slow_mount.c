/*
 * A file system in user space whose every read takes a millisecond and is never cached: what a
 * network file system on a bad day is like. Serves COUNT files of 4 KiB, "0", "1", ... under
 * MOUNTPOINT, in the foreground, until it is unmounted.
 */
#define FUSE_USE_VERSION 31

#include <errno.h>
#include <fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COUNT = 100, SIZE = 4096 };

static int number_of(const char *path)
{
    char *end;
    long number = strtol(path + 1, &end, 10);

    return path[1] && !*end && number >= 0 && number < COUNT ? (int)number : -1;
}

static int get_attributes(const char *path, struct stat *status, struct fuse_file_info *info)
{
    (void)info;
    memset(status, 0, sizeof *status);
    status->st_nlink = 1;
    status->st_mode = strcmp(path, "/") ? S_IFREG | 0444 : S_IFDIR | 0555;
    if (status->st_mode & S_IFREG && number_of(path) < 0)
        return -ENOENT;
    status->st_size = SIZE;
    return 0;
}

static int open_file(const char *path, struct fuse_file_info *info)
{
    info->direct_io = 1;
    return number_of(path) < 0 ? -ENOENT : 0;
}

static int read_file(const char *path, char *buffer, size_t size, off_t offset,
                     struct fuse_file_info *info)
{
    const struct timespec millisecond = {0, 1000000};

    (void)info;
    nanosleep(&millisecond, NULL);
    if (offset >= SIZE)
        return 0;
    if (size > (size_t)(SIZE - offset))
        size = (size_t)(SIZE - offset);
    memset(buffer, 'a' + number_of(path) % 26, size);
    return (int)size;
}

int main(int count, char **arguments)
{
    static const struct fuse_operations operations = {
        .getattr = get_attributes, .open = open_file, .read = read_file};
    char *options[] = {arguments[0], "-f", arguments[1], NULL};

    return count == 2 ? fuse_main(3, options, &operations, NULL) : 2;
}
