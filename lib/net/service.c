/*
 * What a process was given: descriptors (sd_listen_fds(3)), whom to notify, how often.
 *
 * The environment is read once, at the first call of any of these, and never changed: setenv and
 * unsetenv race with every other thread. Children that inherit the variables are not meant by them,
 * and find that by the process ids in them.
 *
 * systemd's protocol names the process that is meant in LISTEN_PID, and numbers the descriptors
 * from 3. Who starts a successor knows neither its pid in advance nor that these numbers are free
 * in it, so gyre's successors get a variable of their own, which names the parent and each
 * descriptor, and none of LISTEN_*. Rejected: a shell in between that sets LISTEN_PID=$$; it would
 * be needed on every machine, and its errors are not ours to tell.
 */
#include "net/service.h"

#include "base/macros.h"
#include "io/socket.h"

#include <gyre/net.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST_PASSED = 3 };

static struct service service = {.ready = -1};

/* --- the environment -------------------------------------------------------------------------- */

static bool parse_number(const char *text, char **end, uint64_t *number)
{
    if (!text || *text < '0' || *text > '9')
        return false;
    errno = 0;
    *number = strtoull(text, end, 10);
    return !errno;
}

static bool variable_is(const char *name, uint64_t wanted)
{
    uint64_t number;
    char *end;

    return parse_number(getenv(name), &end, &number) && !*end && number == wanted;
}

bool gyre_service_name_valid(const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < length; i++)
        if (name[i] == ':' || name[i] < ' ' || name[i] == 127)
            return false;
    return length <= SERVICE_NAME_MAX;
}

/* False: there is none of that number. */
static bool add(int fd, const char *name)
{
    int flags = fcntl(fd, F_GETFD);

    if (flags < 0)
        return false;
    fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    service.fds[service.count].fd = fd;
    service.fds[service.count++].name = name;
    return true;
}

/* Room for count, and a copy of the text that names them. */
static bool make_room(uint64_t count, const char *names)
{
    service.fds = calloc(count, sizeof *service.fds);
    service.names = strdup(names);
    return service.fds && service.names;
}

static void read_activation(void)
{
    const char *names = getenv("LISTEN_FDNAMES");
    uint64_t count;
    char *end, *name;

    if (!variable_is("LISTEN_PID", (uint64_t)getpid()) ||
        !parse_number(getenv("LISTEN_FDS"), &end, &count) || *end || !count ||
        count > SERVICE_FDS_MAX || !make_room(count, names ? names : ""))
        return;
    name = service.names;
    for (int i = 0; i < (int)count; i++) {
        char *colon = strchr(name, ':');

        if (colon)
            *colon = 0;
        add(FIRST_PASSED + i, *name ? name : "unknown");
        name = colon ? colon + 1 : name + strlen(name);
    }
}

static unsigned count_fields(const char *text)
{
    unsigned count = 1;

    for (; *text; text++)
        count += *text == ':';
    return count;
}

static void read_inheritance(const char *text)
{
    uint64_t number;
    char *at;

    if (!parse_number(text, &at, &number) || number != (uint64_t)getppid() || *at != ':' ||
        !make_room(count_fields(text), at))
        return;
    at = service.names;
    for (bool first = true; *at == ':'; first = false) {
        if (!parse_number(at + 1, &at, &number) || number > INT_MAX)
            break;
        if (first) {
            if (fcntl((int)number, F_SETFD, FD_CLOEXEC) < 0)
                break; /* closed: the number may stand for something else by the time of READY=1 */
            atomic_init(&service.ready, (int)number);
        } else if (*at == '=') {
            char *name = at + 1;

            at = name + strcspn(name, ":");
            /* The colon is the next field's: it is put back below. */
            if (!add((int)number, name))
                break;
        }
    }
    for (unsigned i = 0; i < service.count; i++) {
        char *name = (char *)service.fds[i].name;

        if (name)
            name[strcspn(name, ":")] = 0;
    }
}

static void read_watchdog(void)
{
    uint64_t interval;
    char *end;

    if (parse_number(getenv("WATCHDOG_USEC"), &end, &interval) && !*end &&
        interval <= INT64_MAX / GYRE_MICROSECOND &&
        (!getenv("WATCHDOG_PID") || variable_is("WATCHDOG_PID", (uint64_t)getpid())))
        service.watchdog = (int64_t)interval * GYRE_MICROSECOND;
}

static void read_environment(void)
{
    const char *inherited = getenv(SERVICE_INHERITED), *manager = getenv("NOTIFY_SOCKET");

    if (inherited)
        read_inheritance(inherited);
    if (!service.count)
        read_activation();
    if (manager && *manager)
        service.manager = strdup(manager);
    read_watchdog();
}

struct service *gyre_service(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, read_environment);
    return &service;
}

/* --- descriptors ------------------------------------------------------------------------------ */

unsigned gyre_service_fd_count(void)
{
    return gyre_service()->count;
}

static bool take(struct service_fd *entry)
{
    return !atomic_exchange_explicit(&entry->taken, true, memory_order_relaxed);
}

int gyre_service_fd(unsigned index, const char **name)
{
    struct service *given = gyre_service();

    if (index >= given->count || !take(&given->fds[index]))
        return -ENOENT;
    if (name)
        *name = given->fds[index].name;
    return given->fds[index].fd;
}

static struct service_fd *take_listening(const char *name)
{
    struct service *given = gyre_service();

    for (unsigned i = 0; i < given->count; i++) {
        struct service_fd *entry = &given->fds[i];

        if ((!name || !*name || !strcmp(name, entry->name)) &&
            !atomic_load_explicit(&entry->taken, memory_order_relaxed) &&
            socket_option(entry->fd, SO_ACCEPTCONN) > 0 && take(entry))
            return entry;
    }
    return NULL;
}

int gyre_service_listen(struct gyre_listener **listener, const char *name, const char *address)
{
    struct service_fd *entry;
    int error;

    if (!listener)
        return -EINVAL;
    entry = take_listening(name);
    if (!entry)
        return gyre_tcp_listen(listener, address);
    error = gyre_listener_adopt(listener, entry->fd, NULL);
    if (error)
        atomic_store_explicit(&entry->taken, false, memory_order_relaxed);
    else
        gyre_set_nodelay(entry->fd, 1); /* fails for what is not TCP */
    return error;
}

int64_t gyre_service_watchdog(void)
{
    return gyre_service()->watchdog;
}
