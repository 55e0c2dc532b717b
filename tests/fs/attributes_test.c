/* Extended attributes; by operations and by helpers. */
#include "files.h"

#include <sys/xattr.h>

static bool has_attributes(int fd)
{
    return !fsetxattr(fd, "user.probe", "", 0, 0) && !fremovexattr(fd, "user.probe");
}

BOTH_WAYS(attributes, are_set_read_listed_and_removed)
{
    struct place place;
    struct path path;
    char value[16] = "untouched", list[64], *large = calloc(1, 1 << 20);
    int fd;

    make_place(&place);
    path = path_in(&place, "file");
    fd = open(path.text, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (has_attributes(fd)) {
        EXPECT_EQ(gyre_setxattr(path.text, "user.one", "first", 5, 0), 0);
        EXPECT_EQ(gyre_setxattr(path.text, "user.one", "x", 1, XATTR_CREATE), -EEXIST);
        EXPECT_EQ(gyre_fsetxattr(fd, "user.two", "2", 1, XATTR_REPLACE), -ENODATA);
        EXPECT_EQ(gyre_fsetxattr(fd, "user.two", "second", 6, 0), 0);
        EXPECT_EQ(gyre_fsetxattr(fd, "user.two", large, 1 << 20, 0), -E2BIG);
        EXPECT_EQ(gyre_setxattr(path.text, "user.two", large, (size_t)1 << 32, 0), -E2BIG);
        EXPECT_EQ(gyre_getxattr(path.text, "user.none", value, sizeof value), -ENODATA);
        EXPECT_EQ(gyre_getxattr(path.text, "user.one", value, 2), -ERANGE);
        EXPECT(!strcmp(value, "untouched"));
        EXPECT_EQ(gyre_getxattr(path.text, "user.one", NULL, 0), 5);
        EXPECT_EQ(gyre_getxattr(path.text, "user.one", value, sizeof value), 5);
        EXPECT(!memcmp(value, "first", 5));
        EXPECT_EQ(gyre_fgetxattr(fd, "user.two", value, sizeof value), 6);
        EXPECT(!memcmp(value, "second", 6));
        EXPECT_EQ(gyre_listxattr(path.text, list, sizeof list), 18);
        EXPECT_EQ(gyre_removexattr(path.text, "user.one"), 0);
        EXPECT_EQ(gyre_removexattr(path.text, "user.one"), -ENODATA);
        EXPECT_EQ(gyre_listxattr(path.text, list, sizeof list), 9);
        {
            GYRE_TIMEOUT(0);
            EXPECT_EQ(gyre_removexattr(path.text, "user.two"), -ETIMEDOUT);
            EXPECT_EQ(gyre_fgetxattr(fd, "user.two", value, sizeof value), -ETIMEDOUT);
        }
    }
    EXPECT_EQ(gyre_fgetxattr(-1, "user.two", value, sizeof value), -EBADF);
    EXPECT_EQ(gyre_getxattr("/none", "user.two", value, sizeof value), -ENOENT);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(unlink(path.text), 0);
    remove_place(&place);
    free(large);
    return 0;
}
