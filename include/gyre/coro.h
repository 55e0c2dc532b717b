/*
 * gyre/coro.h - coroutines: start, join, name, yield, sleep, values of their own.
 *
 * A coroutine inherits the context (gyre/context.h) of the one that started it, and may run on
 * any worker. Thread-local variables belong to workers: their value, and errno's, may differ
 * after any call that parks. A thread created in a coroutine inherits its worker's affinity and
 * signal mask (processes don't): create threads before gyre_run, or give them attributes.
 */
#ifndef GYRE_CORO_H
#define GYRE_CORO_H

#include <gyre/base.h>

GYRE_BEGIN_DECLS

struct gyre_runtime; /* gyre/run.h */

/* Names a coroutine started by gyre_spawn until it has been joined or let go. A plain value:
 * copy it freely; joining twice is caught. */
typedef struct gyre_handle {
    struct gyre_coro *coro;
    uint64_t id;
} gyre_handle;

enum {
    GYRE_SPAWN_PINNED = 1 << 0,         /* stays on one worker, for code bound to its thread */
    GYRE_SPAWN_SAVE_FPU = 1 << 1,       /* mxcsr, the x87 control word (fpcr) belong to it */
    GYRE_SPAWN_OUTSIDE_CONTEXT = 1 << 2 /* starts under the runtime's context, not its parent's */
};

/* Options of one coroutine; start from GYRE_SPAWN_INIT. Zero means the default. */
struct gyre_spawn_options {
    size_t size;       /* sizeof (struct gyre_spawn_options) */
    const char *name;  /* must live as long as the coroutine; NULL: the function's name */
    size_t stack_size; /* bytes of address space, the guard's 32 KiB included; rounded up to a
                          power of two from 64 KiB; at most 1 GiB; 0: the runtime's default.
                          Overflow panics, given -fstack-clash-protection (pkg-config's flags
                          have it); a larger frame than the guard may jump over it otherwise */
    unsigned flags;    /* GYRE_SPAWN_* */
    unsigned worker;   /* with GYRE_SPAWN_PINNED: 1 + the worker's index; 0: the caller's */
    const void *copy;  /* not NULL: arg is ignored, copy_size bytes from here are copied onto */
    size_t copy_size;  /* the new stack and fn gets their address; at most 16,384 */
};

#define GYRE_SPAWN_INIT                                                                            \
    {                                                                                              \
        sizeof(struct gyre_spawn_options), NULL, 0, 0, 0, NULL, 0                                  \
    }

/*
 * gyre_go starts fn(arg) as a detached coroutine; what fn returns is dropped. gyre_go_copy first
 * copies size bytes (at most 16,384) from arg onto the new coroutine's stack and passes their
 * address, so nothing needs malloc. gyre_go_options takes everything.
 *
 * The new coroutine runs when a worker picks it; the caller goes on. Never parks. Returns 0,
 * -EINVAL (fn is NULL, a size or option out of range), -ENOMEM, -ECANCELED (the runtime shuts
 * down); on failure fn is not called. Only from a coroutine (gyre_runtime_go is for foreign
 * threads; a call from a plain thread panics). Go: the go statement.
 */
#define gyre_go(fn, arg)                  gyre_go_at(GYRE_SITE(#fn), fn, arg)
#define gyre_go_copy(fn, arg, size)       gyre_go_copy_at(GYRE_SITE(#fn), fn, arg, size)
#define gyre_go_options(fn, arg, options) gyre_spawn_at(GYRE_SITE(#fn), NULL, fn, arg, options)

/*
 * gyre_spawn starts a coroutine that must be joined (gyre_join) or let go (gyre_detach), else it
 * leaks; *handle is set on success. Errors and contexts of use as gyre_go. There is no
 * gyre_spawn_copy: arg is the spawner's, who joins, or options.copy. Go: none; the nearest is a
 * goroutine with a channel for its result.
 */
#define gyre_spawn(handle, fn, arg) gyre_spawn_at(GYRE_SITE(#fn), handle, fn, arg, NULL)
#define gyre_spawn_options(handle, fn, arg, options)                                               \
    gyre_spawn_at(GYRE_SITE(#fn), handle, fn, arg, options)

/* What the macros above call: site is GYRE_SITE(name). gyre_spawn_at with a NULL handle starts a
 * detached coroutine. */
GYRE_API int gyre_go_at(const char *site, gyre_fn fn, void *arg);
GYRE_API int gyre_go_copy_at(const char *site, gyre_fn fn, const void *arg, size_t size);
GYRE_API int gyre_spawn_at(const char *site, gyre_handle *handle, gyre_fn fn, void *arg,
                           const struct gyre_spawn_options *options);

/*
 * Waits until the coroutine has ended and stores what its function returned in *result (which
 * may be NULL). The handle is used up by success. Parks.
 *
 * Returns 0; -ECANCELED or -ETIMEDOUT when the caller's context ends first (the handle is still
 * good, nothing is stored). Panics: a handle that was joined or let go before, a second
 * coroutine joining at the same time, joining oneself. Only from a coroutine.
 */
GYRE_API int gyre_join(gyre_handle handle, int *result);

/*
 * Gives up the right to join: the coroutine goes on and is released when it ends. Never parks,
 * never fails; panics on a used handle. Only from a coroutine.
 */
GYRE_API void gyre_detach(gyre_handle handle);

/*
 * Lets the other runnable coroutines of this worker run first. Parks (briefly, never for a
 * resource). Returns 0, or -ECANCELED or -ETIMEDOUT when the context has ended (it yields
 * all the same). Only from a coroutine. Go: runtime.Gosched.
 */
GYRE_API int gyre_yield(void);

/*
 * Sleeps for at least duration nanoseconds of CLOCK_MONOTONIC, which stands still in suspend.
 * Zero or less: a yield. Parks. Returns 0, or -ECANCELED or -ETIMEDOUT when the context ends
 * first. Only from a coroutine. Go: time.Sleep.
 */
GYRE_API int gyre_sleep(int64_t duration);

/* Sleeps until gyre_now() >= when; otherwise as gyre_sleep. */
GYRE_API int gyre_sleep_until(int64_t when);

/* CLOCK_MONOTONIC in nanoseconds. From anywhere, never fails. Go: time.Now, its monotonic part. */
GYRE_API int64_t gyre_now(void);

/*
 * The calling coroutine's number (1 is the main one; numbers are not reused) and name. Outside a
 * coroutine 0 and NULL. Never fails.
 */
GYRE_API uint64_t gyre_coro_id(void);
GYRE_API const char *gyre_coro_name(void);

/* Renames the calling coroutine; name must live as long as it, NULL gives the first one back. Only
 * from a coroutine. */
GYRE_API void gyre_coro_set_name(const char *name);

/* How many coroutines exist, the main one included; from a coroutine or, with a runtime at
 * hand, see gyre_runtime_coro_count. A snapshot. Go: runtime.NumGoroutine. */
GYRE_API size_t gyre_coro_count(void);
GYRE_API size_t gyre_runtime_coro_count(struct gyre_runtime *runtime);

/* The most bytes of its stack that the calling coroutine's stack has ever used, by earlier
 * owners too; whole pages. Only from a coroutine. */
GYRE_API size_t gyre_stack_used(void);

/*
 * Values of the calling coroutine, keyed by the address of a struct gyre_local (static storage
 * is usual: `static struct gyre_local key = { destroy };`). Nothing is inherited at spawn.
 * gyre_local_set stores value, NULL removes; when the coroutine ends, destroy (if not NULL) is
 * called for each value that is left, inside the coroutine. Setting does not call destroy for the
 * value replaced. Returns 0 or -ENOMEM. gyre_local_get returns the value or NULL. Neither parks.
 * Only from a coroutine. Go: none, on purpose; use context values where a request's data is meant.
 */
struct gyre_local {
    void (*destroy)(void *value);
};
GYRE_API int gyre_local_set(const struct gyre_local *key, void *value);
GYRE_API void *gyre_local_get(const struct gyre_local *key);

GYRE_END_DECLS

#endif
