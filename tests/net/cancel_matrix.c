/*
 * Every call that may wait without end, against what may happen to it: its context has ended
 * before, ends while it waits, or at the moment when what it waits for comes; its deadline passes;
 * what it uses is closed; every thread gets signals whose handler does not restart. It returns what
 * is said, never -EINTR, and a call that was cancelled took nothing: the next one gets it.
 */
#include "dns.h"
#include "waiting_work.h"

#include <gyre/feed.h>
#include <gyre/resolve.h>
#include <gyre/unix.h>

#include <sys/file.h>
#include <sys/un.h>

/* --- sockets -----------------------------------------------------------------------------------
 */

static long call_sendto(struct state *s)
{
    return gyre_sendto(s->fds[0], s->buffer, 100, 0, NULL);
}

static long call_sendmsg(struct state *s)
{
    struct iovec piece = {s->buffer, 100};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    return gyre_sendmsg(s->fds[0], &message, 0);
}

static long call_recvfrom(struct state *s)
{
    return gyre_recvfrom(s->fds[0], s->buffer, 10, 0, &s->address);
}

static long receive_message(struct state *s, int flags)
{
    struct iovec piece = {s->buffer, 10};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    return gyre_recvmsg(s->fds[0], &message, flags);
}

static long call_recvmsg(struct state *s)
{
    return receive_message(s, 0);
}

static long call_error_queue(struct state *s)
{
    return receive_message(s, MSG_ERRQUEUE);
}

static long call_recv_segments(struct state *s)
{
    unsigned segment;

    return gyre_recv_segments(s->fds[0], s->buffer, 10, &segment, NULL);
}

static void open_tcp(struct state *s)
{
    char text[GYRE_ADDRESS_SIZE];
    struct gyre_listener *listener;

    CHECK_EQ(gyre_tcp_listen(&listener, "127.0.0.1:0"), 0);
    CHECK(gyre_local_address(gyre_listener_fd(listener), text, sizeof text) > 0);
    s->fds[0] = gyre_tcp_dial(text);
    CHECK(s->fds[0] >= 0);
    s->fds[1] = gyre_accept(listener);
    CHECK(s->fds[1] >= 0);
    CHECK_EQ(gyre_listener_close(listener), 0);
    s->memory = calloc(1, LARGE);
    CHECK(s->memory);
}

static long call_zero_copy(struct state *s)
{
    return gyre_send_zero_copy(s->fds[0], s->memory, LARGE, NULL, NULL);
}

static void close_tcp(struct state *s)
{
    close_all(s);
    free(s->memory);
}

static void let_fds(struct state *s)
{
    CHECK_EQ(gyre_send_fds(s->fds[1], "a", 1, &s->fds[1], 1), 1);
}

static long call_send_fds(struct state *s)
{
    return gyre_send_fds(s->fds[0], s->buffer, 100, &s->fds[1], 1);
}

static long call_recv_fds(struct state *s)
{
    int fds[2];
    size_t count = 2;
    ssize_t n = gyre_recv_fds(s->fds[0], s->buffer, 10, fds, &count);

    for (size_t i = 0; i < count && n > 0; i++)
        CHECK_EQ(close(fds[i]), 0);
    return n;
}

static long call_recv_credentials(struct state *s)
{
    struct gyre_credentials credentials;

    return gyre_recv_credentials(s->fds[0], s->buffer, 10, &credentials);
}

/* A Unix listener whose queue is full. */
static void open_full_listener(struct state *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length;

    make_directory(s);
    memcpy(address.sun_path, s->path, strlen(s->path));
    length = sizeof address;
    s->fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(s->fds[0], (struct sockaddr *)&address, length), 0);
    CHECK_EQ(listen(s->fds[0], 0), 0);
    s->fds[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(s->fds[1], (struct sockaddr *)&address, length), 0);
}

static void let_full_listener(struct state *s)
{
    int fd;

    while ((fd = accept(s->fds[0], NULL, NULL)) >= 0)
        CHECK_EQ(close(fd), 0);
}

static long call_unix_dial(struct state *s)
{
    return opened(gyre_unix_dial(s->path, SOCK_STREAM));
}

/* A folder where another starter is at it. */
static void open_locked(struct state *s)
{
    make_directory(s);
    s->fds[0] = open(s->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK_EQ(flock(s->fds[0], LOCK_EX), 0);
}

static void let_locked(struct state *s)
{
    CHECK_EQ(flock(s->fds[0], LOCK_UN), 0);
}

static long call_unix_listen(struct state *s)
{
    struct gyre_listener *listener;
    int error = gyre_unix_listen(&listener, s->path, SOCK_STREAM, 0);

    if (!error)
        CHECK_EQ(gyre_listener_close(listener), 0);
    CHECK(access(s->path, F_OK));
    return error;
}

static long call_unix_bind(struct state *s)
{
    int fd = gyre_unix_bind(s->path, 0);

    CHECK_EQ(fd >= 0, !access(s->path, F_OK));
    undo(s);
    return opened(fd);
}

static void open_listener(struct state *s)
{
    struct gyre_listener *listener;
    char text[GYRE_ADDRESS_SIZE];

    CHECK_EQ(gyre_tcp_listen(&listener, "127.0.0.1:0"), 0);
    CHECK(gyre_local_address(gyre_listener_fd(listener), text, sizeof text) > 0);
    CHECK_EQ(gyre_address_from(&s->address, text), 0);
    s->object = listener;
}

static void let_listener(struct state *s)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    int result = connect(fd, (struct sockaddr *)&s->address.storage, s->address.length);

    while (result && (errno == EINTR || errno == EALREADY))
        result = connect(fd, (struct sockaddr *)&s->address.storage, s->address.length);
    CHECK(!result || errno == EISCONN);
    CHECK_EQ(close(fd), 0);
}

static long call_accept(struct state *s)
{
    return opened(gyre_accept(s->object));
}

static void shut_listener(struct state *s)
{
    CHECK_EQ(gyre_listener_close(s->object), 0);
}

static void close_listener(struct state *s)
{
    if (!s->is_shut)
        shut_listener(s);
}

/* An address that takes no more connections; the first descriptor is to be connected to it. */
static void open_deaf(struct state *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_EQ(bind(fd, (struct sockaddr *)&address, length), 0);
    CHECK_EQ(listen(fd, 0), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    s->fds[1] = fd;
    for (int i = 2; i < 4; i++) {
        s->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(s->fds[i], (struct sockaddr *)&address, length);
    }
    s->fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(&s->address.storage, &address, sizeof address);
    s->address.length = length;
    CHECK(gyre_address_text(&s->address, s->path, sizeof s->path) > 0);
}

static long call_connect(struct state *s)
{
    return gyre_connect(s->fds[0], (struct sockaddr *)&s->address.storage, s->address.length);
}

static long call_dial(struct state *s)
{
    return opened(gyre_tcp_dial(s->path));
}

static long call_dial_options(struct state *s)
{
    struct gyre_dial_options options = GYRE_DIAL_INIT;

    options.local = "127.0.0.1:0";
    return opened(gyre_tcp_dial_options(s->path, &options));
}

static void open_feed(struct state *s)
{
    struct gyre_feed *feed;

    open_stream(s);
    CHECK_EQ(gyre_feed_open(&feed, s->fds[0], NULL), 0);
    s->object = feed;
}

static long call_feed(struct state *s)
{
    struct gyre_piece piece = {.data = s->buffer, .size = 1};
    int result = gyre_feed_next(s->object, &piece);

    if (result == 1)
        gyre_feed_return(&piece);
    else
        CHECK(piece.data == s->buffer && piece.size == 1);
    return result;
}

static void shut_feed(struct state *s)
{
    gyre_feed_close(s->object);
    s->object = NULL;
}

static void close_feed(struct state *s)
{
    gyre_feed_close(s->object);
    s->is_shut = false;
    close_all(s);
}

/* --- names -------------------------------------------------------------------------------------
 */

static const struct dns_rule rules[] = {{"silent.test", 0, DNS_SILENT, "", 0, 0, 0},
                                        {"1.2.0.192.in-addr.arpa", 0, DNS_SILENT, "", 0, 0, 0},
                                        {0}};

static void open_nothing(struct state *s)
{
    (void)s;
}

static long call_resolve(struct state *s)
{
    struct gyre_addresses addresses = {77, NULL};
    int error = gyre_resolve("silent.test", 1, GYRE_FAMILY_ANY, &addresses);

    (void)s;
    CHECK(error && addresses.count == 77 && !addresses.list);
    return error;
}

static long call_resolve_address(struct state *s)
{
    struct gyre_address address;
    char name[100];

    (void)s;
    CHECK_EQ(gyre_address_from(&address, "192.0.2.1:0"), 0);
    return gyre_resolve_address(&address, name, sizeof name);
}

static long call_query(struct state *s)
{
    unsigned char *answer;
    size_t size;

    (void)s;
    return gyre_resolve_query("silent.test", 16, &answer, &size);
}

static long call_dial_name(struct state *s)
{
    (void)s;
    return gyre_tcp_dial("silent.test:1");
}

static long call_udp_name(struct state *s)
{
    (void)s;
    return gyre_udp_dial("silent.test:1");
}

static long call_listen_name(struct state *s)
{
    struct gyre_listener *listener;

    (void)s;
    return gyre_tcp_listen(&listener, "silent.test:1");
}

/* --- the matrix --------------------------------------------------------------------------------
 */

static const struct call calls[] = {
    {"poll", call_poll, open_pipe, let_pipe, NULL, close_all, CLOSES},
    {"wait_readable", call_readable, open_pipe, let_pipe, NULL, close_all, CLOSES},
    {"wait_writable", call_writable, open_full_pipe, let_full_pipe, NULL, close_all, CLOSES},
    {"poll_many, one", call_poll_one, open_pipe, let_pipe, NULL, close_all, CLOSES},
    {"poll_many, two", call_poll_two, open_pipe, let_pipe, NULL, close_all, 0},
    {"watch_next", call_watch, open_watch, let_pipe, shut_watch, close_watch, CLOSES},
    {"event_take", call_event, open_event, let_event, NULL, close_all, CLOSES},
    {"inotify_next", call_inotify, open_inotify, let_inotify, shut_inotify, close_inotify, CLOSES},
    {"futex_wait", call_word, open_word, let_word, NULL, close_word, 0},
    {"open, FIFO", call_open_reading, open_fifo, let_fifo, NULL, close_fifo, 0},
    {"openat, FIFO", call_open_writing, open_fifo, let_fifo, NULL, close_fifo, 0},
    {"openat2, FIFO", call_openat2, open_fifo, let_fifo, NULL, close_fifo, 0},
    {"read_file, FIFO", call_read_file, open_fifo, NULL, NULL, close_fifo, ENDLESS},
    {"splice", call_splice, open_two_pipes, let_pipe, NULL, close_all, CLOSES},
    {"tee", call_tee, open_two_pipes, let_pipe, NULL, close_all, CLOSES},
    {"sendfile_all", call_sendfile, open_sendfile, let_full, NULL, close_all, CLOSES},
    {"stream_read", call_stream_read, open_buffered, let_stream, shut_buffered, close_buffered,
     CLOSES},
    {"stream_read_all", call_stream_read_all, open_buffered, let_stream, shut_buffered,
     close_buffered, CLOSES},
    {"stream_peek", call_stream_peek, open_buffered, let_stream, shut_buffered, close_buffered,
     CLOSES},
    {"stream_skip", call_stream_skip, open_buffered, let_stream, shut_buffered, close_buffered,
     CLOSES},
    {"stream_until", call_stream_until, open_buffered, let_stream, shut_buffered, close_buffered,
     CLOSES},
    {"stream_line", call_stream_line, open_buffered, let_stream, shut_buffered, close_buffered,
     CLOSES},
    {"stream_write", call_stream_write, open_full_buffered, let_full, shut_buffered, close_buffered,
     CLOSES},
    {"stream_flush", call_stream_flush, open_full_buffered, let_full, shut_buffered, close_buffered,
     CLOSES},
    {"blocking", call_blocking, open_busy, let_busy, NULL, close_busy, 0},
    {"blocking_detached, queued", call_queued_detached, open_busy, let_busy, NULL, close_busy, 0},
    {"blocking_detached", call_detached, open_pipe, let_detached, NULL, close_detached, 0},
    {"mkdir_all", call_mkdir_all, open_busy, let_busy, NULL, close_busy, 0},
    {"directory", call_directory, open_busy, let_busy, NULL, close_busy, 0},
    {"walk", call_walk, open_busy, let_busy, NULL, close_busy, 0},
    {"walk, parallel", call_walk_parallel, open_busy, let_busy, NULL, close_busy, 0},
    {"remove_all", call_remove_all, open_busy, let_busy, NULL, close_busy, 0},
    {"copy_file", call_copy, open_busy, let_busy, NULL, close_busy, 0},
    {"chmod", call_chmod, open_busy, let_busy, NULL, close_busy, 0},
    {"inotify_add", call_inotify_add, open_busy_inotify, let_busy, NULL, close_busy_inotify, 0},
    {"process_start", call_process_start, open_busy, let_busy, NULL, close_busy, 0},
    {"process_wait", call_process_wait, open_process, let_process, NULL, close_process, 0},
    {"process_capture", call_capture, open_nothing, NULL, NULL, close_word, ENDLESS},
    {"service_restart", call_restart, open_nothing, NULL, NULL, close_word, ENDLESS},
    {"signal_wait", call_signal, open_nothing, let_signal, NULL, close_word, 0},
    {"sendto", call_sendto, open_full_datagrams, let_full, NULL, close_all, CLOSES},
    {"sendmsg", call_sendmsg, open_full_datagrams, let_full, NULL, close_all, CLOSES},
    {"recvfrom", call_recvfrom, open_udp, let_stream, NULL, close_all, CLOSES},
    {"recvmsg", call_recvmsg, open_udp, let_stream, NULL, close_all, CLOSES},
    {"recvmsg, errors", call_error_queue, open_udp, NULL, NULL, close_all, CLOSES | ENDLESS},
    {"recv_segments", call_recv_segments, open_udp, let_stream, NULL, close_all, CLOSES},
    {"send_zero_copy", call_zero_copy, open_tcp, NULL, NULL, close_tcp, CLOSES | ENDLESS | ONCE},
    {"send_fds", call_send_fds, open_full_stream, let_full, NULL, close_all, CLOSES},
    {"recv_fds", call_recv_fds, open_stream, let_fds, NULL, close_all, CLOSES},
    {"recv_credentials", call_recv_credentials, open_stream, let_stream, NULL, close_all, CLOSES},
    {"unix_dial", call_unix_dial, open_full_listener, let_full_listener, NULL, close_fifo, 0},
    {"unix_listen", call_unix_listen, open_locked, let_locked, NULL, close_fifo, 0},
    {"unix_bind", call_unix_bind, open_locked, let_locked, NULL, close_fifo, 0},
    {"accept", call_accept, open_listener, let_listener, shut_listener, close_listener, CLOSES},
    {"connect", call_connect, open_deaf, NULL, NULL, close_all, CLOSES | ENDLESS | ONCE},
    {"tcp_dial", call_dial, open_deaf, NULL, NULL, close_all, ENDLESS},
    {"tcp_dial_options", call_dial_options, open_deaf, NULL, NULL, close_all, ENDLESS},
    {"feed_next", call_feed, open_feed, let_stream, shut_feed, close_feed, CLOSES},
    {"resolve", call_resolve, open_nothing, NULL, NULL, close_word, ENDLESS | NAMES},
    {"resolve_address", call_resolve_address, open_nothing, NULL, NULL, close_word,
     ENDLESS | NAMES},
    {"resolve_query", call_query, open_nothing, NULL, NULL, close_word, ENDLESS | NAMES},
    {"tcp_dial, name", call_dial_name, open_nothing, NULL, NULL, close_word, ENDLESS | NAMES},
    {"udp_dial, name", call_udp_name, open_nothing, NULL, NULL, close_word, ENDLESS | NAMES},
    {"tcp_listen, name", call_listen_name, open_nothing, NULL, NULL, close_word, ENDLESS | NAMES},
};

static struct random chance;

static struct state *begin(const struct call *call)
{
    struct state *s = calloc(1, sizeof *s);

    CHECK(s);
    for (size_t i = 0; i < ARRAY_SIZE(s->fds); i++)
        s->fds[i] = -1;
    memset(s->buffer, 'x', sizeof s->buffer);
    call->open(s);
    return s;
}

static void end(const struct call *call, struct state *s)
{
    call->close(s);
    free(s);
}

static void check_untouched(const struct state *s)
{
    for (size_t i = 0; i < sizeof s->buffer; i++)
        CHECK_EQ(s->buffer[i], 'x');
}

/* What it waits for comes, and it gets it: nothing was lost before. */
static void succeed(const struct call *call, struct state *s)
{
    struct attempt attempt;

    if (call->flags & (ENDLESS | ONCE))
        return;
    attempt_start(&attempt, call->call, s);
    attempt_await_parked(&attempt);
    call->let(s);
    CHECK(attempt_end(&attempt) >= 0);
}

static void ended_before(const struct call *call)
{
    struct state *s = begin(call);

    CHECK_EQ(attempt_ended(call->call, s), -ECANCELED);
    check_untouched(s);
    succeed(call, s);
    end(call, s);
}

static void ended_meanwhile(const struct call *call)
{
    struct state *s = begin(call);
    struct attempt attempt;

    attempt_start(&attempt, call->call, s);
    attempt_await_parked(&attempt);
    gyre_context_cancel(attempt.context);
    CHECK_EQ(attempt_end(&attempt), -ECANCELED);
    check_untouched(s);
    succeed(call, s);
    end(call, s);
}

static void deadline_passes(const struct call *call)
{
    struct state *s = begin(call);

    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        CHECK_EQ(call->call(s), -ETIMEDOUT);
    }
    check_untouched(s);
    succeed(call, s);
    end(call, s);
}

/* At the moment when it comes, from another coroutine: one of the two wins. */
static void ended_as_it_comes(const struct call *call)
{
    struct state *s = begin(call);
    struct attempt attempt;
    gyre_handle canceller;
    long result;

    attempt_start(&attempt, call->call, s);
    attempt_await_parked(&attempt);
    CHECK_EQ(gyre_spawn(&canceller, attempt_cancel, &attempt), 0);
    for (unsigned spins = random_below(&chance, 2000); spins; spins--)
        cpu_relax();
    call->let(s);
    CHECK_EQ(gyre_join(canceller, NULL), 0);
    result = attempt_end(&attempt);
    CHECK(result >= 0 || result == -ECANCELED);
    if (result < 0)
        succeed(call, s);
    end(call, s);
}

static void ended_after(const struct call *call)
{
    struct state *s = begin(call);
    struct attempt attempt;

    attempt_start(&attempt, call->call, s);
    attempt_await_parked(&attempt);
    call->let(s);
    while (!atomic_load(&attempt.over))
        gyre_yield();
    gyre_context_cancel(attempt.context);
    CHECK(attempt_end(&attempt) >= 0);
    end(call, s);
}

static void closed_meanwhile(const struct call *call)
{
    struct state *s = begin(call);
    struct attempt attempt;

    attempt_start(&attempt, call->call, s);
    attempt_await_parked(&attempt);
    if (call->shut)
        call->shut(s);
    else
        CHECK_EQ(gyre_close(s->fds[0]), 0);
    s->is_shut = true;
    CHECK_EQ(attempt_end(&attempt), -EBADF);
    end(call, s);
}

static void signals_meanwhile(const struct call *call)
{
    struct state *s = begin(call);
    struct attempt attempt;

    attempt_start(&attempt, call->call, s);
    attempt_await_parked(&attempt);
    storm_await(10);
    CHECK_EQ(atomic_load(&attempt.over) ? attempt.result : 1, 1);
    if (call->flags & ENDLESS)
        gyre_context_cancel(attempt.context);
    else
        call->let(s);
    CHECK_EQ(attempt_end(&attempt) >= 0 ? 0 : attempt.result,
             call->flags & ENDLESS ? -ECANCELED : 0);
    end(call, s);
}

static const char *only;

static void each_call(void (*check)(const struct call *), const char *what, unsigned with,
                      unsigned without)
{
    static char phase[100];

    stress_phase = phase;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        if ((only && strcmp(only, calls[i].name)) || (calls[i].flags & with) != with ||
            calls[i].flags & without)
            continue;
        snprintf(phase, sizeof phase, "%s, %s, %u workers", calls[i].name, what,
                 gyre_worker_count());
        check(&calls[i]);
    }
}

static int all(void *unused)
{
    const char *phase = stress_phase;
    struct gyre_addresses none;
    unsigned skip = 0;

    (void)unused;
    if (gyre_resolve("nothing.test", 1, GYRE_FAMILY_V4, &none) == -EOPNOTSUPP)
        skip = NAMES;
    each_call(ended_before, "context ended before", 0, skip);
    each_call(ended_meanwhile, "context ends", 0, skip);
    each_call(deadline_passes, "deadline", 0, skip);
    for (unsigned long i = 0; i < stress_rounds(20) + 1; i++)
        each_call(ended_as_it_comes, "context ends as it comes", 0, ENDLESS | skip);
    each_call(ended_after, "context ends after", 0, ENDLESS | skip);
    each_call(closed_meanwhile, "closed", CLOSES, skip);
    storm_begin();
    each_call(signals_meanwhile, "signals", 0, skip);
    storm_end();
    stress_phase = phase;
    return 0;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = storm_receive};

    stress_begin(argc, argv);
    only = argc > 2 ? argv[2] : NULL; /* one call alone */
    chance = stress_random(1);
    sigaction(SIGUSR2, &action, NULL);
    dns_start(rules, "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n", "");
    stress_run_each("calls that wait", 0, all);
    dns_stop();
    return 0;
}
