/*
 * Unix sockets. A connect to a listener whose queue is full is tried again after pauses: the kernel
 * offers nothing to poll for, and would block one of the ring's worker threads.
 */
#include "net/address.h"
#include "net/listener.h"
#include "net/message.h"
#include "net/unix_path.h"

#include <gyre/io.h>
#include <gyre/net.h>
#include <gyre/unix.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { BACKLOG_MOST = 65535 };

static int open_bound(const struct gyre_address *address, int type, mode_t mode, int backlog,
                      struct unix_path **path)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    int error;

    if (fd < 0)
        return -errno;
    error = gyre_unix_path_bind(fd, type, address, mode, backlog, path);
    if (!error)
        return fd;
    close(fd);
    return error;
}

int gyre_unix_listen(struct gyre_listener **listener, const char *text, int type, mode_t mode)
{
    struct gyre_coro *self = coro_required("gyre_unix_listen");
    struct unix_path *path = NULL;
    struct gyre_address address;
    int fd, error = coro_error(self);

    if (!error && (!listener || (type != SOCK_STREAM && type != SOCK_SEQPACKET)))
        error = -EINVAL;
    if (!error)
        error = gyre_address_unix(&address, text);
    if (error)
        return error;
    fd = open_bound(&address, type, mode, BACKLOG_MOST, &path);
    if (fd < 0)
        return fd;
    error = gyre_listener_adopt(listener, fd, NULL);
    if (!error) {
        gyre_listener_owns(*listener, path);
        return 0;
    }
    gyre_unix_path_remove(path);
    close(fd);
    return error;
}

static int connect_now(int fd, const struct gyre_address *address)
{
    return connect(fd, (const struct sockaddr *)&address->storage, address->length) ? -errno : 0;
}

static int connect_unix(int fd, const struct gyre_address *address)
{
    struct operation operation = {0};
    int64_t pause = 0;
    int error;

    while ((error = connect_now(fd, address)) == -EAGAIN) {
        error = gyre_message_pause("gyre_unix_dial", &operation, fd, &pause);
        if (error)
            return error;
    }
    if (!error && fcntl(fd, F_SETFL, 0) < 0)
        error = -errno;
    return error;
}

int gyre_unix_dial(const char *path, int type)
{
    struct gyre_coro *self = coro_required("gyre_unix_dial");
    struct gyre_address address;
    int fd, error = coro_error(self);

    if (!error && type != SOCK_STREAM && type != SOCK_SEQPACKET && type != SOCK_DGRAM)
        error = -EINVAL;
    if (!error)
        error = gyre_address_unix(&address, path);
    if (error)
        return error;
    fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    error = connect_unix(fd, &address);
    if (!error)
        return fd;
    gyre_close(fd);
    return error;
}

int gyre_unix_bind(const char *path, mode_t mode)
{
    struct gyre_coro *self = coro_required("gyre_unix_bind");
    /* Of a family alone: the kernel chooses an abstract name. */
    struct gyre_address address = {{.ss_family = AF_UNIX}, sizeof(sa_family_t)};
    int error = coro_error(self);

    if (!error && path)
        error = gyre_address_unix(&address, path);
    return error ? error : open_bound(&address, SOCK_DGRAM, mode, -1, NULL);
}

int gyre_unix_pair(int fds[2], int type)
{
    return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0;
}
