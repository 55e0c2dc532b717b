/* A directory of the test's own on the disk, and paths in it. */
#ifndef GYRE_TESTS_FS_FILES_H
#define GYRE_TESTS_FS_FILES_H

#include "harness.h"

#include <gyre/file.h>

#include <sys/stat.h>

/* On a real file system: /tmp may be in memory, where O_DIRECT and extended attributes differ. */
struct place {
    char path[64];
    int fd;
};

static inline void make_place(struct place *place)
{
    strcpy(place->path, "/var/tmp/gyre-test-XXXXXX");
    EXPECT(mkdtemp(place->path));
    place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    EXPECT(place->fd >= 0);
}

/* What is in it must be gone. */
static inline void remove_place(struct place *place)
{
    EXPECT_EQ(close(place->fd), 0);
    EXPECT_EQ(rmdir(place->path), 0);
}

struct path {
    char text[96];
};

static inline struct path path_in(const struct place *place, const char *name)
{
    struct path path;

    snprintf(path.text, sizeof path.text, "%s/%s", place->path, name);
    return path;
}

/* A new file in the place that has no name any more. */
static inline int make_unnamed(const struct place *place, int flags)
{
    int fd = openat(place->fd, "unnamed", flags | O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    EXPECT(fd >= 0);
    EXPECT_EQ(unlinkat(place->fd, "unnamed", 0), 0);
    return fd;
}

/* Operations that the kernel is said not to have, for the tests that call it first. */
static inline void mask_operations(void)
{
    for (int i = 0; i < 4; i++)
        gyre_ring_masked[i] = UINT64_MAX;
}

/* The same body once with the ring's operations and once with the helpers in their stead. */
#define BOTH_WAYS(suite, name)                                                                     \
    static int both_##suite##_##name(void *unused_);                                               \
    Test(suite, name)                                                                              \
    {                                                                                              \
        run_on_each(both_##suite##_##name);                                                        \
    }                                                                                              \
    Test(suite, name##_without_operations)                                                         \
    {                                                                                              \
        mask_operations();                                                                         \
        run_on_each(both_##suite##_##name);                                                        \
    }                                                                                              \
    static int both_##suite##_##name(__attribute__((unused)) void *unused_)

static inline int result_of(gyre_handle handle)
{
    int result = 0;

    EXPECT_EQ(gyre_join(handle, &result), 0);
    return result;
}

/* The kernel's worker threads of this process, and all others. */
static inline int count_threads(void)
{
    struct stat status;

    EXPECT_EQ(stat("/proc/self/task", &status), 0);
    return (int)status.st_nlink - 2;
}

#endif
