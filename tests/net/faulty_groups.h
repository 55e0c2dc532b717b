/* Groups of calls, each ending in 0 (or above) or the first error, with all that it made gone. */
#ifndef GYRE_TESTS_NET_FAULTY_GROUPS_H
#define GYRE_TESTS_NET_FAULTY_GROUPS_H

#include <gyre.h>
#include <gyre/datagram.h>
#include <gyre/directory.h>
#include <gyre/feed.h>
#include <gyre/file.h>
#include <gyre/poll.h>
#include <gyre/stream.h>
#include <gyre/unix.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#define TRY(call)                                                                                  \
    do {                                                                                           \
        long result_ = (call);                                                                     \
                                                                                                   \
        if (result_ < 0)                                                                           \
            return (int)result_;                                                                   \
    } while (0)

/* A directory of the test's own, empty between two lives. */
static char place[] = "/tmp/gyre-fault-XXXXXX";

static const char *in_place(const char *name)
{
    static _Thread_local char paths[4][64];
    static _Thread_local unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof *paths, "%s/%s", place, name);
    return path;
}

/* --- files -------------------------------------------------------------------------------------
 */

static int use_file(int fd, struct gyre_buffers *buffers)
{
    struct stat status;
    char bytes[16];

    TRY(gyre_pwrite_all(fd, "content", 7, 0, NULL));
    TRY(gyre_pread(fd, bytes, sizeof bytes, 0));
    TRY(gyre_pwrite_buffer(fd, buffers, 0, 4096, 0));
    TRY(gyre_pread_buffer(fd, buffers, 1, 4096, 0));
    TRY(gyre_fdatasync(fd));
    TRY(gyre_fallocate(fd, 0, 0, 8192));
    TRY(gyre_ftruncate(fd, 100));
    return gyre_fstat(fd, &status);
}

static int use_names(void)
{
    char text[64];

    TRY(gyre_truncate(in_place("file"), 10));
    TRY(gyre_chmod(in_place("file"), 0600));
    TRY(gyre_rename(in_place("file"), in_place("other")));
    TRY(gyre_link(in_place("other"), in_place("file")));
    TRY(gyre_symlink("file", in_place("link")));
    TRY(gyre_readlinkat(AT_FDCWD, in_place("link"), text, sizeof text));
    TRY(gyre_mkdir(in_place("directory"), 0700));
    return gyre_rmdir(in_place("directory"));
}

static int try_files(void)
{
    struct gyre_buffers *buffers;
    int fd, result;

    TRY(gyre_buffers_create(&buffers, 2, 4096));
    fd = gyre_open(in_place("file"), O_CREAT | O_RDWR, 0600);
    result = fd < 0 ? fd : use_file(fd, buffers);
    if (fd >= 0)
        gyre_close(fd);
    gyre_buffers_destroy(buffers);
    return result ? result : use_names();
}

/* Nobody opens its other end. */
static int try_fifo(void)
{
    int fd;

    if (mkfifo(in_place("fifo"), 0600))
        return 0;
    GYRE_TIMEOUT(2 * GYRE_MILLISECOND);
    fd = gyre_open(in_place("fifo"), O_RDONLY, 0);
    if (fd == -ETIMEDOUT)
        fd = 0;
    return fd;
}

static int visit(const struct gyre_visit *visited, void *unused)
{
    (void)unused;
    return visited->error;
}

static int try_trees(void)
{
    struct gyre_directory *directory;
    struct gyre_entry entry;
    char *data, path[64];
    int result;

    TRY(gyre_write_file(in_place("file"), "text", 4, 0600));
    TRY(gyre_copy_file(in_place("file"), in_place("copy")));
    TRY(gyre_read_file(in_place("copy"), &data, NULL, 0));
    free(data);
    TRY(gyre_mkdir_all(in_place("a/b/c"), 0700));
    TRY(gyre_mkdir_temp(in_place("t"), path, sizeof path));
    TRY(gyre_directory_open(&directory, place));
    while ((result = gyre_directory_next(directory, &entry)) == 1)
        ;
    gyre_directory_close(directory);
    TRY(result);
    TRY(gyre_walk(place, 1, visit, NULL));
    TRY(gyre_walk(place, 3, visit, NULL));
    return gyre_remove_all(in_place("a"));
}

static int move_bytes(int fds[2], int sockets[2])
{
    char bytes[64];

    TRY(gyre_write(fds[1], "abc", 3));
    TRY(gyre_splice(fds[0], NULL, sockets[0], NULL, 3, 0));
    TRY(gyre_read(sockets[1], bytes, 3));
    TRY(gyre_write_file(in_place("file"), "text", 4, 0600));
    return 0;
}

static int send_file(int out)
{
    int fd = gyre_open(in_place("file"), O_RDONLY, 0);
    ssize_t n;

    if (fd < 0)
        return fd;
    n = gyre_sendfile_all(out, fd, 0, 4, NULL);
    gyre_close(fd);
    return n < 0 ? (int)n : 0;
}

static int try_splice(void)
{
    int fds[2], sockets[2], result;

    TRY(gyre_pipe(fds));
    result = gyre_unix_pair(sockets, SOCK_STREAM);
    if (!result) {
        result = move_bytes(fds, sockets);
        if (!result)
            result = send_file(sockets[0]);
        gyre_close(sockets[0]);
        gyre_close(sockets[1]);
    }
    gyre_close(fds[0]);
    gyre_close(fds[1]);
    return result;
}

/* --- streams, polls ----------------------------------------------------------------------------
 */

static int talk(struct gyre_stream *a, struct gyre_stream *b)
{
    char *line, bytes[8];
    ssize_t n;

    gyre_stream_set_deadline(a, gyre_now() + 10 * GYRE_SECOND);
    TRY(gyre_stream_printf(a, "%s\n", "a line"));
    TRY(gyre_stream_write(a, place, sizeof place, NULL));
    TRY(gyre_stream_flush(a));
    TRY(gyre_stream_line(b, &line, NULL));
    TRY(gyre_stream_read_all(b, bytes, sizeof bytes, NULL));
    gyre_stream_set_read_deadline(a, gyre_now() + GYRE_MILLISECOND);
    n = gyre_stream_read(a, bytes, 1);
    return n == -ETIMEDOUT ? 0 : (int)n;
}

static int try_streams(void)
{
    struct gyre_stream *a, *b;
    int fds[2], result;

    TRY(gyre_unix_pair(fds, SOCK_STREAM));
    result = gyre_stream_open(&a, fds[0], NULL);
    if (result)
        gyre_close(fds[0]);
    if (!result) {
        result = gyre_stream_open(&b, fds[1], NULL);
        if (!result)
            result = talk(a, b);
        else
            b = NULL;
        gyre_stream_close(a);
        if (b) {
            gyre_stream_close(b);
            return result;
        }
    }
    gyre_close(fds[1]);
    return result;
}

static int poll_pipe(const int fds[2])
{
    struct pollfd both[] = {{fds[0], POLLIN, 0}, {fds[1], POLLIN, 0}};
    struct gyre_watch *watch;
    int result;

    TRY(gyre_poll_many(both, 2, GYRE_MILLISECOND));
    TRY(gyre_poll_many(both, 1, GYRE_MILLISECOND));
    TRY(gyre_watch_open(&watch, fds[0], POLLIN));
    result = (int)gyre_write(fds[1], "a", 1);
    if (result == 1)
        result = gyre_watch_next(watch);
    gyre_watch_close(watch);
    TRY(result);
    TRY(gyre_wait_writable(fds[1]));
    return gyre_poll(fds[0], POLLIN) > 0 ? 0 : -ENOMEM;
}

static int try_polls(void)
{
    static const uint32_t word = 1;
    int fds[2], result;

    TRY(gyre_pipe(fds));
    result = poll_pipe(fds);
    gyre_close(fds[0]);
    gyre_close(fds[1]);
    TRY(result);
    result = gyre_futex_wait(&word, 0, 0);
    return result == -EAGAIN || result == -EOPNOTSUPP ? 0 : result;
}

static int watch_place(struct gyre_inotify *inotify)
{
    const struct inotify_event *event;

    TRY(gyre_inotify_add(inotify, place, IN_CREATE));
    TRY(mkdir(in_place("new"), 0700) ? -EIO : 0);
    return gyre_inotify_next(inotify, &event);
}

static int try_events(void)
{
    struct gyre_inotify inotify = {0};
    uint64_t value;
    int fd = gyre_event_open(1, 0), result;

    TRY(fd);
    result = gyre_event_take(fd, &value);
    gyre_close(fd);
    TRY(result);
    TRY(gyre_inotify_open(&inotify));
    result = watch_place(&inotify);
    gyre_inotify_close(&inotify);
    return result < 0 ? result : 0;
}

/* --- sockets -----------------------------------------------------------------------------------
 */

static int exchange(int server, int client)
{
    struct iovec piece = {place, 4};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    struct gyre_address from;
    char bytes[64];
    unsigned segment;

    TRY(gyre_sendto(client, "abc", 3, 0, NULL));
    TRY(gyre_recvfrom(server, bytes, sizeof bytes, 0, &from));
    TRY(gyre_sendto(server, "abc", 3, 0, &from));
    TRY(gyre_recv_segments(client, bytes, sizeof bytes, &segment, NULL));
    TRY(gyre_send_segments(client, bytes, 12, 4, NULL));
    TRY(gyre_recv_segments(server, bytes, sizeof bytes, &segment, NULL));
    TRY(gyre_sendmsg(client, &message, 0));
    TRY(gyre_recvmsg(server, &message, 0));
    return 0;
}

static int try_datagrams(void)
{
    char text[GYRE_ADDRESS_SIZE];
    int server = gyre_udp_bind("127.0.0.1:0", GYRE_UDP_GRO | GYRE_UDP_PACKET_INFO), client, result;

    TRY(server);
    gyre_local_address(server, text, sizeof text);
    client = result = gyre_udp_dial(text);
    if (client >= 0) {
        result = exchange(server, client);
        gyre_close(client);
    }
    gyre_close(server);
    return result;
}

static int pass(int a, int b)
{
    struct gyre_credentials credentials;
    char bytes[8];
    int passed[2];
    size_t count = 2;
    ssize_t n;

    TRY(gyre_send_fds(a, "x", 1, (int[]){a, b}, 2));
    n = gyre_recv_fds(b, bytes, sizeof bytes, passed, &count);
    TRY(n);
    for (size_t i = 0; i < count; i++)
        gyre_close(passed[i]);
    TRY(gyre_write(a, "x", 1));
    return (int)gyre_recv_credentials(b, bytes, sizeof bytes, &credentials);
}

static int try_unix(void)
{
    struct gyre_listener *listener;
    int client, server, result = 0;

    TRY(gyre_unix_listen(&listener, in_place("socket"), SOCK_STREAM, 0600));
    client = result = gyre_unix_dial(in_place("socket"), SOCK_STREAM);
    if (client >= 0) {
        server = result = gyre_accept(listener);
        if (server >= 0) {
            result = pass(client, server);
            gyre_close(server);
        }
        gyre_close(client);
    }
    gyre_listener_close(listener);
    TRY(result);
    client = gyre_unix_bind(in_place("datagrams"), 0600);
    TRY(client);
    gyre_close(client);
    return 0;
}

static int feed_on(int fds[2])
{
    struct gyre_feed *feed;
    struct gyre_piece piece;
    int result;

    TRY(gyre_feed_open(&feed, fds[0], NULL));
    result = (int)gyre_write(fds[1], "abc", 3);
    if (result > 0)
        result = gyre_feed_next(feed, &piece);
    if (result == 1)
        gyre_feed_return(&piece);
    gyre_feed_close(feed);
    return result;
}

static int try_feeds(void)
{
    int fds[2], result;

    TRY(gyre_unix_pair(fds, SOCK_STREAM));
    result = feed_on(fds);
    if (result >= 0)
        result = feed_on(fds);
    gyre_close(fds[0]);
    gyre_close(fds[1]);
    return result;
}

enum { LARGE = 128 << 10 };

static char large[LARGE];

static int swallow(void *fd)
{
    static char bytes[LARGE];

    return (int)gyre_read_all(*(int *)fd, bytes, LARGE, NULL);
}

static int dial_once(struct gyre_listener *listener)
{
    struct gyre_dial_options options = GYRE_DIAL_INIT;
    char text[GYRE_ADDRESS_SIZE];

    gyre_local_address(gyre_listener_fd(listener), text, sizeof text);
    options.data = "x";
    options.data_size = 1;
    return gyre_tcp_dial_options(text, &options);
}

static int send_large(int client, int server)
{
    gyre_handle reader;
    char byte;
    ssize_t n;

    TRY(gyre_read(server, &byte, 1));
    TRY(gyre_spawn(&reader, swallow, &server));
    n = gyre_send_zero_copy(client, large, LARGE, NULL, NULL);
    gyre_shutdown(client, SHUT_RDWR);
    gyre_join(reader, NULL);
    return n < 0 ? (int)n : 0;
}

static int try_connections(void)
{
    struct gyre_listener *listener;
    int client, server, result;

    TRY(gyre_tcp_listen(&listener, "127.0.0.1:0"));
    client = result = dial_once(listener);
    if (client >= 0) {
        server = result = gyre_accept(listener);
        if (server >= 0) {
            result = send_large(client, server);
            gyre_close(server);
        }
        gyre_close(client);
    }
    gyre_listener_stop(listener);
    gyre_listener_close(listener);
    return result;
}

#endif
