/*
 * Connecting by name: Happy Eyeballs, version 2 (RFC 8305).
 *
 * Addresses of both families are asked for at the same time. IPv4 addresses that come first wait 50
 * ms for the others; then addresses are tried in RFC 6724's order, the families in turn, the next
 * one 250 ms after the last or as soon as one fails, those begun going on meanwhile. Addresses that
 * come late join in. The first that connects is the result, the others are closed.
 *
 * All of it is one coroutine's loop over non-blocking sockets, c-ares's and its own: so there is
 * nothing to cancel, nothing that could be lost when the context ends, and a failed spawn is no
 * case. Rejected: a coroutine an attempt.
 */
#include "net/dial.h"

#include "base/clock.h"
#include "io/poll.h"
#include "net/resolve.h"
#include "ring/tsan.h"

#include <gyre/net.h>
#include <gyre/time.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ATTEMPTS_MOST = 16 };
enum { V6, V4, FAMILIES };

static const int64_t resolution_delay = 50 * GYRE_MILLISECOND,
                     attempt_delay = 250 * GYRE_MILLISECOND;

struct dial {
    struct lookup lookup;
    bool looking; /* the lookup was begun */
    struct gyre_addresses addresses[FAMILIES];
    size_t tried[FAMILIES];
    int turn;               /* the family that is next */
    bool started;           /* one was tried */
    int64_t start_at;       /* not the next one before; INT64_MAX before any address is known */
    int fds[ATTEMPTS_MOST]; /* connecting, the oldest first */
    unsigned count;
    int error; /* the most telling of the attempts */
};

/* That this machine can't reach something tells less than how somebody out there answered. */
static bool tells_little(int error)
{
    return error == -ENETUNREACH || error == -EHOSTUNREACH || error == -EADDRNOTAVAIL ||
           error == -EAFNOSUPPORT;
}

static void note(struct dial *dial, int error)
{
    if (!dial->error || (tells_little(dial->error) && !tells_little(error)))
        dial->error = error;
    dial->start_at = clock_real();
}

/* --- addresses -------------------------------------------------------------------------------- */

static bool has_more(const struct dial *dial, int family)
{
    return dial->tried[family] < dial->addresses[family].count;
}

static bool lookup_over(const struct dial *dial)
{
    return !dial->looking || gyre_lookup_done(&dial->lookup);
}

static void choose_first(struct dial *dial)
{
    struct gyre_address both[FAMILIES];
    struct gyre_addresses list = {FAMILIES, both};

    dial->turn = has_more(dial, V6) ? V6 : V4;
    if (!has_more(dial, V6) || !has_more(dial, V4))
        return;
    both[V6] = dial->addresses[V6].list[0];
    both[V4] = dial->addresses[V4].list[0];
    gyre_addresses_sort(&list);
    dial->turn = both[0].storage.ss_family == AF_INET6 ? V6 : V4;
}

/* Takes over what has come, and says from when on an address may be tried. */
static void take_answers(struct dial *dial)
{
    bool came = false;

    for (unsigned i = 0; dial->looking && i < dial->lookup.count; i++) {
        struct answer *answer = &dial->lookup.answers[i];
        int family = answer->type == TYPE_A ? V4 : V6;

        if (!answer->addresses.count)
            continue;
        dial->addresses[family] = answer->addresses;
        answer->addresses = (struct gyre_addresses){0};
        gyre_addresses_sort(&dial->addresses[family]);
        came = true;
    }
    if (came && !dial->started)
        dial->start_at = clock_real() + (has_more(dial, V6) ? 0 : resolution_delay);
    if (lookup_over(dial) && !dial->started)
        dial->start_at = 0;
}

/* localhost. A listener on it is on its IPv4 address, so that is tried first. */
static int take_local(struct dial *dial, const char *host, uint16_t port)
{
    int error = gyre_resolve_locally(host, port, AF_INET, &dial->addresses[V4]);

    if (!error)
        error = gyre_resolve_locally(host, port, AF_INET6, &dial->addresses[V6]);
    dial->turn = V4;
    return error;
}

/* --- attempts --------------------------------------------------------------------------------- */

static int win(struct dial *dial, int fd)
{
    int off = 0;

    for (unsigned i = 0; i < dial->count; i++)
        if (dial->fds[i] == fd)
            dial->fds[i] = -1;
    ioctl(fd, FIONBIO, &off);
    return fd;
}

/* Tries the next address. Returns a descriptor that has connected at once, or -1. */
static int start(struct dial *dial)
{
    const struct gyre_address *address;
    int family, fd;

    if (!dial->started && dial->looking)
        choose_first(dial);
    family = has_more(dial, dial->turn) ? dial->turn : !dial->turn;
    address = &dial->addresses[family].list[dial->tried[family]++];
    dial->started = true;
    dial->turn = !family;
    fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        note(dial, -errno);
        return -1;
    }
    gyre_set_nodelay(fd, 1);
    ring_tsan_sends();
    if (!connect(fd, (const struct sockaddr *)&address->storage, address->length))
        return win(dial, fd);
    if (errno == EINPROGRESS) {
        dial->fds[dial->count++] = fd;
        dial->start_at = clock_real() + attempt_delay;
        return -1;
    }
    note(dial, -errno);
    close(fd);
    return -1;
}

/* Looks at the attempts that have an event. Returns one that has connected, or -1. */
static int look_at_attempts(struct dial *dial, const struct pollfd *fds)
{
    unsigned left = 0;
    int won = -1;

    for (unsigned i = 0; i < dial->count; i++) {
        int fd = dial->fds[i], error = 0;
        socklen_t length = sizeof error;

        if (!fds[i].revents || won >= 0) {
            dial->fds[left++] = fd;
            continue;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
            error = errno;
        if (!error) {
            won = fd;
            continue;
        }
        note(dial, -error);
        close(fd);
    }
    dial->count = left;
    return won < 0 ? -1 : win(dial, won);
}

static bool may_start(const struct dial *dial)
{
    return dial->count < ATTEMPTS_MOST && (has_more(dial, V6) || has_more(dial, V4));
}

/* --- all of it -------------------------------------------------------------------------------- */

/* Waits for the next event. Returns a descriptor that has connected, -1, or another -errno. */
static int wait_for_event(struct dial *dial, int *error)
{
    struct pollfd fds[LOOKUP_FDS + ATTEMPTS_MOST];
    int64_t timeout = -1;
    size_t count = 0;
    int n;

    if (!lookup_over(dial))
        count = gyre_lookup_wants(&dial->lookup, fds, &timeout);
    for (unsigned i = 0; i < dial->count; i++)
        fds[count + i] = (struct pollfd){.fd = dial->fds[i], .events = POLLOUT};
    if (may_start(dial)) {
        int64_t until = dial->start_at - clock_real();

        until = until < 0 ? 0 : until;
        timeout = timeout < 0 || until < timeout ? until : timeout;
    }
    n = gyre_poll_many_real(fds, count + dial->count, timeout);
    ring_tsan_received();
    if (n < 0) {
        *error = n;
        return -1;
    }
    n = look_at_attempts(dial, fds + count);
    if (!lookup_over(dial)) {
        gyre_lookup_go_on(&dial->lookup, fds, count);
        take_answers(dial);
    }
    return n;
}

static int race(struct dial *dial)
{
    int fd = -1, error = 0;

    while (fd < 0 && !error) {
        if (may_start(dial) && clock_real() >= dial->start_at)
            fd = start(dial);
        else if (dial->count || !lookup_over(dial) || may_start(dial))
            fd = wait_for_event(dial, &error);
        else if (dial->started)
            error = dial->error;
        else
            error = gyre_lookup_error(&dial->lookup);
    }
    return fd >= 0 ? fd : error;
}

int gyre_dial_name(const char *host, uint16_t port)
{
    const struct question question = {.types = {TYPE_AAAA, TYPE_A}, .port = port};
    struct dial dial = {.start_at = INT64_MAX};
    int result = take_local(&dial, host, port);

    if (result == -EADDRNOTAVAIL) {
        result = gyre_lookup_begin(&dial.lookup, host, &question);
        dial.looking = !result;
    }
    if (!result) {
        take_answers(&dial);
        result = race(&dial);
    }
    for (unsigned i = 0; i < dial.count; i++)
        if (dial.fds[i] >= 0)
            close(dial.fds[i]);
    for (int family = 0; family < FAMILIES; family++)
        gyre_addresses_free(&dial.addresses[family]);
    if (dial.looking)
        gyre_lookup_end(&dial.lookup);
    return result;
}
