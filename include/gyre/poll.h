/*
 * gyre/poll.h - waiting for descriptors of others: a library's socket, an eventfd, a timerfd,
 * inotify, a futex word.
 *
 * For what gyre opened itself there is no need: gyre_read and its like wait by themselves. Only
 * from a coroutine, but for what is said otherwise; all park, and return -ECANCELED, -ETIMEDOUT
 * (context), -EBADF (also: gyre_close meanwhile) and -ENOMEM as the calls of gyre/io.h.
 */
#ifndef GYRE_POLL_H
#define GYRE_POLL_H

#include <gyre/base.h>

#include <poll.h>

GYRE_BEGIN_DECLS

/*
 * Waits until fd has one of events (POLLIN, POLLOUT, POLLPRI, POLLRDHUP ...; poll(2)); POLLERR and
 * POLLHUP always count. Returns what it has (> 0), or -errno. What can't be polled (a regular file,
 * a directory, /dev/null) always has POLLIN and POLLOUT; asked for neither it gives -EINVAL. To
 * bound the wait use GYRE_TIMEOUT. Go: the netpoller, by way of syscall.RawConn.
 */
GYRE_API int gyre_poll(int fd, unsigned events);

/* POLLIN or POLLOUT alone; 0 once it is so. */
GYRE_API int gyre_wait_readable(int fd);
GYRE_API int gyre_wait_writable(int fd);

/*
 * poll(2): several descriptors at once, revents filled in; negative ones are passed over, the same
 * one may be there twice, closed ones have POLLNVAL. timeout in ns: negative for ever, 0 only
 * looks, which does not park. Returns how many have something, 0 when the timeout went by, -EINVAL
 * (count above 1,024 or RLIMIT_NOFILE), or -errno. For libraries that hand out a set of descriptors
 * and a time (c-ares, curl, libpq). What is ready at once costs a poll(2); a wait costs one
 * operation, and where there is more than one descriptor an epoll descriptor, made for the call
 * (-EMFILE, -ENFILE). Then, as with poll(2), one that is closed meanwhile is not noticed; the only
 * one gives -EBADF. Go: unix.Poll, which holds a thread.
 */
GYRE_API int gyre_poll_many(struct pollfd *fds, size_t count, int64_t timeout);

/*
 * A watch: one multishot poll for as long as it lives, for a descriptor that another library reads
 * and writes by itself, edge by edge. Go: the netpoller, again.
 */
struct gyre_watch;

/* Watches fd for events. fd stays the caller's, who closes it only after the watch. Returns 0,
 * -EBADF, -EPERM (can't be polled), -EMFILE, -ENFILE (a descriptor is needed for a moment),
 * -ENOMEM. Never parks. */
GYRE_API int gyre_watch_open(struct gyre_watch **watch, int fd, unsigned events);
/* The events since the last call, or-ed; waits while there are none. An edge may be told once more
 * than it came, so read until there is no more (-EAGAIN). One coroutine at a time (-EBUSY). Returns
 * > 0, or -errno. */
GYRE_API int gyre_watch_next(struct gyre_watch *watch);
/* Ends it; who waits in gyre_watch_next gets -EBADF, and must not call again: the watch is freed.
 * Parks, is not cancelled. NULL is fine. */
GYRE_API void gyre_watch_close(struct gyre_watch *watch);

/*
 * An event counter that any thread, process or library can add to: eventfd(2), close-on-exec and
 * non-blocking. gyre_event_open takes what it counts at first and EFD_SEMAPHORE or 0; returns a
 * descriptor, the caller's, or -errno (-EINVAL, -EMFILE, -ENFILE, -ENOMEM). From any thread, never
 * parks. gyre_event_add adds to it without waiting, from any thread: 0, -EAGAIN (it is full),
 * -EINVAL (value is UINT64_MAX, or no counter), -EBADF. gyre_event_take waits until it is above
 * zero, takes all (1 with EFD_SEMAPHORE) into *value and returns 0; -EINVAL: no counter. Go: none
 * (unix.Eventfd).
 */
GYRE_API int gyre_event_open(uint64_t initial, int flags);
GYRE_API int gyre_event_add(int fd, uint64_t value);
GYRE_API int gyre_event_take(int fd, uint64_t *value);

/*
 * Changes in a directory or of a file: inotify(7). The descriptor is inotify_init1's or
 * gyre_inotify_open's (-EMFILE, -ENOMEM; never parks); next waits and gives one event at a time out
 * of *reader, which the caller zeroes, but for fd, and keeps beside the descriptor. *event points
 * into it until the next call; IN_Q_OVERFLOW is an event like any other. Returns 1, or -errno. One
 * coroutine at a time. add and remove are inotify_add_watch (a watch, >= 0, or -errno; the path is
 * looked up on a helper thread, gyre/blocking.h) and inotify_rm_watch (0 or -errno; never parks).
 * close wakes who waits in next with -EBADF, returns 0 or -EBADF and is not cancelled. Go:
 * fsnotify.
 */
struct gyre_inotify {
    int fd;
    unsigned used, filled;
    uint64_t buffer[512];
};
struct inotify_event;
GYRE_API int gyre_inotify_open(struct gyre_inotify *inotify);
GYRE_API int gyre_inotify_add(struct gyre_inotify *inotify, const char *path, uint32_t mask);
GYRE_API int gyre_inotify_remove(struct gyre_inotify *inotify, int watch);
GYRE_API int gyre_inotify_next(struct gyre_inotify *reader, const struct inotify_event **event);
GYRE_API int gyre_inotify_close(struct gyre_inotify *inotify);

/*
 * Waits while *word is value, until gyre_futex_wake or futex(2) from any thread, or, with shared,
 * from any process that maps the word. Returns 0 when woken (which may be for nothing: look again),
 * -EAGAIN when it was not value, -EOPNOTSUPP where the kernel has no such operation (before 6.7),
 * or -errno as above (-EFAULT). wake wakes up to count waiters and returns how many, or -EFAULT;
 * from any thread; never parks. Go: none.
 */
GYRE_API int gyre_futex_wait(const uint32_t *word, uint32_t value, int shared);
GYRE_API int gyre_futex_wake(const uint32_t *word, unsigned count, int shared);

GYRE_END_DECLS

#endif
