/*
 * An HTTP handler that has five seconds: whatever it waits for is given up then, and the client
 * gets 504 Gateway Timeout.
 *
 *     http.TimeoutHandler(handler, 5*time.Second, "too late\n")         (that one answers 503)
 *
 *     ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
 *     defer cancel()
 *     if err := work(ctx); errors.Is(err, context.DeadlineExceeded) {
 *         http.Error(w, "too late", http.StatusGatewayTimeout)
 *     }
 *
 * GYRE_TIMEOUT holds up to the end of its block: the work is inside, the answer outside. Try it:
 *
 *     curl localhost:8080/1       works for a second
 *     curl localhost:8080/60      would work for a minute
 */
#include "common/options.h"
#include "common/server.h"

#include <errno.h>
#include <http_parser.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long port = 8080, workers;
static int64_t timeout = 5 * GYRE_SECOND;

struct request {
    char target[64];
    size_t length;
    bool complete;
};

static int on_url(http_parser *parser, const char *bytes, size_t size)
{
    struct request *request = parser->data;

    if (size >= sizeof request->target - request->length)
        return -1;
    memcpy(request->target + request->length, bytes, size);
    request->length += size;
    return 0;
}

static int on_message_complete(http_parser *parser)
{
    struct request *request = parser->data;

    request->complete = true;
    return 0;
}

static int read_request(int client, struct request *request)
{
    static const http_parser_settings callbacks = {.on_url = on_url,
                                                   .on_message_complete = on_message_complete};
    http_parser parser;
    char bytes[1024];
    ssize_t n;

    GYRE_TIMEOUT(10 * GYRE_SECOND);
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = request;
    while (!request->complete) {
        if ((n = gyre_read(client, bytes, sizeof bytes)) <= 0)
            return n < 0 ? (int)n : -ECONNRESET;
        if (http_parser_execute(&parser, &callbacks, bytes, (size_t)n) != (size_t)n)
            return -EPROTO;
    }
    return 0;
}

static int respond(int client, int status, const char *body)
{
    char text[256];
    int length = snprintf(text, sizeof text,
                          "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                          status, http_status_str((enum http_status)status), strlen(body), body);
    ssize_t n = gyre_write_all(client, text, (size_t)length, NULL);

    return n < 0 ? (int)n : 0;
}

/* Takes as many seconds as the request says. */
static int work(const struct request *request)
{
    return gyre_sleep(strtol(request->target + 1, NULL, 10) * GYRE_SECOND);
}

static int work_in_time(const struct request *request)
{
    GYRE_TIMEOUT(timeout);
    return work(request);
}

static int handle(void *arg)
{
    int client = *(int *)arg, error;
    struct request request = {.length = 0};

    if ((error = read_request(client, &request)) == 0) {
        error = work_in_time(&request);
        if (error == -ETIMEDOUT)
            error = respond(client, 504, "too late\n");
        else if (error == 0)
            error = respond(client, 200, "done\n");
    }
    gyre_close(client);
    return error;
}

static int start(void *arg)
{
    struct gyre_listener *listener;
    int client, error;

    (void)arg;
    GYRE_CANCELLABLE();
    if ((error = gyre_signal_cancels(SIGINT, SIGTERM)) || (error = server_listen(&listener, port)))
        return error;
    while ((client = gyre_accept(listener)) >= 0)
        if (gyre_go_copy(handle, &client, sizeof client) < 0)
            gyre_close(client);
    gyre_listener_close(listener);
    return client;
}

int main(int argc, char **argv)
{
    const struct option_entry options[] = {
        OPTION_PORT(&port),
        OPTION_WORKERS(&workers),
        {"timeout", NULL, "for the work of a request (5)", OPTION_SECONDS, 0, 0, &timeout},
    };

    options_parse(argc, argv, "Answers in time, or says that it can't.", options,
                  sizeof options / sizeof *options);
    return server_run(start, NULL, workers);
}
