/* Streams: buffers, lines, batch writes, deadlines, close. */
#include "harness.h"

#include <gyre/stream.h>

#include <sys/ioctl.h>

static struct gyre_stream *open_stream(int fd, size_t read_buffer, size_t write_buffer,
                                       size_t limit)
{
    struct gyre_stream_options options = GYRE_STREAM_INIT;
    struct gyre_stream *stream = NULL;

    options.read_buffer = read_buffer;
    options.write_buffer = write_buffer;
    options.limit = limit;
    EXPECT_EQ(gyre_stream_open(&stream, fd, &options), 0);
    return stream;
}

/* A stream that reads text and then the end. */
static struct gyre_stream *stream_of(const char *text, size_t read_buffer, size_t limit)
{
    int fds[2];

    make_pipe(fds);
    EXPECT_EQ(write(fds[1], text, strlen(text)), strlen(text));
    close(fds[1]);
    return open_stream(fds[0], read_buffer, 0, limit);
}

static void expect_text(const char *data, ssize_t length, const char *text)
{
    EXPECT_EQ(length, strlen(text));
    EXPECT(length == (ssize_t)strlen(text) && !memcmp(data, text, (size_t)length));
}

static void expect_line(struct gyre_stream *stream, const char *text)
{
    char *line = NULL;
    size_t length = 0;

    EXPECT_EQ(gyre_stream_line(stream, &line, &length), 1);
    EXPECT_EQ(length, strlen(text));
    EXPECT(line && !strcmp(line, text));
}

/* --- opening -----------------------------------------------------------------------------------
 */

Test(stream, open_wants_a_descriptor_and_known_options)
{
    struct gyre_stream_options options = GYRE_STREAM_INIT;
    struct gyre_stream *stream = (void *)&options;

    cr_assert_eq(gyre_stream_open(&stream, -1, NULL), -EBADF);
    options.size = 3;
    cr_assert_eq(gyre_stream_open(&stream, 0, &options), -EINVAL);
    options.size = sizeof options;
    options.limit = SIZE_MAX;
    cr_assert_eq(gyre_stream_open(&stream, 0, &options), -EINVAL);
    cr_assert_eq(stream, (void *)&options);
}

INSIDE(stream, keep_fd_leaves_the_descriptor)
{
    struct gyre_stream_options options = GYRE_STREAM_INIT;
    struct gyre_stream *stream;
    int fds[2];

    make_pipe(fds);
    options.keep_fd = 1;
    EXPECT_EQ(gyre_stream_open(&stream, fds[1], &options), 0);
    EXPECT_EQ(gyre_stream_fd(stream), fds[1]);
    EXPECT_EQ(gyre_stream_write(stream, "x", 1, NULL), 1);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    EXPECT_EQ(gyre_stream_close(NULL), 0);
    EXPECT_EQ(close(fds[1]), 0);
    EXPECT_EQ(close(fds[0]), 0);
    return 0;
}

/* --- reading -----------------------------------------------------------------------------------
 */

INSIDE(stream, lines_of_both_kinds_and_a_last_one_without)
{
    struct gyre_stream *stream = stream_of("one\r\n\n\rtwo\r\r\nlast", 4, 0);
    char *line = NULL;

    expect_line(stream, "one");
    expect_line(stream, "");
    expect_line(stream, "\rtwo\r");
    expect_line(stream, "last");
    EXPECT_EQ(gyre_stream_line(stream, &line, NULL), 0);
    EXPECT(!line);
    EXPECT_EQ(gyre_stream_line(stream, &line, NULL), 0);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    return 0;
}

INSIDE(stream, a_line_above_the_limit_is_left_and_can_be_skipped)
{
    struct gyre_stream *stream = stream_of("0123456\n01234567\nend\n", 2, 8);
    char *line = NULL;
    const char *data = NULL;

    expect_line(stream, "0123456"); /* with its end just the limit */
    EXPECT_EQ(gyre_stream_line(stream, &line, NULL), -ENOBUFS);
    EXPECT_EQ(gyre_stream_until(stream, '\n', &data), -ENOBUFS);
    EXPECT(!line && !data);
    EXPECT_EQ(gyre_stream_buffered(stream), 8);
    EXPECT_EQ(gyre_stream_skip(stream, 9, NULL), 9);
    expect_line(stream, "end");
    EXPECT_EQ(gyre_stream_close(stream), 0);
    return 0;
}

INSIDE(stream, half_a_line_waits_for_the_rest)
{
    struct gyre_stream_options options = GYRE_STREAM_INIT;
    struct gyre_stream *stream;
    char name[] = "/tmp/gyre_stream.XXXXXX", *line = NULL;
    const char *data = NULL;
    int fd = mkostemp(name, O_CLOEXEC), writer = open(name, O_WRONLY | O_APPEND | O_CLOEXEC);

    EXPECT_EQ(unlink(name), 0);
    options.whole_lines = 1;
    EXPECT_EQ(gyre_stream_open(&stream, fd, &options), 0);
    EXPECT_EQ(write(writer, "one\nhal", 7), 7);
    expect_line(stream, "one");
    EXPECT_EQ(gyre_stream_line(stream, &line, NULL), 0);
    EXPECT_EQ(gyre_stream_line(stream, &line, NULL), 0);
    EXPECT_EQ(write(writer, "f\nend", 5), 5);
    expect_line(stream, "half");
    EXPECT_EQ(gyre_stream_line(stream, &line, NULL), 0);
    EXPECT_EQ(gyre_stream_until(stream, '\n', &data), 0);
    EXPECT(!line && !data);
    EXPECT_EQ(gyre_stream_buffered(stream), 3);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    EXPECT_EQ(close(writer), 0);
    return 0;
}

INSIDE(stream, a_limit_below_the_first_buffer_is_the_limit)
{
    struct gyre_stream *stream = stream_of("0123456\n01234567\n", 0, 8);
    char *line;

    expect_line(stream, "0123456");
    EXPECT_EQ(gyre_stream_line(stream, &line, NULL), -ENOBUFS);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    return 0;
}

INSIDE(stream, until_gives_the_delimiter_too_and_what_is_left)
{
    struct gyre_stream *stream = stream_of("ab;;cd", 3, 0);
    const char *data = NULL;
    ssize_t n = gyre_stream_until(stream, ';', &data);

    expect_text(data, n, "ab;");
    n = gyre_stream_until(stream, ';', &data);
    expect_text(data, n, ";");
    n = gyre_stream_until(stream, ';', &data);
    expect_text(data, n, "cd");
    EXPECT_EQ(gyre_stream_until(stream, ';', &data), 0);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    return 0;
}

INSIDE(stream, peek_consumes_nothing)
{
    struct gyre_stream *stream = stream_of("0123456789", 4, 8);
    const void *data = NULL;
    size_t done = 99;

    EXPECT_EQ(gyre_stream_peek(stream, &data, 0), 0);
    EXPECT_EQ(gyre_stream_peek(stream, &data, 9), -ENOBUFS);
    EXPECT_EQ(gyre_stream_peek(stream, &data, 2), 4);
    EXPECT_EQ(gyre_stream_peek(stream, &data, 6), 8);
    EXPECT(!memcmp(data, "01234567", 8));
    EXPECT_EQ(gyre_stream_skip(stream, 5, &done), 5);
    EXPECT_EQ(done, 5);
    EXPECT_EQ(gyre_stream_peek(stream, &data, 8), 5); /* the end */
    EXPECT(!memcmp(data, "56789", 5));
    EXPECT_EQ(gyre_stream_skip(stream, 6, &done), 5);
    EXPECT_EQ(done, 5);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    return 0;
}

INSIDE(stream, read_takes_from_the_buffer_first)
{
    struct gyre_stream *stream = stream_of("0123456789", 4, 0);
    char buffer[16];
    size_t done = 99;

    EXPECT_EQ(gyre_stream_read(stream, buffer, 0), 0);
    EXPECT_EQ(gyre_stream_read(stream, buffer, 1), 1);
    EXPECT_EQ(gyre_stream_buffered(stream), 3);
    EXPECT_EQ(gyre_stream_read(stream, buffer, sizeof buffer), 3);
    expect_text(buffer, 3, "123");
    EXPECT_EQ(gyre_stream_read_all(stream, buffer, 5, &done), 5);
    EXPECT_EQ(done, 5);
    expect_text(buffer, 5, "45678");
    EXPECT_EQ(gyre_stream_read_all(stream, buffer, 5, &done), 1);
    EXPECT_EQ(gyre_stream_read_all(stream, buffer, 5, &done), 0);
    EXPECT_EQ(gyre_stream_read(stream, buffer, 5), 0);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    return 0;
}

INSIDE(stream, the_buffer_grows_where_reads_fill_it)
{
    enum { SIZE = 300000, LINE = 60 };
    char *text = malloc(SIZE + 1), path[] = "/tmp/gyre-stream-XXXXXX";
    int fd = mkstemp(path), lines = 0;
    struct gyre_stream *stream;
    char *line;
    size_t length;

    for (int i = 0; i < SIZE; i++)
        text[i] = i % LINE == LINE - 1 ? '\n' : (char)('a' + i % 26);
    EXPECT_EQ(write(fd, text, SIZE), SIZE);
    EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
    unlink(path);
    stream = open_stream(fd, 0, 0, 0);
    while (gyre_stream_line(stream, &line, &length) == 1) {
        EXPECT_EQ(length, LINE - 1);
        EXPECT(!memcmp(line, text + lines * LINE, LINE - 1));
        lines++;
    }
    EXPECT_EQ(lines, SIZE / LINE);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    free(text);
    return 0;
}

INSIDE(stream, errors_of_the_descriptor_are_returned)
{
    struct gyre_stream *stream;
    char byte, *line;
    int fds[2];

    make_pipe(fds);
    stream = open_stream(fds[1], 0, 0, 0); /* the end to write to */
    EXPECT_EQ(gyre_stream_read(stream, &byte, 1), -EBADF);
    EXPECT_EQ(gyre_stream_line(stream, &line, NULL), -EBADF);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    stream = open_stream(fds[0], 0, 0, 0);
    EXPECT_EQ(gyre_stream_write(stream, "x", 1, NULL), 1);
    EXPECT_EQ(gyre_stream_flush(stream), -EBADF);
    EXPECT_EQ(gyre_stream_unflushed(stream), 1);
    EXPECT_EQ(gyre_stream_close(stream), -EBADF);
    return 0;
}

/* --- writing -----------------------------------------------------------------------------------
 */

INSIDE(stream, writes_are_buffered_until_they_do_not_fit)
{
    char buffer[64];
    struct gyre_stream *stream;
    size_t done;
    int fds[2];

    make_stream_pair(fds);
    stream = open_stream(fds[1], 0, 8, 0);
    EXPECT_EQ(gyre_stream_write(stream, "01234", 5, &done), 5);
    EXPECT_EQ(done, 5);
    EXPECT_EQ(gyre_stream_printf(stream, "%d", 567), 3);
    EXPECT_EQ(gyre_stream_unflushed(stream), 8);
    EXPECT_EQ(recv(fds[0], buffer, sizeof buffer, MSG_DONTWAIT), -1);
    EXPECT_EQ(gyre_stream_write(stream, "89", 2, NULL), 2);
    EXPECT_EQ(gyre_stream_unflushed(stream), 0);
    expect_text(buffer, recv(fds[0], buffer, sizeof buffer, MSG_DONTWAIT), "0123456789");
    EXPECT_EQ(gyre_stream_write(stream, "a much longer one", 17, NULL), 17);
    expect_text(buffer, recv(fds[0], buffer, sizeof buffer, MSG_DONTWAIT), "a much longer one");
    EXPECT_EQ(gyre_stream_write(stream, "end", 3, NULL), 3);
    EXPECT_EQ(gyre_stream_flush(stream), 0);
    expect_text(buffer, recv(fds[0], buffer, sizeof buffer, MSG_DONTWAIT), "end");
    EXPECT_EQ(gyre_stream_write(stream, "by close", 8, NULL), 8);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    expect_text(buffer, recv(fds[0], buffer, sizeof buffer, MSG_DONTWAIT), "by close");
    close(fds[0]);
    return 0;
}

INSIDE(stream, printf_makes_room_and_knows_its_limit)
{
    char buffer[64];
    struct gyre_stream *stream;
    int fds[2];

    make_stream_pair(fds);
    stream = open_stream(fds[1], 0, 8, 0);
    EXPECT_EQ(gyre_stream_printf(stream, "%s", "012345678"), -ENOBUFS);
    EXPECT_EQ(gyre_stream_unflushed(stream), 0);
    EXPECT_EQ(gyre_stream_printf(stream, "%s", "01234567"), 8);
    EXPECT_EQ(gyre_stream_printf(stream, "%s", "abc"), 3);
    expect_text(buffer, recv(fds[0], buffer, sizeof buffer, MSG_DONTWAIT), "01234567");
    EXPECT_EQ(gyre_stream_unflushed(stream), 3);
    EXPECT_EQ(gyre_stream_printf(stream, "%s", "012345678"), -ENOBUFS);
    EXPECT_EQ(gyre_stream_unflushed(stream), 3);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    close(fds[0]);
    return 0;
}

INSIDE(stream, a_write_to_a_closed_peer_fails_without_a_signal)
{
    struct gyre_stream *stream;
    size_t done = 99;
    int fds[2];

    make_stream_pair(fds);
    close(fds[0]);
    stream = open_stream(fds[1], 0, 4, 0);
    EXPECT_EQ(gyre_stream_write(stream, "0123456", 7, &done), -EPIPE);
    EXPECT_EQ(done, 0);
    EXPECT_EQ(gyre_stream_close(stream), 0); /* nothing is left to flush */
    return 0;
}

/* --- deadlines ---------------------------------------------------------------------------------
 */

struct waiting {
    struct gyre_stream *stream;
    ssize_t result;
    int context_error;
    size_t done;
    char buffer[8];
};

static int wait_to_read(void *arg)
{
    struct waiting *waiting = arg;

    waiting->result = gyre_stream_read_all(waiting->stream, waiting->buffer, 4, &waiting->done);
    waiting->context_error = gyre_context_error();
    return 0;
}

static gyre_handle start_reading(struct waiting *waiting, struct gyre_stream *stream)
{
    gyre_handle handle;

    *waiting = (struct waiting){.stream = stream};
    EXPECT_EQ(gyre_spawn(&handle, wait_to_read, waiting), 0);
    await_parked(handle);
    return handle;
}

INSIDE(stream, a_deadline_ends_a_read_in_progress_and_stays)
{
    struct gyre_stream *stream;
    struct waiting waiting;
    gyre_handle handle;
    int fds[2], left = 0;

    make_stream_pair(fds);
    stream = open_stream(fds[0], 0, 0, 0);
    handle = start_reading(&waiting, stream);
    EXPECT_EQ(write(fds[1], "ab", 2), 2);
    while (ioctl(fds[0], FIONREAD, &left) == 0 && left)
        gyre_yield();
    gyre_stream_set_read_deadline(stream, gyre_now() + 5 * GYRE_MILLISECOND);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    EXPECT_EQ(waiting.result, -ETIMEDOUT);
    EXPECT_EQ(waiting.context_error, 0);
    EXPECT_EQ(waiting.done, 2);
    EXPECT_EQ(write(fds[1], "cd", 2), 2);
    EXPECT_EQ(gyre_stream_read(stream, waiting.buffer, 2), -ETIMEDOUT);
    gyre_stream_set_read_deadline(stream, 0);
    EXPECT_EQ(gyre_stream_read(stream, waiting.buffer, 1), 1);
    gyre_stream_set_deadline(stream, 1);
    EXPECT_EQ(gyre_stream_read(stream, waiting.buffer, 1), 1); /* it was in the buffer */
    EXPECT_EQ(gyre_stream_read(stream, waiting.buffer, 1), -ETIMEDOUT);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    close(fds[1]);
    return 0;
}

INSIDE(stream, a_deadline_is_set_moved_earlier_and_removed_while_a_read_waits)
{
    struct gyre_stream *stream;
    struct waiting waiting;
    gyre_handle handle;
    int64_t when;
    bool in_time;
    int fds[2];

    make_stream_pair(fds);
    stream = open_stream(fds[0], 0, 0, 0);
    handle = start_reading(&waiting, stream);
    gyre_stream_set_deadline(stream, gyre_now() + GYRE_SECOND * 1000);
    gyre_stream_set_deadline(stream, gyre_now() + GYRE_MILLISECOND);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    EXPECT_EQ(waiting.result, -ETIMEDOUT);

    gyre_stream_set_deadline(stream, 0);
    do { /* until it is removed in time */
        handle = start_reading(&waiting, stream);
        when = gyre_now() + 3 * GYRE_MILLISECOND;
        gyre_stream_set_deadline(stream, when);
        gyre_stream_set_deadline(stream, 0);
        in_time = gyre_now() < when;
        gyre_sleep_until(when + GYRE_MILLISECOND);
        EXPECT_EQ(write(fds[1], "abcd", 4), 4);
        EXPECT_EQ(gyre_join(handle, NULL), 0);
        EXPECT(waiting.result == 4 || (!in_time && waiting.result == -ETIMEDOUT));
        if (waiting.result < 0)
            EXPECT_EQ(gyre_stream_read_all(stream, waiting.buffer, 4, NULL), 4);
    } while (!in_time);

    handle = start_reading(&waiting, stream);
    gyre_stream_set_deadline(stream, -1);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    EXPECT_EQ(waiting.result, -ETIMEDOUT);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    close(fds[1]);
    return 0;
}

INSIDE(stream, a_deadline_moved_later_holds_to_the_later_moment)
{
    struct gyre_stream *stream;
    struct waiting waiting;
    gyre_handle handle;
    int64_t when;
    int fds[2];

    make_stream_pair(fds);
    stream = open_stream(fds[0], 0, 0, 0);
    handle = start_reading(&waiting, stream);
    gyre_stream_set_read_deadline(stream, gyre_now() + GYRE_MILLISECOND);
    when = gyre_now() + 5 * GYRE_MILLISECOND;
    gyre_stream_set_read_deadline(stream, when);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    /* The first one may have been faster than we were. */
    EXPECT(waiting.result == -ETIMEDOUT);
    gyre_stream_set_read_deadline(stream, gyre_now() + GYRE_MILLISECOND);
    when = gyre_now() + 5 * GYRE_MILLISECOND;
    gyre_stream_set_read_deadline(stream, when);
    EXPECT_EQ(gyre_stream_read(stream, waiting.buffer, 1), -ETIMEDOUT);
    EXPECT(gyre_now() >= when);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    close(fds[1]);
    return 0;
}

INSIDE(stream, what_a_write_did_not_get_out_before_the_deadline_can_follow)
{
    enum { SIZE = 1 << 20 };
    char *data = malloc(SIZE), *back = malloc(SIZE);
    struct gyre_stream *stream;
    size_t done = 0, more = 0, got = 0;
    ssize_t n;
    int fds[2];

    for (int i = 0; i < SIZE; i++)
        data[i] = (char)(i * 7 >> 4);
    make_stream_pair(fds);
    stream = open_stream(fds[1], 0, 0, 0);
    EXPECT_EQ(gyre_stream_write(stream, data, 100, NULL), 100);
    gyre_stream_set_write_deadline(stream, gyre_now() + 2 * GYRE_MILLISECOND);
    EXPECT_EQ(gyre_stream_write(stream, data + 100, SIZE - 100, &done), -ETIMEDOUT);
    EXPECT(done < SIZE - 100);
    EXPECT_EQ(gyre_context_error(), 0);
    done += 100;
    gyre_stream_set_write_deadline(stream, 0);
    while (got < SIZE) {
        n = recv(fds[0], back + got, SIZE - got, MSG_DONTWAIT);
        if (n > 0)
            got += (size_t)n;
        if (got == SIZE)
            break;
        gyre_stream_set_write_deadline(stream, gyre_now() + GYRE_MILLISECOND);
        n = done < SIZE ? gyre_stream_write(stream, data + done, SIZE - done, &more)
                        : gyre_stream_flush(stream);
        EXPECT(n >= 0 || n == -ETIMEDOUT);
        done += done < SIZE ? more : 0;
    }
    EXPECT(!memcmp(data, back, SIZE));
    gyre_stream_set_write_deadline(stream, 1);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    close(fds[0]);
    free(data);
    free(back);
    return 0;
}

INSIDE(stream, the_context_counts_besides)
{
    struct gyre_stream *stream;
    char byte;
    int fds[2];

    make_stream_pair(fds);
    stream = open_stream(fds[0], 0, 0, 0);
    gyre_stream_set_read_deadline(stream, gyre_now() + 1000 * GYRE_SECOND);
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_stream_read(stream, &byte, 1), -ETIMEDOUT);
        EXPECT_EQ(gyre_context_error(), -ETIMEDOUT);
        EXPECT_EQ(write(fds[1], "x", 1), 1);
        EXPECT_EQ(gyre_stream_write(stream, "y", 1, NULL), -ETIMEDOUT);
        EXPECT_EQ(gyre_stream_flush(stream), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_stream_read(stream, &byte, 1), 1);
    {
        GYRE_SHIELD();
        gyre_stream_set_read_deadline(stream, gyre_now() + GYRE_MILLISECOND);
        EXPECT_EQ(gyre_stream_read(stream, &byte, 1), -ETIMEDOUT); /* reaches into a shield */
    }
    EXPECT_EQ(gyre_stream_close(stream), 0);
    close(fds[1]);
    return 0;
}

static int inside_virtual_time(void *unused)
{
    struct gyre_stream *stream;
    int64_t start = gyre_now();
    char byte;
    int fds[2];

    (void)unused;
    make_stream_pair(fds);
    stream = open_stream(fds[0], 0, 0, 0);
    gyre_stream_set_read_deadline(stream, start + 3600 * GYRE_SECOND);
    gyre_stream_set_read_deadline(stream, start + 2 * 3600 * GYRE_SECOND);
    EXPECT_EQ(gyre_sleep(3600 * GYRE_SECOND), 0);
    EXPECT_EQ(write(fds[1], "x", 1), 1);
    EXPECT_EQ(gyre_stream_read(stream, &byte, 1), 1);
    EXPECT_EQ(gyre_sleep(3600 * GYRE_SECOND), 0);
    EXPECT_EQ(gyre_stream_read(stream, &byte, 1), -ETIMEDOUT);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    close(fds[1]);
    return 0;
}

/* --- close -------------------------------------------------------------------------------------
 */

INSIDE(stream, close_ends_a_read_that_waits)
{
    struct gyre_stream *stream;
    struct waiting waiting;
    gyre_handle handle;
    int fds[2];

    make_stream_pair(fds);
    stream = open_stream(fds[0], 0, 0, 0);
    EXPECT_EQ(gyre_stream_write(stream, "bye", 3, NULL), 3);
    handle = start_reading(&waiting, stream);
    gyre_stream_set_deadline(stream, gyre_now() + 1000 * GYRE_SECOND);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    EXPECT_EQ(waiting.result, -EBADF);
    EXPECT_EQ(read(fds[1], waiting.buffer, 4), 3);
    EXPECT_EQ(read(fds[1], waiting.buffer, 4), 0);
    close(fds[1]);
    return 0;
}

static int wait_to_write(void *arg)
{
    enum { SIZE = 4 << 20 };
    struct waiting *waiting = arg;
    char *data = calloc(1, SIZE);

    waiting->result = gyre_stream_write(waiting->stream, data, SIZE, &waiting->done);
    free(data);
    return 0;
}

INSIDE(stream, close_ends_a_write_and_a_read_that_wait_and_its_flush_has_a_deadline)
{
    struct waiting reading, writing = {0};
    gyre_handle reader, writer;
    int fds[2];

    make_stream_pair(fds);
    writing.stream = open_stream(fds[0], 0, 16, 0);
    EXPECT_EQ(gyre_spawn(&writer, wait_to_write, &writing), 0);
    await_parked(writer);
    reader = start_reading(&reading, writing.stream);
    EXPECT_EQ(gyre_stream_close(writing.stream), 0);
    EXPECT_EQ(gyre_join(writer, NULL), 0);
    EXPECT_EQ(gyre_join(reader, NULL), 0);
    EXPECT_EQ(writing.result, -EBADF);
    EXPECT_EQ(reading.result, -EBADF);
    EXPECT(writing.done > 0 && writing.done < 4 << 20);
    close(fds[1]);

    make_stream_pair(fds);
    EXPECT_EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    while (write(fds[0], reading.buffer, 1) == 1)
        ;
    EXPECT_EQ(fcntl(fds[0], F_SETFL, 0), 0);
    writing.stream = open_stream(fds[0], 0, 16, 0);
    EXPECT_EQ(gyre_stream_write(writing.stream, "x", 1, NULL), 1);
    gyre_stream_set_write_deadline(writing.stream, gyre_now() + GYRE_MILLISECOND);
    EXPECT_EQ(gyre_stream_close(writing.stream), -ETIMEDOUT);
    close(fds[1]);
    return 0;
}

INSIDE(stream, close_of_the_descriptor_ends_the_stream_for_good)
{
    struct gyre_stream *stream;
    struct waiting waiting;
    gyre_handle handle;
    int fds[2], again[2];

    make_stream_pair(fds);
    stream = open_stream(fds[0], 0, 0, 0);
    handle = start_reading(&waiting, stream);
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    EXPECT_EQ(waiting.result, -EBADF);
    make_stream_pair(again);
    EXPECT_EQ(again[0], fds[0]);
    EXPECT_EQ(write(again[1], "x", 1), 1);
    EXPECT_EQ(gyre_stream_read(stream, waiting.buffer, 1), -EBADF);
    EXPECT_EQ(gyre_stream_close(stream), -EBADF); /* the number's new file is not the stream's */
    EXPECT_EQ(close(again[0]), 0);
    close(again[1]);
    close(fds[1]);
    return 0;
}

Test(stream, deadlines_follow_a_tests_clock)
{
    cr_assert_eq(gyre_test(inside_virtual_time, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}
