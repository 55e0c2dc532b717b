/* Lookups in a library that was built without c-ares: there are none. */
#include "net/lookup.h"

#include <errno.h>
#include <stdlib.h>

int gyre_lookup_begin(struct lookup *lookup, const char *name, const struct question *question)
{
    (void)lookup;
    (void)name;
    (void)question;
    return -EOPNOTSUPP;
}

/* Of one that was never begun. */
int gyre_lookup_error(const struct lookup *lookup)
{
    return lookup->error;
}

size_t gyre_lookup_wants(struct lookup *lookup, struct pollfd *fds, int64_t *timeout)
{
    (void)lookup;
    (void)fds;
    *timeout = -1;
    return 0;
}

void gyre_lookup_go_on(struct lookup *lookup, const struct pollfd *fds, size_t count)
{
    (void)lookup;
    (void)fds;
    (void)count;
}

void gyre_lookup_end(struct lookup *lookup)
{
    (void)lookup;
}

int gyre_lookup_run(struct lookup *lookup)
{
    return lookup->error;
}

int gyre_lookup_hosts_name(const struct sockaddr_storage *storage, char *name, size_t size)
{
    (void)storage;
    (void)name;
    (void)size;
    return -EOPNOTSUPP;
}

int gyre_lookup_pointer(const struct answer *answer, const struct sockaddr_storage *storage,
                        char *name, size_t size)
{
    (void)answer;
    (void)storage;
    (void)name;
    (void)size;
    return -EOPNOTSUPP;
}
