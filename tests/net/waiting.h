/*
 * Calls that may wait without end, each with what it uses, how that is made, and how what it waits
 * for is let come: of descriptors of any kind, files and streams.
 */
#ifndef GYRE_TESTS_NET_WAITING_H
#define GYRE_TESTS_NET_WAITING_H

#include "cancel.h"

#include <gyre/datagram.h>
#include <gyre/file.h>
#include <gyre/poll.h>
#include <gyre/process.h>
#include <gyre/stream.h>

#include <linux/openat2.h>
#include <sys/inotify.h>
#include <sys/mman.h>

enum {
    CLOSES = 1 << 0,  /* shut, while it waits, makes it return -EBADF */
    ENDLESS = 1 << 1, /* nothing is let come */
    ONCE = 1 << 2,    /* once it was cancelled it can't be called again */
    NAMES = 1 << 3,   /* needs names */
};

enum { BLOCK = 4096, HELPERS = 4, LARGE = 8 << 20 };

struct state {
    int fds[4]; /* the first is what the call uses */
    bool is_shut;
    void *object;
    struct gyre_process process;
    struct gyre_inotify inotify;
    struct gyre_address address;
    gyre_handle holders[HELPERS];
    uint32_t word;
    char directory[32], path[64];
    char *memory;
    char buffer[BLOCK];
};

struct call {
    const char *name;
    long (*call)(struct state *s);
    void (*open)(struct state *s);
    void (*let)(struct state *s);  /* what it waits for comes */
    void (*shut)(struct state *s); /* NULL: gyre_close of the first descriptor */
    void (*close)(struct state *s);
    unsigned flags;
};

/* --- descriptors -------------------------------------------------------------------------------
 */

static void close_all(struct state *s)
{
    for (size_t i = 0; i < ARRAY_SIZE(s->fds); i++)
        if (s->fds[i] >= 0 && !(i == 0 && s->is_shut))
            CHECK_EQ(close(s->fds[i]), 0);
}

static void open_pipe(struct state *s)
{
    CHECK_EQ(pipe2(s->fds, O_CLOEXEC), 0);
}

static void let_pipe(struct state *s)
{
    CHECK_EQ(write(s->fds[1], "a\n", 2), 2);
}

/* The writing end first. */
static void open_full_pipe(struct state *s)
{
    int ends[2];

    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK(fcntl(ends[1], F_SETPIPE_SZ, BLOCK) > 0);
    CHECK_EQ(write(ends[1], s->buffer, BLOCK), BLOCK);
    s->fds[0] = ends[1];
    s->fds[1] = ends[0];
}

static void let_full_pipe(struct state *s)
{
    char block[BLOCK];

    CHECK(fcntl(s->fds[1], F_SETFL, O_NONBLOCK) == 0);
    while (read(s->fds[1], block, BLOCK) > 0)
        ;
}

static void open_sockets(struct state *s, int type)
{
    CHECK_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, s->fds), 0);
}

static void open_stream(struct state *s)
{
    open_sockets(s, SOCK_STREAM);
}

static void fill(struct state *s)
{
    int size = 1;

    CHECK_EQ(setsockopt(s->fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    while (send(s->fds[0], s->buffer, 1000, MSG_DONTWAIT) > 0)
        ;
}

static void open_full_stream(struct state *s)
{
    open_stream(s);
    fill(s);
}

static void open_full_datagrams(struct state *s)
{
    open_sockets(s, SOCK_DGRAM);
    fill(s);
}

static void let_full(struct state *s)
{
    char block[BLOCK];

    while (recv(s->fds[1], block, sizeof block, MSG_DONTWAIT) > 0)
        ;
}

static void let_stream(struct state *s)
{
    CHECK_EQ(send(s->fds[1], "a\n", 2, 0), 2);
}

static void open_udp(struct state *s)
{
    char text[GYRE_ADDRESS_SIZE];

    s->fds[0] = gyre_udp_bind("127.0.0.1:0", 0);
    CHECK(s->fds[0] >= 0);
    CHECK(gyre_local_address(s->fds[0], text, sizeof text) > 0);
    s->fds[1] = gyre_udp_dial(text);
    CHECK(s->fds[1] >= 0);
}

/* --- poll.h ------------------------------------------------------------------------------------
 */

static long call_poll(struct state *s)
{
    return gyre_poll(s->fds[0], POLLIN);
}

static long call_readable(struct state *s)
{
    return gyre_wait_readable(s->fds[0]);
}

static long call_writable(struct state *s)
{
    return gyre_wait_writable(s->fds[0]);
}

static long call_poll_one(struct state *s)
{
    struct pollfd fds[] = {{s->fds[0], POLLIN, 0}};

    return gyre_poll_many(fds, 1, -1);
}

static long call_poll_two(struct state *s)
{
    struct pollfd fds[] = {{s->fds[0], POLLIN, 0}, {s->fds[1], POLLIN, 0}};

    return gyre_poll_many(fds, 2, 100 * GYRE_SECOND);
}

static void open_watch(struct state *s)
{
    struct gyre_watch *watch;

    open_pipe(s);
    CHECK_EQ(gyre_watch_open(&watch, s->fds[0], POLLIN), 0);
    s->object = watch;
}

static long call_watch(struct state *s)
{
    return gyre_watch_next(s->object);
}

static void shut_watch(struct state *s)
{
    gyre_watch_close(s->object);
    s->object = NULL;
}

static void close_watch(struct state *s)
{
    gyre_watch_close(s->object);
    s->is_shut = false; /* the descriptor stays */
    close_all(s);
}

static void open_event(struct state *s)
{
    s->fds[0] = gyre_event_open(0, 0);
    CHECK(s->fds[0] >= 0);
}

static void let_event(struct state *s)
{
    CHECK_EQ(gyre_event_add(s->fds[0], 1), 0);
}

static long call_event(struct state *s)
{
    uint64_t value = 77;
    int error = gyre_event_take(s->fds[0], &value);

    CHECK(!error || value == 77);
    return error;
}

static void make_directory(struct state *s)
{
    strcpy(s->directory, "/tmp/gyre-cancel-XXXXXX");
    CHECK(mkdtemp(s->directory));
    snprintf(s->path, sizeof s->path, "%s/entry", s->directory);
}

static void remove_directory(struct state *s)
{
    CHECK(!unlink(s->path) || errno == ENOENT);
    CHECK_EQ(rmdir(s->directory), 0);
}

static void open_inotify(struct state *s)
{
    make_directory(s);
    CHECK_EQ(gyre_inotify_open(&s->inotify), 0);
    CHECK(gyre_inotify_add(&s->inotify, s->directory, IN_CREATE | IN_DELETE) >= 0);
}

static void let_inotify(struct state *s)
{
    CHECK(!symlink("nothing", s->path) || !unlink(s->path));
}

static long call_inotify(struct state *s)
{
    const struct inotify_event *event;

    return gyre_inotify_next(&s->inotify, &event);
}

static void shut_inotify(struct state *s)
{
    CHECK_EQ(gyre_inotify_close(&s->inotify), 0);
}

static void close_inotify(struct state *s)
{
    if (!s->is_shut)
        shut_inotify(s);
    remove_directory(s);
}

static void open_word(struct state *s)
{
    s->word = 0;
}

static void let_word(struct state *s)
{
    __atomic_store_n(&s->word, 1, __ATOMIC_RELEASE);
    CHECK(gyre_futex_wake(&s->word, 9, 0) >= 0);
}

static long call_word(struct state *s)
{
    int error;

    do
        error = gyre_futex_wait(&s->word, 0, 0);
    while (!error && !__atomic_load_n(&s->word, __ATOMIC_ACQUIRE));
    return error == -EAGAIN ? 0 : error;
}

static void close_word(struct state *s)
{
    (void)s;
}

/* --- files -------------------------------------------------------------------------------------
 */

static void open_fifo(struct state *s)
{
    make_directory(s);
    CHECK_EQ(mkfifo(s->path, 0600), 0);
}

static void let_fifo(struct state *s)
{
    if (s->fds[3] < 0)
        s->fds[3] = open(s->path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    CHECK(s->fds[3] >= 0);
}

static void close_fifo(struct state *s)
{
    close_all(s);
    remove_directory(s);
}

static long opened(int fd)
{
    return fd >= 0 ? close(fd) : fd;
}

static long call_open_reading(struct state *s)
{
    return opened(gyre_open(s->path, O_RDONLY, 0));
}

static long call_open_writing(struct state *s)
{
    return opened(gyre_openat(AT_FDCWD, s->path, O_WRONLY, 0));
}

static long call_openat2(struct state *s)
{
    struct open_how how = {.flags = O_RDONLY};

    return opened(gyre_openat2(AT_FDCWD, s->path, &how, sizeof how));
}

static long call_read_file(struct state *s)
{
    char *data = NULL;
    int error = gyre_read_file(s->path, &data, NULL, 0);

    free(data);
    return error;
}

static void open_two_pipes(struct state *s)
{
    open_pipe(s);
    CHECK_EQ(pipe2(s->fds + 2, O_CLOEXEC), 0);
}

static long call_splice(struct state *s)
{
    return gyre_splice(s->fds[0], NULL, s->fds[3], NULL, BLOCK, 0);
}

static long call_tee(struct state *s)
{
    return gyre_tee(s->fds[0], s->fds[3], BLOCK, 0);
}

static void open_sendfile(struct state *s)
{
    open_full_stream(s);
    s->fds[2] = memfd_create("file", MFD_CLOEXEC);
    CHECK_EQ(write(s->fds[2], s->buffer, 100), 100);
}

static long call_sendfile(struct state *s)
{
    return gyre_sendfile_all(s->fds[0], s->fds[2], 0, 100, NULL);
}

/* --- streams -----------------------------------------------------------------------------------
 */

static void make_stream(struct state *s)
{
    struct gyre_stream *stream;

    CHECK_EQ(gyre_stream_open(&stream, s->fds[0], NULL), 0);
    s->object = stream;
}

static void open_buffered(struct state *s)
{
    open_stream(s);
    make_stream(s);
}

static void open_full_buffered(struct state *s)
{
    open_full_stream(s);
    make_stream(s);
    CHECK_EQ(gyre_stream_write(s->object, s->buffer, 100, NULL), 100);
}

static long stream_close(struct state *s)
{
    return gyre_stream_close(s->object);
}

/* What it has not written is lost with it. */
static void shut_buffered(struct state *s)
{
    long error = attempt_ended(stream_close, s);

    CHECK(!error || error == -ECANCELED);
}

static void close_buffered(struct state *s)
{
    if (!s->is_shut)
        shut_buffered(s);
    s->is_shut = true;
    close_all(s);
}

static long call_stream_read(struct state *s)
{
    return gyre_stream_read(s->object, s->buffer, 10);
}

static long call_stream_read_all(struct state *s)
{
    return gyre_stream_read_all(s->object, s->buffer, 2, NULL);
}

static long call_stream_peek(struct state *s)
{
    const void *data;

    return gyre_stream_peek(s->object, &data, 1);
}

static long call_stream_skip(struct state *s)
{
    return gyre_stream_skip(s->object, 2, NULL);
}

static long call_stream_until(struct state *s)
{
    const char *data;

    return gyre_stream_until(s->object, '\n', &data);
}

static long call_stream_line(struct state *s)
{
    char *line;

    return gyre_stream_line(s->object, &line, NULL);
}

static long call_stream_write(struct state *s)
{
    return gyre_stream_write(s->object, s->buffer, BLOCK, NULL);
}

static long call_stream_flush(struct state *s)
{
    return gyre_stream_flush(s->object);
}

#endif
