/*
 * One lookup as a state machine, so that a coroutine can wait for it and for other things at once
 * (a dial does).
 *
 *     error = gyre_lookup_begin(&lookup, name, &question);        may park
 *     while (!error && !gyre_lookup_done(&lookup)) {
 *         count = gyre_lookup_wants(&lookup, fds, &timeout);
 *         n = gyre_poll_many_real(fds, count, timeout);
 *         ...
 *         gyre_lookup_go_on(&lookup, fds, count);
 *     }
 *     ... lookup.answers, gyre_lookup_error ...
 *     gyre_lookup_end(&lookup);                                   at any time, once begun
 *
 * Its one or two questions are asked at the same time, and of one name at a time: of the search
 * list's names the first one that has any of what was asked is the one meant, so that addresses of
 * two different hosts are never mixed. c-ares is called by the coroutine itself, on its stack, and
 * calls back from there only.
 */
#ifndef GYRE_LIB_NET_LOOKUP_H
#define GYRE_LIB_NET_LOOKUP_H

#include "net/addresses.h"

#include <poll.h>
#include <stdbool.h>

enum {
    TYPE_A = 1,
    TYPE_PTR = 12,
    TYPE_AAAA = 28,
    LOOKUP_FDS = 16, /* the most that c-ares names */
    LOOKUP_PENDING = 1,
};

struct resolver;

/* What to ask. */
struct question {
    int types[2];  /* 0: none */
    bool raw;      /* the messages are wanted, of the servers alone; else addresses */
    bool absolute; /* no search list */
    uint16_t port; /* of the addresses */
};

struct answer {
    struct lookup *lookup;
    int type;
    int status;                      /* LOOKUP_PENDING; 0: there is something; -errno */
    struct gyre_addresses addresses; /* may be taken away */
    unsigned char *message;          /* malloc'd */
    size_t size;
};

struct lookup {
    struct resolver *resolver;
    const char *name; /* the caller's, until the end */
    struct question question;
    unsigned next; /* of the names to try */
    bool asking;   /* c-ares has questions of ours */
    bool over;
    int error; /* the most telling so far */
    struct answer answers[2];
    unsigned count;
};

/* Returns 0, and then it must be ended; -EOPNOTSUPP (built without c-ares), or what
 * gyre_resolver_get does. */
int gyre_lookup_begin(struct lookup *lookup, const char *name, const struct question *question);

static inline bool gyre_lookup_done(const struct lookup *lookup)
{
    return lookup->over;
}

/* Why it found nothing, once it is done; 0: it found something. */
int gyre_lookup_error(const struct lookup *lookup);

/* What to poll for, at most LOOKUP_FDS, and for how long (ns). */
size_t gyre_lookup_wants(struct lookup *lookup, struct pollfd *fds, int64_t *timeout);
void gyre_lookup_go_on(struct lookup *lookup, const struct pollfd *fds, size_t count);

/* Frees what the answers still have. */
void gyre_lookup_end(struct lookup *lookup);

/* Runs one that was begun to its end. Returns gyre_lookup_error, or why the wait failed. */
int gyre_lookup_run(struct lookup *lookup);

/* The first name of an address in the hosts files, if they count, into name (size bytes): its
 * length; -ENOENT; -ENOSPC. Parks. */
int gyre_lookup_hosts_name(const struct sockaddr_storage *storage, char *name, size_t size);

/* The name in a PTR answer; as above, and -EBADMSG, -ENODATA, -ENOMEM. */
int gyre_lookup_pointer(const struct answer *answer, const struct sockaddr_storage *storage,
                        char *name, size_t size);

#endif
