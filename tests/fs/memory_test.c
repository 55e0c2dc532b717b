/* Whole files and trees whose n-th allocation fails: an error, nothing half done, nothing leaked.
 */
#include "failing_memory.h"
#include "tree.h"

#include <gyre/directory.h>
#include <gyre/file.h>

static struct tree tree;

static int visit(const struct gyre_visit *visit, void *arg)
{
    atomic_int *count = arg;

    atomic_fetch_add(count, 1);
    return visit->error;
}

static int read_it(const char *name, const char *text)
{
    char *data = NULL;
    int error = gyre_read_file(tree_path(&tree, name), &data, NULL, 0);

    EXPECT(error ? !data : !strcmp(data, text));
    free(data);
    return error;
}

static int list(void)
{
    struct gyre_directory *directory;
    struct gyre_entry entry;
    int error = gyre_directory_open(&directory, tree.path);

    if (error)
        return error;
    do
        error = gyre_directory_next(directory, &entry);
    while (error == 1);
    gyre_directory_close(directory);
    return error;
}

INSIDE(memory, each_failure_is_an_error_and_leaves_no_trace)
{
    char path[64];
    atomic_int count = 0;
    int error;

    tree_make(&tree);
    tree_file(&tree, "file", "old");
    EXPECT_EQ(gyre_mkdir_all(tree.path, 0700), 0); /* there is a helper from here on */
    FAILS_AT_EACH(error, error = read_it("file", "old"));
    FAILS_AT_EACH(error, error = gyre_write_file(tree_path(&tree, "file"), "new", 3, 0600));
    FAILS_AT_EACH(error, error = gyre_copy_file(tree_path(&tree, "file"), tree_path(&tree, "to")));
    EXPECT_EQ(read_it("to", "new"), 0);
    FAILS_AT_EACH(error, error = list());
    FAILS_AT_EACH(error, error = gyre_mkdir_temp(tree_path(&tree, "x"), path, sizeof path));
    tree_chain(&tree, 40);
    FAILS_AT_EACH(error, error = gyre_walk(tree.path, 1, visit, &count));
    FAILS_AT_EACH(error, error = gyre_walk(tree.path, 4, visit, &count));
    FAILS_AT_EACH(error, error = gyre_remove_all(tree_path(&tree, "d")));
    EXPECT(!tree_has(&tree, "d"));
    tree_destroy(&tree);
    return 0;
}
