/*
 * Walking a tree.
 *
 * A walk is a chain of levels, one for each directory between the root and where it is, on the
 * heap: as deep as the file system goes, with the coroutine's stack as it is. A directory is opened
 * from its parent's descriptor, without following a link, and read as a whole by one call on a
 * helper; its names are kept until they have been visited. Only the OPEN_LEVELS innermost are open;
 * one further out is opened again, as "..", on the way back, and must be the same directory
 * (-ESTALE: it was moved).
 *
 * In parallel there is no queue: whoever meets a directory gives it to a new member of the group
 * where there is room for one, and goes into it himself where there is none. So memory and
 * descriptors are bounded by the number of members, and each member's walk is the same as that of a
 * walk by one alone.
 *
 * Rejected: a queue of directories to be read, whose parents must stay open, or whose paths be
 * walked again, by which links come in.
 */
#include "base/text.h"
#include "fs/dirent.h"
#include "sched/park.h"

#include <gyre/blocking.h>
#include <gyre/directory.h>
#include <gyre/group.h>
#include <gyre/io.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { OPEN_LEVELS = 32 };

/* A directory's entries: names, each with its type before it. */
struct names {
    char *bytes;
    size_t used, capacity;
    const char **sorted; /* in order, behind their types; or NULL */
    size_t count;
};

struct level {
    struct level *outer;
    int fd; /* -1: closed, to save descriptors */
    dev_t device;
    ino_t inode;
    struct names names;
    size_t next;        /* a place in names.bytes, or the number of a sorted one */
    size_t path_length; /* of this directory's path */
};

struct shared {
    gyre_walk_fn fn;
    void *arg;
    gyre_group *group; /* NULL: one alone, sorted */
    unsigned parallel;
    _Atomic(unsigned) members; /* about: saves asking the group in vain */
    _Atomic(bool) failed;      /* a member is about to end with the walk's error */
};

struct walk {
    struct shared *shared;
    struct level *top;
    unsigned depth; /* of the entries of top */
    char *path;
    size_t path_capacity;
    /* for the helper */
    int dirfd;
    const char *name;
    struct level *fresh;
};

/* --- on a helper -------------------------------------------------------------------------------
 */

static int add_name(struct names *names, unsigned char type, const char *name)
{
    size_t size = strlen(name) + 2;

    if (names->capacity - names->used < size) {
        size_t capacity = (names->used + size) * 2;
        char *bytes = realloc(names->bytes, capacity);

        if (!bytes)
            return -ENOMEM;
        names->bytes = bytes;
        names->capacity = capacity;
    }
    names->bytes[names->used] = (char)type;
    memcpy(names->bytes + names->used + 1, name, size - 1);
    names->used += size;
    names->count++;
    return 0;
}

static int add_entry(struct level *level, const struct dirent_raw *raw)
{
    unsigned char type = raw->type;
    struct stat status;

    if (dirent_is_dots(raw->name))
        return 0;
    if (type == DT_UNKNOWN) {
        if (fstatat(level->fd, raw->name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            return errno == ENOENT ? 0 : -errno;
        type = (unsigned char)IFTODT(status.st_mode);
    }
    return add_name(&level->names, type, raw->name);
}

static int read_names(struct level *level)
{
    char *batch = malloc(DIRENT_BATCH);
    bool ended = false;
    int n = batch ? 1 : -ENOMEM;

    while (n > 0) {
        n = dirent_read(level->fd, batch, &ended);
        for (int at = 0; n > 0 && at < n;) {
            struct dirent_raw *raw = dirent_at(batch, (size_t)at);
            int error = add_entry(level, raw);

            at += raw->length;
            if (error)
                n = error;
        }
    }
    free(batch);
    return n;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int sort_names(struct names *names)
{
    const char *at = names->bytes;

    names->sorted = malloc((names->count ? names->count : 1) * sizeof *names->sorted);
    if (!names->sorted)
        return -ENOMEM;
    for (size_t i = 0; i < names->count; i++) {
        names->sorted[i] = at + 1;
        at += strlen(at + 1) + 2;
    }
    qsort(names->sorted, names->count, sizeof *names->sorted, compare);
    return 0;
}

static void free_level(struct level *level)
{
    free(level->names.sorted);
    free(level->names.bytes);
    free(level);
}

/* Opens and reads the directory `name`: 0 and walk->fresh, or -errno. */
static int enter_directory(void *arg)
{
    struct walk *walk = arg;
    struct level *level = calloc(1, sizeof *level);
    int error;

    if (!level)
        return -ENOMEM;
    level->fd = openat(walk->dirfd, walk->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    error = level->fd < 0 ? -errno : read_names(level);
    if (!error && !walk->shared->group)
        error = sort_names(&level->names);
    if (error) {
        if (level->fd >= 0)
            close(level->fd);
        free_level(level);
        return error;
    }
    walk->fresh = level;
    return 0;
}

/* Remembers which directory it is: it is going to be closed. */
static int identify(void *arg)
{
    struct level *level = arg;
    struct stat status;

    if (fstat(level->fd, &status) < 0)
        return -errno;
    level->device = status.st_dev;
    level->inode = status.st_ino;
    return 0;
}

/* Opens the level outside of the top one again. */
static int reopen(void *arg)
{
    struct walk *walk = arg;
    struct level *level = walk->top->outer;
    struct stat status;
    int fd = openat(walk->top->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &status) < 0)
        error = -errno;
    else if (status.st_dev != level->device || status.st_ino != level->inode)
        error = -ESTALE;
    if (error)
        close(fd);
    else
        level->fd = fd;
    return error;
}

static int root_type(void *arg)
{
    struct stat status;

    return lstat(arg, &status) < 0 ? -errno : (int)IFTODT(status.st_mode);
}

/* --- levels ------------------------------------------------------------------------------------
 */

/* The path of an entry of the top level, or of nothing yet; its name begins at *name. */
static int set_path(struct walk *walk, const char *name, size_t *begin)
{
    size_t length = walk->top ? walk->top->path_length : 0, size = strlen(name) + 1;

    if (length + size + 1 > walk->path_capacity) {
        size_t capacity = 2 * (length + size + 1);
        char *path = realloc(walk->path, capacity);

        if (!path)
            return -ENOMEM;
        walk->path = path;
        walk->path_capacity = capacity;
    }
    if (length && walk->path[length - 1] != '/')
        walk->path[length++] = '/';
    memcpy(walk->path + length, name, size);
    *begin = length;
    return 0;
}

/* What is open beyond the innermost ones is closed. */
static int save_descriptors(struct walk *walk)
{
    struct level *level = walk->top;
    int error = 0;

    for (int i = 1; level && i < OPEN_LEVELS; i++)
        level = level->outer;
    if (!level || level->fd < 0)
        return 0;
    error = gyre_blocking(identify, level);
    if (!error) {
        gyre_close(level->fd);
        level->fd = -1;
    }
    return error;
}

/* Goes into the directory of that name in dirfd, whose path is set. 0 or -errno. */
static int push_level(struct walk *walk, int dirfd, const char *name)
{
    int error = save_descriptors(walk);

    if (error)
        return error;
    walk->dirfd = dirfd;
    walk->name = name;
    error = gyre_blocking(enter_directory, walk);
    if (error)
        return error;
    walk->fresh->outer = walk->top;
    walk->fresh->path_length = strlen(walk->path);
    walk->top = walk->fresh;
    walk->depth++;
    return 0;
}

static int pop_level(struct walk *walk)
{
    struct level *level = walk->top;
    int error = 0;

    if (level->outer && level->outer->fd < 0)
        error = gyre_blocking(reopen, walk);
    gyre_close(level->fd);
    walk->top = level->outer;
    walk->depth--;
    free_level(level);
    return error;
}

/* Closes what is left open. The group hears of an error only when the member has ended. */
static void finish(struct walk *walk, int error)
{
    if (error)
        atomic_store_explicit(&walk->shared->failed, true, memory_order_relaxed);
    while (walk->top) {
        struct level *level = walk->top;

        walk->top = level->outer;
        if (level->fd >= 0)
            gyre_close(level->fd);
        free_level(level);
    }
    free(walk->path);
}

/* The next name of the level, its type right before it; NULL: no more. */
static const char *next_name(struct level *level)
{
    const char *name;

    if (level->names.sorted)
        return level->next < level->names.count ? level->names.sorted[level->next++] : NULL;
    if (level->next == level->names.used)
        return NULL;
    name = level->names.bytes + level->next + 1;
    level->next += strlen(name) + 2;
    return name;
}

/* --- visiting ----------------------------------------------------------------------------------
 */

static int walk_member(void *arg);

/* A directory given to a member of its own: all that it needs, in one block. */
struct branch {
    struct shared *shared;
    int dirfd; /* its own */
    unsigned depth;
    size_t name; /* where its name begins in path */
    char path[];
};

/* Gives the directory that was just visited to another. True: somebody has it. */
static bool branch_off(struct walk *walk, int dirfd, size_t name)
{
    gyre_group *group = walk->shared->group;
    struct branch *branch;
    size_t size;

    if (!group || atomic_load_explicit(&walk->shared->members, memory_order_relaxed) >=
                      walk->shared->parallel)
        return false;
    size = strlen(walk->path) + 1;
    branch = malloc(sizeof *branch + size);
    if (!branch)
        return false;
    *branch = (struct branch){walk->shared, AT_FDCWD, walk->depth, name};
    memcpy(branch->path, walk->path, size);
    if (dirfd != AT_FDCWD)
        branch->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
    if ((dirfd == AT_FDCWD || branch->dirfd >= 0) &&
        gyre_group_try_go(group, walk_member, branch) == 0) {
        atomic_fetch_add_explicit(&walk->shared->members, 1, memory_order_relaxed);
        return true;
    }
    if (branch->dirfd >= 0)
        close(branch->dirfd);
    free(branch);
    return false;
}

/* Into a directory; where it can't be read, fn is asked once more. */
CALLS_PROGRAM static int descend(struct walk *walk, const struct gyre_visit *visit)
{
    struct gyre_visit failed = *visit;
    int error = push_level(walk, visit->dirfd, visit->name), result;

    if (!error)
        return 0;
    result = gyre_context_error();
    if (result)
        return result;
    failed.error = error;
    result = walk->shared->fn(&failed, walk->shared->arg);
    return result < 0 ? result : 0;
}

/* One entry, whose path is set; in directories the walk is one level further in afterwards. */
CALLS_PROGRAM static int visit_one(struct walk *walk, int dirfd, size_t name, unsigned char type)
{
    struct gyre_visit visit = {
        .path = walk->path,
        .name = walk->path + name,
        .dirfd = dirfd,
        .type = type,
        .depth = walk->depth,
    };
    int result = walk->shared->fn(&visit, walk->shared->arg);

    if (result < 0)
        return result;
    if (result || type != DT_DIR || branch_off(walk, dirfd, name))
        return 0;
    return descend(walk, &visit);
}

/* All that is left of the levels. Who only stops because another has failed is no error. */
CALLS_PROGRAM static int walk_levels(struct walk *walk)
{
    int error = 0;

    while (walk->top && !error &&
           !atomic_load_explicit(&walk->shared->failed, memory_order_relaxed)) {
        const char *name = next_name(walk->top);
        size_t begin;

        error = gyre_context_error();
        if (error)
            break;
        if (!name) {
            error = pop_level(walk);
            continue;
        }
        error = set_path(walk, name, &begin);
        if (!error)
            error = visit_one(walk, walk->top->fd, begin, (unsigned char)name[-1]);
    }
    return error;
}

CALLS_PROGRAM static int walk_member(void *arg)
{
    struct branch *branch = arg;
    struct walk walk = {.shared = branch->shared, .depth = branch->depth};
    struct gyre_visit visit = {.dirfd = branch->dirfd, .type = DT_DIR, .depth = branch->depth};
    size_t begin;
    int error = set_path(&walk, branch->path, &begin);

    if (!error) {
        visit.path = walk.path;
        visit.name = walk.path + branch->name;
        error = descend(&walk, &visit);
    }
    if (branch->dirfd >= 0)
        gyre_close(branch->dirfd);
    free(branch);
    if (!error)
        error = walk_levels(&walk);
    finish(&walk, error);
    atomic_fetch_sub_explicit(&walk.shared->members, 1, memory_order_relaxed);
    return error;
}

struct start {
    struct walk walk;
    unsigned char type;
};

CALLS_PROGRAM static int walk_root(void *arg)
{
    struct start *start = arg;
    int error = visit_one(&start->walk, AT_FDCWD, 0, start->type);

    if (!error)
        error = walk_levels(&start->walk);
    finish(&start->walk, error);
    return error;
}

CALLS_PROGRAM int gyre_walk(const char *root, unsigned parallel, gyre_walk_fn fn, void *arg)
{
    GYRE_GROUP(group, .limit = parallel);
    struct shared shared = {fn, arg, parallel > 1 ? &group : NULL, parallel, 1};
    struct start start = {.walk = {.shared = &shared}};
    size_t begin;
    int error;

    coro_required("gyre_walk");
    if (!fn)
        return -EINVAL;
    error = gyre_blocking(root_type, (void *)root);
    if (error < 0)
        return error;
    start.type = (unsigned char)error;
    error = set_path(&start.walk, root, &begin);
    if (error)
        return error;
    if (parallel <= 1)
        return walk_root(&start);
    error = gyre_group_go(&group, walk_root, &start);
    if (error)
        free(start.walk.path);
    return gyre_group_wait(&group);
}
