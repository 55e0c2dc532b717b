/*
 * gyre/run.h - starting the runtime.
 *
 * A program calls gyre_run once from main; all that it does inside the function it passes looks
 * like blocking C and blocks no thread. The workers are threads of their own, as many as CPUs; the
 * calling thread waits, and watches over the end. There are no others but the few helpers of
 * gyre/blocking.h, once they are needed, and the kernel's own, which are bounded
 * (docs/operations.md).
 */
#ifndef GYRE_RUN_H
#define GYRE_RUN_H

#include <gyre/base.h>

GYRE_BEGIN_DECLS

/* Whether workers are bound to one CPU each. */
enum gyre_pinning {
    GYRE_PINNING_AUTO = 0, /* bound when there are as many workers as usable CPUs */
    GYRE_PINNING_OFF = 1,
    GYRE_PINNING_ON = 2 /* bound round robin over the usable CPUs, whatever their number */
};

/*
 * How to run. Start from GYRE_OPTIONS_INIT and set what should differ: zero means the default
 * for every field. size tells the library which fields the program was compiled with, so the
 * structure can grow.
 *
 * Environment variables override what the program asks for: GYRE_WORKERS, GYRE_PINNING (auto,
 * off, on), GYRE_STACK_SIZE (bytes, or with k or m), GYRE_RING_ENTRIES, GYRE_GRACE
 * (milliseconds), GYRE_SEED, GYRE_HELPERS, GYRE_QUANTUM and GYRE_WATCHDOG (a number with us, ms or
 * s behind it; off), GYRE_DEBUG (a list of topics: `ring` prints what was probed, `checks` is
 * explained in gyre/test.h, `preempt` prints what gyre_preempt_count tells when gyre_run ends).
 * Nonsense in one of them makes gyre_run say which and return -EINVAL.
 *
 * What else is read of the environment: GYRE_RESOLV_CONF, GYRE_HOSTS, GYRE_NSSWITCH and
 * GYRE_RESOLV_PORT by lookups of names (gyre/resolve.h); GYRE_INHERITED, LISTEN_PID, LISTEN_FDS,
 * LISTEN_FDNAMES, NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID by gyre/service.h; PATH by
 * gyre_process_start.
 */
struct gyre_options {
    size_t size;               /* sizeof (struct gyre_options); set by GYRE_OPTIONS_INIT */
    unsigned workers;          /* up to 1,024; 0: one per CPU of the affinity mask, cut by a
                                  cgroup's quota */
    enum gyre_pinning pinning; /* see above */
    size_t stack_size;     /* bytes of address space a coroutine, as in gyre/coro.h; 0: 128 KiB */
    unsigned ring_entries; /* submission entries a worker's ring, 4 to 32,768; 0: 256 */
    int64_t grace;         /* ns that coroutines get to end once the main one did; 0: 5 s;
                              negative: none at all */
    int keep_stragglers;   /* nonzero: after the grace gyre_run returns -EBUSY and leaves
                              the workers, rings and stacks of those who would not end;
                              zero: it reports them and aborts */
    uint64_t seed;         /* of every random choice; 0: a fresh one */
    int64_t quantum;       /* ns that a coroutine may compute before the others have their turn
                              (gyre/preempt.h), 100 us to 10 s; 0: 10 ms; negative: as long as it
                              likes. It is CPU time, rounded down to whole ticks of the kernel (where
                              these take 4 ms, 10 ms are 8). Below 4 ms, for tests, it is real time,
                              and sleeping workers are woken too */
    int64_t watchdog;      /* ns after which a coroutine that holds its worker, and can't be
                              interrupted, is reported by name and backtrace, once; at least 10 ms;
                              0 or negative: never */
    unsigned helpers;      /* threads for gyre_blocking, and for gyre's calls that io_uring has no
                              operation for, up to 1,024, started when they are first needed;
                              0: 4 */
};

#define GYRE_OPTIONS_INIT                                                                          \
    {                                                                                              \
        sizeof(struct gyre_options), 0, GYRE_PINNING_AUTO, 0, 0, 0, 0, 0, 0, 0, 0                  \
    }

/*
 * Runs fn(arg) as the main coroutine and returns when it has returned and every other coroutine
 * has ended: those are cancelled first (each call that parks returns -ECANCELED to them), and
 * awaited for the grace. The main coroutine's stack is as large as RLIMIT_STACK says.
 *
 * Returns what fn returned; or, without having called fn, a reason why the runtime can't start,
 * after a message that names cause and remedy: -EPERM, -ENOSYS, -EINVAL, -ENOMEM (io_uring is
 * forbidden, absent, too old, or may not lock memory), -EMFILE, -EAGAIN (no threads), -EINVAL (an
 * option or environment variable makes no sense, fn is NULL), -EBUSY (a runtime runs in this
 * process already, or is left by keep_stragglers), -EDEADLK (called inside a coroutine).
 *
 * From a thread of the program, not from a coroutine. The thread's affinity and signal mask are
 * as before afterwards. After fork, the child may only exec. In an all-static program that links
 * gyre, system, popen, posix_spawn and posix_spawnp always fail with ENOSYS; fork and exec work.
 * Go: the start of main.main.
 */
GYRE_API int gyre_run(gyre_fn fn, void *arg);

/* The same with options; NULL options are the defaults. */
GYRE_API int gyre_run_options(gyre_fn fn, void *arg, const struct gyre_options *options);

/*
 * The running runtime, to be held by a foreign thread. It stays valid until gyre_run returns; a
 * foreign thread must stop using it before the main coroutine ends.
 */
struct gyre_runtime;

/*
 * The runtime that the calling coroutine runs in. Never parks, never fails. Only from a
 * coroutine (panics elsewhere).
 */
GYRE_API struct gyre_runtime *gyre_runtime_current(void);

/*
 * Starts a detached coroutine from any thread, a foreign one included. It inherits no context
 * but the runtime's. Returns 0, -EINVAL (fn is NULL), -ENOMEM, -ECANCELED (the runtime is
 * shutting down). Never parks. Go: `go` from a cgo callback.
 */
GYRE_API int gyre_runtime_go(struct gyre_runtime *runtime, gyre_fn fn, void *arg);

/* How many workers the runtime of the calling coroutine has. Go: runtime.GOMAXPROCS(0). */
GYRE_API unsigned gyre_worker_count(void);

/* Which worker runs the caller now: 0 .. gyre_worker_count() - 1. It may be another after any
 * call that parks. Only from a coroutine. */
GYRE_API unsigned gyre_worker_index(void);

GYRE_END_DECLS

#endif
