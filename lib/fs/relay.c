/*
 * From one connection or pipe to another. Small pieces are read into a buffer and written, which is
 * the cheapest for them; once the buffer was filled time and again, what can be spliced is, through
 * a pipe of the relay's between two connections, straight where one side is a pipe, and nothing is
 * copied (docs/decisions.md).
 *
 * Guarantees
 * - What was taken and not yet delivered is in the relay, in the buffer or in the pipe, never in
 *   both. A step delivers it before it takes more, so the order is kept.
 * - A step takes no more than its limit.
 * - Both numbers mean the files that they meant at open; once closed they fail.
 *
 * The splices are plain system calls: on a kernel worker each costs a handoff there and back. They
 * are made only after poll(2) has told that both sides can go on, to a connection no more than it
 * has room for, and between the look at the descriptors' owners and the call nothing parks. A
 * connection in blocking mode waits nevertheless where somebody else was faster, or the kernel is
 * short of memory: so it gets the shortest timeout there is (SO_RCVTIMEO, SO_SNDTIMEO: one tick of
 * the kernel's) while it is spliced. The ring does not heed these.
 *
 * Rejected: the descriptors in non-blocking mode, for that is the other users' mode as well.
 */
#include "fs/run.h"
#include "io/poll.h"
#include "io/socket.h"
#include "io/transfer.h"
#include "ring/tsan.h"

#include <gyre/coro.h>
#include <gyre/file.h>

#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum {
    BUFFER = 16 << 10,
    BUFFER_LARGE = 64 << 10, /* in bulk, where it can't be spliced */
    PIPE_SIZE = 256 << 10,
    PIPE_LEAST = 64 << 10,
    PIECE = 256 << 10, /* spliced at once: some ten microseconds */
    FULL_IN_A_ROW = 2, /* reads that filled the buffer: begin to splice */
    SMALL = 8 << 10,
    SMALL_IN_A_ROW = 8, /* pieces below SMALL: no longer */
    ROOM_LEAST = 4 << 10,
};

enum side_kind { SIDE_OTHER, SIDE_PIPE, SIDE_TCP };

struct side {
    int fd;
    enum side_kind kind;      /* known while splicing */
    struct operation binding; /* fd to its file */
    struct timeval timeout;   /* the program's, while splicing */
};

struct gyre_relay {
    struct side from, to;
    char *buffer;
    size_t size;            /* of the buffer */
    size_t first, buffered; /* what it holds */
    int pipe[2];            /* -1: none */
    size_t piped;           /* what it holds */
    unsigned in_a_row;
    bool splicing, never_splices;
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* --- the sides while splicing ----------------------------------------------------------------- */

static enum side_kind kind_of(int fd)
{
    char layer[16]; /* TLS and its kin have records */
    socklen_t length = sizeof layer;
    struct stat status;

    if (!fstat(fd, &status) && S_ISFIFO(status.st_mode))
        return SIDE_PIPE;
    if (!socket_is_tcp(fd))
        return SIDE_OTHER;
    return getsockopt(fd, IPPROTO_TCP, TCP_ULP, layer, &length) || !length ? SIDE_TCP : SIDE_OTHER;
}

static void set_shortest_timeout(struct side *side, int option)
{
    const struct timeval shortest = {.tv_usec = 1};
    socklen_t length = sizeof side->timeout;

    if (side->kind == SIDE_TCP &&
        !getsockopt(side->fd, SOL_SOCKET, option, &side->timeout, &length))
        setsockopt(side->fd, SOL_SOCKET, option, &shortest, sizeof shortest);
}

static void restore_timeout(const char *call, struct side *side, int option)
{
    if (side->kind == SIDE_TCP &&
        !gyre_operation_admit(&side->binding, call, side->fd, OPERATION_SHIELDED))
        setsockopt(side->fd, SOL_SOCKET, option, &side->timeout, sizeof side->timeout);
}

/* What a connection takes without waiting, as POLLOUT has been seen; an eighth is left for what the
 * kernel adds. */
static size_t room_in(int fd)
{
    size_t room = socket_room(fd);

    room -= room / 8;
    return room > ROOM_LEAST ? room : ROOM_LEAST;
}

/* --- splicing --------------------------------------------------------------------------------- */

static void close_pipe(struct gyre_relay *relay)
{
    for (int i = 0; i < 2; i++) {
        if (relay->pipe[i] >= 0)
            close(relay->pipe[i]); /* no operation was ever on it */
        relay->pipe[i] = -1;
    }
    relay->piped = 0;
}

static bool make_pipe(struct gyre_relay *relay)
{
    if (gyre_pipe(relay->pipe) < 0)
        return false;
    /* Refused to who has many already; what there is then is told below. */
    (void)fcntl(relay->pipe[1], F_SETPIPE_SZ, PIPE_SIZE);
    if (fcntl(relay->pipe[1], F_GETPIPE_SZ) >= PIPE_LEAST)
        return true;
    close_pipe(relay);
    return false;
}

static bool goes_straight(const struct gyre_relay *relay)
{
    return relay->from.kind == SIDE_PIPE || relay->to.kind == SIDE_PIPE;
}

/* In bulk. Where it can't be spliced, a larger buffer is what is left. */
static void begin_bulk(struct gyre_relay *relay)
{
    char *larger;

    relay->in_a_row = 0;
    if (!relay->never_splices) {
        relay->from.kind = kind_of(relay->from.fd);
        relay->to.kind = kind_of(relay->to.fd);
        if (relay->from.kind != SIDE_OTHER && relay->to.kind != SIDE_OTHER &&
            (goes_straight(relay) || make_pipe(relay))) {
            set_shortest_timeout(&relay->from, SO_RCVTIMEO);
            set_shortest_timeout(&relay->to, SO_SNDTIMEO);
            relay->splicing = true;
            free(relay->buffer);
            relay->buffer = NULL;
            return;
        }
    }
    relay->never_splices = true;
    larger = realloc(relay->buffer, BUFFER_LARGE);
    if (larger) {
        relay->buffer = larger;
        relay->size = BUFFER_LARGE;
    }
}

/* Its pipe is empty, or what it holds is given up. */
static void end_splicing(const char *call, struct gyre_relay *relay)
{
    relay->splicing = false;
    relay->in_a_row = 0;
    close_pipe(relay);
    restore_timeout(call, &relay->from, SO_RCVTIMEO);
    restore_timeout(call, &relay->to, SO_SNDTIMEO);
}

/* 0: both files are still ours, until the next park, and each is ready. 1: look again. */
static int await_ready(const char *call, struct gyre_relay *relay, int in, int out)
{
    struct pollfd sides[2] = {{.fd = in, .events = POLLIN}, {.fd = out, .events = POLLOUT}};
    int result = 0;

    if (in == relay->from.fd)
        result = gyre_operation_admit(&relay->from.binding, call, in, 0);
    if (!result && out == relay->to.fd)
        result = gyre_operation_admit(&relay->to.binding, call, out, 0);
    if (result)
        return result;
    poll(sides, 2, 0); /* failed, it has marked nothing as ready */
    for (int i = 0; i < 2; i++)
        if (!sides[i].revents) {
            result = gyre_poll_wait(call, sides[i].fd, (unsigned)sides[i].events, sides[i].fd);
            return result < 0 ? result : 1;
        }
    return 0;
}

/* At least a byte; 0: the end, or the kernel has its reasons. Others get their turn. */
static ssize_t splice_some(const char *call, struct gyre_relay *relay, int in, int out, size_t size)
{
    int result;

    for (;;) {
        while ((result = await_ready(call, relay, in, out)) > 0)
            ;
        if (result)
            return result;
        if (out == relay->to.fd && relay->to.kind == SIDE_TCP)
            size = least(size, room_in(out));
        ring_tsan_sends();
        result = gyre_file_now(PLAIN(SYS_splice, in, 0, out, 0, (long)size, SPLICE_F_NONBLOCK));
        ring_tsan_received();
        gyre_yield();
        if (result != -EAGAIN)
            return result;
    }
}

static ssize_t take_by_splice(const char *call, struct gyre_relay *relay, size_t limit)
{
    const bool straight = goes_straight(relay);
    ssize_t n = splice_some(call, relay, relay->from.fd, straight ? relay->to.fd : relay->pipe[1],
                            least(limit, PIECE));

    if (n > 0) {
        relay->piped = straight ? 0 : (size_t)n;
        relay->in_a_row = n < SMALL ? relay->in_a_row + 1 : 0;
    }
    return n;
}

/* --- copying ---------------------------------------------------------------------------------- */

static ssize_t take_by_buffer(const char *call, struct gyre_relay *relay, size_t limit)
{
    struct transfer transfer;
    ssize_t n;

    if (!relay->buffer) {
        relay->size = BUFFER;
        relay->buffer = malloc(BUFFER);
        if (!relay->buffer)
            return -ENOMEM;
    }
    transfer = transfer_bytes(TRANSFER_READ, relay->buffer, least(limit, relay->size));
    n = gyre_transfer(call, &relay->from.binding, relay->from.fd, &transfer);
    if (n > 0) {
        relay->first = 0;
        relay->buffered = (size_t)n;
        relay->in_a_row = (size_t)n == relay->size ? relay->in_a_row + 1 : 0;
    }
    return n;
}

/* --- steps ------------------------------------------------------------------------------------ */

static ssize_t give(const char *call, struct gyre_relay *relay, size_t limit)
{
    struct transfer transfer;
    ssize_t n;

    if (relay->piped) {
        n = splice_some(call, relay, relay->pipe[0], relay->to.fd, least(limit, relay->piped));
        if (n > 0)
            relay->piped -= (size_t)n;
    } else {
        transfer = transfer_bytes(TRANSFER_WRITE, relay->buffer + relay->first,
                                  least(limit, relay->buffered));
        n = gyre_transfer(call, &relay->to.binding, relay->to.fd, &transfer);
        if (n > 0) {
            relay->first += (size_t)n;
            relay->buffered -= (size_t)n;
        }
    }
    return n ? n : -EIO; /* it would go on for ever */
}

static ssize_t step(const char *call, struct gyre_relay *relay, size_t limit)
{
    ssize_t n;

    if (relay->piped || relay->buffered)
        return give(call, relay, limit);
    if (relay->splicing && relay->in_a_row >= SMALL_IN_A_ROW)
        end_splicing(call, relay);
    if (!relay->splicing && relay->in_a_row >= FULL_IN_A_ROW && relay->size == BUFFER)
        begin_bulk(relay);
    if (relay->splicing) {
        n = take_by_splice(call, relay, limit);
        if (n > 0 && !relay->piped)
            return n;
        if (n > 0)
            return give(call, relay, limit);
        if (n && n != -EINVAL)
            return n;
        /* Nothing may be the end, or urgent data that stand in the way: a read tells. */
        end_splicing(call, relay);
        relay->never_splices |= n == -EINVAL;
    }
    n = take_by_buffer(call, relay, limit);
    return n > 0 ? give(call, relay, limit) : n;
}

static int bind_sides(const char *call, struct gyre_relay *relay, int from, int to)
{
    int error;

    coro_required(call);
    if (from < 0 || to < 0)
        return -EBADF;
    *relay = (struct gyre_relay){.from.fd = from, .to.fd = to, .pipe = {-1, -1}};
    error = gyre_operation_admit(&relay->from.binding, call, from, 0);
    return error ? error : gyre_operation_admit(&relay->to.binding, call, to, 0);
}

static void release(const char *call, struct gyre_relay *relay)
{
    if (relay->splicing)
        end_splicing(call, relay);
    free(relay->buffer);
}

int gyre_relay_open(struct gyre_relay **relay, int from, int to)
{
    struct gyre_relay *opened = malloc(sizeof *opened);
    int error = opened ? bind_sides("gyre_relay_open", opened, from, to) : -ENOMEM;

    if (error)
        free(opened);
    else
        *relay = opened;
    return error;
}

ssize_t gyre_relay_next(struct gyre_relay *relay, size_t limit)
{
    static const char call[] = "gyre_relay_next";

    coro_required(call);
    return limit ? step(call, relay, limit) : -EINVAL;
}

size_t gyre_relay_held(const struct gyre_relay *relay)
{
    return relay->piped + relay->buffered;
}

void gyre_relay_close(struct gyre_relay *relay)
{
    static const char call[] = "gyre_relay_close";

    coro_required(call);
    if (!relay)
        return;
    release(call, relay);
    free(relay);
}

ssize_t gyre_relay_all(int from, int to, size_t limit, size_t *done)
{
    static const char call[] = "gyre_relay_all";
    struct gyre_relay relay;
    size_t count = 0;
    ssize_t n = bind_sides(call, &relay, from, to);

    if (!n) {
        while (count < limit && (n = step(call, &relay, limit - count)) > 0)
            count += (size_t)n;
        release(call, &relay);
    }
    if (done)
        *done = count;
    return n < 0 ? n : (ssize_t)count;
}
