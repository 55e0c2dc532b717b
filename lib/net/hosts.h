/*
 * What a hosts file says (hosts(5)), in memory: found by a hash of the name, so that a file of a
 * hundred thousand lines costs a lookup no more than one of ten.
 */
#ifndef GYRE_LIB_NET_HOSTS_H
#define GYRE_LIB_NET_HOSTS_H

#include "net/addresses.h"

#include <stddef.h>
#include <stdint.h>

/* A name of an address; those of one line follow each other. */
struct host {
    const char *name; /* in text */
    uint32_t next;    /* with the same hash: index + 1, 0: none; in the order of the file */
    unsigned scope;
    uint8_t family, bytes[16];
};

struct hosts {
    char *text;
    struct host *list;
    uint32_t *first; /* index + 1, for each hash */
    size_t count, capacity, mask;
};

/* Reads path, blocking; lines that make no sense are passed over. A file that is not there, or may
 * not be read, says nothing. Returns 0 or -ENOMEM, then there is nothing to free. */
int gyre_hosts_read(struct hosts *hosts, const char *path);
void gyre_hosts_free(struct hosts *hosts);

/* Appends the addresses of name (case and a last dot don't matter) of family (AF_UNSPEC: both).
 * Returns 0; -ENOENT; -ENODATA (of the other family only); -ENOMEM. */
int gyre_hosts_find(const struct hosts *hosts, const char *name, int family, uint16_t port,
                    struct gyre_addresses *addresses);

/* The first name of an address, or NULL. */
const char *gyre_hosts_name(const struct hosts *hosts, const struct sockaddr_storage *storage);

#endif
