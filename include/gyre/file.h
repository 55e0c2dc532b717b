/*
 * gyre/file.h - files: open, positional reads and writes, durability, space, attributes, names.
 *
 * The calls are those of POSIX and Linux with their arguments, and return >= 0 or -errno; each
 * parks the coroutine while the kernel works (docs/operations.md says for each whether it completes
 * at once, by polling, or on a bounded kernel worker, and what cancelling it can promise). What
 * io_uring has no operation for on this kernel goes to a helper thread (gyre/blocking.h). Paths
 * and buffers belong to the caller and are the kernel's until the call returns; dirfd is AT_FDCWD
 * or an open directory. Only from a coroutine. Errors besides those of the system call named:
 * -ECANCELED, -ETIMEDOUT (context: an operation that had begun to change something has either been
 * done or not, never half, but for written bytes), -EBADF (gyre_close meanwhile), -ENOMEM; never
 * -EINTR.
 *
 * What may wait without end (the other end of a FIFO, an empty pipe, a terminal) is waited for by
 * polling and can be cancelled. What waits for a disk or a server is done by a few kernel worker
 * threads for each ring, or by a helper, which can't be stopped once they run: the call then
 * returns when they do, and a file system that hangs holds them, and the file calls behind them.
 * gyre_close waits for calls on its descriptor, but not for those that went to a helper.
 */
#ifndef GYRE_FILE_H
#define GYRE_FILE_H

#include <gyre/base.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

GYRE_BEGIN_DECLS

/*
 * open(2), openat(2): a descriptor, the caller's, always close-on-exec; flags and mode as there.
 * openat2(2) with how (struct open_how of linux/openat2.h, how_size bytes; more than 128: -E2BIG).
 * A FIFO waits for its other end, as with open(2), in the coroutine alone. A device is opened as
 * with O_NONBLOCK, so it does not wait for a carrier, a medium or its last user to leave (-EBUSY or
 * what the driver says), and set to blocking mode then. Go: os.OpenFile.
 */
GYRE_API int gyre_open(const char *path, int flags, mode_t mode);
GYRE_API int gyre_openat(int dirfd, const char *path, int flags, mode_t mode);
struct open_how;
GYRE_API int gyre_openat2(int dirfd, const char *path, const struct open_how *how, size_t how_size);

/*
 * At offset (bytes; below 0: -EINVAL), the position untouched; may transfer less. pread(2),
 * pwrite(2), preadv2(2), pwritev2(2) with their flags (RWF_*), at most 1,024 pieces. -ESPIPE: a
 * pipe, socket or terminal, also with RWF flags. The _all forms go on until everything is there:
 * they return size (read: less at the end of the file), or -errno with *done (may be NULL) bytes
 * done. An append is gyre_write on a descriptor opened with O_APPEND. Go: File.ReadAt, WriteAt.
 */
GYRE_API ssize_t gyre_pread(int fd, void *buffer, size_t size, off_t offset);
GYRE_API ssize_t gyre_pwrite(int fd, const void *buffer, size_t size, off_t offset);
GYRE_API ssize_t gyre_preadv(int fd, const struct iovec *pieces, int count, off_t offset,
                             int flags);
GYRE_API ssize_t gyre_pwritev(int fd, const struct iovec *pieces, int count, off_t offset,
                              int flags);
GYRE_API ssize_t gyre_pread_all(int fd, void *buffer, size_t size, off_t offset, size_t *done);
GYRE_API ssize_t gyre_pwrite_all(int fd, const void *buffer, size_t size, off_t offset,
                                 size_t *done);

/*
 * Buffers that the kernel has mapped once and for all, aligned for O_DIRECT: saves it the mapping
 * in each read and write. count buffers of size bytes (rounded up to pages). Registered with each
 * worker's ring when it first uses them, about 1 MiB at a time and at most 4,096 such pieces in
 * all; what is beyond, and where the kernel refuses (RLIMIT_MEMLOCK), is plain memory, and the
 * calls still work. create returns 0, -EINVAL (count or size is 0), -ENOMEM; never parks. destroy
 * parks, is not cancelled; nobody may be reading or writing with them, and it must come before the
 * runtime ends. NULL is fine. Go: none.
 */
struct gyre_buffers;
GYRE_API int gyre_buffers_create(struct gyre_buffers **buffers, unsigned count, size_t size);
GYRE_API void gyre_buffers_destroy(struct gyre_buffers *buffers);
/* The memory of buffer index (NULL: there is none); the size of each. Never park; from any thread.
 */
GYRE_API void *gyre_buffers_at(const struct gyre_buffers *buffers, unsigned index);
GYRE_API size_t gyre_buffers_size(const struct gyre_buffers *buffers);
/* gyre_pread and gyre_pwrite of size bytes at the start of buffer index; -EINVAL: no such buffer,
 * or it is smaller. */
GYRE_API ssize_t gyre_pread_buffer(int fd, struct gyre_buffers *buffers, unsigned index,
                                   size_t size, off_t offset);
GYRE_API ssize_t gyre_pwrite_buffer(int fd, struct gyre_buffers *buffers, unsigned index,
                                    size_t size, off_t offset);

/* fsync(2), fdatasync(2), sync_file_range(2). Go: File.Sync. */
GYRE_API int gyre_fsync(int fd);
GYRE_API int gyre_fdatasync(int fd);
GYRE_API int gyre_sync_file_range(int fd, off_t offset, off_t size, unsigned flags);

/* fallocate(2), ftruncate(2) (an operation since Linux 6.9), truncate(2) (on a helper),
 * posix_fadvise(2), madvise(2): each returns 0 or -errno. Go: File.Truncate, os.Truncate. */
GYRE_API int gyre_fallocate(int fd, int mode, off_t offset, off_t size);
GYRE_API int gyre_ftruncate(int fd, off_t size);
GYRE_API int gyre_truncate(const char *path, off_t size);
GYRE_API int gyre_fadvise(int fd, off_t offset, off_t size, int advice);
GYRE_API int gyre_madvise(void *address, size_t size, int advice);

/* stat(2), lstat(2), fstat(2), statx(2) (struct statx of _GNU_SOURCE). Go: os.Stat, os.Lstat. */
GYRE_API int gyre_stat(const char *path, struct stat *status);
GYRE_API int gyre_lstat(const char *path, struct stat *status);
GYRE_API int gyre_fstat(int fd, struct stat *status);
struct statx;
GYRE_API int gyre_statx(int dirfd, const char *path, int flags, unsigned mask,
                        struct statx *status);
/* chmod(2), fchmodat(2), fchownat(2), utimensat(2): always on a helper. Go: os.Chmod, Chown,
 * Chtimes. */
GYRE_API int gyre_chmod(const char *path, mode_t mode);
GYRE_API int gyre_fchmodat(int dirfd, const char *path, mode_t mode, int flags);
GYRE_API int gyre_fchownat(int dirfd, const char *path, uid_t owner, gid_t group, int flags);
GYRE_API int gyre_utimensat(int dirfd, const char *path, const struct timespec times[2], int flags);

/* rename(2), unlink(2), rmdir(2), link(2), symlink(2), mkdir(2) and their *at forms; readlink(2):
 * the length, text not NUL-terminated, on a helper. Go: os.Rename, Remove, Link, Symlink, Mkdir. */
GYRE_API int gyre_rename(const char *from, const char *to);
GYRE_API int gyre_renameat2(int from_dirfd, const char *from, int to_dirfd, const char *to,
                            unsigned flags);
GYRE_API int gyre_unlink(const char *path);
GYRE_API int gyre_rmdir(const char *path);
GYRE_API int gyre_unlinkat(int dirfd, const char *path, int flags);
GYRE_API int gyre_link(const char *from, const char *to);
GYRE_API int gyre_linkat(int from_dirfd, const char *from, int to_dirfd, const char *to, int flags);
GYRE_API int gyre_symlink(const char *target, const char *path);
GYRE_API int gyre_symlinkat(const char *target, int dirfd, const char *path);
GYRE_API int gyre_mkdir(const char *path, mode_t mode);
GYRE_API int gyre_mkdirat(int dirfd, const char *path, mode_t mode);
GYRE_API ssize_t gyre_readlinkat(int dirfd, const char *path, char *text, size_t size);

/* getxattr(2), fgetxattr(2), setxattr(2), fsetxattr(2); listxattr(2), removexattr(2) on a
 * helper. Go: unix.Getxattr and its kin. */
GYRE_API ssize_t gyre_getxattr(const char *path, const char *name, void *value, size_t size);
GYRE_API ssize_t gyre_fgetxattr(int fd, const char *name, void *value, size_t size);
GYRE_API int gyre_setxattr(const char *path, const char *name, const void *value, size_t size,
                           int flags);
GYRE_API int gyre_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);
GYRE_API ssize_t gyre_listxattr(const char *path, char *list, size_t size);
GYRE_API int gyre_removexattr(const char *path, const char *name);

/*
 * splice(2) and tee(2) between a pipe and something else; offsets may be NULL (the position). They
 * wait for both sides by polling, so that no kernel worker is held by an idle pipe; -EAGAIN comes
 * back only with SPLICE_F_NONBLOCK. A kernel worker (another kind than
 * those for files, 8 a ring) does the moving: to a socket in blocking mode it stays until all of
 * size has found room there. Go: unix.Splice, unix.Tee.
 */
GYRE_API ssize_t gyre_splice(int in, off_t *in_offset, int out, off_t *out_offset, size_t size,
                             unsigned flags);
GYRE_API ssize_t gyre_tee(int in, int out, size_t size, unsigned flags);

/* pipe2(2), both ends close-on-exec and the caller's. Returns 0, -EMFILE, -ENFILE. Never parks;
 * from any thread. Go: os.Pipe. */
GYRE_API int gyre_pipe(int fds[2]);

/*
 * Sends size bytes of the file in from offset to out, a socket or anything that can be written, by
 * whichever way was measured best for the kind (docs/decisions.md); less at the end of the file. As
 * with sendfile(2), what is changed in the file before the peer has it may be sent changed. The
 * deadlines of a stream on out do not bound it: GYRE_TIMEOUT does. Returns how many, or -errno with
 * *done (may be NULL). Go: io.Copy from a file to a TCPConn.
 */
GYRE_API ssize_t gyre_sendfile_all(int out, int in, off_t offset, size_t size, size_t *done);

/*
 * Passes bytes on from a connection or pipe to another, as a proxy does, by whichever way was
 * measured best: small pieces through a buffer; in bulk by splicing, without copying, between TCP
 * connections and pipes (not through TLS in the kernel; what else can be read or written is copied
 * in larger pieces). Neither a slow reader nor a slow writer holds a thread. While it splices a
 * relay has a pipe, two descriptors, where neither side is one, and the connections have the
 * shortest SO_RCVTIMEO and SO_SNDTIMEO there are, which concern nobody but plain system calls.
 *
 * A relay goes one way, for the files that the numbers mean at open; it does not own them, and
 * shuts nothing down at the end. One coroutine at a time uses it. open returns 0, -EBADF, -ENOMEM,
 * or why the context has ended; close parks only while somebody else closes a side, is not
 * cancelled, and gives up what is held. Close the relay before its descriptors. NULL is fine.
 */
struct gyre_relay;
GYRE_API int gyre_relay_open(struct gyre_relay **relay, int from, int to);
GYRE_API void gyre_relay_close(struct gyre_relay *relay);
/*
 * A step: delivers what is held, else takes some and delivers it; up to limit bytes (0: -EINVAL) of
 * both. Parks. Returns how many were delivered, 0 at the end of from, or -errno: of read(2) or
 * write(2) (sockets without SIGPIPE), or the context's. Nothing is lost by an error: what was taken
 * and not delivered is held, and the next step goes on with it, after a deadline for instance.
 */
GYRE_API ssize_t gyre_relay_next(struct gyre_relay *relay, size_t limit);
/* How many bytes were taken from the one side and not yet delivered to the other. Never parks. */
GYRE_API size_t gyre_relay_held(const struct gyre_relay *relay);

/*
 * All at once: steps until the end of from, an error, or limit bytes (SIZE_MAX: the end). Returns
 * how many, or -errno with *done (may be NULL) delivered; some that were taken besides may be
 * lost then. Go: io.Copy, io.CopyN between two TCPConns.
 */
GYRE_API ssize_t gyre_relay_all(int from, int to, size_t limit, size_t *done);

/* --- whole files ------------------------------------------------------------------------------ */

/* The content of a file: *data is malloc'd with a NUL behind it, *size may be NULL; free it. More
 * than limit bytes (0: any): -EFBIG. Works for files whose size is not known (/proc). Go:
 * os.ReadFile. */
GYRE_API int gyre_read_file(const char *path, char **data, size_t *size, size_t limit);

/*
 * Replaces a file as a whole: a temporary beside it, write, fsync, rename, fsync of the directory:
 * after a crash there is the old content or the new. mode is open(2)'s, of the new file. A symbolic
 * link is replaced itself. On an error, the end of the context too, the temporary is gone and the
 * old file as it was; an error of the last fsync excepted: the new one is there, maybe not durable.
 * Once it is there the context is not looked at any more. The directory must be readable. Go: none
 * (renameio).
 */
GYRE_API int gyre_write_file(const char *path, const void *data, size_t size, mode_t mode);

/* Copies a regular file (else -EISDIR, -EINVAL) with its permissions: copy_file_range(2) (a reflink
 * where there are), on helpers, in pieces so that cancellation is seen; else by reading and
 * writing. to is replaced as by gyre_write_file, without the syncs. Go: none. */
GYRE_API int gyre_copy_file(const char *from, const char *to);

/* mkdir -p: 0 also where it is there; -ENOTDIR: something else is. On a helper. Go: os.MkdirAll. */
GYRE_API int gyre_mkdir_all(const char *path, mode_t mode);
/* A new directory "prefixXXXXXX", mode 0700, its path in path (size bytes; -ENOBUFS: too few). On a
 * helper. Go: os.MkdirTemp. */
GYRE_API int gyre_mkdir_temp(const char *prefix, char *path, size_t size);
/*
 * rm -r, without following links, of a file as well; 0 also where nothing is. Others may change the
 * tree meanwhile: nothing goes but what was below path. What can't be removed is left, with the
 * directories it is in, and the first error returned. -EINVAL: path ends in "." or "..",
 * slashes behind it or not; -ESTALE: a directory was moved away while deep in it. Any depth will
 * do. On helpers, in steps, between which cancellation is seen. Go: os.RemoveAll.
 */
GYRE_API int gyre_remove_all(const char *path);

GYRE_END_DECLS

#endif
