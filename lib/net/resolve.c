/* Names to addresses. */
#include "net/resolve.h"

#include "sched/park.h"

#include <errno.h>

int gyre_address_resolve(const char *call, const char *text, struct address *address)
{
    int error;

    coro_required(call);
    error = gyre_address_parse(text, address);
    return error == -EADDRNOTAVAIL ? -EOPNOTSUPP : error;
}
