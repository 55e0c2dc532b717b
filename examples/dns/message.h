/*
 * DNS messages (RFC 1035, EDNS: RFC 6891), read by the C library's ns_initparse and ns_parserr.
 * Nothing here parks.
 */
#ifndef EXAMPLES_DNS_MESSAGE_H
#define EXAMPLES_DNS_MESSAGE_H

#include <arpa/nameser.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    UDP_SIZE = 1232,     /* what we say we can take: passes everywhere in one piece */
    UDP_SIZE_MAX = 4096, /* what we take, and the most we send to who can take it */
    QUESTION_MAX = NS_MAXCDNAME + NS_QFIXEDSZ,
    OPT_SIZE = 11, /* the record of EDNS, without options */
    QUERY_MAX = NS_HFIXEDSZ + QUESTION_MAX + OPT_SIZE
};

/* Names an answer: the question as on the wire, in lower case, and the flags that change what is
 * answered (RD, AD, CD, and DNSSEC's DO). */
struct key {
    uint16_t size;
    unsigned char bytes[QUESTION_MAX + NS_INT16SZ];
};

/* What a client sent. */
struct request {
    struct key key;
    unsigned char question[QUESTION_MAX]; /* in the client's own case */
    uint16_t question_size;               /* 0: it could not be read */
    uint16_t id, flags, udp_size;
    bool edns;
};

/* Returns 0; the response code of a request that must be refused; or -1: not to be answered. */
int request_read(struct request *request, const unsigned char *data, size_t size);

/* The refusal; returns its size. */
size_t request_refuse(const struct request *request, int code, unsigned char out[QUERY_MAX]);

/* The question for an upstream; returns its size. */
size_t query_write(const struct key *key, uint16_t id, bool edns, unsigned char out[QUERY_MAX]);

/* An upstream's answer, without its OPT record. Counted, and not changed once it is made. */
struct answer {
    atomic_uint holders;
    int code;
    bool truncated, edns;
    uint32_t lifetime; /* seconds it may be kept */
    int64_t born;
    size_t size, essential; /* essential: without the additional records, which may be left out */
    size_t ttl_count;       /* of them in the essential part: */
    size_t essential_ttl_count;
    unsigned char *bytes;
    uint16_t ttls[]; /* where they are in bytes */
};

/* Returns 0 and a held *answer; -EAGAIN: not the answer to this question; -EBADMSG: it is, and is
 * malformed; -ENOMEM. */
int answer_read(struct answer **answer, const unsigned char *data, size_t size,
                const struct key *key, uint16_t id);

struct answer *answer_hold(struct answer *answer);
void answer_release(struct answer *answer); /* NULL is fine */
bool answer_is_fresh(const struct answer *answer);

/* For this client, within limit bytes, truncated where it has to be; returns its size. out has room
 * for limit bytes, and for QUERY_MAX. */
size_t answer_write(const struct answer *answer, const struct request *request, size_t limit,
                    unsigned char *out);

#endif
