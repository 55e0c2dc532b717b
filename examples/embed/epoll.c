/*
 * A server with a loop of its own around epoll, which has its backends asked by gyre. The loop
 * stays single-threaded: it submits, and finishes what has ended when gyre_finish_fd is readable.
 * SIGINT and SIGTERM end it; what is under way then is cancelled, and its clients are told.
 */
#include "common/options.h"
#include "embed/fetch.h"

#include <gyre.h>

#include <gyre/embed.h>

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
    int fd;
    struct client *next, **link; /* of all */
    struct fetch fetch;
};

static long port = 7777, workers;
static struct gyre_runtime *runtime;
static int loop;
static struct client *clients;

/* What an event belongs to, where it is no client. */
static int listener, signals, finished;

static void fail(const char *what, int error)
{
    fprintf(stderr, "embed_epoll: %s: %s\n", what, strerror(error));
    exit(1);
}

static void watch(int fd, void *whose)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = whose};

    if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl", errno);
}

static void end_client(struct client *client)
{
    *client->link = client->next;
    if (client->next)
        client->next->link = client->link;
    close(client->fd);
    free(client);
}

/* By gyre_finish and gyre_stop, on this thread. */
static void fetched(void *arg, int result)
{
    struct client *client = arg;

    fetch_explain(&client->fetch, result);
    /* A real server would keep what the socket does not take at once. */
    (void)!send(client->fd, client->fetch.reply, client->fetch.size, MSG_NOSIGNAL | MSG_DONTWAIT);
    end_client(client);
}

static int start_fetch(void *arg)
{
    struct client *client = arg;

    return fetch_run(&client->fetch);
}

static void on_client(struct client *client)
{
    struct fetch *fetch = &client->fetch;
    ssize_t got =
        recv(client->fd, fetch->line + fetch->used, sizeof fetch->line - fetch->used, MSG_DONTWAIT);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        end_client(client);
        return;
    }
    if (!fetch_parse(fetch, (size_t)got))
        return;
    epoll_ctl(loop, EPOLL_CTL_DEL, client->fd, NULL); /* from here on it is fetched's */
    if (gyre_submit(runtime, start_fetch, client, fetched) < 0)
        end_client(client);
}

static void on_listener(void)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client *client = fd < 0 ? NULL : calloc(1, sizeof *client);

    if (!client) {
        if (fd >= 0)
            close(fd);
        return;
    }
    client->fd = fd;
    client->next = clients;
    client->link = &clients;
    if (clients)
        clients->link = &client->next;
    clients = client;
    watch(fd, client);
}

static void open_listener(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t length = sizeof address;
    int on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 1024) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        fail("no listener", errno);
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

/* Before gyre_start: its threads inherit the mask, so the signals come to the loop alone. */
static void open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0)
        fail("signalfd", errno);
}

static void run_loop(void)
{
    struct epoll_event events[64];
    bool ends = false;

    while (!ends) {
        int count = epoll_wait(loop, events, 64, -1);

        for (int i = 0; i < count; i++) {
            void *whose = events[i].data.ptr;

            if (whose == &signals)
                ends = true;
            else if (whose == &finished)
                gyre_finish(runtime);
            else if (whose == &listener)
                on_listener();
            else
                on_client(whose);
        }
    }
}

int main(int argc, char **argv)
{
    const struct option_entry entries[] = {OPTION_PORT(&port), OPTION_WORKERS(&workers)};
    struct gyre_options options = GYRE_OPTIONS_INIT;
    int error;

    options_parse(argc, argv, "Asks backends for its clients: epoll, and gyre beside it.", entries,
                  2);
    options.workers = (unsigned)workers;
    open_signals();
    loop = epoll_create1(EPOLL_CLOEXEC);
    error = gyre_start(&runtime, NULL, NULL, &options);
    if (error)
        return 1; /* it has said why */
    watch(signals, &signals);
    watch(gyre_finish_fd(runtime), &finished);
    open_listener();
    watch(listener, &listener);
    run_loop();
    close(listener);
    error = gyre_stop(runtime);
    for (struct client *client = clients, *next; client; client = next) {
        next = client->next;
        end_client(client);
    }
    return error < 0;
}
