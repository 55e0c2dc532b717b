/*
 * gyre/pool.h - objects kept for the next one who needs one. Go: sync.Pool.
 *
 * Each worker has a cache of its own, so that get and put need no lock that others want; a get that
 * finds nothing looks into the other workers' caches before it makes a new object.
 *
 * What is kept is given up again: a worker's cache holds at most `limit` objects, and what nobody
 * took for a second is dropped by one of the next gets or puts there, after a park by the first;
 * gyre_pool_trim drops all that is idle at once, for when the program knows that memory is short.
 */
#ifndef GYRE_POOL_H
#define GYRE_POOL_H

#include <gyre/base.h>

GYRE_BEGIN_DECLS

struct gyre_pool;

struct gyre_pool_options {
    size_t size;                /* sizeof (struct gyre_pool_options) */
    void *(*make)(void *arg);   /* a new object, NULL: no memory; may park; or NULL: none is made */
    void (*drop)(void *object); /* disposes of one; must not park; or NULL */
    void *arg;                  /* of make */
    unsigned limit;             /* objects kept a worker, up to 2^20; 0: 64 */
};

#define GYRE_POOL_OPTIONS_INIT                                                                     \
    {                                                                                              \
        sizeof(struct gyre_pool_options), NULL, NULL, NULL, 0                                      \
    }

/* Makes a pool; NULL options are the defaults. 0, -EINVAL (size, limit), -ENOMEM. Never parks. Only
 * from a coroutine. */
GYRE_API int gyre_pool_create(struct gyre_pool **pool, const struct gyre_pool_options *options);

/* Drops what is inside and frees the pool; objects that are out stay the program's. Nobody may
 * use it any more. NULL is fine. Never parks. From any thread. */
GYRE_API void gyre_pool_destroy(struct gyre_pool *pool);

/* An object: a kept one, as it was put, or a new one; NULL when none is kept and make is NULL or
 * returns NULL. It is the caller's. Parks only if make does. Only from a coroutine. Go: Get. */
GYRE_API void *gyre_pool_get(struct gyre_pool *pool);

/* Gives an object to the pool, which keeps or drops it. NULL is fine. Never parks. From any thread
 * (a foreign one's goes where any worker finds it). Go: Put. */
GYRE_API void gyre_pool_put(struct gyre_pool *pool, void *object);

/* Drops all idle objects now; returns how many. Never parks. From any thread. */
GYRE_API size_t gyre_pool_trim(struct gyre_pool *pool);

GYRE_END_DECLS

#endif
