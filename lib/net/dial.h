/* Connecting by name. */
#ifndef GYRE_LIB_NET_DIAL_H
#define GYRE_LIB_NET_DIAL_H

#include <stdint.h>

/* Parks. Returns a descriptor, or -errno as gyre_tcp_dial does. */
int gyre_dial_name(const char *host, uint16_t port);

#endif
