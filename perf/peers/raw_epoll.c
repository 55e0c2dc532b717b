/*
 * An echo server on epoll as its best user would write it: one thread and one epoll per CPU, up to
 * 512 events a wait, one recv and one send a request, no allocation on the way.
 *
 * level: a receive that finds less than asked is not repeated; epoll tells when there is more.
 * edge: the same, for a short receive from a stream socket means that it was drained, and only a
 * full buffer is followed by another receive. What a full socket would not take is kept and sent
 * when it is writable; until then nothing more is read from that connection.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512 };

struct connection {
    int fd;
    size_t start, end; /* what is left to send; start == end: nothing */
    char *rest;        /* BUFFER_SIZE bytes, once it was needed */
};

struct loop {
    int epoll, listener;
    bool edge;
    const struct server *server;
    char buffer[BUFFER_SIZE];
};

static void drop(struct connection *c)
{
    close(c->fd); /* leaves the epoll set by itself */
    free(c->rest);
    free(c);
}

static void watch(struct loop *loop, struct connection *c, int what, uint32_t events)
{
    struct epoll_event event = {.events = events | (loop->edge ? EPOLLET : 0u), .data.ptr = c};

    if (epoll_ctl(loop->epoll, what, c->fd, &event))
        server_die("epoll_ctl", errno);
}

static void accept_all(struct loop *loop)
{
    for (;;) {
        int fd = accept4(loop->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct connection *c;

        if (fd < 0)
            return;
        c = calloc(1, sizeof *c);
        if (!c)
            server_die("calloc", errno);
        c->fd = fd;
        watch(loop, c, EPOLL_CTL_ADD, EPOLLIN | EPOLLRDHUP);
    }
}

/* Sends all, or keeps the rest and returns false; -1 on a broken connection. */
static int send_or_keep(struct loop *loop, struct connection *c, const char *data, size_t size)
{
    ssize_t n = send(c->fd, data, size, MSG_NOSIGNAL);

    if (n == (ssize_t)size)
        return 1;
    if (n < 0 && errno != EAGAIN)
        return -1;
    if (n < 0)
        n = 0;
    if (!c->rest)
        c->rest = malloc(BUFFER_SIZE);
    if (!c->rest)
        server_die("malloc", errno);
    memmove(c->rest, data + n, size - (size_t)n);
    if (c->start == c->end)
        watch(loop, c, EPOLL_CTL_MOD, EPOLLOUT);
    c->start = 0;
    c->end = size - (size_t)n;
    return 0;
}

/* ended: the event told of the end of the stream, which no further edge will repeat. */
static void serve(struct loop *loop, struct connection *c, bool ended)
{
    if (c->start < c->end) {
        int done = send_or_keep(loop, c, c->rest + c->start, c->end - c->start);

        if (done < 0)
            drop(c);
        if (done <= 0)
            return;
        c->start = c->end = 0;
        watch(loop, c, EPOLL_CTL_MOD, EPOLLIN | EPOLLRDHUP);
    }
    for (;;) {
        ssize_t n = recv(c->fd, loop->buffer, sizeof loop->buffer, 0);
        int done;

        if (n < 0 && errno == EAGAIN)
            return;
        done = -1;
        if (n > 0)
            done = send_or_keep(loop, c, loop->buffer,
                                server_reply(loop->server, loop->buffer, (size_t)n));
        if (done < 0)
            drop(c);
        if (done <= 0 || !loop->edge || (n < (ssize_t)sizeof loop->buffer && !ended))
            return;
    }
}

static void worker(int listener, const struct server *server)
{
    struct loop *loop = malloc(sizeof *loop);
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.ptr = NULL};

    if (!loop)
        server_die("malloc", errno);
    loop->listener = listener;
    loop->server = server;
    loop->edge = strcmp(server->variant, "edge") == 0;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0)
        server_die("epoll_create1", errno);
    if (fcntl(listener, F_SETFL, O_NONBLOCK) ||
        epoll_ctl(loop->epoll, EPOLL_CTL_ADD, listener, &event))
        server_die("epoll_ctl", errno);
    for (;;) {
        int n = epoll_wait(loop->epoll, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                serve(loop, events[i].data.ptr,
                      events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
            else
                accept_all(loop);
        }
    }
}

int main(int argc, char **argv)
{
    static const char *const variants[] = {"level", "edge", NULL};
    struct server server;

    server_options(argc, argv, variants, &server);
    server_run(&server, worker);
}
