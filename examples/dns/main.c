/*
 * A caching DNS proxy over UDP and TCP:
 *
 *     dns_proxy --port 5353 --upstream 192.0.2.1:53,192.0.2.2:53
 *     dig @127.0.0.1 -p 5353 example.org
 *
 * What is known is answered by the coroutine that receives; whatever else is asked gets a coroutine
 * of its own, up to a limit: beyond it datagrams are dropped, and streams are not read.
 *
 * Two scopes, one in the other. SIGTERM or SIGINT ends the inner one, in which questions are
 * received; those that were are answered in the outer one, within the grace.
 */
#include "cache.h"
#include "message.h"
#include "upstream.h"

#include "common/options.h"

#include <gyre.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    CONNECTIONS = 1000,
    PIPELINE = 100, /* questions of one connection that are worked on at once */
    SOCKET_BUFFER = 4 << 20,
    PORTS_TRIED = 100
};

static struct {
    long port, cache, questions, workers;
    const char *upstream;
    int64_t timeout, idle_timeout, grace;
} option = {.port = 5353,
            .cache = 10000,
            .questions = 2000,
            .timeout = 2 * GYRE_SECOND,
            .idle_timeout = 10 * GYRE_SECOND,
            .grace = 5 * GYRE_SECOND};

static struct {
    int datagrams;
    struct gyre_listener *listener;
    struct gyre_context *answering; /* what is received is answered in it */
    gyre_waitgroup running;         /* questions and connections */
    gyre_semaphore questions, connections;
} proxy = {.connections = GYRE_SEMAPHORE_INIT(CONNECTIONS)};

/* Its coroutine's, which waits for all who use it. */
struct connection {
    struct gyre_stream *stream;
    gyre_mutex lock; /* held by who writes */
    bool broken;     /* a write failed; the lock's */
    gyre_semaphore room;
    gyre_waitgroup questions;
};

struct question {
    struct request request;
    struct connection *connection; /* NULL: a datagram */
    struct gyre_address client;    /* of a datagram */
};

/* --- answers ----------------------------------------------------------------------------------
 */

/* NULL: nobody knew. */
static size_t write_answer(const struct answer *answer, const struct request *request, size_t limit,
                           unsigned char *out)
{
    return answer ? answer_write(answer, request, limit, out)
                  : request_refuse(request, ns_r_servfail, out);
}

/* A datagram that can't go out now is lost, as on any other way. */
static void send_datagram(const struct gyre_address *client, const unsigned char *data, size_t size)
{
    gyre_sendto(proxy.datagrams, data, size, MSG_DONTWAIT, client);
}

static void send_stream(struct connection *connection, unsigned char *data, size_t size)
{
    ns_put16((unsigned)size, data);
    GYRE_MUTEX_GUARD(&connection->lock);
    if (connection->broken)
        return;
    gyre_stream_set_write_deadline(connection->stream, gyre_now() + option.idle_timeout);
    if (gyre_stream_write(connection->stream, data, NS_INT16SZ + size, NULL) < 0 ||
        gyre_stream_flush(connection->stream)) {
        connection->broken = true;
        gyre_shutdown(gyre_stream_fd(connection->stream), SHUT_RDWR); /* its reader ends too */
    }
}

static void reply_datagram(const struct answer *answer, const struct request *request,
                           const struct gyre_address *client)
{
    unsigned char out[UDP_SIZE_MAX];
    size_t limit = request->udp_size < sizeof out ? request->udp_size : sizeof out;

    send_datagram(client, out, write_answer(answer, request, limit, out));
}

static void reply_stream(const struct answer *answer, const struct request *request,
                         struct connection *connection)
{
    size_t room = QUERY_MAX + (answer ? answer->size : 0),
           limit = room < NS_MAXMSG ? room : NS_MAXMSG;
    unsigned char *out = malloc(NS_INT16SZ + room);

    if (out)
        send_stream(connection, out, write_answer(answer, request, limit, out + NS_INT16SZ));
    free(out);
}

static void reply(const struct question *question, const struct answer *answer)
{
    if (question->connection)
        reply_stream(answer, &question->request, question->connection);
    else
        reply_datagram(answer, &question->request, &question->client);
}

static void refuse(const struct question *question, int code)
{
    unsigned char out[NS_INT16SZ + QUERY_MAX];
    size_t size = request_refuse(&question->request, code, out + NS_INT16SZ);

    if (question->connection)
        send_stream(question->connection, out, size);
    else
        send_datagram(&question->client, out + NS_INT16SZ, size);
}

/* --- questions --------------------------------------------------------------------------------
 */

static void release(struct connection *connection)
{
    if (connection) {
        gyre_semaphore_release(&connection->room, 1);
        gyre_waitgroup_done(&connection->questions);
    }
    gyre_semaphore_release(&proxy.questions, 1);
}

static int work_on(void *arg)
{
    struct question *question = arg;
    struct answer *answer = cache_ask(&question->request.key);

    reply(question, answer);
    answer_release(answer);
    release(question->connection);
    return 0;
}

/* Answers if it can do so at once: 1; 0: it has to be worked on. */
static int answer_now(struct question *question, const unsigned char *data, size_t size)
{
    int code = request_read(&question->request, data, size);
    struct answer *answer;

    GYRE_WITH_CONTEXT(proxy.answering);
    if (code > 0)
        refuse(question, code);
    if (code)
        return 1;
    answer = cache_find(&question->request.key);
    if (answer)
        reply(question, answer);
    answer_release(answer);
    return answer != NULL;
}

/* Room was taken for it. */
static void start_work(const struct question *question)
{
    GYRE_WITH_CONTEXT(proxy.answering);
    if (question->connection)
        gyre_waitgroup_add(&question->connection->questions, 1);
    if (gyre_waitgroup_go_copy(&proxy.running, work_on, question, sizeof *question))
        release(question->connection);
}

/* Whether one that failed is to be tried again. It waits a little where memory is short. */
static bool goes_on(ssize_t error)
{
    return !gyre_context_error() && (error == -ENOMEM || error == -ENOBUFS) &&
           !gyre_sleep(10 * GYRE_MILLISECOND);
}

static int receive_datagrams(void *unused)
{
    unsigned char data[UDP_SIZE_MAX];
    struct question question = {0};
    ssize_t n;

    (void)unused;
    do {
        n = gyre_recvfrom(proxy.datagrams, data, sizeof data, 0, &question.client);
        if (n >= 0 && !answer_now(&question, data, (size_t)n) &&
            gyre_semaphore_try_acquire(&proxy.questions, 1))
            start_work(&question);
    } while (n >= 0 || goes_on(n));
    return (int)n;
}

/* --- connections ------------------------------------------------------------------------------
 */

/* One question of the stream: 0 when there will be no more. */
static int receive_question(struct connection *connection)
{
    struct question question = {.connection = connection};
    unsigned char prefix[NS_INT16SZ];
    const void *data;
    ssize_t size;

    gyre_stream_set_read_deadline(connection->stream, gyre_now() + option.idle_timeout);
    if (gyre_stream_read_all(connection->stream, prefix, sizeof prefix, NULL) != sizeof prefix)
        return 0;
    size = (ssize_t)ns_get16(prefix);
    if (gyre_stream_peek(connection->stream, &data, (size_t)size) < size)
        return 0;
    if (!answer_now(&question, data, (size_t)size)) {
        if (gyre_semaphore_acquire(&connection->room, 1))
            return 0;
        if (gyre_semaphore_acquire(&proxy.questions, 1)) {
            gyre_semaphore_release(&connection->room, 1);
            return 0;
        }
        start_work(&question);
    }
    return gyre_stream_skip(connection->stream, (size_t)size, NULL) == size;
}

static int serve(void *arg)
{
    struct connection connection = {.room = GYRE_SEMAPHORE_INIT(PIPELINE)};
    int fd = *(int *)arg;

    if (gyre_stream_open(&connection.stream, fd, NULL)) {
        gyre_close(fd);
    } else {
        while (receive_question(&connection)) {
        }
        GYRE_SHIELD(); /* they end by themselves */
        gyre_waitgroup_wait(&connection.questions);
        gyre_stream_close(connection.stream);
    }
    gyre_semaphore_release(&proxy.connections, 1);
    return 0;
}

static int accept_connections(void *unused)
{
    int fd, error;

    (void)unused;
    while (!(error = gyre_semaphore_acquire(&proxy.connections, 1))) {
        fd = gyre_accept(proxy.listener);
        if (fd < 0) {
            gyre_semaphore_release(&proxy.connections, 1);
            return fd;
        }
        if (gyre_waitgroup_go_copy(&proxy.running, serve, &fd, sizeof fd)) {
            gyre_semaphore_release(&proxy.connections, 1);
            gyre_close(fd);
        }
    }
    return error;
}

/* --- the proxy --------------------------------------------------------------------------------
 */

/* Both on the same port. */
static int listen_on(long port)
{
    char address[GYRE_ADDRESS_SIZE];
    int error;

    snprintf(address, sizeof address, "127.0.0.1:%ld", port);
    error = gyre_tcp_listen(&proxy.listener, address);
    if (error)
        return error;
    gyre_local_address(gyre_listener_fd(proxy.listener), address, sizeof address);
    proxy.datagrams = gyre_udp_bind(address, 0);
    if (proxy.datagrams < 0) {
        gyre_listener_close(proxy.listener);
        return proxy.datagrams;
    }
    gyre_set_buffers(proxy.datagrams, SOCKET_BUFFER, SOCKET_BUFFER); /* as far as it is allowed */
    return 0;
}

static int listen_somewhere(void)
{
    int error = -EADDRINUSE;

    /* The kernel picks a port for TCP, which for UDP may be another's. */
    for (int i = 0; error == -EADDRINUSE && i < (option.port ? 1 : PORTS_TRIED); i++)
        error = listen_on(option.port);
    if (error)
        fprintf(stderr, "can't listen on port %ld: %s\n", option.port, strerror(-error));
    return error;
}

static int receive(void)
{
    char address[GYRE_ADDRESS_SIZE];
    int error;

    GYRE_CANCELLABLE();
    GYRE_GROUP(receivers);
    error = gyre_signal_cancels(SIGINT, SIGTERM);
    if (error)
        return error;
    gyre_local_address(proxy.datagrams, address, sizeof address);
    printf("listening on %s\n", address);
    fflush(stdout);
    for (unsigned i = 0; i < gyre_worker_count(); i++)
        gyre_group_go(&receivers, receive_datagrams, NULL);
    gyre_group_go(&receivers, accept_connections, NULL);
    return gyre_group_wait(&receivers);
}

static int start(void *unused)
{
    int error;

    (void)unused;
    error = listen_somewhere();
    if (error)
        return error;
    {
        GYRE_CANCELLABLE();
        proxy.answering = gyre_context_current();
        error = receive();
        gyre_listener_close(proxy.listener);
        GYRE_TIMEOUT(option.grace);
        gyre_waitgroup_wait(&proxy.running);
    }
    /* What has not ended within the grace is cancelled now. */
    GYRE_SHIELD();
    gyre_waitgroup_wait(&proxy.running);
    gyre_context_release(proxy.answering);
    gyre_close(proxy.datagrams);
    cache_clear();
    return error;
}

static void allow_descriptors(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit); /* where it stays low fewer questions can be asked */
    }
}

int main(int argc, char **argv)
{
    const struct option_entry options[] = {
        OPTION_PORT(&option.port),
        {"upstream", "ADDRESS:PORT,...", "whom to ask, in turn", OPTION_TEXT, 0, 0,
         &option.upstream},
        {"cache", NULL, "answers that are kept", OPTION_NUMBER, 0, 10000000, &option.cache},
        {"timeout", NULL, "seconds that an upstream has for an answer", OPTION_SECONDS, 0, 60,
         &option.timeout},
        {"questions", NULL, "that are worked on at once; more are dropped", OPTION_NUMBER, 1,
         100000, &option.questions},
        {"idle-timeout", NULL, "seconds after which a silent connection is closed", OPTION_SECONDS,
         0, 3600, &option.idle_timeout},
        {"grace", NULL, "seconds at the end for what was asked before", OPTION_SECONDS, 0, 3600,
         &option.grace},
        OPTION_WORKERS(&option.workers),
    };
    struct gyre_options run = GYRE_OPTIONS_INIT;
    char *list;
    int error;

    options_parse(argc, argv, "A DNS proxy that remembers answers, over UDP and TCP.", options,
                  sizeof options / sizeof *options);
    list = strdup(option.upstream ? option.upstream : "");
    if (!list || upstream_setup(list, option.timeout)) {
        free(list);
        return 2;
    }
    allow_descriptors();
    cache_setup((size_t)option.cache);
    proxy.questions = (gyre_semaphore)GYRE_SEMAPHORE_INIT(option.questions);
    run.workers = (unsigned)option.workers;
    error = gyre_run_options(start, NULL, &run);
    free(list);
    return error && error != -ECANCELED;
}
