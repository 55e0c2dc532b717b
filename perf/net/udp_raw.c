/*
 * UDP echo as its best users would write it without a runtime: one thread and one socket a CPU
 * (SO_REUSEPORT).
 *
 * io_uring: one multishot recvmsg into a buffer ring, a sendmsg for each datagram, one enter a
 * batch. mmsg: epoll, then recvmmsg and sendmmsg of up to 64. single: epoll, then recvfrom and
 * sendto until there is none.
 */
#include "../peers/server.h"

#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BATCH = 64, GROUP = 1, HEADER = 16 + 128 };

struct send {
    struct msghdr header;
    struct iovec piece;
};

struct loop {
    struct io_uring ring;
    struct io_uring_buf_ring *buffers;
    char *memory;
    struct send *sends; /* by buffer */
    struct msghdr header;
    unsigned count;
    int fd;
};

/* On the port of the TCP listener that the frame has made. */
static int open_socket(int listener)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int one = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || getsockname(listener, (struct sockaddr *)&address, &length) ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) ||
        bind(fd, (struct sockaddr *)&address, length))
        server_die("socket", errno);
    return fd;
}

/* --- io_uring --------------------------------------------------------------------------------- */

static void recycle(struct loop *loop, unsigned id)
{
    io_uring_buf_ring_add(loop->buffers, loop->memory + (size_t)id * BUFFER_SIZE, BUFFER_SIZE,
                          (unsigned short)id, io_uring_buf_ring_mask(loop->count), 0);
    io_uring_buf_ring_advance(loop->buffers, 1);
}

static struct io_uring_sqe *get_sqe(struct loop *loop)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);

    while (!sqe) {
        io_uring_submit(&loop->ring);
        sqe = io_uring_get_sqe(&loop->ring);
    }
    return sqe;
}

static void arm(struct loop *loop)
{
    struct io_uring_sqe *sqe = get_sqe(loop);

    io_uring_prep_recvmsg_multishot(sqe, loop->fd, &loop->header, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    sqe->user_data = UINT64_MAX;
}

static void set_up(struct loop *loop, const struct server *server)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_CQSIZE |
                                              IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,
                                     .cq_entries = 16384};
    size_t ring_size = loop->count * sizeof(struct io_uring_buf);
    struct io_uring_buf_reg reg = {.ring_entries = loop->count, .bgid = GROUP};
    int error = io_uring_queue_init_params(server->entries, &loop->ring, &params);

    if (error)
        server_die("io_uring_queue_init_params", -error);
    error = io_uring_register_ring_fd(&loop->ring);
    if (error < 0)
        server_die("io_uring_register_ring_fd", -error);
    loop->buffers = mmap(NULL, ring_size + (size_t)loop->count * BUFFER_SIZE,
                         PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    loop->sends = calloc(loop->count, sizeof *loop->sends);
    if (loop->buffers == MAP_FAILED || !loop->sends)
        server_die("memory", ENOMEM);
    loop->memory = (char *)loop->buffers + ring_size;
    reg.ring_addr = (uintptr_t)loop->buffers;
    error = io_uring_register_buf_ring(&loop->ring, &reg, 0);
    if (error)
        server_die("io_uring_register_buf_ring", -error);
    io_uring_buf_ring_init(loop->buffers);
    for (unsigned i = 0; i < loop->count; i++)
        recycle(loop, i);
    loop->header.msg_namelen = HEADER - 16;
    arm(loop);
}

static void answer(struct loop *loop, unsigned id, unsigned size)
{
    char *data = loop->memory + (size_t)id * BUFFER_SIZE;
    const struct io_uring_recvmsg_out *out = (const void *)data;
    struct send *s = &loop->sends[id];
    struct io_uring_sqe *sqe = get_sqe(loop);

    s->piece = (struct iovec){data + HEADER, size - HEADER};
    s->header = (struct msghdr){.msg_name = data + sizeof *out,
                                .msg_namelen = out->namelen,
                                .msg_iov = &s->piece,
                                .msg_iovlen = 1};
    io_uring_prep_sendmsg(sqe, loop->fd, &s->header, 0);
    sqe->user_data = id;
}

static void serve_io_uring(struct loop *loop, const struct server *server)
{
    loop->count = server->buffers;
    set_up(loop, server);
    for (;;) {
        struct io_uring_cqe *cqe;
        unsigned head, count = 0;
        int error = io_uring_submit_and_wait(&loop->ring, 1);

        if (error < 0 && error != -EINTR && error != -EBUSY && error != -EAGAIN)
            server_die("io_uring_enter", -error);
        io_uring_for_each_cqe(&loop->ring, head, cqe)
        {
            count++;
            if (cqe->user_data != UINT64_MAX) {
                recycle(loop, (unsigned)cqe->user_data);
                continue;
            }
            if (cqe->res >= HEADER)
                answer(loop, cqe->flags >> IORING_CQE_BUFFER_SHIFT, (unsigned)cqe->res);
            if (!(cqe->flags & IORING_CQE_F_MORE))
                arm(loop);
        }
        io_uring_cq_advance(&loop->ring, count);
    }
}

/* --- epoll ------------------------------------------------------------------------------------ */

static int watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        server_die("epoll", errno);
    return epoll;
}

static void serve_mmsg(int fd)
{
    static _Thread_local char buffers[BATCH][BUFFER_SIZE];
    static _Thread_local struct sockaddr_storage names[BATCH];
    static _Thread_local struct iovec pieces[BATCH];
    static _Thread_local struct mmsghdr headers[BATCH];
    struct epoll_event event;
    int epoll = watch(fd);

    for (;;) {
        int n = 0, sent = 0;

        for (int i = 0; i < BATCH; i++) {
            pieces[i] = (struct iovec){buffers[i], BUFFER_SIZE};
            headers[i].msg_hdr = (struct msghdr){.msg_name = &names[i],
                                                 .msg_namelen = sizeof names[i],
                                                 .msg_iov = &pieces[i],
                                                 .msg_iovlen = 1};
        }
        n = recvmmsg(fd, headers, BATCH, MSG_DONTWAIT, NULL);
        if (n <= 0) {
            epoll_wait(epoll, &event, 1, -1);
            continue;
        }
        for (int i = 0; i < n; i++)
            pieces[i].iov_len = headers[i].msg_len;
        while (sent < n) {
            int m = sendmmsg(fd, headers + sent, (unsigned)(n - sent), 0);

            sent += m > 0 ? m : 1;
        }
    }
}

static void serve_single(int fd)
{
    static _Thread_local char buffer[BUFFER_SIZE];
    struct epoll_event event;
    int epoll = watch(fd);

    for (;;) {
        struct sockaddr_storage name;
        socklen_t length = sizeof name;
        ssize_t n =
            recvfrom(fd, buffer, sizeof buffer, MSG_DONTWAIT, (struct sockaddr *)&name, &length);

        if (n < 0)
            epoll_wait(epoll, &event, 1, -1);
        else
            sendto(fd, buffer, (size_t)n, 0, (struct sockaddr *)&name, length);
    }
}

static void worker(int listener, const struct server *server)
{
    struct loop *loop = calloc(1, sizeof *loop);

    if (!loop)
        server_die("calloc", ENOMEM);
    loop->fd = open_socket(listener);
    if (strcmp(server->variant, "mmsg") == 0)
        serve_mmsg(loop->fd);
    else if (strcmp(server->variant, "single") == 0)
        serve_single(loop->fd);
    else
        serve_io_uring(loop, server);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"io_uring", "mmsg", "single", NULL};
    struct server server;

    server_options(argc, argv, names, &server);
    server_run(&server, worker);
}
