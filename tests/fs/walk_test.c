/* Walking trees. */
#include "tree.h"

#include <gyre/directory.h>

#include <dirent.h>

struct seen {
    char text[4096]; /* the paths below the root, in order */
    size_t root;     /* length of its path */
    atomic_int count, directories, errors, inside, most, others;
    uint64_t caller;
    int stop_at, skip;
    unsigned deepest;
    const char *refuse;
};

static int see(const struct gyre_visit *visit, void *arg)
{
    struct seen *seen = arg;
    struct stat status;

    if (visit->error) {
        atomic_fetch_add(&seen->errors, 1);
        return seen->refuse ? visit->error : 0;
    }
    EXPECT_EQ(fstatat(visit->dirfd, visit->name, &status, AT_SYMLINK_NOFOLLOW), 0);
    EXPECT_EQ(IFTODT(status.st_mode), visit->type);
    snprintf(seen->text + strlen(seen->text), sizeof seen->text - strlen(seen->text), "%s%s\n",
             visit->path + seen->root, visit->type == DT_DIR ? "/" : "");
    if (visit->depth > seen->deepest)
        seen->deepest = visit->depth;
    if (++seen->count == seen->stop_at)
        return -EPROTO;
    return seen->skip && !strcmp(visit->name, "b") ? GYRE_WALK_SKIP : 0;
}

static void make_some(struct tree *tree)
{
    tree_make(tree);
    tree_directory(tree, "b");
    tree_file(tree, "a", "");
    tree_file(tree, "c", "");
    tree_file(tree, "b/2", "");
    tree_directory(tree, "b/1");
    tree_file(tree, "b/1/x", "");
    EXPECT_EQ(symlinkat("b", tree->fd, "link"), 0);
    EXPECT_EQ(symlinkat("../..", tree->fd, "b/up"), 0);
}

INSIDE(walk, visits_in_order_and_follows_no_link)
{
    struct seen seen = {0};
    struct tree tree;

    make_some(&tree);
    seen.root = strlen(tree.path);
    EXPECT_EQ(gyre_walk(tree.path, 1, see, &seen), 0);
    EXPECT(!strcmp(seen.text, "/\n/a\n/b/\n/b/1/\n/b/1/x\n/b/2\n/b/up\n/c\n/link\n"));
    EXPECT_EQ(seen.deepest, 3);
    tree_destroy(&tree);
    return 0;
}

INSIDE(walk, skips_what_it_is_told_to_and_ends_with_an_error)
{
    struct seen seen = {.skip = 1};
    struct tree tree;

    make_some(&tree);
    seen.root = strlen(tree.path);
    EXPECT_EQ(gyre_walk(tree.path, 1, see, &seen), 0);
    EXPECT(!strcmp(seen.text, "/\n/a\n/b/\n/c\n/link\n"));
    seen = (struct seen){.stop_at = 4};
    EXPECT_EQ(gyre_walk(tree.path, 0, see, &seen), -EPROTO);
    EXPECT_EQ(seen.count, 4);
    tree_destroy(&tree);
    return 0;
}

INSIDE(walk, root_may_be_a_file_a_link_or_missing)
{
    struct seen seen = {0};
    struct tree tree;

    make_some(&tree);
    EXPECT_EQ(gyre_walk(tree_path(&tree, "a"), 1, see, &seen), 0);
    EXPECT_EQ(gyre_walk(tree_path(&tree, "link"), 4, see, &seen), 0);
    EXPECT_EQ(seen.count, 2);
    EXPECT_EQ(gyre_walk(tree_path(&tree, "none"), 1, see, &seen), -ENOENT);
    EXPECT_EQ(gyre_walk(tree_path(&tree, "none"), 4, see, &seen), -ENOENT);
    EXPECT_EQ(gyre_walk(tree.path, 1, NULL, &seen), -EINVAL);
    seen = (struct seen){.root = strlen(tree.path) + 1};
    EXPECT_EQ(gyre_walk(tree_path(&tree, "b//"), 1, see, &seen), 0);
    EXPECT(!strcmp(seen.text, "b///\nb//1/\nb//1/x\nb//2\nb//up\n"));
    tree_destroy(&tree);
    return 0;
}

static void walk_deep(unsigned parallel)
{
    enum { DEPTH = 400 };
    struct seen *seen = calloc(1, sizeof *seen);
    int before = open_descriptors(), at;
    struct tree tree;

    tree_make(&tree);
    tree_chain(&tree, DEPTH);
    seen->root = strlen(tree.path);
    EXPECT_EQ(gyre_walk(tree.path, parallel, see, seen), 0);
    EXPECT_EQ(seen->count, 1 + 2 * DEPTH);
    EXPECT_EQ(open_descriptors(), before + 1);
    /* nftw can't remove as deep a tree with little memory */
    EXPECT_EQ(gyre_remove_all(tree.path), 0);
    EXPECT_EQ(open_descriptors(), before + 1);
    at = tree.fd;
    close(at);
    EXPECT_EQ(access(tree.path, F_OK), -1);
    free(seen);
}

INSIDE(walk, deep_trees_need_few_descriptors)
{
    walk_deep(1);
    return 0;
}

static int count_visit(const struct gyre_visit *visit, void *arg)
{
    struct seen *seen = arg;
    int inside = atomic_fetch_add(&seen->inside, 1) + 1, most = atomic_load(&seen->most);

    while (inside > most && !atomic_compare_exchange_weak(&seen->most, &most, inside))
        ;
    if (visit->depth == 0)
        seen->caller = gyre_coro_id();
    else if (seen->caller != gyre_coro_id())
        atomic_fetch_add(&seen->others, 1);
    if (visit->error)
        atomic_fetch_add(&seen->errors, 1);
    else if (visit->type == DT_DIR)
        atomic_fetch_add(&seen->directories, 1);
    if (visit->type == DT_DIR)
        gyre_yield();
    atomic_fetch_sub(&seen->inside, 1);
    if (atomic_fetch_add(&seen->count, 1) + 1 == seen->stop_at)
        return -EPROTO;
    return gyre_context_error();
}

static void make_wide(struct tree *tree)
{
    char name[64];

    tree_make(tree);
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "%d", i);
        tree_directory(tree, name);
        for (int j = 0; j < 10; j++) {
            snprintf(name, sizeof name, "%d/%d", i, j);
            tree_directory(tree, name);
            snprintf(name, sizeof name, "%d/%d/file", i, j);
            tree_file(tree, name, "x");
        }
    }
}

INSIDE(walk, in_parallel_each_is_visited_once_by_a_bounded_number)
{
    struct tree tree;

    make_wide(&tree);
    for (unsigned parallel = 1; parallel <= 8; parallel *= 2) {
        struct seen seen = {0};

        EXPECT_EQ(gyre_walk(tree.path, parallel, count_visit, &seen), 0);
        EXPECT_EQ(seen.count, 1 + 10 + 100 + 100);
        EXPECT_EQ(seen.directories, 1 + 10 + 100);
        EXPECT(seen.most <= (int)parallel);
        EXPECT_EQ(seen.others > 0, parallel > 1);
    }
    tree_destroy(&tree);
    return 0;
}

INSIDE(walk, the_first_error_ends_the_others)
{
    struct seen seen = {.stop_at = 50};
    struct tree tree;

    make_wide(&tree);
    EXPECT_EQ(gyre_walk(tree.path, 8, count_visit, &seen), -EPROTO);
    EXPECT(seen.count < 60);
    tree_destroy(&tree);
    return 0;
}

INSIDE(walk, deep_trees_in_parallel)
{
    struct seen seen = {0};
    struct tree tree;

    tree_make(&tree);
    tree_chain(&tree, 100);
    EXPECT_EQ(gyre_walk(tree.path, 4, count_visit, &seen), 0);
    EXPECT_EQ(seen.count, 201);
    EXPECT_EQ(gyre_remove_all(tree.path), 0);
    close(tree.fd);
    return 0;
}

static int cancel_at(const struct gyre_visit *visit, void *arg)
{
    struct seen *seen = arg;

    (void)visit;
    if (++seen->count == 3) {
        struct gyre_context *context = gyre_context_current();

        gyre_context_cancel(context);
        gyre_context_release(context);
    }
    return 0;
}

INSIDE(walk, ends_with_its_context)
{
    struct seen seen = {0};
    struct tree tree;

    make_some(&tree);
    {
        GYRE_CANCELLABLE();
        EXPECT_EQ(gyre_walk(tree.path, 1, cancel_at, &seen), -ECANCELED);
        EXPECT_EQ(seen.count, 3);
        EXPECT_EQ(gyre_walk(tree.path, 1, cancel_at, &seen), -ECANCELED);
        EXPECT_EQ(gyre_walk(tree.path, 4, cancel_at, &seen), -ECANCELED);
        EXPECT_EQ(seen.count, 3);
    }
    tree_destroy(&tree);
    return 0;
}

/* The directory goes away between its visit and its reading. */
static int remove_b(const struct gyre_visit *visit, void *arg)
{
    struct seen *seen = arg;

    if (visit->error) {
        EXPECT_EQ(visit->error, -ENOENT);
        EXPECT(!strcmp(visit->name, "e"));
        atomic_fetch_add(&seen->errors, 1);
        return seen->refuse ? -EPROTO : 0;
    }
    if (!strcmp(visit->name, "e"))
        EXPECT_EQ(unlinkat(visit->dirfd, visit->name, AT_REMOVEDIR), 0);
    atomic_fetch_add(&seen->count, 1);
    return 0;
}

INSIDE(walk, what_can_not_be_read_is_visited_once_more)
{
    struct tree tree;

    make_some(&tree);
    for (unsigned parallel = 1; parallel <= 4; parallel += 3) {
        struct seen seen = {0};

        tree_directory(&tree, "e");
        EXPECT_EQ(gyre_walk(tree.path, parallel, remove_b, &seen), 0);
        EXPECT_EQ(seen.errors, 1);
        EXPECT_EQ(seen.count, 10);
        seen.refuse = "e";
        tree_directory(&tree, "e");
        EXPECT_EQ(gyre_walk(tree.path, parallel, remove_b, &seen), -EPROTO);
        EXPECT_EQ(seen.errors, 2);
    }
    tree_destroy(&tree);
    return 0;
}

static int see_refusals(const struct gyre_visit *visit, void *arg)
{
    struct seen *seen = arg;

    if (visit->error) {
        EXPECT_EQ(visit->error, -EACCES);
        EXPECT(!strcmp(visit->name, "closed"));
        atomic_fetch_add(&seen->errors, 1);
    }
    atomic_fetch_add(&seen->count, 1);
    return 0;
}

static int walk_closed(void *arg)
{
    const struct tree *tree = arg;

    for (unsigned parallel = 1; parallel <= 4; parallel += 3) {
        struct seen seen = {0};

        EXPECT_EQ(gyre_walk(tree->path, parallel, see_refusals, &seen), 0);
        EXPECT_EQ(seen.errors, 1);
        EXPECT_EQ(seen.count, 5);
    }
    EXPECT_EQ(gyre_remove_all(tree_path(tree, "closed")), -EACCES);
    EXPECT_EQ(gyre_remove_all(tree_path(tree, "open")), 0);
    return 0;
}

/* Root may read everything: as somebody else. */
Test(walk, a_directory_without_permission_is_visited_with_the_error)
{
    struct tree tree;

    tree_make(&tree);
    tree_directory(&tree, "closed");
    tree_file(&tree, "closed/x", "");
    tree_directory(&tree, "open");
    tree_file(&tree, "open/x", "");
    cr_assert_eq(fchmodat(tree.fd, "closed", 0, 0), 0);
    if (!geteuid()) {
        cr_assert_eq(fchownat(tree.fd, "closed", 65534, 65534, 0), 0);
        cr_assert_eq(fchownat(tree.fd, "open", 65534, 65534, 0), 0);
        cr_assert_eq(fchown(tree.fd, 65534, 65534), 0);
        cr_assert_eq(setresuid(65534, 65534, 65534), 0);
    }
    cr_assert_eq(run_with_workers(2, walk_closed, &tree), 0);
    cr_assert_eq(failed_expectations, 0);
    cr_assert_eq(fchmodat(tree.fd, "closed", 0700, 0), 0);
    nftw(tree.path, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
