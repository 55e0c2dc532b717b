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
 * POLLHUP always count. Returns what it has (> 0), or -errno. A regular file is always ready. To
 * bound it use GYRE_TIMEOUT. Go: the netpoller, by way of syscall.RawConn.
 */
GYRE_API int gyre_poll(int fd, unsigned events);

/* POLLIN or POLLOUT alone; 0 once it is so. */
GYRE_API int gyre_wait_readable(int fd);
GYRE_API int gyre_wait_writable(int fd);

/*
 * poll(2): several descriptors at once, revents filled in; negative ones are passed over. timeout
 * in ns: negative for ever, 0 only looks. Returns how many have something, 0 when the timeout went
 * by, -EINVAL (count above 1,024), or -errno. For libraries that hand out a set of descriptors and
 * a time (c-ares, curl, libpq). Costs one operation: an epoll descriptor is made for the call where
 * there is more than one.
 */
GYRE_API int gyre_poll_many(struct pollfd *fds, size_t count, int64_t timeout);

/*
 * A watch: one multishot poll for as long as it lives, for a descriptor that another library reads
 * and writes by itself, edge by edge.
 */
struct gyre_watch;

/* Watches fd for events. fd stays the caller's, who closes it only after the watch. Returns 0,
 * -EBADF, -EPERM (can't be polled), -ENOMEM. Never parks. */
GYRE_API int gyre_watch_open(struct gyre_watch **watch, int fd, unsigned events);
/* The events since the last call, or-ed; waits while there are none. One coroutine at a time
 * (-EBUSY). Returns > 0, or -errno. */
GYRE_API int gyre_watch_next(struct gyre_watch *watch);
/* Ends it; who waits gets -EBADF. Parks, is not cancelled. NULL is fine. */
GYRE_API void gyre_watch_close(struct gyre_watch *watch);

/*
 * An event counter that any thread, process or library can add to: eventfd(2), close-on-exec.
 * Returns a descriptor, the caller's, or -errno. Never parks. gyre_event_add adds to it without
 * waiting (from any thread; -EAGAIN: it is full); gyre_event_take waits until it is above zero,
 * takes all (1 with EFD_SEMAPHORE) into *value and returns 0.
 */
GYRE_API int gyre_event_open(uint64_t initial, int flags);
GYRE_API int gyre_event_add(int fd, uint64_t value);
GYRE_API int gyre_event_take(int fd, uint64_t *value);

/*
 * Changes below a directory or of a file: inotify(7). The descriptor is inotify_init1's or
 * gyre_inotify_open's; next waits and gives one event at a time out of *reader, which the caller
 * zeroes and keeps beside the descriptor. *event points into reader until the next call. Returns 1,
 * 0 (end: closed by inotify itself never happens), or -errno. Go: fsnotify.
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
GYRE_API int gyre_inotify_next(struct gyre_inotify *inotify, const struct inotify_event **event);
GYRE_API int gyre_inotify_close(struct gyre_inotify *inotify);

/*
 * Waits while *word is value, until gyre_futex_wake or futex(2) from any thread, or process where
 * the word is shared memory. Returns 0 when woken (which may be for nothing: look again), -EAGAIN
 * when it was not value, -EOPNOTSUPP where the kernel has no such operation (before 6.7), or -errno
 * as above. wake wakes up to count waiters and returns how many; from any thread; never parks.
 */
GYRE_API int gyre_futex_wait(const uint32_t *word, uint32_t value, int shared);
GYRE_API int gyre_futex_wake(const uint32_t *word, unsigned count, int shared);

GYRE_END_DECLS

#endif
