/* Opening: every kind of file, FIFOs and their other end, and who waits for it. */
#include "files.h"

#include <gyre/blocking.h>

#include <linux/openat2.h>
#include <stdint.h>

struct request {
    const char *path;
    int flags;
    int result;
};

static int open_one(void *argument)
{
    struct request *request = argument;

    request->result = gyre_open(request->path, request->flags, 0600);
    return request->result < 0 ? request->result : 0;
}

BOTH_WAYS(open, files_are_made_and_opened)
{
    struct place place;
    struct path path;
    int fd;

    make_place(&place);
    path = path_in(&place, "file");
    EXPECT_EQ(gyre_open(path.text, O_RDONLY, 0), -ENOENT);
    fd = gyre_open(path.text, O_RDWR | O_CREAT | O_EXCL, 0640);
    EXPECT(fd >= 0);
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(gyre_write(fd, "text", 4), 4);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_open(path.text, O_RDWR | O_CREAT | O_EXCL, 0640), -EEXIST);
    fd = gyre_openat(place.fd, "file", O_RDWR | O_APPEND, 0);
    EXPECT_EQ(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK), O_RDWR | O_APPEND);
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(gyre_write(fd, "more", 4), 4);
    EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 8);
    EXPECT_EQ(gyre_close(fd), 0);
    fd = gyre_openat(place.fd, "file", O_WRONLY | O_TRUNC | O_NONBLOCK, 0);
    EXPECT_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    EXPECT_EQ(lseek(fd, 0, SEEK_END), 0);
    EXPECT_EQ(gyre_close(fd), 0);
    fd = gyre_open(place.path, O_RDONLY | O_DIRECTORY, 0);
    EXPECT_EQ(gyre_unlinkat(fd, "file", 0), 0);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_open(place.path, O_WRONLY, 0), -EISDIR);
    EXPECT_EQ(gyre_openat(1000000, "x", O_RDONLY, 0), -EBADF);
    EXPECT_EQ(gyre_openat(place.fd, "", O_RDONLY, 0), -ENOENT);
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_open(path.text, O_CREAT | O_RDWR, 0600), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_open(path.text, O_RDONLY, 0), -ENOENT);
    remove_place(&place);
    return 0;
}

BOTH_WAYS(open, openat2_takes_how)
{
    struct place place;
    struct open_how how = {.flags = O_RDWR | O_CREAT, .mode = 0600, .resolve = RESOLVE_BENEATH};
    union {
        struct open_how how;
        char bytes[256];
    } larger = {.how = how};
    int fd;

    make_place(&place);
    fd = gyre_openat2(place.fd, "file", &how, sizeof how);
    EXPECT(fd >= 0);
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(how.flags, O_RDWR | O_CREAT);
    fd = gyre_openat2(place.fd, "file", &larger.how, 64);
    EXPECT(fd >= 0);
    EXPECT_EQ(gyre_close(fd), 0);
    larger.bytes[60] = 1;
    EXPECT_EQ(gyre_openat2(place.fd, "file", &larger.how, 64), -E2BIG);
    EXPECT_EQ(gyre_openat2(place.fd, "file", &larger.how, 256), -E2BIG);
    EXPECT_EQ(gyre_openat2(place.fd, "file", &how, 8), -EINVAL);
    EXPECT_EQ(gyre_openat2(place.fd, "../x", &how, sizeof how), -EXDEV);
    how.resolve = 1 << 20;
    EXPECT_EQ(gyre_openat2(place.fd, "file", &how, sizeof how), -EINVAL);
    EXPECT_EQ(gyre_unlinkat(place.fd, "file", 0), 0);
    remove_place(&place);
    return 0;
}

INSIDE(open, special_files_are_opened_at_once_and_block_afterwards)
{
    static const char *const paths[] = {"/dev/null", "/dev/zero", "/proc/self/status", "/dev/ptmx"};

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int fd = gyre_open(paths[i], O_RDONLY | O_NOCTTY, 0);

        EXPECT(fd >= 0);
        EXPECT_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
        EXPECT_EQ(gyre_close(fd), 0);
    }
    return 0;
}

INSIDE(open, a_socket_has_no_other_end_to_wait_for)
{
    struct place place;
    struct path path;
    struct sockaddr_un {
        sa_family_t family;
        char path[108];
    } address = {.family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    make_place(&place);
    path = path_in(&place, "socket");
    strcpy(address.path, path.text);
    EXPECT_EQ(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    EXPECT_EQ(gyre_open(path.text, O_WRONLY, 0), -ENXIO);
    EXPECT_EQ(gyre_open(path.text, O_RDONLY, 0), -ENXIO);
    EXPECT_EQ(close(fd), 0);
    EXPECT_EQ(unlink(path.text), 0);
    remove_place(&place);
    return 0;
}

/* --- FIFOs ------------------------------------------------------------------------------------ */

static struct path make_fifo(const struct place *place)
{
    struct path path = path_in(place, "fifo");

    EXPECT_EQ(mkfifo(path.text, 0600), 0);
    return path;
}

static void exchange(const struct request *reader, const struct request *writer)
{
    char byte = 0;

    EXPECT_EQ(fcntl(reader->result, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_EQ(fcntl(writer->result, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_EQ(gyre_write(writer->result, "x", 1), 1);
    EXPECT_EQ(gyre_read(reader->result, &byte, 1), 1);
    EXPECT_EQ(byte, 'x');
    EXPECT_EQ(gyre_close(writer->result), 0);
    EXPECT_EQ(gyre_read(reader->result, &byte, 1), 0);
    EXPECT_EQ(gyre_close(reader->result), 0);
}

BOTH_WAYS(open, the_reader_of_a_fifo_waits_for_a_writer)
{
    struct place place;
    struct path path;
    struct request reader, writer;
    gyre_handle handle;

    make_place(&place);
    path = make_fifo(&place);
    reader = (struct request){path.text, O_RDONLY, 0};
    writer = (struct request){path.text, O_WRONLY, 0};
    EXPECT_EQ(gyre_spawn(&handle, open_one, &reader), 0);
    await_parked(handle);
    EXPECT_EQ(open_one(&writer), 0);
    EXPECT_EQ(result_of(handle), 0);
    exchange(&reader, &writer);
    EXPECT_EQ(unlink(path.text), 0);
    remove_place(&place);
    return 0;
}

BOTH_WAYS(open, the_writer_of_a_fifo_waits_for_a_reader)
{
    struct place place;
    struct path path;
    struct request reader, writer;
    gyre_handle handle;

    make_place(&place);
    path = make_fifo(&place);
    reader = (struct request){path.text, O_RDONLY, 0};
    writer = (struct request){path.text, O_WRONLY, 0};
    EXPECT_EQ(gyre_spawn(&handle, open_one, &writer), 0);
    await_parked(handle);
    EXPECT_EQ(open_one(&reader), 0);
    EXPECT_EQ(result_of(handle), 0);
    exchange(&reader, &writer);
    EXPECT_EQ(unlink(path.text), 0);
    remove_place(&place);
    return 0;
}

INSIDE(open, two_fifos_opened_crosswise_find_each_other)
{
    struct place place;
    struct path paths[2];
    struct request ends[4];
    gyre_handle handles[2];

    make_place(&place);
    paths[0] = make_fifo(&place);
    paths[1] = path_in(&place, "second");
    EXPECT_EQ(mkfifo(paths[1].text, 0600), 0);
    ends[0] = (struct request){paths[0].text, O_RDONLY, 0};
    ends[1] = (struct request){paths[0].text, O_WRONLY, 0};
    ends[2] = (struct request){paths[1].text, O_RDONLY, 0};
    ends[3] = (struct request){paths[1].text, O_WRONLY, 0};
    /* The writer of the first goes on, without a byte, to wait for a writer of the second. */
    EXPECT_EQ(gyre_spawn(&handles[0], open_one, &ends[0]), 0);
    EXPECT_EQ(open_one(&ends[1]), 0);
    EXPECT_EQ(gyre_spawn(&handles[1], open_one, &ends[2]), 0);
    EXPECT_EQ(result_of(handles[0]), 0);
    EXPECT_EQ(open_one(&ends[3]), 0);
    EXPECT_EQ(result_of(handles[1]), 0);
    exchange(&ends[0], &ends[1]);
    exchange(&ends[2], &ends[3]);
    EXPECT_EQ(unlink(paths[0].text), 0);
    EXPECT_EQ(unlink(paths[1].text), 0);
    remove_place(&place);
    return 0;
}

INSIDE(open, a_writer_that_came_and_left_counts)
{
    struct place place;
    struct path path;
    struct request reader;
    gyre_handle handle;
    int fd;

    make_place(&place);
    path = make_fifo(&place);
    reader = (struct request){path.text, O_RDONLY, 0};
    EXPECT_EQ(gyre_spawn(&handle, open_one, &reader), 0);
    while ((fd = open(path.text, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0)
        gyre_yield(); /* it isn't there yet */
    EXPECT_EQ(close(fd), 0);
    EXPECT_EQ(result_of(handle), 0);
    EXPECT_EQ(gyre_close(reader.result), 0);
    EXPECT_EQ(unlink(path.text), 0);
    remove_place(&place);
    return 0;
}

INSIDE(open, a_fifo_opened_otherwise_does_not_wait)
{
    struct place place;
    struct path path;
    int fd;

    make_place(&place);
    path = make_fifo(&place);
    EXPECT_EQ(gyre_open(path.text, O_WRONLY | O_NONBLOCK, 0), -ENXIO);
    fd = gyre_open(path.text, O_RDONLY | O_NONBLOCK, 0);
    EXPECT(fd >= 0);
    EXPECT_EQ(gyre_close(fd), 0);
    fd = gyre_open(path.text, O_RDWR, 0);
    EXPECT(fd >= 0);
    EXPECT_EQ(gyre_close(fd), 0);
    fd = gyre_open(path.text, O_PATH, 0);
    EXPECT(fd >= 0);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(unlink(path.text), 0);
    remove_place(&place);
    return 0;
}

enum { MANY = 64 };

/* What may make a file goes to the kernel's worker threads, which are too few to wait there. */
INSIDE(open, many_that_wait_for_an_end_hold_no_thread_and_are_cancelled)
{
    struct place place;
    struct path path;
    const struct open_how how = {.flags = O_WRONLY | O_CREAT, .mode = 0600};
    struct request requests[MANY];
    gyre_handle handles[MANY];
    struct stat status;
    int threads;

    make_place(&place);
    path = make_fifo(&place);
    EXPECT_EQ(gyre_stat(path.text, &status), 0);
    threads = count_threads();
    {
        GYRE_CANCELLABLE();

        for (int i = 0; i < MANY; i++) {
            /* Writers of one FIFO, and no reader. */
            requests[i] = (struct request){path.text, O_WRONLY | O_CREAT | O_TRUNC, 0};
            EXPECT_EQ(gyre_spawn(&handles[i], open_one, &requests[i]), 0);
        }
        for (int i = 0; i < MANY; i++)
            await_parked(handles[i]);
        EXPECT_EQ(gyre_stat(path.text, &status), 0);
        {
            GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
            EXPECT_EQ(gyre_openat2(AT_FDCWD, path.text, &how, sizeof how), -ETIMEDOUT);
        }
        EXPECT(count_threads() <= threads + 5 * 4);
        gyre_context_cancel(gyre_context_current());
    }
    for (int i = 0; i < MANY; i++)
        EXPECT_EQ(result_of(handles[i]), -ECANCELED);
    EXPECT_EQ(unlink(path.text), 0);
    remove_place(&place);
    return 0;
}

INSIDE(open, a_reader_that_waits_ends_with_its_context)
{
    struct place place;
    struct path path;

    make_place(&place);
    path = make_fifo(&place);
    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_open(path.text, O_RDONLY, 0), -ETIMEDOUT);
    }
    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_open(path.text, O_WRONLY, 0), -ETIMEDOUT);
    }
    EXPECT_EQ(unlink(path.text), 0);
    remove_place(&place);
    return 0;
}

INSIDE(open, a_directory_closed_meanwhile_is_no_directory)
{
    struct place place;
    int fd;

    make_place(&place);
    fd = dup(place.fd);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_openat(fd, "x", O_RDONLY, 0), -EBADF);
    remove_place(&place);
    return 0;
}
