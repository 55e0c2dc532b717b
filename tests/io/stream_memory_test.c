/* Streams whose n-th allocation fails: the call says so, loses nothing, and can be made again. */
#include "failing_memory.h"
#include "harness.h"

#include <gyre/stream.h>

static int use(void)
{
    static const char text[] = "a first line\nand a second one, longer than the buffer\nrest";
    struct gyre_stream_options options = GYRE_STREAM_INIT;
    struct gyre_stream *stream = NULL;
    char *lines[3] = {"", "", ""}, back[sizeof text] = "";
    int fds[2], error, count = 0;
    ssize_t n;

    make_stream_pair(fds);
    EXPECT_EQ(write(fds[1], text, sizeof text - 1), sizeof text - 1);
    EXPECT_EQ(shutdown(fds[1], SHUT_WR), 0);
    options.read_buffer = 8;
    options.write_buffer = 16;
    error = gyre_stream_open(&stream, fds[0], &options);
    if (error) {
        close(fds[0]);
        close(fds[1]);
        return error;
    }
    while ((n = gyre_stream_line(stream, &lines[count], NULL)) != 0) {
        if (n == 1)
            count++;
        else
            error = (int)n; /* and once more, which works */
    }
    EXPECT_EQ(count, 3);
    EXPECT(!strcmp(lines[2], "rest"));
    n = gyre_stream_write(stream, text, sizeof text - 1, NULL);
    if (n < 0) {
        error = (int)n;
        n = gyre_stream_write(stream, text, sizeof text - 1, NULL);
    }
    EXPECT_EQ(n, sizeof text - 1);
    EXPECT_EQ(gyre_stream_close(stream), 0);
    EXPECT_EQ(read(fds[1], back, sizeof back), sizeof text - 1);
    EXPECT(!memcmp(back, text, sizeof text - 1));
    close(fds[1]);
    return error;
}

INSIDE(stream_memory, each_failure_is_told_and_loses_nothing)
{
    int error;

    FAILS_AT_EACH(error, error = use());
    return 0;
}
