/*
 * What is known about descriptors, by number: which rings have used one, whether it is being
 * closed, how often it was, and a hint of its kind; and for each worker, how many of its operations
 * are in flight on it.
 *
 * After a close(2) behind gyre's back the entry is stale: that costs a superfluous message at most,
 * and the kind is corrected by the kernel's own answer, but for a socket that follows another one.
 *
 * Counting in flight takes no atomic read-modify-write: `submitted` is written by the owner of the
 * ring, `completed` by whoever holds its reap lock.
 */
#ifndef GYRE_LIB_IO_DESCRIPTOR_H
#define GYRE_LIB_IO_DESCRIPTOR_H

#include "sched/worker.h"

enum {
    DESCRIPTOR_CHUNK = 1024,
    DESCRIPTOR_CHUNKS = 16384,
    DESCRIPTOR_RINGS = 30, /* workers share a bit modulo this */
};

/*
 * The word `users`: a bit for each ring, two marks, and above how often gyre_close has freed the
 * number, so that one look tells for which of its owners a call was begun.
 *
 * CLOSING: operations are being cancelled, and begin no more. RELEASING as well: the kernel is
 * about to free the number, or has: who begins now may mean the old file or the next one, and waits
 * until the kernel can tell.
 */
#define DESCRIPTOR_CLOSING   ((uint64_t)1 << 30)
#define DESCRIPTOR_RELEASING ((uint64_t)1 << 31)
#define DESCRIPTOR_RING_BITS (((uint64_t)1 << DESCRIPTOR_RINGS) - 1)

enum descriptor_kind {
    KIND_UNKNOWN,
    KIND_OTHER, /* no socket */
    KIND_FILE,  /* no socket either, and has a position */
    KIND_SOCKET,
    KIND_UNIX_DATAGRAM, /* a socket: unix_datagram.h */
};

/* An object with a receive of its own on the descriptor. */
struct descriptor_object {
    /* gyre_close, in whose coroutine this runs, frees the number next: when it returns the object
     * never uses it again, nor is it used itself. May park. */
    void (*closed)(struct descriptor_object *object);
};

struct descriptor {
    _Atomic(uint64_t) users;
    _Atomic(struct descriptor_object *) object; /* or NULL; who takes it out calls or owns it */
    _Atomic(uint8_t) kind;
    _Atomic(uint8_t) lingers; /* its close may wait, by SO_LINGER */
};

struct descriptor_counts {
    _Atomic(uint32_t) submitted, completed;
};

/* The entry of fd (>= 0), made if need be; NULL: no memory, or the number is beyond the table. */
struct descriptor *gyre_descriptor_get(int fd);

/* Counts of worker for fd, made if need be. Only the owner makes them. */
struct descriptor_counts *gyre_descriptor_counts(struct worker *worker, int fd);

/* Called when the runtime ends, if it used any descriptor: for who keeps things that long. */
extern void (*gyre_descriptors_end)(void);

static inline uint32_t descriptor_closings(uint64_t users)
{
    return (uint32_t)(users >> 32);
}

static inline uint64_t descriptor_bit(const struct worker *worker)
{
    return (uint64_t)1 << (worker->index % DESCRIPTOR_RINGS);
}

#endif
