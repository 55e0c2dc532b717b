/* Durability, space and advice; by operations and by helpers. */
#include "files.h"

#include <linux/falloc.h>
#include <sys/mman.h>

static off_t size_of(int fd)
{
    struct stat status;

    EXPECT_EQ(fstat(fd, &status), 0);
    return status.st_size;
}

BOTH_WAYS(space, what_is_written_is_synced)
{
    struct place place;
    int fd, pipes[2];

    make_place(&place);
    make_pipe(pipes);
    fd = make_unnamed(&place, 0);
    EXPECT_EQ(gyre_write(fd, "text", 4), 4);
    EXPECT_EQ(gyre_fsync(fd), 0);
    EXPECT_EQ(gyre_fdatasync(fd), 0);
    EXPECT_EQ(gyre_sync_file_range(fd, 0, 4, SYNC_FILE_RANGE_WRITE), 0);
    EXPECT_EQ(gyre_sync_file_range(fd, 0, (off_t)1 << 40, SYNC_FILE_RANGE_WAIT_AFTER), 0);
    EXPECT_EQ(gyre_sync_file_range(fd, -1, 4, 0), -EINVAL);
    EXPECT_EQ(gyre_sync_file_range(fd, 0, -1, 0), -EINVAL);
    EXPECT_EQ(gyre_sync_file_range(fd, 0, 1, 1 << 20), -EINVAL);
    EXPECT_EQ(gyre_fsync(pipes[0]), -EINVAL);
    EXPECT_EQ(gyre_fsync(-1), -EBADF);
    EXPECT_EQ(gyre_fsync(AT_FDCWD), -EBADF);
    EXPECT_EQ(gyre_fdatasync(1000000), -EBADF);
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_fsync(fd), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_close(pipes[0]), 0);
    EXPECT_EQ(gyre_close(pipes[1]), 0);
    EXPECT_EQ(gyre_fsync(fd), -EBADF);
    remove_place(&place);
    return 0;
}

BOTH_WAYS(space, a_file_grows_and_shrinks)
{
    struct place place;
    struct path path;
    int fd, reading;

    make_place(&place);
    path = path_in(&place, "file");
    fd = open(path.text, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    reading = open(path.text, O_RDONLY | O_CLOEXEC);
    EXPECT_EQ(gyre_fallocate(fd, 0, 0, 8192), 0);
    EXPECT_EQ(size_of(fd), 8192);
    EXPECT_EQ(gyre_fallocate(fd, FALLOC_FL_KEEP_SIZE, 8192, 4096), 0);
    EXPECT_EQ(size_of(fd), 8192);
    EXPECT_EQ(gyre_fallocate(fd, 0, -1, 1), -EINVAL);
    EXPECT_EQ(gyre_fallocate(fd, 0, 0, 0), -EINVAL);
    EXPECT_EQ(gyre_fallocate(fd, 0, 1, INT64_MAX), -EFBIG);
    EXPECT_EQ(gyre_fallocate(reading, 0, 0, 1), -EBADF);
    EXPECT_EQ(gyre_ftruncate(fd, 5), 0);
    EXPECT_EQ(size_of(fd), 5);
    EXPECT_EQ(gyre_ftruncate(fd, (off_t)1 << 33), 0);
    EXPECT_EQ(size_of(fd), (off_t)1 << 33);
    EXPECT_EQ(gyre_ftruncate(fd, -1), -EINVAL);
    EXPECT_EQ(gyre_ftruncate(reading, 0), -EINVAL);
    EXPECT_EQ(gyre_ftruncate(-1, 0), -EBADF);
    EXPECT_EQ(gyre_truncate(path.text, 3), 0);
    EXPECT_EQ(size_of(fd), 3);
    EXPECT_EQ(gyre_truncate(path.text, -1), -EINVAL);
    EXPECT_EQ(gyre_truncate("/none", 0), -ENOENT);
    EXPECT_EQ(gyre_truncate("/etc", 0), -EISDIR);
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_ftruncate(fd, 0), -ETIMEDOUT);
        EXPECT_EQ(gyre_truncate(path.text, 0), -ETIMEDOUT);
        EXPECT_EQ(gyre_fallocate(fd, 0, 0, 100), -ETIMEDOUT);
    }
    EXPECT_EQ(size_of(fd), 3);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_close(reading), 0);
    EXPECT_EQ(unlink(path.text), 0);
    remove_place(&place);
    return 0;
}

BOTH_WAYS(space, advice_is_taken)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), large = (size_t)5 << 30;
    struct place place;
    int fd, pipes[2];
    char *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *room = mmap(NULL, large, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    make_place(&place);
    make_pipe(pipes);
    fd = make_unnamed(&place, 0);
    EXPECT_EQ(gyre_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL), 0);
    EXPECT_EQ(gyre_fadvise(fd, 0, (off_t)1 << 40, POSIX_FADV_WILLNEED), 0);
    EXPECT_EQ(gyre_fadvise(fd, 0, 4096, POSIX_FADV_DONTNEED), 0);
    EXPECT_EQ(gyre_fadvise(fd, 0, 0, 1000), -EINVAL);
    EXPECT_EQ(gyre_fadvise(fd, 0, -1, POSIX_FADV_NORMAL), -EINVAL);
    EXPECT_EQ(gyre_fadvise(pipes[0], 0, 0, POSIX_FADV_NORMAL), -ESPIPE);
    EXPECT_EQ(gyre_fadvise(-1, 0, 0, POSIX_FADV_NORMAL), -EBADF);
    *memory = 1;
    EXPECT_EQ(gyre_madvise(memory, page, MADV_DONTNEED), 0);
    EXPECT_EQ(*memory, 0);
    EXPECT_EQ(gyre_madvise(memory, page, 1000), -EINVAL);
    EXPECT_EQ(gyre_madvise(memory + 1, page, MADV_DONTNEED), -EINVAL);
    EXPECT_EQ(gyre_madvise(room, large, MADV_DONTNEED), 0);
    EXPECT_EQ(munmap(room, large), 0);
    EXPECT_EQ(munmap(memory, page), 0);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_close(pipes[0]), 0);
    EXPECT_EQ(gyre_close(pipes[1]), 0);
    remove_place(&place);
    return 0;
}
