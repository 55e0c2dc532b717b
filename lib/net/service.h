/* What a process was given by who started it: read once from the environment (service.c). */
#ifndef GYRE_LIB_NET_SERVICE_H
#define GYRE_LIB_NET_SERVICE_H

#include <gyre/service.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* systemd's: FDNAME in systemd.socket(5). */
enum { SERVICE_NAME_MAX = 255, SERVICE_FDS_MAX = 1024 };

/* The successor's variable: "pid of the predecessor:ready socket{:descriptor=name}". */
#define SERVICE_INHERITED "GYRE_INHERITED"

struct service_fd {
    int fd;
    atomic_bool taken;
    const char *name;
};

struct service {
    unsigned count;
    struct service_fd *fds;
    char *names;      /* which they point into */
    char *manager;    /* NOTIFY_SOCKET, or NULL */
    int64_t watchdog; /* ns; 0: none */
    atomic_int ready; /* the predecessor's socket, to be told once; or -1 */
};

/* Never NULL. The first call reads the environment. */
struct service *gyre_service(void);

/* Whether a name may be passed: short, printable, no ':'. */
bool gyre_service_name_valid(const char *name);

/* To the manager alone: as gyre_service_notify. */
int gyre_service_tell_manager(const char *state);

#endif
