/*
 * The control block of a coroutine. It sits at the top of the coroutine's own stack and is
 * type-stable: its address holds a control block, or zeros, until the runtime ends. So a late
 * message or a dump may look at it at any time; what it sees may be stale, never foreign.
 *
 * Two words decide everything that races.
 *
 * `wait`: how the coroutine can be woken. It is set by the commit of a park, after the registers
 * are saved; whoever moves it from WAIT_OBJECT to WAIT_WOKEN or WAIT_INTERRUPTED by
 * compare-and-swap, and nobody else, makes the coroutine ready. WAIT_OPERATION is never claimed:
 * the ring's completion readies it, and a canceller only sends the owner of the ring a message.
 *
 * `life`: whether it lives, who joins it, whether a cancel message is under way. Its memory is
 * recycled only when it has ended, nobody will read its result, and no message still links it.
 */
#ifndef GYRE_LIB_SCHED_CORO_H
#define GYRE_LIB_SCHED_CORO_H

#include "base/list.h"
#include "coro/exceptions.h"
#include "coro/fpu.h"
#include "coro/stack.h"
#include "coro/switch.h"
#include "ring/ring.h"
#include "sched/fifo.h"
#include "sched/inject.h"
#include "sched/mailbox.h"
#include "sched/timer.h"

#include <gyre/base.h>

#include <stdatomic.h>
#include <string.h>

struct gyre_context;
struct worker;

enum wait_state {
    WAIT_NONE,
    WAIT_OBJECT,      /* claimable */
    WAIT_OPERATION,   /* an operation is in flight on the ring of `home` */
    WAIT_WOKEN,       /* claimed by a waker: what was waited for has come */
    WAIT_INTERRUPTED, /* claimed by the end of a context, or by chance: look again */
};

enum {
    LIFE_ALIVE = 1 << 0,
    LIFE_DETACHED = 1 << 1, /* nobody may join: released when it ends */
    LIFE_QUEUED = 1 << 2,   /* the cancel message is in a mailbox */
    LIFE_RELEASED = 1 << 3, /* done with, but for a message under way, which will free it */
    LIFE_FLAGS = CACHE_LINE - 1,
    /* above: the address of the coroutine that joins */
};

/* Why a coroutine is parked; dumps print it. */
enum park_reason {
    PARK_NONE,
    PARK_YIELD,
    PARK_SLEEP,
    PARK_JOIN,
    PARK_OPERATION,
    PARK_ACCEPT,
    PARK_FEED,
    PARK_CLOSE,
    PARK_SEND,
    PARK_RECV,
    PARK_SELECT,
    PARK_MUTEX,
    PARK_RWMUTEX,
    PARK_WAITGROUP,
    PARK_ONCE,
    PARK_COND,
    PARK_SEMAPHORE,
    PARK_BARRIER,
    PARK_GROUP,
    PARK_CONTEXT,
    PARK_BLOCKING,
    PARK_TEST,
    PARK_PREEMPTED,
};

/* The operation in flight: at most one a coroutine. lib/io fills it in. */
struct coro_operation {
    struct ring_target target;
    int fd;
    int result;
    uint16_t generation;
    /* Whose ring it is in flight on, or NULL. Set by that worker, cleared under its reap lock. */
    _Atomic(struct worker *) flight;
    bool cancelled; /* a cancel was submitted already; by that worker */
    /* Why somebody besides the context no longer wants it: -errno, or 0. See io/operation.h. */
    _Atomic(int) revoked;
    /* Of one with two completions, under the reap lock of that worker. */
    bool sent;   /* its result is there; the kernel still holds the buffer */
    bool resets; /* given up then, the connection is reset: nothing else makes the kernel let go */
    bool reset;  /* it was */
    bool copied; /* the kernel copied the buffer all the same */
};

enum { CORO_TELLS = 1 << 7 }; /* detached, and its `at_end` is called */

/*
 * Who wants to know that a detached coroutine has ended. Called by whoever runs next on its worker,
 * when nothing of it is left: it is not counted any more, and its memory was given back. May take
 * spinlocks and make coroutines ready, must not park.
 */
struct coro_end {
    void (*call)(void *argument, int result);
    void *argument;
};

/*
 * What a switch and an operation touch comes first, in two cache lines behind the stack's: a server
 * whose coroutines have gone cold pays for each line.
 */
struct gyre_coro {
    struct stack_block stack; /* first: the stack layer's part */

    _Alignas(CACHE_LINE) struct switch_frame frame;
    _Atomic(uint32_t) wait;
    uint8_t flags; /* GYRE_SPAWN_*, CORO_TELLS */
    uint8_t park_reason;
    bool carries; /* has state of its own that a switch must carry: exceptions, FPU control */
    bool sliced;  /* was interrupted before */
    _Atomic(struct gyre_context *) context; /* ambient now */
    _Atomic(struct worker *) home;          /* whose ring the operation is on */
    struct worker *pinned;                  /* the only worker that may run it, or NULL */
    uint16_t sections, locks; /* not to be interrupted: gyre_preempt_off, locks that it holds */

    _Alignas(CACHE_LINE) union {
        struct fifo_link fifo;     /* while runnable */
        struct inject_link inject; /* while runnable, from a foreign thread or pinned */
        struct list wait;          /* while parked on an object: its queue of waiters */
    } link;
    struct coro_operation operation;

    _Atomic(uintptr_t) life;
    struct mailbox_message cancel_message;
    struct gyre_context *inherited; /* held; linked through context_link unless it is the root */
    struct list context_link;
    int result;
    gyre_fn fn;
    void *arg;
    struct coro_end at_end; /* with CORO_TELLS */
    uintptr_t entry;        /* the frame of gyre_coro_entry: the program's are below */
    uint64_t id;
    const char *site; /* "file:line", NUL, name */
    const char *name; /* or NULL: the site's */
    struct local_entry *locals;
    struct exceptions_state exceptions;
    struct fpu_control fpu;
};

/* "file:line" without the folders. */
static inline const char *coro_started_at(const struct gyre_coro *coro)
{
    const char *slash = strrchr(coro->site, '/');

    return slash ? slash + 1 : coro->site;
}

static inline const char *coro_name(const struct gyre_coro *coro)
{
    const char *end = coro->site;

    if (coro->name)
        return coro->name;
    while (*end)
        end++;
    return end + 1;
}

#endif
