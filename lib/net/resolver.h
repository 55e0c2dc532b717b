/*
 * What the files say about names, and c-ares channels made ready by it.
 *
 * All that reads files runs on a helper thread: the files are looked at when a second has gone by
 * since the last time, and read again when one has changed; the channel that a lookup needs is made
 * there too, for c-ares reads files of its own then. Channels that are done with are kept for the
 * next lookups. So most lookups find one at once, and one a second pays for a look.
 *
 * A configuration never changes once it is published; who has a resolver of it holds it. It
 * outlives gyre_run: the files are the machine's.
 *
 * c-ares gets from the files the servers alone (and `rotate`). Search domains, ndots, timeouts and
 * the order of files and dns are read here: its versions differ in what they understand, and
 * the two questions of one lookup must follow the same search.
 */
#ifndef GYRE_LIB_NET_RESOLVER_H
#define GYRE_LIB_NET_RESOLVER_H

#include "net/hosts.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

struct ares_channeldata;

enum { DOMAINS_MOST = 32, SEEN_FILES = 3 };

/* Which state of a file was read; zeros: it was not there. */
struct seen {
    char *path;
    dev_t device;
    ino_t inode;
    off_t size;
    int64_t modified, changed;
};

struct configuration {
    _Atomic(unsigned) holders;
    struct seen seen[SEEN_FILES];
    struct hosts hosts;
    bool files, dns, dns_first;
    bool tcp, edns;
    unsigned short port; /* of the servers */
    int timeout;         /* ms, of the first attempt */
    int attempts;        /* a server */
    unsigned ndots;      /* a name with so many dots is tried as it is first */
    char *domains[DOMAINS_MOST];
    unsigned domain_count;
    struct resolver *idle; /* under the lock of all */
    unsigned idle_count;
};

/* A channel, used by one lookup at a time. */
struct resolver {
    struct ares_channeldata *channel;
    struct configuration *configuration;
    int socket_error; /* of what there was a want for a socket: 0, -EMFILE, -ENFILE, -ENOMEM */
    struct resolver *next;
};

/* Parks. Returns 0 with *resolver the caller's; -ECANCELED, -ETIMEDOUT, -ENOMEM, -EAGAIN. */
int gyre_resolver_get(struct resolver **resolver);

/* clean: nothing is under way in its channel. Never parks. */
void gyre_resolver_put(struct resolver *resolver, bool clean);

/* The next gyre_resolver_get looks at the files. For tests. */
void gyre_resolver_look(void);

#endif
