/* scheduler.c - yield, spawn and join, and skynet: a tree of a million coroutines. */
#include "vocabulary.h"

#include <errno.h>

GYRE_CHAN_TYPE(sums, int64_t);

enum { LEAVES = 1000000, CHILDREN = 10 };

static int yield_until_done(void *arg)
{
    long *left = arg;

    for (; *left > 0; --*left)
        gyre_yield();
    return 0;
}

/* Two coroutines take turns. */
static int yields(long n)
{
    gyre_handle handles[2];

    for (int i = 0; i < 2; i++) {
        int error = gyre_spawn(&handles[i], yield_until_done, &n);

        if (error)
            return error;
    }
    gyre_join(handles[0], NULL);
    return gyre_join(handles[1], NULL);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int spawns(long n)
{
    int error = 0;

    for (long i = 0; i < n && !error; i++) {
        gyre_handle handle;

        error = gyre_spawn(&handle, nothing, NULL);
        if (!error)
            error = gyre_join(handle, NULL);
    }
    return error;
}

struct node {
    sums_sender to; /* held for the node */
    int64_t first, size;
};

/* A leaf reports its number, others the sum of their ten children. */
static int node(void *arg)
{
    struct node *n = arg;
    int64_t sum = n->first, part;
    int error = 0;

    if (n->size > 1) {
        sums channel;

        error = sums_make(&channel, 0);
        for (int i = 0; i < CHILDREN && !error; i++) {
            struct node child = {sums_hold_sender(channel.sender),
                                 n->first + i * (n->size / CHILDREN), n->size / CHILDREN};

            error = gyre_go_copy(node, &child, sizeof child);
        }
        sum = 0;
        for (int i = 0; i < CHILDREN && !error; i++) {
            if (sums_recv(channel.receiver, &part) != 1)
                error = -EPROTO;
            sum += part;
        }
        sums_release(channel);
    }
    if (error)
        sums_close_error(n->to, error);
    else
        sums_send(n->to, sum);
    sums_release_sender(n->to);
    return error;
}

static int skynets(long n)
{
    for (long i = 0; i < n; i++) {
        sums channel;
        int64_t sum;
        int error = sums_make(&channel, 0);
        struct node root = {sums_hold_sender(channel.sender), 0, LEAVES};

        if (!error)
            error = gyre_go_copy(node, &root, sizeof root);
        if (!error && sums_recv(channel.receiver, &sum) != 1)
            error = -EPROTO;
        sums_release(channel);
        if (error || sum != (int64_t)LEAVES * (LEAVES - 1) / 2)
            return error ? error : -EPROTO;
    }
    return 0;
}

const struct work scheduler_works[] = {
    {"yield", 1, 1, yields, NULL, NULL},
    {"spawn_join", 1, 1, spawns, NULL, NULL},
    {"skynet_1m", 0, 1e6, skynets, NULL, NULL},
    {"skynet_1m_1", 1, 1e6, skynets, NULL, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};
