/*
 * gyre/directory.h - reading directories and walking trees.
 *
 * io_uring has no operation for getdents64(2): a directory is read on a helper thread
 * (gyre/blocking.h), 32 KiB of entries a call. All park, only from a coroutine; errors as in
 * gyre/file.h.
 */
#ifndef GYRE_DIRECTORY_H
#define GYRE_DIRECTORY_H

#include <gyre/base.h>

GYRE_BEGIN_DECLS

struct gyre_directory;

/* One entry; name is valid until the next call. type is DT_REG, DT_DIR, DT_LNK ... of dirent.h, or
 * DT_UNKNOWN where the file system does not say. */
struct gyre_entry {
    const char *name;
    unsigned char type;
    uint64_t inode;
};

/* Opens a directory; *directory is the caller's until gyre_directory_close. Returns 0 or -errno
 * (-ENOTDIR, -ENOENT, -EMFILE ...). Go: os.Open. */
GYRE_API int gyre_directory_open(struct gyre_directory **directory, const char *path);
GYRE_API int gyre_directory_openat(struct gyre_directory **directory, int dirfd, const char *path);
/* The next entry, without "." and "..": 1; 0 at the end; -errno. One coroutine at a time. Go:
 * File.ReadDir. */
GYRE_API int gyre_directory_next(struct gyre_directory *directory, struct gyre_entry *entry);
/* Its descriptor, for the *at calls; stays the directory's. Never parks, never fails. */
GYRE_API int gyre_directory_fd(const struct gyre_directory *directory);
/* Closes and frees it. NULL is fine. Is not cancelled. Go: File.Close. */
GYRE_API void gyre_directory_close(struct gyre_directory *directory);

/* What a walk meets. All of it is the walk's, and valid until fn returns. */
struct gyre_visit {
    const char *path;   /* from the root given on; may be longer than PATH_MAX */
    const char *name;   /* its last part; of the root: all of path */
    int dirfd;          /* for *at calls with name: the directory it is in, not to be closed;
                           AT_FDCWD for the root */
    unsigned char type; /* DT_*, never DT_UNKNOWN */
    unsigned depth;     /* 0: the root */
    int error;          /* 0; or -errno: this directory, visited before, can't be read */
};

/* From fn: don't go into this directory. */
enum { GYRE_WALK_SKIP = 1 };

/*
 * Calls fn for root and all below, a directory before what is in it. fn returns 0, GYRE_WALK_SKIP,
 * or -errno, which ends the walk and is returned. Links are not followed, the root neither. A
 * directory that can't be read is visited once more, with the error; only what fn then returns
 * counts.
 *
 * parallel: how many directories are read at once. 1 (or 0): one after the other, by the calling
 * coroutine, what is in a directory in the order of the names' bytes. Above that fn is called by
 * several coroutines at once, in no order, within a context of the walk's that the first error
 * ends.
 *
 * Any depth will do: of the directories between the root and the entry only the innermost ones are
 * open. Returns also -EINVAL (fn is NULL), -ENOMEM, what lstat(2) says of root, -ESTALE (a
 * directory was moved away while the walk was deep in it). Parks. Only from a coroutine. Go:
 * filepath.WalkDir.
 */
typedef int (*gyre_walk_fn)(const struct gyre_visit *visit, void *arg);
GYRE_API int gyre_walk(const char *root, unsigned parallel, gyre_walk_fn fn, void *arg);

GYRE_END_DECLS

#endif
