/*
 * An echo server on io_uring, in each of the ways its best user would write it: one thread and one
 * ring per CPU, a registered ring descriptor, multishot accept, one enter that submits a batch and
 * reaps the next.
 *
 * Each connection is either receiving or sending, save in the variants `together` (the next receive
 * is queued with the send, into a second buffer) and those with multishot (data may arrive while an
 * earlier send is under way: it queues up per connection, by buffer). Sends ask for MSG_WAITALL, so
 * the kernel finishes what a full socket takes in parts. A connection is released when its last
 * operation has completed. When a batch can be larger than the buffer ring (10,000 connections),
 * its user makes the ring larger: --buffers.
 */
#include "server.h"
#include "abi_local.h"

#include <errno.h>
#include <liburing.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    DEFER = 1 << 0,      /* completions only when the owner enters */
    POLL_FIRST = 1 << 1, /* the receive arms its poll without trying first */
    DIRECT = 1 << 2,     /* direct descriptors */
    LINK = 1 << 3,       /* each send is linked to the next receive */
    TOGETHER = 1 << 4,   /* each send is queued with the next receive, not linked */
    MULTISHOT = 1 << 5,  /* multishot receive from a buffer ring */
    SEND2 = 1 << 6,      /* send(2), the ring only for what the socket would not take at once */
    MIN_WAIT = 1 << 7    /* waits up to 50 us for 16 completions */
};

static const struct {
    const char *name;
    unsigned flags;
} variants[] = {
    {"recv", DEFER},
    {"coop", 0},
    {"direct", DEFER | DIRECT},
    {"pollfirst", DEFER | POLL_FIRST},
    {"link", DEFER | LINK},
    {"together", DEFER | TOGETHER},
    {"send2", DEFER | SEND2},
    {"multishot", DEFER | MULTISHOT},
    {"multishot_send2", DEFER | MULTISHOT | SEND2},
    {"multishot_minwait", DEFER | MULTISHOT | MIN_WAIT},
    {"coop_send2", SEND2},
    {"coop_multishot", MULTISHOT},
    {"coop_multishot_send2", MULTISHOT | SEND2},
};

enum { VARIANTS = sizeof variants / sizeof variants[0] };

enum { BUFFER_GROUP = 0, MIN_WAIT_COUNT = 16, MIN_WAIT_US = 50 };

/* What completed, in the low bits of user_data. */
enum { OP_ACCEPT, OP_RECV, OP_SEND, OP_MASK = 3 };

static const unsigned send_flags = MSG_NOSIGNAL | MSG_WAITALL;

struct connection {
    int fd;
    unsigned pending; /* operations under way */
    bool dead;
    bool sending;
    unsigned size;   /* of the send under way, or of what a receive holds back */
    unsigned turn;   /* together: the buffer that the receive fills */
    unsigned held;   /* together: bytes that wait for the send to end */
    int first, last; /* multishot: queue of buffers to send, first is being sent; -1 */
    char *buffer;    /* BUFFER_SIZE bytes, twice that for `together`; not with multishot */
};

struct loop {
    struct io_uring ring;
    unsigned flags;
    int listener;
    const struct server *server;
    struct io_uring_buf_ring *buf_ring;
    char *buffers;
    unsigned buffer_count;
    int *next;        /* per buffer: queue link */
    unsigned *length; /* per buffer: bytes received into it */
};

/* Makes room for count entries: those of a chain have to be submitted together. */
static void reserve(struct loop *loop, unsigned count)
{
    while (io_uring_sq_space_left(&loop->ring) < count) {
        int n = io_uring_submit(&loop->ring);

        if (n < 0 && n != -EINTR && n != -EBUSY && n != -EAGAIN)
            server_die("io_uring_submit", -n);
    }
}

static struct io_uring_sqe *get_sqe(struct loop *loop)
{
    reserve(loop, 1);
    return io_uring_get_sqe(&loop->ring);
}

static void set_target(struct loop *loop, struct io_uring_sqe *sqe, struct connection *c,
                       unsigned op)
{
    sqe->user_data = (uintptr_t)c | op;
    if (loop->flags & DIRECT)
        sqe->flags |= IOSQE_FIXED_FILE;
    c->pending++;
}

static void arm_accept(struct loop *loop)
{
    struct io_uring_sqe *sqe = get_sqe(loop);

    io_uring_prep_multishot_accept(sqe, loop->listener, NULL, NULL, 0);
    if (loop->flags & DIRECT)
        sqe->file_index =
            (uint32_t)IORING_FILE_INDEX_ALLOC; /* liburing 2.3's helper wraps it to 0 */
    else
        sqe->accept_flags = SOCK_CLOEXEC;
    sqe->user_data = OP_ACCEPT;
}

static void start_recv(struct loop *loop, struct connection *c)
{
    struct io_uring_sqe *sqe = get_sqe(loop);

    if (loop->flags & MULTISHOT) {
        io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = BUFFER_GROUP;
    } else {
        io_uring_prep_recv(sqe, c->fd, c->buffer + c->turn * BUFFER_SIZE, BUFFER_SIZE, 0);
        if (loop->flags & POLL_FIRST)
            sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    }
    set_target(loop, sqe, c, OP_RECV);
}

static void start_send(struct loop *loop, struct connection *c, const char *data, unsigned size)
{
    struct io_uring_sqe *sqe;

    if (loop->flags & LINK)
        reserve(loop, 2);
    sqe = get_sqe(loop);
    io_uring_prep_send(sqe, c->fd, data, size, (int)send_flags);
    set_target(loop, sqe, c, OP_SEND);
    if (loop->flags & LINK)
        sqe->flags |= IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
    c->size = size;
    c->sending = true;
}

/* Bytes that send(2) takes at once, or -errno. */
static int send_now(struct connection *c, const char *data, unsigned size)
{
    ssize_t n = send(c->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n >= 0)
        return (int)n;
    return errno == EAGAIN ? 0 : -errno;
}

static void recycle(struct loop *loop, int id)
{
    io_uring_buf_ring_add(loop->buf_ring, loop->buffers + (size_t)id * BUFFER_SIZE, BUFFER_SIZE,
                          (unsigned short)id, io_uring_buf_ring_mask(loop->buffer_count), 0);
    io_uring_buf_ring_advance(loop->buf_ring, 1);
}

static void end(struct loop *loop, struct connection *c)
{
    if (!c->dead) {
        c->dead = true;
        if (c->pending && !(loop->flags & DIRECT))
            shutdown(c->fd, SHUT_RDWR); /* ends a receive that is still armed */
    }
    if (c->pending)
        return;
    while (c->first >= 0) {
        recycle(loop, c->first);
        c->first = loop->next[c->first];
    }
    if (loop->flags & DIRECT) {
        struct io_uring_sqe *sqe = get_sqe(loop);

        io_uring_prep_close(sqe, 0);
        sqe->file_index = (uint32_t)c->fd + 1;
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        sqe->user_data = OP_MASK;
    } else {
        close(c->fd);
    }
    free(c->buffer);
    free(c);
}

static void on_accept(struct loop *loop, const struct io_uring_cqe *cqe)
{
    struct connection *c;

    if (!(cqe->flags & IORING_CQE_F_MORE))
        arm_accept(loop);
    if (cqe->res < 0)
        return;
    c = calloc(1, sizeof *c);
    if (!c)
        server_die("calloc", ENOMEM);
    c->fd = cqe->res;
    c->first = c->last = -1;
    if (!(loop->flags & MULTISHOT)) {
        c->buffer = malloc((loop->flags & TOGETHER ? 2u : 1u) * BUFFER_SIZE);
        if (!c->buffer)
            server_die("malloc", ENOMEM);
    }
    start_recv(loop, c);
}

/* Single-shot receive: n bytes are in the buffer of this turn. */
static void on_data(struct loop *loop, struct connection *c, unsigned n)
{
    char *data = c->buffer + c->turn * BUFFER_SIZE;
    int sent = 0;

    if (c->sending) { /* together: the send of the other buffer has not ended */
        c->held = n;
        return;
    }
    n = (unsigned)server_reply(loop->server, data, n);
    if (loop->flags & SEND2)
        sent = send_now(c, data, n);
    if (sent < 0) {
        end(loop, c);
        return;
    }
    if ((unsigned)sent < n)
        start_send(loop, c, data + sent, n - (unsigned)sent);
    if (loop->flags & TOGETHER)
        c->turn ^= 1;
    if (loop->flags & (TOGETHER | LINK) || (unsigned)sent == n)
        start_recv(loop, c);
}

static void send_first(struct loop *loop, struct connection *c, unsigned from)
{
    start_send(loop, c, loop->buffers + (size_t)c->first * BUFFER_SIZE + from,
               loop->length[c->first] - from);
}

/* Multishot receive: n bytes are in buffer id. */
static void on_buffer(struct loop *loop, struct connection *c, int id, unsigned n)
{
    char *data = loop->buffers + (size_t)id * BUFFER_SIZE;
    int sent = 0;

    n = (unsigned)server_reply(loop->server, data, n);
    if (c->first < 0 && loop->flags & SEND2) {
        sent = send_now(c, data, n);
        if (sent == (int)n || sent < 0) {
            recycle(loop, id);
            if (sent < 0)
                end(loop, c);
            return;
        }
    }
    loop->length[id] = n;
    loop->next[id] = -1;
    if (c->first >= 0) {
        loop->next[c->last] = id;
        c->last = id;
        return;
    }
    c->first = c->last = id;
    send_first(loop, c, (unsigned)sent);
}

static void on_recv(struct loop *loop, struct connection *c, const struct io_uring_cqe *cqe)
{
    bool more = cqe->flags & IORING_CQE_F_MORE;

    if (!more)
        c->pending--;
    if (cqe->res == -ENOBUFS && !c->dead) {
        start_recv(loop, c);
        return;
    }
    if (cqe->res <= 0 || c->dead) {
        if (cqe->flags & IORING_CQE_F_BUFFER)
            recycle(loop, (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
        end(loop, c);
        return;
    }
    if (!(loop->flags & MULTISHOT)) {
        on_data(loop, c, (unsigned)cqe->res);
        return;
    }
    c->pending++; /* on_buffer may end c: it must outlive this call */
    on_buffer(loop, c, (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT), (unsigned)cqe->res);
    c->pending--;
    if (!more && !c->dead)
        start_recv(loop, c);
    else if (c->dead && !c->pending)
        end(loop, c);
}

static void on_send(struct loop *loop, struct connection *c, const struct io_uring_cqe *cqe)
{
    c->pending--;
    c->sending = false;
    if (cqe->res != (int)c->size || c->dead) {
        end(loop, c);
        return;
    }
    if (loop->flags & MULTISHOT) {
        recycle(loop, c->first);
        c->first = loop->next[c->first];
        if (c->first >= 0)
            send_first(loop, c, 0);
    } else if (!(loop->flags & TOGETHER)) {
        start_recv(loop, c);
    } else if (c->held) {
        unsigned n = c->held;

        c->held = 0;
        on_data(loop, c, n);
    }
}

static void handle(struct loop *loop, const struct io_uring_cqe *cqe)
{
    struct connection *c = (struct connection *)(uintptr_t)(cqe->user_data & ~(uint64_t)OP_MASK);

    switch (cqe->user_data & OP_MASK) {
    case OP_ACCEPT:
        on_accept(loop, cqe);
        break;
    case OP_RECV:
        if (loop->flags & LINK &&
            c->sending) { /* its send succeeded silently, or it is cancelled */
            c->pending--;
            c->sending = false;
        }
        on_recv(loop, c, cqe);
        break;
    case OP_SEND:
        if (!(loop->flags & LINK)) /* a failed one: the receive that follows is cancelled */
            on_send(loop, c, cqe);
        break;
    default:
        break;
    }
}

/* Submits and waits for MIN_WAIT_COUNT completions or, after MIN_WAIT_US, for one. liburing 2.3
 * can't pass a minimum wait, so this publishes the submission queue's tail itself. */
static int enter_min_wait(struct io_uring *ring)
{
    struct abi_getevents_arg argument = {.min_wait_usec = MIN_WAIT_US};
    unsigned count = ring->sq.sqe_tail - __atomic_load_n(ring->sq.khead, __ATOMIC_ACQUIRE);

    ring->sq.sqe_head = ring->sq.sqe_tail;
    __atomic_store_n(ring->sq.ktail, ring->sq.sqe_tail, __ATOMIC_RELEASE); /* read by the kernel */
    return io_uring_enter2((unsigned)ring->enter_ring_fd, count, MIN_WAIT_COUNT,
                           IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG |
                               IORING_ENTER_REGISTERED_RING,
                           (sigset_t *)&argument, sizeof argument);
}

static void set_up_buffers(struct loop *loop)
{
    unsigned count = loop->buffer_count;
    struct io_uring_buf_reg reg = {.ring_entries = count, .bgid = BUFFER_GROUP};
    size_t size = sizeof(struct io_uring_buf) * count;
    void *memory = mmap(NULL, size + (size_t)count * BUFFER_SIZE, PROT_READ | PROT_WRITE,
                        MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    int error;

    if (memory == MAP_FAILED)
        server_die("mmap", errno);
    loop->next = calloc(count, sizeof *loop->next);
    loop->length = calloc(count, sizeof *loop->length);
    if (!loop->next || !loop->length)
        server_die("calloc", ENOMEM);
    loop->buf_ring = memory;
    loop->buffers = (char *)memory + size;
    reg.ring_addr = (uintptr_t)memory;
    error = io_uring_register_buf_ring(&loop->ring, &reg, 0);
    if (error)
        server_die("io_uring_register_buf_ring", -error);
    io_uring_buf_ring_init(loop->buf_ring);
    for (int i = 0; i < (int)count; i++)
        recycle(loop, i);
}

static void set_up(struct loop *loop, unsigned entries)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_CQSIZE |
                                              IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL,
                                     .cq_entries = 16384};
    struct rlimit limit;
    int error;

    params.flags |= loop->flags & DEFER ? IORING_SETUP_DEFER_TASKRUN : IORING_SETUP_COOP_TASKRUN;
    error = io_uring_queue_init_params(entries, &loop->ring, &params);
    if (error)
        server_die("io_uring_queue_init_params", -error);
    error = io_uring_register_ring_fd(&loop->ring);
    if (error < 0)
        server_die("io_uring_register_ring_fd", -error);
    if (loop->flags & MULTISHOT)
        set_up_buffers(loop);
    if (loop->flags & DIRECT) {
        getrlimit(RLIMIT_NOFILE, &limit);
        error = io_uring_register_files_sparse(
            &loop->ring, limit.rlim_cur < 32768 ? (unsigned)limit.rlim_cur : 32768);
        if (error)
            server_die("io_uring_register_files_sparse", -error);
    }
    if (loop->flags & MIN_WAIT) {
        if (!(params.features & IORING_FEAT_MIN_TIMEOUT))
            server_die("min_wait", ENOSYS);
        for (unsigned i = 0; i < loop->ring.sq.ring_entries; i++)
            loop->ring.sq.array[i] = i; /* some versions of liburing only do so at submit */
    }
}

static void worker(int listener, const struct server *server)
{
    struct loop *loop = calloc(1, sizeof *loop);

    if (!loop)
        server_die("calloc", ENOMEM);
    for (unsigned i = 0; i < VARIANTS; i++)
        if (strcmp(variants[i].name, server->variant) == 0)
            loop->flags = variants[i].flags;
    loop->listener = listener;
    loop->server = server;
    loop->buffer_count = server->buffers;
    set_up(loop, server->entries);
    arm_accept(loop);
    for (;;) {
        struct io_uring_cqe *cqe;
        unsigned head, count = 0;
        int error = loop->flags & MIN_WAIT ? enter_min_wait(&loop->ring)
                                           : io_uring_submit_and_wait(&loop->ring, 1);

        if (error < 0 && error != -EINTR && error != -EBUSY && error != -EAGAIN && error != -ETIME)
            server_die("io_uring_enter", -error);
        io_uring_for_each_cqe(&loop->ring, head, cqe)
        {
            handle(loop, cqe);
            count++;
        }
        io_uring_cq_advance(&loop->ring, count);
    }
}

int main(int argc, char **argv)
{
    const char *names[VARIANTS + 1] = {NULL};
    struct server server;

    for (unsigned i = 0; i < VARIANTS; i++)
        names[i] = variants[i].name;
    server_options(argc, argv, names, &server);
    server_run(&server, worker);
}
