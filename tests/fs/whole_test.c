/* Files as a whole. */
#include "tree.h"

#include <gyre/file.h>

#include <signal.h>
#include <sys/resource.h>

static void expect_content(const char *path, const char *text)
{
    char *data = NULL;
    size_t size = 0;

    EXPECT_EQ(gyre_read_file(path, &data, &size, 0), 0);
    EXPECT_EQ(size, strlen(text));
    EXPECT(data && !strcmp(data, text));
    free(data);
}

/* The names in the directory, which are few. */
static int count_names(const struct tree *tree)
{
    char command[128];
    int count = 0;
    FILE *pipe;

    snprintf(command, sizeof command, "ls -A %s | wc -l", tree->path);
    pipe = popen(command, "r");
    EXPECT(pipe && fscanf(pipe, "%d", &count) == 1);
    pclose(pipe);
    return count;
}

INSIDE(whole, reads_files_of_any_size)
{
    struct tree tree;
    char *text = malloc(100001), *data = NULL;
    size_t size = 0;

    tree_make(&tree);
    tree_file(&tree, "empty", "");
    expect_content(tree_path(&tree, "empty"), "");
    memset(text, 'x', 100000);
    text[100000] = '\0';
    tree_file(&tree, "large", text);
    expect_content(tree_path(&tree, "large"), text);
    EXPECT_EQ(gyre_read_file("/proc/self/status", &data, &size, 0), 0);
    EXPECT(size > 500 && !strncmp(data, "Name:", 5) && strlen(data) == size);
    free(data);
    EXPECT_EQ(gyre_read_file("/proc/self/maps", &data, NULL, 0), 0);
    free(data);
    free(text);
    tree_destroy(&tree);
    return 0;
}

INSIDE(whole, reads_at_most_the_limit)
{
    struct tree tree;
    char *data = NULL;
    size_t size = 77;

    tree_make(&tree);
    tree_file(&tree, "ten", "0123456789");
    EXPECT_EQ(gyre_read_file(tree_path(&tree, "ten"), &data, &size, 9), -EFBIG);
    EXPECT_EQ(gyre_read_file("/proc/self/status", &data, &size, 100), -EFBIG);
    EXPECT_EQ(gyre_read_file(tree_path(&tree, "none"), &data, &size, 0), -ENOENT);
    EXPECT_EQ(gyre_read_file(tree.path, &data, &size, 0), -EISDIR);
    EXPECT(!data && size == 77);
    EXPECT_EQ(gyre_read_file(tree_path(&tree, "ten"), &data, &size, 10), 0);
    EXPECT_EQ(size, 10);
    free(data);
    tree_destroy(&tree);
    return 0;
}

INSIDE(whole, write_replaces_and_leaves_nothing_behind)
{
    struct tree tree;
    struct stat status;
    char name[300];

    tree_make(&tree);
    EXPECT_EQ(gyre_write_file(tree_path(&tree, "file"), "new", 3, 0640), 0);
    expect_content(tree_path(&tree, "file"), "new");
    EXPECT_EQ(fstatat(tree.fd, "file", &status, 0), 0);
    EXPECT_EQ(status.st_mode & 0777, 0640);
    EXPECT_EQ(gyre_write_file(tree_path(&tree, "file"), "", 0, 0600), 0);
    expect_content(tree_path(&tree, "file"), "");
    EXPECT_EQ(symlinkat("file", tree.fd, "link"), 0);
    EXPECT_EQ(gyre_write_file(tree_path(&tree, "link"), "own", 3, 0600), 0);
    expect_content(tree_path(&tree, "file"), "");
    expect_content(tree_path(&tree, "link"), "own");
    memset(name, 'n', 255);
    name[255] = '\0';
    EXPECT_EQ(gyre_write_file(tree_path(&tree, name), "x", 1, 0600), 0);
    EXPECT_EQ(count_names(&tree), 3);
    tree_destroy(&tree);
    return 0;
}

INSIDE(whole, write_fails_without_a_trace)
{
    struct tree tree;

    tree_make(&tree);
    tree_directory(&tree, "directory");
    tree_file(&tree, "file", "old");
    EXPECT_EQ(gyre_write_file(tree_path(&tree, "directory"), "x", 1, 0600), -EISDIR);
    EXPECT_EQ(gyre_write_file(tree_path(&tree, "directory/"), "x", 1, 0600), -EISDIR);
    EXPECT_EQ(gyre_write_file(tree_path(&tree, "none/file"), "x", 1, 0600), -ENOENT);
    EXPECT_EQ(gyre_write_file("", "x", 1, 0600), -ENOENT);
    EXPECT_EQ(gyre_write_file(tree_path(&tree, "file"), (void *)8, 1000, 0600), -EFAULT);
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_write_file(tree_path(&tree, "file"), "x", 1, 0600), -ETIMEDOUT);
        EXPECT_EQ(gyre_copy_file(tree_path(&tree, "file"), tree_path(&tree, "f2")), -ETIMEDOUT);
    }
    expect_content(tree_path(&tree, "file"), "old");
    EXPECT_EQ(count_names(&tree), 2);
    tree_destroy(&tree);
    return 0;
}

/* Cancelled at some moment: the old one or the new one, whole, and nothing else. */
static void limit_files(rlim_t size)
{
    struct rlimit limit;

    EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, size == RLIM_INFINITY ? SIG_DFL : SIG_IGN);
}

/* Some of it finds room, as on a disk that is nearly full. */
INSIDE(whole, write_without_room_leaves_the_old_one)
{
    enum { ROOM = 1 << 20 };
    char *data = calloc(1, 2 * ROOM);
    struct tree tree;

    tree_make(&tree);
    tree_file(&tree, "file", "old");
    limit_files(ROOM);
    EXPECT_EQ(gyre_write_file(tree_path(&tree, "file"), data, 2 * ROOM, 0600), -EFBIG);
    limit_files(RLIM_INFINITY);
    expect_content(tree_path(&tree, "file"), "old");
    EXPECT_EQ(count_names(&tree), 1);
    tree_destroy(&tree);
    free(data);
    return 0;
}

INSIDE(whole, write_cancelled_anywhere_leaves_one_or_the_other)
{
    enum { SIZE = 300000 };
    char *texts[2] = {malloc(SIZE + 1), malloc(SIZE + 1)};
    int current = 0, won = 0;
    struct tree tree;

    for (int i = 0; i < 2; i++) {
        memset(texts[i], 'a' + i, SIZE);
        texts[i][SIZE] = '\0';
    }
    tree_make(&tree);
    EXPECT_EQ(gyre_write_file(tree_path(&tree, "file"), texts[0], SIZE, 0600), 0);
    for (int i = 0; i < 40; i++) {
        GYRE_TIMEOUT(i * 50 * 1000);
        int error = gyre_write_file(tree_path(&tree, "file"), texts[!current], SIZE, 0600);

        EXPECT(error == 0 || error == -ETIMEDOUT);
        if (!error) {
            current = !current;
            won++;
        }
        {
            GYRE_SHIELD();
            expect_content(tree_path(&tree, "file"), texts[current]);
        }
    }
    EXPECT_EQ(count_names(&tree), 1);
    free(texts[0]);
    free(texts[1]);
    tree_destroy(&tree);
    return 0;
}

INSIDE(whole, copies_content_and_permissions)
{
    enum { SIZE = 3 << 20 };
    struct tree tree;
    struct stat status;
    char *text = malloc(SIZE + 1);

    for (int i = 0; i < SIZE; i++)
        text[i] = (char)('a' + i % 26);
    text[SIZE] = '\0';
    tree_make(&tree);
    tree_file(&tree, "from", text);
    EXPECT_EQ(fchmodat(tree.fd, "from", 0777, 0), 0);
    tree_file(&tree, "to", "old");
    EXPECT_EQ(gyre_copy_file(tree_path(&tree, "from"), tree_path(&tree, "to")), 0);
    expect_content(tree_path(&tree, "to"), text);
    EXPECT_EQ(fstatat(tree.fd, "to", &status, 0), 0);
    EXPECT_EQ(status.st_mode & 07777, 0777);
    EXPECT_EQ(gyre_copy_file(tree_path(&tree, "to"), tree_path(&tree, "to")), 0);
    expect_content(tree_path(&tree, "to"), text);
    EXPECT_EQ(gyre_copy_file("/proc/self/mounts", tree_path(&tree, "proc")), 0);
    EXPECT_EQ(fstatat(tree.fd, "proc", &status, 0), 0);
    EXPECT(status.st_size > 0);
    EXPECT_EQ(gyre_copy_file(tree_path(&tree, "none"), tree_path(&tree, "to")), -ENOENT);
    EXPECT_EQ(gyre_copy_file(tree.path, tree_path(&tree, "to")), -EISDIR);
    EXPECT_EQ(mkfifoat(tree.fd, "fifo", 0600), 0);
    EXPECT_EQ(gyre_copy_file(tree_path(&tree, "fifo"), tree_path(&tree, "to")), -EINVAL);
    expect_content(tree_path(&tree, "to"), text);
    EXPECT_EQ(count_names(&tree), 4);
    free(text);
    tree_destroy(&tree);
    return 0;
}
