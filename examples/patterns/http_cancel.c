/*
 * Cancellation from a request down to all that works for it: the handler makes two downstream
 * calls at once; when its client goes away both are cut off where they wait, and when one
 * fails, so is the other.
 *
 *     func handle(w http.ResponseWriter, r *http.Request) {
 *         g, ctx := errgroup.WithContext(r.Context())     ends when the client disconnects
 *         g.Go(func() error { return fetch(ctx, "users", &users) })
 *         g.Go(func() error { return fetch(ctx, "orders", &orders) })
 *         if err := g.Wait(); err != nil { ... }
 *     }
 *
 * No function has a context parameter: fetch dials, writes and reads, and each of these returns
 * -ECANCELED once the request's context has ended.
 *
 * A downstream service takes a line, answers, and closes. Try it:
 *
 *     http_cancel --users localhost:9001 --orders localhost:9002
 */
#include "common/options.h"
#include "common/server.h"

#include <errno.h>
#include <http_parser.h>
#include <stdbool.h>
#include <stdio.h>

static long port = 8080, workers;
static const char *users_address = "localhost:9001", *orders_address = "localhost:9002";

struct call {
    const char *address;
    size_t size;
    char answer[256];
};

static int fetch(void *arg)
{
    struct call *call = arg;
    ssize_t n;
    int fd = gyre_tcp_dial(call->address);

    if (fd < 0)
        return fd;
    if ((n = gyre_write_all(fd, "get\n", 4, NULL)) >= 0 &&
        (n = gyre_read_all(fd, call->answer, sizeof call->answer, NULL)) >= 0)
        call->size = (size_t)n;
    gyre_close(fd); /* works in an ended context too */
    return n < 0 ? (int)n : 0;
}

static int respond(int client, int status, const struct call *first, const struct call *second)
{
    char head[128];
    int length = snprintf(
        head, sizeof head, "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
        status, http_status_str((enum http_status)status), first->size + second->size);
    const struct iovec pieces[] = {{head, (size_t)length},
                                   {(void *)first->answer, first->size},
                                   {(void *)second->answer, second->size}};
    ssize_t n = gyre_writev_all(client, pieces, 3, NULL);

    return n < 0 ? (int)n : 0;
}

static int answer(int client)
{
    struct call users = {.address = users_address}, orders = {.address = orders_address};
    static const struct call nothing;
    int error;

    GYRE_GROUP(calls);
    gyre_group_go(&calls, fetch, &users);
    gyre_group_go(&calls, fetch, &orders);
    error = gyre_group_wait(&calls);
    if (error == 0)
        return respond(client, 200, &users, &orders);
    if (gyre_context_error() == 0) /* it was a service that failed */
        return respond(client, 502, &nothing, &nothing);
    printf("the client left, and both calls with it\n");
    fflush(stdout);
    return error;
}

struct request {
    int client;
    struct gyre_context *context;
};

/* Ends the request when its client does, as Go's net/http does. (A byte would be the next
 * request, and nothing can be seen behind it without taking it.) */
static int watch(void *arg)
{
    const struct request *request = arg;
    char byte;

    if (gyre_recv(request->client, &byte, 1, MSG_PEEK) <= 0)
        gyre_context_cancel_cause(request->context, -ECONNRESET);
    return 0;
}

static int answer_watched(int client)
{
    struct request request = {.client = client};
    gyre_handle watcher;
    int error;

    GYRE_CANCELLABLE();
    request.context = gyre_context_current();
    if ((error = gyre_spawn(&watcher, watch, &request)) == 0) {
        error = answer(client);
        gyre_context_cancel(request.context);
        GYRE_SHIELD(); /* the join, too, would return at once otherwise */
        gyre_join(watcher, NULL);
    }
    gyre_context_release(request.context);
    return error;
}

static int on_message_complete(http_parser *parser)
{
    *(bool *)parser->data = true;
    return 0;
}

static int read_request(int client)
{
    static const http_parser_settings callbacks = {.on_message_complete = on_message_complete};
    bool complete = false;
    http_parser parser;
    char bytes[1024];
    ssize_t n;

    GYRE_TIMEOUT(10 * GYRE_SECOND);
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = &complete;
    while (!complete) {
        if ((n = gyre_read(client, bytes, sizeof bytes)) <= 0)
            return n < 0 ? (int)n : -ECONNRESET;
        if (http_parser_execute(&parser, &callbacks, bytes, (size_t)n) != (size_t)n)
            return -EPROTO;
    }
    return 0;
}

static int handle(void *arg)
{
    int client = *(int *)arg, error = read_request(client);

    if (!error)
        error = answer_watched(client);
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
        {"users", "HOST:PORT", "a downstream service", OPTION_TEXT, 0, 0, &users_address},
        {"orders", "HOST:PORT", "another", OPTION_TEXT, 0, 0, &orders_address},
    };

    options_parse(argc, argv, "Answers with what two services say.", options,
                  sizeof options / sizeof *options);
    return server_run(start, NULL, workers);
}
