/* Reading directories. */
#include "tree.h"

#include <gyre/directory.h>
#include <gyre/file.h>

#include <dirent.h>

INSIDE(directory, gives_each_entry_once_with_its_type)
{
    enum { COUNT = 800 };
    bool *seen = calloc(COUNT, 1);
    struct gyre_directory *directory;
    struct gyre_entry entry;
    struct tree tree;
    struct stat status;
    char name[64];
    int n, count = 0;

    tree_make(&tree);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "%d-with-a-name-that-takes-room", i);
        if (i % 100 == 0)
            tree_directory(&tree, name);
        else if (i % 100 == 1)
            EXPECT_EQ(symlinkat("x", tree.fd, name), 0);
        else
            close(openat(tree.fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    }
    EXPECT_EQ(gyre_directory_open(&directory, tree.path), 0);
    while ((n = gyre_directory_next(directory, &entry)) == 1) {
        int i = atoi(entry.name);

        EXPECT(i >= 0 && i < COUNT && !seen[i]);
        seen[i] = true;
        EXPECT_EQ(entry.type, i % 100 == 0 ? DT_DIR : i % 100 == 1 ? DT_LNK : DT_REG);
        if (count++ < 10) {
            EXPECT_EQ(
                fstatat(gyre_directory_fd(directory), entry.name, &status, AT_SYMLINK_NOFOLLOW), 0);
            EXPECT_EQ(status.st_ino, entry.inode);
        }
    }
    EXPECT_EQ(n, 0);
    EXPECT_EQ(count, COUNT);
    EXPECT_EQ(gyre_directory_next(directory, &entry), 0);
    gyre_directory_close(directory);
    tree_destroy(&tree);
    free(seen);
    return 0;
}

INSIDE(directory, open_says_why_not)
{
    struct gyre_directory *directory = NULL;
    struct gyre_entry entry;
    struct tree tree;

    tree_make(&tree);
    tree_file(&tree, "file", "");
    EXPECT_EQ(gyre_directory_open(&directory, tree_path(&tree, "file")), -ENOTDIR);
    EXPECT_EQ(gyre_directory_open(&directory, tree_path(&tree, "none")), -ENOENT);
    EXPECT(!directory);
    gyre_directory_close(NULL);
    EXPECT_EQ(gyre_directory_openat(&directory, tree.fd, "."), 0);
    EXPECT_EQ(gyre_directory_next(directory, &entry), 1);
    EXPECT(!strcmp(entry.name, "file"));
    EXPECT_EQ(gyre_directory_next(directory, &entry), 0);
    gyre_directory_close(directory);
    tree_destroy(&tree);
    return 0;
}

INSIDE(directory, the_end_of_the_context_is_seen_and_loses_nothing)
{
    struct gyre_directory *directory;
    struct gyre_entry entry;
    struct tree tree;

    tree_make(&tree);
    tree_file(&tree, "a", "");
    tree_file(&tree, "b", "");
    EXPECT_EQ(gyre_directory_open(&directory, tree.path), 0);
    EXPECT_EQ(gyre_directory_next(directory, &entry), 1);
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_directory_next(directory, &entry), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_directory_next(directory, &entry), 1);
    EXPECT_EQ(gyre_directory_next(directory, &entry), 0);
    {
        GYRE_TIMEOUT(0);
        gyre_directory_close(directory);
        EXPECT_EQ(gyre_directory_open(&directory, tree.path), -ETIMEDOUT);
    }
    tree_destroy(&tree);
    return 0;
}
