/* Connecting. */
#include "io/operation.h"
#include "net/address.h"
#include "net/dial.h"
#include "ring/tsan.h"

#include <gyre/io.h>
#include <gyre/net.h>

#include <errno.h>
#include <poll.h>
#include <string.h>

/* 0: submit the connect once more, which tells how it went. */
static int await_connection(struct operation *operation, int fd)
{
    int result = gyre_operation_poll(operation, "gyre_connect", fd, POLLOUT);

    return result < 0 ? result : 0;
}

/*
 * A connect that was begun goes on in the socket, whatever interrupts the call: submitted again it
 * says EALREADY, or tells the result once that is known.
 */
int gyre_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    struct operation operation = {0};
    bool again = false;
    int result;

    if (fd < 0) {
        coro_required("gyre_connect");
        return -EBADF;
    }
    for (;;) {
        result = gyre_operation_begin(&operation, "gyre_connect", fd, 0);
        if (result)
            return result;
        io_uring_prep_connect(operation.sqe, fd, (struct sockaddr *)address, length);
        ring_tsan_sends();
        result = gyre_operation_wait(&operation);
        if (again && result == -EISCONN)
            return 0;
        if (again && result == -EALREADY)
            result = await_connection(&operation, fd);
        else if (result != OPERATION_AGAIN)
            return result;
        if (result < 0 && result != OPERATION_AGAIN)
            return result;
        again = true;
    }
}

static int dial_address(const struct address *address)
{
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error;

    if (fd < 0)
        return -errno;
    gyre_set_nodelay(fd, 1);
    error = gyre_connect(fd, (const struct sockaddr *)&address->storage, address->length);
    if (!error)
        return fd;
    gyre_close(fd);
    return error;
}

int gyre_tcp_dial(const char *text)
{
    struct gyre_coro *self = coro_required("gyre_tcp_dial");
    struct address address;
    char host[GYRE_HOST_SIZE];
    int port, error = coro_error(self);

    if (error)
        return error;
    port = gyre_address_split(text, host);
    if (port < 0)
        return port;
    error = gyre_address_parse(text, &address);
    if (error == -EADDRNOTAVAIL || !strcmp(host, "localhost"))
        return gyre_dial_name(host, (uint16_t)port);
    if (error)
        return error;
    if (address.any)
        gyre_address_loopback(&address); /* as Go does: no host means the local one */
    return dial_address(&address);
}
