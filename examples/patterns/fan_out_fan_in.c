/*
 * Fan-out, fan-in: several coroutines take from one channel and put what they find into another.
 * Who ran them closes the second one, once the last of them has ended; nobody else can know.
 *
 *     var wg sync.WaitGroup
 *     for range 4 {
 *         wg.Go(func() { for n := range numbers { squares <- n * n } })
 *     }
 *     go func() { wg.Wait(); close(squares) }()
 *     for s := range squares { sum += s }
 */
#include <gyre.h>

#include <stdio.h>

enum { COUNT = 100, WORKERS = 4 };

GYRE_CHAN_TYPE(ints, int);

struct stage {
    ints_receiver in;
    ints_sender out;
};

static int generate(void *arg)
{
    const ints_sender *out = arg;
    int error = 0;

    for (int n = 1; n <= COUNT && !error; n++)
        error = ints_send(*out, n);
    ints_close_error(*out, error); /* of 0: a plain close */
    return error;
}

static int square(void *arg)
{
    const struct stage *stage = arg;
    int n, error;

    while ((error = ints_recv(stage->in, &n)) > 0)
        if ((error = ints_send(stage->out, n * n)) < 0)
            break;
    return error;
}

static int square_all(void *arg)
{
    const struct stage *stage = arg;
    int error;

    GYRE_GROUP(workers);
    for (int i = 0; i < WORKERS; i++)
        gyre_group_go(&workers, square, arg);
    error = gyre_group_wait(&workers);
    ints_close_error(stage->out, error);
    return error;
}

static int sum(void *arg)
{
    const ints_receiver *in = arg;
    int n, error, total = 0;

    while ((error = ints_recv(*in, &n)) > 0)
        total += n;
    if (!error)
        printf("the squares of 1 to %d add up to %d\n", COUNT, total);
    return error;
}

static int start(void *arg)
{
    ints numbers = {0}, squares = {0};
    int error;

    (void)arg;
    if (!(error = ints_make(&numbers, 0)) && !(error = ints_make(&squares, 0))) {
        struct stage middle = {numbers.receiver, squares.sender};

        GYRE_GROUP(stages);
        gyre_group_go(&stages, generate, &numbers.sender);
        gyre_group_go(&stages, square_all, &middle);
        gyre_group_go(&stages, sum, &squares.receiver);
        error = gyre_group_wait(&stages);
    }
    ints_release(numbers);
    ints_release(squares);
    return error;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
