/*
 * Heads are put together by copying: formatted printing would cost more than all the rest of a
 * short request.
 */
#include "http/response.h"

#include <errno.h>
#include <http_parser.h>
#include <string.h>

enum { HEAD_MAX = 512, BODY_MAX = 256 };

_Static_assert(HEAD_MAX + BODY_MAX <= sizeof((struct output *)0)->bytes, "a response fits");

void format_date(char text[30], time_t when)
{
    struct tm tm;

    /* the names are English whatever the locale: the program never calls setlocale */
    gmtime_r(&when, &tm);
    strftime(text, 30, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

/*
 * The text is remade when the second changes. It belongs to the thread, so this function must not
 * park, nor be inlined into one that does, where the address of a thread-local could outlive a
 * move to another worker.
 */
__attribute__((noinline)) static void put_date(char *to)
{
    static _Thread_local struct {
        time_t second;
        char text[30];
    } cache;
    struct timespec now;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != cache.second) {
        cache.second = now.tv_sec;
        format_date(cache.text, now.tv_sec);
    }
    memcpy(to, cache.text, 29);
}

static void put(struct output *output, const char *text, size_t size)
{
    memcpy(output->bytes + output->used, text, size);
    output->used += (unsigned)size;
}

static void put_text(struct output *output, const char *text)
{
    put(output, text, strlen(text));
}

static void put_number(struct output *output, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    put(output, digits + at, sizeof digits - at);
}

void output_response(struct output *output, const struct response *response, const char *body)
{
    /* 29 characters of any kind, where the date goes */
    static const char date[] = "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

    if (output->used + HEAD_MAX + BODY_MAX > sizeof output->bytes)
        output_flush(output, NULL, 0);
    put_text(output, "HTTP/1.1 ");
    put_number(output, (uint64_t)response->status);
    put_text(output, " ");
    put_text(output, http_status_str((enum http_status)response->status));
    put(output, date, sizeof date - 1);
    put_date(output->bytes + output->used - 31);
    if (response->type) {
        put_text(output, "Content-Type: ");
        put_text(output, response->type);
        put_text(output, "\r\nContent-Length: ");
        put_number(output, response->length);
        put_text(output, "\r\n");
    }
    if (response->modified) {
        char text[30];

        format_date(text, response->modified);
        put_text(output, "Last-Modified: ");
        put_text(output, text);
        put_text(output, "\r\n");
    }
    if (response->extra)
        put_text(output, response->extra);
    if (response->close)
        put_text(output, "Connection: close\r\n");
    else if (response->http10)
        put_text(output, "Connection: keep-alive\r\n");
    put_text(output, "\r\n");
    if (body)
        put(output, body, response->length);
}

void output_error(struct output *output, const struct response *response, bool head)
{
    struct response error = *response;
    char text[64];

    stpcpy(stpcpy(text, http_status_str((enum http_status)error.status)), "\n");
    error.type = "text/plain";
    error.length = strlen(text);
    output_response(output, &error, head ? NULL : text);
}

void output_continue(struct output *output)
{
    if (output->used + HEAD_MAX > sizeof output->bytes)
        output_flush(output, NULL, 0);
    put_text(output, "HTTP/1.1 100 Continue\r\n\r\n");
    output_flush(output, NULL, 0);
}

/*
 * What fits the socket's buffer goes out at once, which nearly always is all. A timer for each
 * response would cost more than putting it together.
 */
static size_t write_at_once(const struct output *output, int flags)
{
    ssize_t n;

    GYRE_SHIELD(); /* a server that stops finishes what it has begun */
    n = gyre_send(output->fd, output->bytes, output->used, MSG_DONTWAIT | flags);
    return n > 0 ? (size_t)n : 0; /* an error comes again */
}

/* To a client that may be slow to take it: within the timeout, and until the grace is over. */
static int write_in_time(const struct output *output, const struct iovec *pieces, int count)
{
    ssize_t n;

    GYRE_WITH_CONTEXT(output->server->serving);
    GYRE_TIMEOUT(output->server->settings.write_timeout);
    n = gyre_writev_all(output->fd, pieces, count, NULL);
    return n < 0 ? (int)n : 0;
}

static int flush(struct output *output, const void *body, size_t size, int flags)
{
    size_t sent = 0;

    if (!output->error && output->used > 0 && size == 0)
        sent = write_at_once(output, flags);
    if (!output->error && output->used + size > sent) {
        const struct iovec pieces[2] = {{output->bytes + sent, output->used - sent},
                                        {(void *)body, size}};

        output->error = write_in_time(output, pieces, size ? 2 : 1);
    }
    output->used = 0;
    return output->error;
}

int output_flush(struct output *output, const void *body, size_t size)
{
    return flush(output, body, size, 0);
}

enum { FILE_PIECE = 1024 * 1024 };

int output_file(struct output *output, int file, uint64_t offset, uint64_t size)
{
    flush(output, NULL, 0, MSG_MORE); /* the file's first bytes share its segment */
    GYRE_WITH_CONTEXT(output->server->serving);
    while (!output->error && size > 0) {
        size_t piece = size < FILE_PIECE ? size : FILE_PIECE;
        ssize_t n;

        GYRE_TIMEOUT(output->server->settings.write_timeout);
        n = gyre_sendfile_all(output->fd, file, (off_t)offset, piece, NULL);
        if (n != (ssize_t)piece) /* shorter: the file was cut meanwhile */
            output->error = n < 0 ? (int)n : -EPIPE;
        offset += piece;
        size -= piece;
    }
    return output->error;
}
