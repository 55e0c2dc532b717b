/* Making directories with all above, removing trees. */
#include "tree.h"

#include <gyre/file.h>

INSIDE(tree, mkdir_all_makes_what_is_missing)
{
    struct tree tree;
    char *longer = malloc(PATH_MAX + 10);

    tree_make(&tree);
    EXPECT_EQ(gyre_mkdir_all(tree_path(&tree, "a//b/c/"), 0755), 0);
    EXPECT(tree_has(&tree, "a/b/c"));
    EXPECT_EQ(gyre_mkdir_all(tree_path(&tree, "a/b"), 0755), 0);
    EXPECT_EQ(gyre_mkdir_all(tree.path, 0755), 0);
    EXPECT_EQ(gyre_mkdir_all("/", 0755), 0);
    EXPECT_EQ(gyre_mkdir_all("", 0755), -ENOENT);
    tree_file(&tree, "file", "");
    EXPECT_EQ(gyre_mkdir_all(tree_path(&tree, "file"), 0755), -ENOTDIR);
    EXPECT_EQ(gyre_mkdir_all(tree_path(&tree, "file/x/y"), 0755), -ENOTDIR);
    EXPECT_EQ(symlinkat("a", tree.fd, "link"), 0);
    EXPECT_EQ(gyre_mkdir_all(tree_path(&tree, "link/d/e"), 0755), 0);
    EXPECT(tree_has(&tree, "a/d/e"));
    memset(longer, 'x', PATH_MAX + 9);
    longer[PATH_MAX + 9] = '\0';
    EXPECT_EQ(gyre_mkdir_all(longer, 0755), -ENAMETOOLONG);
    free(longer);
    tree_destroy(&tree);
    return 0;
}

INSIDE(tree, mkdir_temp_makes_a_new_one)
{
    struct tree tree;
    struct stat status;
    char path[64], other[64] = "untouched";

    tree_make(&tree);
    EXPECT_EQ(gyre_mkdir_temp(tree_path(&tree, "t-"), path, sizeof path), 0);
    EXPECT_EQ(stat(path, &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0700);
    EXPECT_EQ(gyre_mkdir_temp(tree_path(&tree, "t-"), other, strlen(path)), -ENOBUFS);
    EXPECT_EQ(gyre_mkdir_temp(tree_path(&tree, "none/t-"), other, sizeof other), -ENOENT);
    EXPECT(!strcmp(other, "untouched"));
    EXPECT_EQ(gyre_mkdir_temp(tree_path(&tree, "t-"), other, strlen(path) + 1), 0);
    EXPECT(strcmp(path, other) != 0);
    tree_destroy(&tree);
    return 0;
}

INSIDE(tree, remove_all_removes_files_links_and_trees)
{
    struct tree tree, outside;
    char name[300];

    tree_make(&tree);
    tree_make(&outside);
    tree_file(&outside, "precious", "");
    EXPECT_EQ(gyre_remove_all(tree_path(&tree, "none")), 0);
    tree_file(&tree, "file", "");
    EXPECT_EQ(gyre_remove_all(tree_path(&tree, "file/x")), -ENOTDIR);
    EXPECT_EQ(gyre_remove_all(tree_path(&tree, "file")), 0);
    tree_directory(&tree, "a");
    EXPECT_EQ(symlinkat(outside.path, tree.fd, "a/link"), 0);
    EXPECT_EQ(gyre_remove_all(tree_path(&tree, "a/link")), 0);
    EXPECT_EQ(symlinkat(outside.path, tree.fd, "a/link"), 0);
    EXPECT_EQ(symlinkat("..", tree.fd, "a/up"), 0);
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "a/%0200d", i);
        if (i % 3)
            tree_file(&tree, name, "");
        else
            tree_directory(&tree, name);
    }
    tree_directory(&tree, "a/sub");
    tree_chain(&tree, 10);
    EXPECT_EQ(gyre_remove_all(tree_path(&tree, "a")), 0);
    EXPECT(!tree_has(&tree, "a"));
    EXPECT(tree_has(&outside, "precious"));
    EXPECT_EQ(gyre_remove_all(tree_path(&tree, "d")), 0);
    EXPECT_EQ(gyre_remove_all(tree.path), 0);
    close(tree.fd);
    tree_destroy(&outside);
    return 0;
}

INSIDE(tree, remove_all_refuses_dots)
{
    struct tree tree;

    tree_make(&tree);
    tree_directory(&tree, "a");
    tree_file(&tree, "a/x", "");
    EXPECT_EQ(gyre_remove_all(tree_path(&tree, "a/.")), -EINVAL);
    EXPECT_EQ(gyre_remove_all(tree_path(&tree, "a/..")), -EINVAL);
    EXPECT_EQ(gyre_remove_all(tree_path(&tree, "a/./")), -EINVAL);
    EXPECT_EQ(gyre_remove_all(tree_path(&tree, "a/..//")), -EINVAL);
    EXPECT_EQ(gyre_remove_all("."), -EINVAL);
    EXPECT_EQ(gyre_remove_all(""), 0);
    EXPECT(tree_has(&tree, "a/x"));
    tree_directory(&tree, "b...");
    tree_file(&tree, "b.../x", "");
    EXPECT_EQ(gyre_remove_all(tree_path(&tree, "b...//")), 0);
    EXPECT(!tree_has(&tree, "b..."));
    tree_file(&tree, "..x", "");
    EXPECT_EQ(gyre_remove_all(tree_path(&tree, "..x")), 0);
    EXPECT(!tree_has(&tree, "..x"));
    tree_destroy(&tree);
    return 0;
}

/* A branching tree deeper than what is kept open: each level is left and come back to. */
static void make_comb(const struct tree *tree, int depth)
{
    int at = dup(tree->fd);

    for (int i = 0; i < depth; i++) {
        static const char *const names[] = {"1", "d", "e"};
        int next;

        for (int j = 0; j < 3; j++)
            EXPECT_EQ(mkdirat(at, names[j], 0755), 0);
        close(openat(at, "z", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
        next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(at);
        at = next;
    }
    close(at);
}

INSIDE(tree, remove_all_goes_as_deep_as_it_has_to)
{
    struct tree tree;
    int before = open_descriptors();

    tree_make(&tree);
    make_comb(&tree, 100);
    EXPECT_EQ(gyre_remove_all(tree.path), 0);
    EXPECT_EQ(open_descriptors(), before + 1);
    close(tree.fd);
    EXPECT_EQ(access(tree.path, F_OK), -1);
    return 0;
}

INSIDE(tree, remove_all_ends_with_its_context)
{
    struct tree tree;
    int before = open_descriptors();

    tree_make(&tree);
    make_comb(&tree, 100);
    {
        GYRE_CANCELLABLE();
        struct gyre_context *context = gyre_context_current();

        gyre_context_cancel(context);
        gyre_context_release(context);
        EXPECT_EQ(gyre_remove_all(tree.path), -ECANCELED);
        EXPECT_EQ(gyre_mkdir_all(tree_path(&tree, "x"), 0755), -ECANCELED);
    }
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        int error = gyre_remove_all(tree.path);

        EXPECT(error == 0 || error == -ETIMEDOUT);
    }
    EXPECT_EQ(open_descriptors(), before + 1);
    EXPECT_EQ(gyre_remove_all(tree.path), 0);
    EXPECT_EQ(open_descriptors(), before + 1);
    close(tree.fd);
    return 0;
}
