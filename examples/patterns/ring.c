/*
 * A ring of 100,000 coroutines: each waits for the token from its left, adds one, and passes it on
 * to its right. An idle coroutine costs a page, a channel less than 100 bytes, a hop some
 * tens of nanoseconds.
 *
 *     for range 100_000 {
 *         right := make(chan int)
 *         go func() { for n := range left { right <- n + 1 } }()
 *         left = right
 *     }
 *
 * usage: ring [COROUTINES [LAPS]]
 */
#include <gyre.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

GYRE_CHAN_TYPE(ints, int);

struct ring {
    int size, laps;
    ints *links; /* size + 1: the first is start's to send by, the last to receive from */
};

struct member {
    ints_receiver left;
    ints_sender right;
};

static int pass_on(void *arg)
{
    const struct member *self = arg;
    int token, error;

    while ((error = ints_recv(self->left, &token)) > 0)
        if ((error = ints_send(self->right, token + 1)) < 0)
            break;
    return error;
}

static int run(const struct ring *ring)
{
    int token = 0, error;

    GYRE_GROUP(members);
    for (int i = 0; i < ring->size; i++) {
        struct member member = {ring->links[i].receiver, ring->links[i + 1].sender};

        if ((error = gyre_group_go_copy(&members, pass_on, &member, sizeof member)))
            return error;
    }
    for (int lap = 0; lap < ring->laps; lap++) {
        if ((error = ints_send(ring->links[0].sender, token)) ||
            (error = ints_recv(ring->links[ring->size].receiver, &token)) < 0)
            return error;
    }
    printf("%d hops in %d laps\n", token, ring->laps);
    return 0;
}

static int start(void *arg)
{
    struct ring *ring = arg;
    int error = 0;

    ring->links = calloc((size_t)ring->size + 1, sizeof *ring->links);
    if (!ring->links)
        return -ENOMEM;
    for (int i = 0; i <= ring->size && !error; i++)
        error = ints_make(&ring->links[i], 0);
    if (!error)
        error = run(ring);
    for (int i = 0; i <= ring->size; i++)
        ints_release(ring->links[i]);
    free(ring->links);
    return error;
}

int main(int argc, char **argv)
{
    struct ring ring = {argc > 1 ? atoi(argv[1]) : 100000, argc > 2 ? atoi(argv[2]) : 3, NULL};

    if (ring.size < 1 || ring.laps < 1) {
        fprintf(stderr, "usage: ring [COROUTINES [LAPS]]\n");
        return 2;
    }
    return gyre_run(start, &ring) < 0;
}
