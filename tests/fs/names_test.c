/* Names: made, moved, removed, read; by operations and by helpers. */
#include "files.h"

static bool exists(const struct place *place, const char *name)
{
    struct stat status;

    return !fstatat(place->fd, name, &status, AT_SYMLINK_NOFOLLOW);
}

static void make_file(const struct place *place, const char *name)
{
    int fd = openat(place->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    EXPECT(fd >= 0);
    EXPECT_EQ(close(fd), 0);
}

BOTH_WAYS(names, a_directory_is_made_and_removed)
{
    struct place place;
    struct path path;

    make_place(&place);
    path = path_in(&place, "directory");
    EXPECT_EQ(gyre_mkdir(path.text, 0700), 0);
    EXPECT_EQ(gyre_mkdir(path.text, 0700), -EEXIST);
    EXPECT_EQ(gyre_unlink(path.text), -EISDIR);
    EXPECT_EQ(gyre_mkdirat(place.fd, "directory/inner", 0700), 0);
    EXPECT_EQ(gyre_rmdir(path.text), -ENOTEMPTY);
    EXPECT_EQ(gyre_unlinkat(place.fd, "directory/inner", AT_REMOVEDIR), 0);
    EXPECT_EQ(gyre_rmdir(path.text), 0);
    EXPECT_EQ(gyre_rmdir(path.text), -ENOENT);
    EXPECT_EQ(gyre_mkdirat(1000000, "x", 0700), -EBADF);
    EXPECT_EQ(gyre_mkdir("/proc/x", 0700), -ENOENT);
    remove_place(&place);
    return 0;
}

BOTH_WAYS(names, a_file_is_linked_renamed_and_removed)
{
    struct place place;
    struct path one, two;

    make_place(&place);
    one = path_in(&place, "one");
    two = path_in(&place, "two");
    make_file(&place, "one");
    EXPECT_EQ(gyre_link(one.text, two.text), 0);
    EXPECT_EQ(gyre_link(one.text, two.text), -EEXIST);
    EXPECT_EQ(gyre_linkat(place.fd, "one", place.fd, "three", 0), 0);
    EXPECT_EQ(gyre_linkat(place.fd, "none", place.fd, "four", 0), -ENOENT);
    EXPECT_EQ(gyre_unlink(two.text), 0);
    EXPECT_EQ(gyre_unlink(two.text), -ENOENT);
    EXPECT_EQ(gyre_rename(one.text, two.text), 0);
    EXPECT_EQ(gyre_rename(one.text, two.text), -ENOENT);
    EXPECT(!exists(&place, "one") && exists(&place, "two"));
    make_file(&place, "one");
    EXPECT_EQ(gyre_renameat2(place.fd, "one", place.fd, "two", 1), -EEXIST); /* RENAME_NOREPLACE */
    EXPECT_EQ(gyre_renameat2(place.fd, "one", place.fd, "two", 0), 0);
    EXPECT_EQ(gyre_rmdir(two.text), -ENOTDIR);
    EXPECT_EQ(gyre_unlinkat(place.fd, "two", 0), 0);
    EXPECT_EQ(gyre_unlinkat(place.fd, "three", 0), 0);
    EXPECT_EQ(gyre_unlinkat(place.fd, "three", 0x40000000), -EINVAL);
    remove_place(&place);
    return 0;
}

BOTH_WAYS(names, a_symbolic_link_is_made_and_read)
{
    struct place place;
    struct path path;
    char text[16] = "untouched";

    make_place(&place);
    path = path_in(&place, "link");
    EXPECT_EQ(gyre_symlink("target", path.text), 0);
    EXPECT_EQ(gyre_symlink("target", path.text), -EEXIST);
    EXPECT_EQ(gyre_symlinkat("another", place.fd, "second"), 0);
    EXPECT_EQ(gyre_readlinkat(place.fd, "none", text, sizeof text), -ENOENT);
    EXPECT(!strcmp(text, "untouched"));
    EXPECT_EQ(gyre_readlinkat(place.fd, "link", text, sizeof text), 6);
    EXPECT(!memcmp(text, "target", 6) && text[6] == 'h'); /* no NUL */
    EXPECT_EQ(gyre_readlinkat(place.fd, "second", text, 3), 3);
    EXPECT_EQ(gyre_readlinkat(place.fd, "link", text, 0), -EINVAL);
    EXPECT_EQ(gyre_readlinkat(AT_FDCWD, path.text, text, SIZE_MAX), 6);
    EXPECT_EQ(gyre_unlink(path.text), 0);
    EXPECT_EQ(gyre_unlinkat(place.fd, "second", 0), 0);
    remove_place(&place);
    return 0;
}

BOTH_WAYS(names, a_context_that_has_ended_changes_nothing)
{
    struct place place;
    struct path path;
    char text[8];

    make_place(&place);
    path = path_in(&place, "name");
    make_file(&place, "name");
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_unlink(path.text), -ETIMEDOUT);
        EXPECT_EQ(gyre_rename(path.text, "/tmp/x"), -ETIMEDOUT);
        EXPECT_EQ(gyre_link(path.text, path.text), -ETIMEDOUT);
        EXPECT_EQ(gyre_symlink(path.text, path.text), -ETIMEDOUT);
        EXPECT_EQ(gyre_mkdir(path.text, 0700), -ETIMEDOUT);
        EXPECT_EQ(gyre_rmdir(place.path), -ETIMEDOUT);
        EXPECT_EQ(gyre_readlinkat(AT_FDCWD, path.text, text, sizeof text), -ETIMEDOUT);
    }
    EXPECT(exists(&place, "name"));
    EXPECT_EQ(gyre_unlink(path.text), 0);
    remove_place(&place);
    return 0;
}
