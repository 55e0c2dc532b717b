/*
 * A DNS server for tests, on a thread of its own: UDP and TCP on 127.0.0.1 and 127.0.0.2, one port.
 * What it answers, and how badly, is a table of rules, the first that fits; other names don't
 * exist. It counts what it was asked.
 */
#ifndef GYRE_TESTS_NET_DNS_H
#define GYRE_TESTS_NET_DNS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DNS_A = 1, DNS_CNAME_TYPE = 5, DNS_PTR_TYPE = 12, DNS_TXT_TYPE = 16, DNS_AAAA = 28 };

enum dns_how {
    DNS_ADDRESSES, /* data: addresses; those of the type asked for */
    DNS_CNAME,     /* data: another name, whose rule follows in the same answer */
    DNS_PTR,       /* data: a name */
    DNS_TXT,       /* data: text */
    DNS_SILENT,
    DNS_RCODE,     /* data: the number */
    DNS_TRUNCATED, /* by UDP; by TCP addresses */
    DNS_TCP_ENDS,  /* truncated by UDP; by TCP the connection just ends */
    DNS_WRONG_ID,
    DNS_WRONG_QUESTION,
    DNS_GARBAGE, /* bytes without meaning */
    DNS_SHORT,   /* datagrams of no bytes, of one, of eleven */
    DNS_CUT,     /* a record that goes beyond the end */
    DNS_MANY,    /* data: how many A records; by TCP where they don't fit */
    DNS_EMPTY,   /* no records */
};

struct dns_rule {
    const char *name;
    int type; /* 0: any */
    enum dns_how how;
    const char *data;
    int delay;  /* ms */
    int server; /* 1, 2; 0: both do this */
    int after;  /* so many questions of that name go before */
};

enum { DNS_SERVERS = 2, DNS_MESSAGE = 65536, DNS_NAMES = 64, DNS_CONNECTIONS = 32 };

struct dns_late {
    struct dns_late *next;
    int64_t at;
    int fd;
    struct sockaddr_in to;
    size_t size;
    unsigned char bytes[];
};

static struct dns {
    const struct dns_rule *rules;
    int udp[DNS_SERVERS], tcp[DNS_SERVERS], wake[2];
    int connections[DNS_CONNECTIONS];
    atomic_int connected; /* how many are open, or being accepted */
    uint16_t port;
    pthread_t thread;
    struct dns_late *late;
    atomic_int asked[DNS_NAMES]; /* for each rule */
    atomic_int questions, tcp_questions;
    char folder[32];
} dns;

static inline int64_t dns_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- messages ------------------------------------------------------------------------------- */

struct dns_message {
    unsigned char bytes[DNS_MESSAGE];
    size_t size;
    unsigned records;
    bool tcp;
};

static inline void dns_put(struct dns_message *message, const void *bytes, size_t size)
{
    if (message->size + size <= sizeof message->bytes)
        memcpy(message->bytes + message->size, bytes, size);
    message->size += size;
}

static inline void dns_put_16(struct dns_message *message, unsigned value)
{
    unsigned char bytes[2] = {(unsigned char)(value >> 8), (unsigned char)value};

    dns_put(message, bytes, 2);
}

static inline void dns_put_name(struct dns_message *message, const char *name)
{
    while (*name) {
        size_t length = strcspn(name, ".");
        unsigned char byte = (unsigned char)length;

        dns_put(message, &byte, 1);
        dns_put(message, name, length);
        name += length + (name[length] == '.');
    }
    dns_put(message, "", 1);
}

static inline void dns_put_record(struct dns_message *message, const char *owner, int type,
                                  const void *data, size_t size)
{
    dns_put_name(message, owner);
    dns_put_16(message, (unsigned)type);
    dns_put_16(message, 1);
    dns_put_16(message, 0);
    dns_put_16(message, 60);
    dns_put_16(message, (unsigned)size);
    dns_put(message, data, size);
    message->records++;
}

/* The question's name as text; returns where it ends, 0: nonsense. */
static inline size_t dns_name(const unsigned char *bytes, size_t size, char name[256])
{
    size_t at = 12, used = 0;

    while (at < size && bytes[at]) {
        size_t length = bytes[at++];

        if (length > 63 || at + length > size || used + length > 253)
            return 0;
        memcpy(name + used, bytes + at, length);
        used += length;
        at += length;
        name[used++] = '.';
    }
    name[used ? used - 1 : 0] = 0;
    return at + 5 <= size ? at + 5 : 0;
}

static inline const struct dns_rule *dns_find(const char *name, int type, int server)
{
    for (const struct dns_rule *rule = dns.rules; rule->name; rule++)
        if (!strcasecmp(rule->name, name) && (!rule->type || rule->type == type) &&
            (!rule->server || rule->server == server) &&
            atomic_load(&dns.asked[rule - dns.rules]) >= rule->after)
            return rule;
        else if (!strcasecmp(rule->name, name) && rule->after)
            atomic_fetch_add(&dns.asked[rule - dns.rules], 1);
    return NULL;
}

static inline void dns_put_addresses(struct dns_message *message, const char *owner, int type,
                                     const char *list)
{
    char copy[1024], *rest, *word;
    unsigned char bytes[16];

    snprintf(copy, sizeof copy, "%s", list);
    for (word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (type == DNS_A && inet_pton(AF_INET, word, bytes) == 1)
            dns_put_record(message, owner, type, bytes, 4);
        if (type == DNS_AAAA && inet_pton(AF_INET6, word, bytes) == 1)
            dns_put_record(message, owner, type, bytes, 16);
    }
}

static inline void dns_put_target(struct dns_message *message, const char *owner, int type,
                                  const char *target)
{
    struct dns_message *name = calloc(1, sizeof *name);

    dns_put_name(name, target);
    dns_put_record(message, owner, type, name->bytes, name->size);
    free(name);
}

/* Returns the response code. */
static inline int dns_fill(struct dns_message *message, const struct dns_rule *rule, int type,
                           int server, int depth)
{
    const struct dns_rule *target;
    char line[256];
    int many;

    switch (rule->how) {
    case DNS_CNAME:
        dns_put_target(message, rule->name, DNS_CNAME_TYPE, rule->data);
        target = depth < 8 ? dns_find(rule->data, type, server) : NULL;
        return target ? dns_fill(message, target, type, server, depth + 1) : 0;
    case DNS_PTR:
        dns_put_target(message, rule->name, DNS_PTR_TYPE, rule->data);
        return 0;
    case DNS_TXT:
        snprintf(line, sizeof line, "%c%s", (char)strlen(rule->data), rule->data);
        dns_put_record(message, rule->name, DNS_TXT_TYPE, line, strlen(line));
        return 0;
    case DNS_RCODE:
        return atoi(rule->data);
    case DNS_MANY:
        many = type == DNS_A ? atoi(rule->data) : 0;
        for (int i = 0; i < many; i++) {
            unsigned char bytes[4] = {10, 0, (unsigned char)(i >> 8), (unsigned char)i};

            dns_put_record(message, "m", DNS_A, bytes, 4);
            /* the owner again, in short */
            message->size -= 17;
            dns_put_16(message, 0xc00c);
            dns_put(message, (unsigned char[]){0, 1, 0, 1, 0, 0, 0, 60, 0, 4}, 10);
            dns_put(message, bytes, 4);
        }
        return 0;
    case DNS_CUT:
        dns_put_addresses(message, rule->name, type, rule->data);
        message->size -= 2;
        return 0;
    case DNS_EMPTY:
        return 0;
    default:
        dns_put_addresses(message, rule->name, type, rule->data);
        return 0;
    }
}

/* --- answering ------------------------------------------------------------------------------ */

static inline void dns_send(int fd, const struct sockaddr_in *to, const void *bytes, size_t size)
{
    unsigned char length[2] = {(unsigned char)(size >> 8), (unsigned char)size};

    if (to->sin_family) {
        sendto(fd, bytes, size, 0, (const struct sockaddr *)to, sizeof *to);
    } else if (send(fd, length, 2, MSG_NOSIGNAL | MSG_MORE) == 2) {
        for (ssize_t n; size && (n = send(fd, bytes, size, MSG_NOSIGNAL)) > 0; size -= (size_t)n)
            bytes = (const char *)bytes + n;
    }
}

static inline void dns_reply(int fd, const struct sockaddr_in *to, const void *bytes, size_t size,
                             int delay)
{
    struct dns_late *late;

    if (!delay) {
        dns_send(fd, to, bytes, size);
        return;
    }
    late = malloc(sizeof *late + size);
    *late = (struct dns_late){dns.late, dns_now() + delay, fd, *to, size};
    memcpy(late->bytes, bytes, size);
    dns.late = late;
}

static inline void dns_send_late(void)
{
    for (struct dns_late **at = &dns.late, *late; (late = *at);) {
        if (late->at > dns_now()) {
            at = &late->next;
            continue;
        }
        dns_send(late->fd, &late->to, late->bytes, late->size);
        *at = late->next;
        free(late);
    }
}

static inline void dns_misbehave(int fd, const struct sockaddr_in *to, const struct dns_rule *rule,
                                 struct dns_message *message)
{
    static const size_t sizes[] = {0, 1, 11};

    switch (rule->how) {
    case DNS_WRONG_ID:
        message->bytes[0] ^= 0x55;
        break;
    case DNS_WRONG_QUESTION:
        message->bytes[13] ^= 1; /* in the name's first letter */
        break;
    case DNS_GARBAGE:
        for (size_t i = 0; i < message->size; i++)
            message->bytes[i] = (unsigned char)(message->bytes[i] * 31 + i * 7 + 129);
        break;
    default:
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            dns_send(fd, to, message->bytes, sizes[i]);
        return;
    }
    dns_send(fd, to, message->bytes, message->size);
}

/* to has no family: by TCP. Returns false: end the connection. */
static inline bool dns_answer(int fd, const struct sockaddr_in *to, int server,
                              const unsigned char *bytes, size_t size)
{
    struct dns_message *message = calloc(1, sizeof *message);
    const struct dns_rule *rule;
    bool tcp = !to->sin_family, truncated = false, goes_on = true;
    char name[256];
    size_t end = dns_name(bytes, size, name);
    int type, code = 3;

    atomic_fetch_add(tcp ? &dns.tcp_questions : &dns.questions, 1);
    if (!end)
        goto out;
    type = bytes[end - 4] << 8 | bytes[end - 3];
    rule = dns_find(name, type, server);
    dns_put(message, bytes, end);
    if (rule) {
        atomic_fetch_add(&dns.asked[rule - dns.rules], 1);
        code = dns_fill(message, rule, type, server, 0);
        truncated = !tcp && (rule->how == DNS_TRUNCATED || rule->how == DNS_TCP_ENDS ||
                             message->size > 512);
    }
    if (truncated) {
        message->size = end;
        message->records = 0;
    }
    message->bytes[2] = (unsigned char)(0x81 | (truncated ? 2 : 0));
    message->bytes[3] = (unsigned char)(0x80 | code);
    message->bytes[6] = (unsigned char)(message->records >> 8);
    message->bytes[7] = (unsigned char)message->records;
    memset(message->bytes + 8, 0, 4);
    if (rule && (rule->how == DNS_WRONG_ID || rule->how == DNS_WRONG_QUESTION ||
                 rule->how == DNS_GARBAGE || rule->how == DNS_SHORT))
        dns_misbehave(fd, to, rule, message);
    else if (rule && tcp && rule->how == DNS_TCP_ENDS)
        goes_on = false;
    else if (!rule || rule->how != DNS_SILENT)
        dns_reply(fd, to, message->bytes, message->size, rule ? rule->delay : 0);
out:
    free(message);
    return goes_on;
}

static inline void dns_datagram(int server)
{
    unsigned char bytes[1500];
    struct sockaddr_in from = {0};
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(dns.udp[server], bytes, sizeof bytes, MSG_DONTWAIT,
                         (struct sockaddr *)&from, &length);

    if (n > 0)
        dns_answer(dns.udp[server], &from, server + 1, bytes, (size_t)n);
}

static inline void dns_accept(int server)
{
    int fd;

    atomic_fetch_add(&dns.connected, 1);
    fd = accept4(dns.tcp[server], NULL, NULL, SOCK_CLOEXEC);
    for (int i = 0; i < DNS_CONNECTIONS && fd >= 0; i++)
        if (dns.connections[i] < 0) {
            dns.connections[i] = fd;
            return;
        }
    if (fd >= 0)
        close(fd);
    atomic_fetch_sub(&dns.connected, 1);
}

static inline void dns_stream(int *fd)
{
    static const struct sockaddr_in nobody;
    unsigned char bytes[1500];

    if (recv(*fd, bytes, 2, MSG_WAITALL) == 2) {
        size_t size = (size_t)(bytes[0] << 8 | bytes[1]);

        if (size <= sizeof bytes && recv(*fd, bytes, size, MSG_WAITALL) == (ssize_t)size &&
            dns_answer(*fd, &nobody, 1, bytes, size))
            return;
    }
    close(*fd);
    *fd = -1;
    atomic_fetch_sub(&dns.connected, 1);
}

static inline void *dns_serve(void *unused)
{
    for (;;) {
        struct pollfd fds[1 + 2 * DNS_SERVERS + DNS_CONNECTIONS];
        int count = 0;

        fds[count++] = (struct pollfd){dns.wake[0], POLLIN, 0};
        for (int i = 0; i < DNS_SERVERS; i++) {
            fds[count++] = (struct pollfd){dns.udp[i], POLLIN, 0};
            fds[count++] = (struct pollfd){dns.tcp[i], POLLIN, 0};
        }
        for (int i = 0; i < DNS_CONNECTIONS; i++)
            fds[count++] = (struct pollfd){dns.connections[i], POLLIN, 0};
        poll(fds, (nfds_t)count, dns.late ? 5 : -1);
        if (fds[0].revents)
            return unused;
        dns_send_late();
        for (int i = 0; i < DNS_SERVERS; i++) {
            if (fds[1 + 2 * i].revents)
                dns_datagram(i);
            if (fds[2 + 2 * i].revents)
                dns_accept(i);
        }
        for (int i = 0; i < DNS_CONNECTIONS; i++)
            if (fds[1 + 2 * DNS_SERVERS + i].revents)
                dns_stream(&dns.connections[i]);
    }
}

/* --- starting ------------------------------------------------------------------------------- */

/* A socket of 127.0.0.server; *port 0: any. */
static inline int dns_open(int server, int type, uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), size = 1 << 22, on = 1;

    address.sin_addr.s_addr = htonl(0x7f000000 + (uint32_t)server);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, length) < 0 ||
        (type == SOCK_STREAM && listen(fd, 128) < 0)) {
        close(fd);
        return -1;
    }
    getsockname(fd, (struct sockaddr *)&address, &length);
    *port = ntohs(address.sin_port);
    return fd;
}

static inline bool dns_open_all(void)
{
    bool all = true;

    dns.port = 0;
    for (int i = 0; i < DNS_SERVERS; i++) {
        dns.udp[i] = dns_open(i + 1, SOCK_DGRAM, &dns.port);
        dns.tcp[i] = dns_open(i + 1, SOCK_STREAM, &dns.port);
        all = all && dns.udp[i] >= 0 && dns.tcp[i] >= 0;
    }
    for (int i = 0; i < DNS_SERVERS && !all; i++) {
        close(dns.udp[i]);
        close(dns.tcp[i]);
    }
    return all;
}

/* A file that a variable names. The environment is left alone where it does already: others may be
 * reading it. */
static inline void dns_write(const char *variable, const char *text)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", dns.folder, variable);
    file = fopen(path, "we");
    if (!file || fputs(text, file) < 0 || fclose(file))
        abort();
    if (!getenv(variable) || strcmp(getenv(variable), path))
        setenv(variable, path, 1);
}

/* resolv_conf and hosts are the files' text, of which nothing of the machine's remains. */
static inline void dns_start(const struct dns_rule *rules, const char *resolv_conf,
                             const char *hosts)
{
    char port[8];

    dns.rules = rules;
    for (int i = 0; i < DNS_CONNECTIONS; i++)
        dns.connections[i] = -1;
    strcpy(dns.folder, "/tmp/gyre-dns-XXXXXX");
    if (!mkdtemp(dns.folder) || pipe2(dns.wake, O_CLOEXEC))
        abort();
    while (!dns_open_all())
        ;
    dns_write("GYRE_RESOLV_CONF", resolv_conf);
    dns_write("GYRE_HOSTS", hosts);
    dns_write("GYRE_NSSWITCH", "hosts: files dns\n");
    snprintf(port, sizeof port, "%d", dns.port);
    setenv("GYRE_RESOLV_PORT", port, 1);
    unsetenv("LOCALDOMAIN");
    unsetenv("RES_OPTIONS");
    if (pthread_create(&dns.thread, NULL, dns_serve, NULL))
        abort();
}

static inline void dns_stop(void)
{
    static const char *const files[] = {"GYRE_RESOLV_CONF", "GYRE_HOSTS", "GYRE_NSSWITCH"};
    char path[128];

    close(dns.wake[1]);
    pthread_join(dns.thread, NULL);
    close(dns.wake[0]);
    for (int i = 0; i < DNS_SERVERS; i++) {
        close(dns.udp[i]);
        close(dns.tcp[i]);
    }
    for (int i = 0; i < DNS_CONNECTIONS; i++)
        if (dns.connections[i] >= 0)
            close(dns.connections[i]);
    atomic_store(&dns.connected, 0);
    while (dns.late) {
        struct dns_late *late = dns.late;

        dns.late = late->next;
        free(late);
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", dns.folder, files[i]);
        unlink(path);
    }
    rmdir(dns.folder);
}

/* Until the server has seen its clients' connections end: for who counts descriptors. */
static inline void dns_await_end_of_connections(void)
{
    struct pollfd waiting[DNS_SERVERS];

    for (int i = 0; i < DNS_SERVERS; i++)
        waiting[i] = (struct pollfd){dns.tcp[i], POLLIN, 0};
    while (poll(waiting, DNS_SERVERS, 0) > 0 || atomic_load(&dns.connected))
        sched_yield();
}

/* How often a rule, by its number in the table, was used. */
static inline int dns_asked(int rule)
{
    return atomic_load(&dns.asked[rule]);
}

#endif
