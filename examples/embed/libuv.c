/*
 * The same server on libuv: its loop polls one more descriptor, and everything of libuv's stays on
 * the loop's thread. Of libuv's own ways uv_queue_work comes next; that takes a thread for as long
 * as a backend takes, and can't be cancelled once it runs.
 */
#include "common/options.h"
#include "embed/fetch.h"

#include <gyre.h>

#include <gyre/embed.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct client {
    uv_tcp_t stream; /* first */
    uv_write_t write;
    struct fetch fetch;
};

static long port = 7777, workers;
static struct gyre_runtime *runtime;
static uv_loop_t *loop;
static uv_poll_t finished;
static uv_tcp_t listener;
static uv_signal_t interrupted, terminated;

static void check(const char *what, int error)
{
    if (error >= 0)
        return;
    fprintf(stderr, "embed_libuv: %s: %s\n", what, uv_strerror(error));
    exit(1);
}

static void free_client(uv_handle_t *handle)
{
    free(handle->data);
}

static void end_client(struct client *client)
{
    uv_handle_t *handle = (uv_handle_t *)&client->stream;

    if (!uv_is_closing(handle))
        uv_close(handle, free_client);
}

static void written(uv_write_t *write, int status)
{
    (void)status;
    end_client(write->data);
}

/* By gyre_finish and gyre_stop, on the loop's thread: whatever libuv offers may be called. */
static void fetched(void *arg, int result)
{
    struct client *client = arg;
    uv_buf_t reply;

    fetch_explain(&client->fetch, result);
    reply = uv_buf_init(client->fetch.reply, (unsigned)client->fetch.size);
    client->write.data = client;
    if (uv_write(&client->write, (uv_stream_t *)&client->stream, &reply, 1, written))
        end_client(client);
}

static int start_fetch(void *arg)
{
    struct client *client = arg;

    return fetch_run(&client->fetch);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
    struct client *client = handle->data;
    struct fetch *fetch = &client->fetch;

    (void)suggested;
    *room = uv_buf_init(fetch->line + fetch->used, (unsigned)(sizeof fetch->line - fetch->used));
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct client *client = stream->data;

    (void)buffer;
    if (got < 0)
        end_client(client);
    if (got <= 0 || !fetch_parse(&client->fetch, (size_t)got))
        return;
    uv_read_stop(stream); /* from here on it is fetched's */
    if (gyre_submit(runtime, start_fetch, client, fetched) < 0)
        end_client(client);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct client *client = status < 0 ? NULL : calloc(1, sizeof *client);

    if (!client)
        return;
    client->stream.data = client;
    uv_tcp_init(loop, &client->stream);
    if (uv_accept(server, (uv_stream_t *)&client->stream) ||
        uv_read_start((uv_stream_t *)&client->stream, give_room, on_read))
        end_client(client);
}

static void on_finished(uv_poll_t *poll, int status, int events)
{
    (void)poll;
    (void)status;
    (void)events;
    gyre_finish(runtime);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)handle;
    (void)number;
    uv_stop(loop);
}

static void open_listener(void)
{
    struct sockaddr_in address;
    int length = sizeof address;

    uv_ip4_addr("127.0.0.1", (int)port, &address);
    check("listener", uv_tcp_init(loop, &listener));
    check("bind", uv_tcp_bind(&listener, (struct sockaddr *)&address, 0));
    check("listen", uv_listen((uv_stream_t *)&listener, 1024, on_connection));
    check("name", uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length));
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

/* The runtime's threads inherit the mask: the signals come to the loop's thread alone. */
static void start_runtime(void)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    sigset_t set, before;

    options.workers = (unsigned)workers;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    if (gyre_start(&runtime, NULL, NULL, &options))
        exit(1); /* it has said why */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    check("poll", uv_poll_init(loop, &finished, gyre_finish_fd(runtime)));
    check("poll", uv_poll_start(&finished, UV_READABLE, on_finished));
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle))
        uv_close(handle, handle->type == UV_TCP && handle->data ? free_client : NULL);
}

int main(int argc, char **argv)
{
    const struct option_entry entries[] = {OPTION_PORT(&port), OPTION_WORKERS(&workers)};
    int error;

    options_parse(argc, argv, "Asks backends for its clients: libuv, and gyre beside it.", entries,
                  2);
    signal(SIGPIPE, SIG_IGN); /* libuv's writes raise it */
    loop = uv_default_loop();
    start_runtime();
    uv_signal_init(loop, &interrupted);
    uv_signal_start(&interrupted, on_signal, SIGINT);
    uv_signal_init(loop, &terminated);
    uv_signal_start(&terminated, on_signal, SIGTERM);
    open_listener();
    uv_run(loop, UV_RUN_DEFAULT);
    uv_poll_stop(&finished); /* before gyre_stop closes the descriptor */
    error = gyre_stop(runtime);
    uv_walk(loop, close_handle, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    return error < 0;
}
