/*
 * gyre/service.h - living under a service manager: sockets that are passed in, readiness, restart
 * without dropping a connection.
 *
 * The environment is read once, by the first of these calls, and never changed: call one before
 * another thread may change it, and before the program starts others, which would inherit what
 * was passed (the descriptors become close-on-exec by that call; the variables name the process
 * that they are meant for, so children heed them not).
 *
 * Guide: docs/service.md. Reference: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3). No
 * library of systemd's is needed.
 */
#ifndef GYRE_SERVICE_H
#define GYRE_SERVICE_H

#include <gyre/base.h>

GYRE_BEGIN_DECLS

struct gyre_listener;

/*
 * The listening socket that was passed to this process under name (FDNAME; NULL or "": the next one
 * not taken yet), or, where none was, a new one on address. So one program runs under socket
 * activation, as a successor (below), and by hand. Each is taken once. Parks only to look up a
 * name. Returns 0, or what gyre_tcp_listen or gyre_listener_adopt returns. Only from a coroutine.
 * Go: none.
 */
GYRE_API int gyre_service_listen(struct gyre_listener **listener, const char *name,
                                 const char *address);

/*
 * How many descriptors were passed; the i-th, from 0, which becomes the caller's (a datagram
 * socket, say), or -ENOENT (there is none, or it was taken). *name, which may be NULL, is the
 * library's, for good; "unknown" or "" where it has none. Close-on-exec. Never park; from any
 * thread. Go: none (coreos/go-systemd).
 */
GYRE_API unsigned gyre_service_fd_count(void);
GYRE_API int gyre_service_fd(unsigned index, const char **name);

/*
 * Tells the manager: "READY=1", "STOPPING=1", "STATUS=...", "WATCHDOG=1", lines joined by '\n'; a
 * successor's predecessor hears of its first "READY=1" too. Returns 1; 0: nobody listens
 * (NOTIFY_SOCKET is not set); -EINVAL (NULL or empty), -EAGAIN (the manager does not keep up),
 * -ENAMETOOLONG, -EAFNOSUPPORT (the socket's name; of vsock, say), -ECONNREFUSED and others of
 * sendto(2), -EMFILE. Never waits. From any thread. Go: none (daemon.SdNotify).
 */
GYRE_API int gyre_service_notify(const char *state);

/* How often the manager wants to hear "WATCHDOG=1" at the least, ns (send it twice as often), 0:
 * never. Never parks; from any thread. Go: none (daemon.SdWatchdogEnabled). */
GYRE_API int64_t gyre_service_watchdog(void);

/*
 * Starts a successor: the same program and arguments (the file that this one was started from, in
 * the version that has its name by now; or arguments, NULL-terminated, if not NULL), with these
 * listeners passed for its gyre_service_listen, under names (NULL, or one of them NULL: ""), and
 * waits until it has said READY=1 (gyre_service_notify) and the manager was told MAINPID. Then both
 * accept from the same sockets: no connection was refused. What is left to do:
 *
 *     gyre_listener_stop(listener);      loops of gyre_accept take what is queued, then -ESHUTDOWN
 *     ... wait for the connections to end ...
 *     gyre_listener_close(listener); and return from the main coroutine
 *
 * Close before stop would drop connections that were accepted and not taken. Descriptors that are
 * neither listeners nor standard are not passed. The successor finds its parent and the
 * descriptors' numbers in GYRE_INHERITED; none of LISTEN_*, which systemd defines, is set.
 *
 * Returns the successor's pid (> 0), which nobody needs to wait for; -ETIMEDOUT (timeout ns,
 * negative: no limit; or the context's: it did not get ready, and has been ended), -ECHILD (it
 * exited first, or closed what it should tell by), -EINVAL (a NULL listener, more than 1,024, a
 * name that is longer than 255 bytes or has ':' or control characters), -EMFILE, -ENOMEM, what
 * gyre_process_start returns, -ECANCELED. After an error this process goes on as if nothing had
 * been. Parks. Only from a coroutine. Go: none (cloudflare/tableflip).
 */
GYRE_API int gyre_service_restart(struct gyre_listener *const *listeners, const char *const *names,
                                  size_t count, const char *const *arguments, int64_t timeout);

GYRE_END_DECLS

#endif
