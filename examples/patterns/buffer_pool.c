/*
 * A buffer pool: memory that is expensive to get is handed from one user to the next. What
 * comes back is as it was left, so whoever takes it clears it.
 *
 *     var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
 *     b := buffers.Get().(*bytes.Buffer)
 *     b.Reset()
 *     defer buffers.Put(b)
 *
 * The pool may drop what is idle at any time: it is for reuse, not for keeping something.
 */
#include <gyre.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { REQUESTS = 1000, AT_ONCE = 8, SIZE = 64 * 1024 };

struct buffer {
    size_t used;
    char bytes[SIZE];
};

static struct gyre_pool *buffers;
static atomic_int made, answered;

static void *make(void *arg)
{
    (void)arg;
    atomic_fetch_add(&made, 1);
    return malloc(sizeof(struct buffer));
}

static int answer(void *arg)
{
    struct buffer *buffer = gyre_pool_get(buffers);
    int error;

    (void)arg;
    if (!buffer)
        return -ENOMEM;
    buffer->used = (size_t)snprintf(buffer->bytes, sizeof buffer->bytes, "some answer");
    error = gyre_yield(); /* sending it */
    gyre_pool_put(buffers, buffer);
    atomic_fetch_add(&answered, 1);
    return error;
}

static int start(void *arg)
{
    struct gyre_pool_options options = GYRE_POOL_OPTIONS_INIT;
    int error;

    (void)arg;
    options.make = make;
    options.drop = free;
    if ((error = gyre_pool_create(&buffers, &options)))
        return error;
    {
        GYRE_GROUP(requests, .limit = AT_ONCE);
        for (int i = 0; i < REQUESTS; i++)
            gyre_group_go(&requests, answer, NULL);
        error = gyre_group_wait(&requests);
    }
    gyre_pool_destroy(buffers);
    if (!error)
        printf("%d answers took %d buffers\n", answered, made);
    return error;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
