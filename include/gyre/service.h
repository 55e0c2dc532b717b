/*
 * gyre/service.h - living under a service manager: sockets that are passed in, readiness, restart
 * without dropping a connection.
 *
 * Reference: sd_listen_fds(3), sd_notify(3). No library of systemd's is needed.
 */
#ifndef GYRE_SERVICE_H
#define GYRE_SERVICE_H

#include <gyre/base.h>

GYRE_BEGIN_DECLS

struct gyre_listener;

/*
 * The listening socket that was passed to this process under name (FDNAME; NULL or "": the next one
 * not taken yet), or, where none was, a new one on address. So one program runs under socket
 * activation, as a successor (below), and by hand. Each is taken once. Does not park. Returns 0, or
 * what gyre_tcp_listen returns. Only from a coroutine. Go: none.
 */
GYRE_API int gyre_service_listen(struct gyre_listener **listener, const char *name,
                                 const char *address);
/* How many descriptors were passed; the i-th, from 0, taken by the caller (a datagram socket, say),
 * or -ENOENT. Close-on-exec. Never park; from any thread. Go: none (coreos/go-systemd). */
GYRE_API unsigned gyre_service_fd_count(void);
GYRE_API int gyre_service_fd(unsigned index, const char **name);

/*
 * Tells the manager: "READY=1", "STOPPING=1", "STATUS=...", "WATCHDOG=1", lines joined by '\n'.
 * Returns 1; 0: nobody listens (NOTIFY_SOCKET is not set); -errno. Never waits. From any thread.
 */
GYRE_API int gyre_service_notify(const char *state);
/* How often the manager wants to hear "WATCHDOG=1", ns, 0: never. */
GYRE_API int64_t gyre_service_watchdog(void);

/*
 * Starts a successor: the same program and arguments (/proc/self/exe; or arguments, if not NULL),
 * with these listeners passed as under socket activation, under names, and waits until it has said
 * READY=1 (gyre_service_notify). Then both accept from the same sockets: stop accepting, finish
 * what is connected, and end; no connection was refused. Returns the successor's pid; -ETIMEDOUT
 * (timeout ns: it did not get ready, and has been ended), -ECHILD (it exited first), what
 * gyre_process_start returns; -ECANCELED. After an error this process goes on as if nothing had
 * been. MAINPID is told to the manager. Parks.
 */
GYRE_API int gyre_service_restart(struct gyre_listener *const *listeners, const char *const *names,
                                  size_t count, const char *const *arguments, int64_t timeout);

GYRE_END_DECLS

#endif
