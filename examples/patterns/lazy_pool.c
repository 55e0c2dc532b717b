/*
 * A pool of connections that is opened by whoever needs it first, once; everybody else waits for
 * that to end and gets the same result, an error too.
 *
 *     var open = sync.OnceValues(func() (*Pool, error) { return dial("db:5432") })
 *     pool, err := open()
 *
 * A once remembers its failure. If a later call is to try again, guard the attempt with a mutex
 * instead.
 */
#include <gyre.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { USERS = 10 };

struct pool {
    const char *address;
    gyre_once once;
    atomic_int attempts, served, refused;
    int connections;
};

static int open_pool(void *arg)
{
    struct pool *pool = arg;
    int error = gyre_sleep(GYRE_MILLISECOND); /* dialling: all the others wait meanwhile */

    atomic_fetch_add(&pool->attempts, 1);
    if (error)
        return error;
    if (strcmp(pool->address, "nowhere") == 0)
        return -ECONNREFUSED;
    pool->connections = 4;
    return 0;
}

static int query(void *arg)
{
    struct pool *pool = arg;
    int error = gyre_once_do(&pool->once, open_pool, pool);

    atomic_fetch_add(error ? &pool->refused : &pool->served, 1);
    return 0;
}

static int use(struct pool *pool)
{
    int error;

    GYRE_GROUP(users);
    for (int i = 0; i < USERS; i++)
        gyre_group_go(&users, query, pool);
    if ((error = gyre_group_wait(&users)) == 0)
        printf("%s: opened %d time, %d connections, %d served, %d refused\n", pool->address,
               pool->attempts, pool->connections, pool->served, pool->refused);
    return error;
}

static int start(void *arg)
{
    static struct pool good = {.address = "db"}, bad = {.address = "nowhere"};
    int error = use(&good);

    (void)arg;
    return error ? error : use(&bad);
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
