/*
 * One call on files: an operation of the ring where the kernel has it, else the plain system call
 * on a helper thread.
 *
 *     struct io_uring_sqe entry = {0};
 *
 *     io_uring_prep_fsync(&entry, fd, 0);
 *     return gyre_file_run("gyre_fsync", fd, &entry, PLAIN(SYS_fsync, fd));
 *
 * The entry is filled in on the caller's stack and copied to the ring's, again for each attempt:
 * 64 bytes, and no function and argument structure for each of fifty calls.
 */
#ifndef GYRE_LIB_FS_RUN_H
#define GYRE_LIB_FS_RUN_H

#include "io/operation.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

struct plain_call {
    long number;
    long arguments[6];
};

#define PLAIN(number, ...) (&(struct plain_call){number, {__VA_ARGS__}})

static inline long address_of(const void *object)
{
    return (long)(intptr_t)object;
}

/* fd is the descriptor that counts as used, AT_FDCWD or -1: none. Returns the result or -errno. */
int gyre_file_run(const char *call, int fd, const struct io_uring_sqe *entry,
                  struct plain_call *plain);
/* The helper alone, for what has no operation. */
int gyre_file_plain(const char *call, struct plain_call *plain);
/* Of a call that takes several: operation, zeroed at first, binds them to one file. */
int gyre_file_repeat(struct operation *operation, const char *call, int fd,
                     const struct io_uring_sqe *entry, struct plain_call *plain);
/* gyre_splice; in and out are bound as above. */
ssize_t gyre_file_splice(struct operation *const operations[2], const char *call, int in,
                         off_t *in_offset, int out, off_t *out_offset, size_t size, unsigned flags);
/* On this thread, for what can't block: without SIGPIPE. A struct plain_call. */
int gyre_file_now(void *plain);

#endif
