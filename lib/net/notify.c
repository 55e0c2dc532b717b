/*
 * Telling the manager, and the predecessor, by one datagram each that never waits.
 *
 * A process that was started by gyre_service_restart tells its predecessor when it is ready, once,
 * by the socket that it was given; the predecessor then tells the manager who serves now. Until
 * then most managers take no notice of this process (NotifyAccess=main).
 */
#include "net/service.h"

#include "base/macros.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A path, or '@' and an abstract name. */
static int make_address(const char *text, struct sockaddr_un *address, socklen_t *length)
{
    size_t size = strlen(text);

    if (*text != '/' && *text != '@')
        return -EAFNOSUPPORT;
    if (size >= sizeof address->sun_path)
        return -ENAMETOOLONG;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, text, size);
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    if (*text == '@')
        address->sun_path[0] = 0;
    else
        ++*length;
    return 0;
}

int gyre_service_tell_manager(const char *state)
{
    const char *manager = gyre_service()->manager;
    struct sockaddr_un address;
    socklen_t length;
    int fd, error;

    if (!manager)
        return 0;
    error = make_address(manager, &address, &length);
    if (error)
        return error;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, length) < 0)
        error = -errno;
    close(fd);
    return error ? error : 1;
}

static bool says_ready(const char *state)
{
    static const char ready[] = "READY=1";

    for (const char *line = state; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, ready, sizeof ready - 1) &&
            (line[sizeof ready - 1] == '\n' || !line[sizeof ready - 1]))
            return true;
    }
    return false;
}

/* True: there was one, and it heard. */
static bool tell_predecessor(void)
{
    int fd = atomic_exchange_explicit(&gyre_service()->ready, -1, memory_order_relaxed);
    bool told;

    if (fd < 0)
        return false;
    told = send(fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
    close(fd);
    return told;
}

int gyre_service_notify(const char *state)
{
    int result;

    if (!state || !*state)
        return -EINVAL;
    /* The manager first: it hears of MAINPID after that. */
    result = gyre_service_tell_manager(state);
    return says_ready(state) && tell_predecessor() && !result ? 1 : result;
}
