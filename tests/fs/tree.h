/* For tests that need a tree of files: a directory of their own, made and removed by plain calls.
 */
#ifndef GYRE_TESTS_FS_TREE_H
#define GYRE_TESTS_FS_TREE_H

#include "harness.h"

#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>

struct tree {
    char path[64];
    int fd;
};

static inline void tree_make(struct tree *tree)
{
    strcpy(tree->path, "/tmp/gyre-tree-XXXXXX");
    EXPECT(mkdtemp(tree->path));
    tree->fd = open(tree->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    EXPECT(tree->fd >= 0);
}

static inline int tree_remove_one(const char *path, const struct stat *status, int kind,
                                  struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void tree_destroy(struct tree *tree)
{
    close(tree->fd);
    nftw(tree->path, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    EXPECT_EQ(access(tree->path, F_OK), -1);
}

/* The path of a name in the tree; valid until the next four. */
static inline const char *tree_path(const struct tree *tree, const char *name)
{
    static _Thread_local char paths[4][PATH_MAX];
    static _Thread_local unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, PATH_MAX, "%s/%s", tree->path, name);
    return path;
}

static inline void tree_directory(const struct tree *tree, const char *name)
{
    EXPECT_EQ(mkdirat(tree->fd, name, 0755), 0);
}

static inline void tree_file(const struct tree *tree, const char *name, const char *text)
{
    int fd = openat(tree->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    EXPECT(fd >= 0);
    EXPECT_EQ(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static inline bool tree_has(const struct tree *tree, const char *name)
{
    struct stat status;

    return fstatat(tree->fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A chain of directories called "d", with a file "f" in each. */
static inline void tree_chain(const struct tree *tree, int depth)
{
    int at = dup(tree->fd);

    for (int i = 0; i < depth; i++) {
        int next;

        EXPECT_EQ(mkdirat(at, "d", 0755), 0);
        next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(at);
        at = next;
        close(openat(at, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    }
    close(at);
}

#endif
