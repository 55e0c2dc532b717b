/*
 * The life of a connection: wait for bytes, answer the requests that they complete, flush, again.
 *
 * At any moment one deadline holds, by what is waited for: a next request (idle_timeout), the end
 * of a header, the end of a body. It is fixed when the wait for that begins, so a client can't
 * stretch it by sending a byte at a time.
 *
 * The coroutine's frame is all of the connection's memory, and small: an idle connection keeps a
 * page or two of its stack. Larger buffers exist only while a file is sent.
 */
#include "http/files.h"
#include "http/request.h"
#include "http/response.h"
#include "http/server.h"

#include <errno.h>
#include <string.h>

enum { INPUT_SIZE = 1024, LINGER_BYTES = 16 * 1024 * 1024 };

#define LINGER_TIME (2 * GYRE_SECOND)

struct connection {
    struct server *server;
    int fd;
    int64_t deadline; /* of the stage that the request is in */
    bool done;        /* nothing more is answered */
    bool linger;      /* the client may still be sending */
    struct request request;
    struct output output;
    char input[INPUT_SIZE];
};

static void route(struct connection *connection, const struct response *base)
{
    static const char hello[] = "Hello, world!\n";
    const struct request *request = &connection->request;
    struct output *output = &connection->output;
    bool head = request->parser.method == HTTP_HEAD;
    const char *target = request_target(request), *path = target;
    size_t length = strcspn(path, "?#");
    struct response response = *base;

    if (*target != '/') { /* "http://host/path", which a server must take too, or "*" */
        struct http_parser_url url;

        http_parser_url_init(&url);
        if (http_parser_parse_url(target, request->target_length, false, &url) ||
            !(url.field_set & 1 << UF_PATH)) {
            response.status = 400;
            output_error(output, &response, head);
            return;
        }
        path = target + url.field_data[UF_PATH].off;
        length = url.field_data[UF_PATH].len;
    }
    if ((length == 1 && *path == '/') || (length == 6 && memcmp(path, "/hello", 6) == 0)) {
        response.status = 200;
        response.type = "text/plain";
        response.length = sizeof hello - 1;
        output_response(output, &response, head ? NULL : hello);
    } else if (connection->server->root < 0) {
        response.status = 404;
        output_error(output, &response, head);
    } else if (!files_answer(output, request, &response, path, length)) {
        connection->done = true;
    }
}

/* Answers the request that has just been completed or refused. */
static void answer(struct connection *connection)
{
    struct request *request = &connection->request;
    const http_parser *parser = &request->parser;
    struct response response = {.http10 = parser->http_major == 1 && parser->http_minor == 0};

    if (request->stage == REQUEST_REFUSED) {
        response.status = request->status;
        response.close = connection->done = connection->linger = true;
        output_error(&connection->output, &response, parser->method == HTTP_HEAD);
        return;
    }
    if (server_stopping(connection->server))
        connection->linger = true;
    response.close = !request->keep_alive || connection->linger;
    connection->done = response.close;
    if (parser->method == HTTP_GET || parser->method == HTTP_HEAD) {
        route(connection, &response);
    } else {
        response.status = 405;
        response.extra = "Allow: GET, HEAD\r\n";
        output_error(&connection->output, &response, false);
    }
}

/* What a wait that begins now may take. */
static void set_deadline(struct connection *connection)
{
    const struct settings *settings = &connection->server->settings;
    int64_t timeout = settings->idle_timeout;

    if (connection->request.stage == REQUEST_HEADER)
        timeout = settings->header_timeout;
    else if (connection->request.stage == REQUEST_BODY)
        timeout = settings->body_timeout;
    connection->deadline = gyre_now() + timeout;
}

/* Takes the bytes that came, answers what they complete. */
static void take(struct connection *connection, size_t size)
{
    struct request *request = &connection->request;
    enum request_stage before = request->stage;
    bool answered = false;
    size_t at = 0;

    while (at < size && !connection->done && !connection->output.error) {
        at += request_feed(request, connection->input + at, size - at);
        if (request->stage == REQUEST_DONE || request->stage == REQUEST_REFUSED) {
            answer(connection);
            answered = true;
        }
        if (request->stage == REQUEST_DONE)
            request_next(request);
    }
    if (connection->done) {
        if (at < size)
            connection->linger = true;
    } else if (answered || request->stage != before) {
        set_deadline(connection);
        if (request->stage == REQUEST_BODY && request->wants_continue) {
            request->wants_continue = false;
            output_continue(&connection->output);
        }
    }
    if (output_flush(&connection->output, NULL, 0))
        connection->done = true;
}

/* Bytes of a next request, or of one that has begun; 0 or -errno when none will come. */
static ssize_t receive(struct connection *connection)
{
    int fd = connection->fd;
    char *input = connection->input;
    ssize_t n;

    if (connection->request.stage == REQUEST_NONE) {
        {
            GYRE_DEADLINE(connection->deadline);
            n = gyre_read(fd, input, INPUT_SIZE);
        }
        if (n != -ECANCELED)
            return n;
        /* The server stops. A request that is here already is in flight too. */
        GYRE_WITH_CONTEXT(connection->server->serving);
        return gyre_recv(fd, input, INPUT_SIZE, MSG_DONTWAIT);
    }
    GYRE_WITH_CONTEXT(connection->server->serving);
    GYRE_DEADLINE(connection->deadline);
    return gyre_read(fd, input, INPUT_SIZE);
}

/*
 * A socket closed with input unread is reset, and the reset may overtake the response. So the
 * end is announced, and what the client still sends is dropped for a while.
 */
static void linger(struct connection *connection)
{
    ssize_t n, left = LINGER_BYTES;

    GYRE_WITH_CONTEXT(connection->server->serving);
    GYRE_TIMEOUT(LINGER_TIME);
    if (gyre_shutdown(connection->fd, SHUT_WR))
        return;
    while (left > 0 && (n = gyre_read(connection->fd, connection->input, INPUT_SIZE)) > 0)
        left -= n;
}

static void serve(struct connection *connection)
{
    ssize_t n;

    while (!connection->done && (n = receive(connection)) > 0)
        take(connection, (size_t)n);
    if (!connection->done && n == -ETIMEDOUT && connection->request.stage != REQUEST_NONE) {
        connection->request.stage = REQUEST_REFUSED;
        connection->request.status = 408;
        answer(connection);
        output_flush(&connection->output, NULL, 0);
    }
    if (connection->linger && !connection->output.error)
        linger(connection);
}

int connection_run(void *arg)
{
    const struct connection_start *start = arg;
    struct server *server = start->server;
    struct connection connection; /* the buffers stay untouched until they are used */

    /* A context of its own under the one that all share: its deadlines meet no other worker's. */
    GYRE_CANCELLABLE();
    connection.server = server;
    connection.fd = start->fd;
    connection.done = connection.linger = false;
    request_init(&connection.request, &server->settings);
    connection.output.server = server;
    connection.output.fd = start->fd;
    connection.output.error = 0;
    connection.output.used = 0;
    set_deadline(&connection);
    serve(&connection);
    request_destroy(&connection.request);
    gyre_close(connection.fd);
    gyre_waitgroup_done(&server->connections);
    return 0;
}
