/*
 * A pipeline: each stage receives from the one before, works, and sends to the next. The end
 * travels down the line as a close, and so does an error: whoever is cut short closes with it.
 *
 *     func square(in <-chan int) <-chan int {
 *         out := make(chan int)
 *         go func() {
 *             defer close(out)
 *             for n := range in { out <- n * n }
 *         }()
 *         return out
 *     }
 *     for n := range even(square(generate(10))) { fmt.Println(n) }
 *
 * The stages are members of a group, so none outlives the channels: start, which made these,
 * releases them, and the stages only borrow.
 */
#include <gyre.h>

#include <stdio.h>

GYRE_CHAN_TYPE(ints, int);

struct stage {
    ints_receiver in;
    ints_sender out;
};

static int generate(void *arg)
{
    const struct stage *stage = arg;
    int error = 0;

    for (int n = 1; n <= 10 && !error; n++)
        error = ints_send(stage->out, n);
    ints_close_error(stage->out, error); /* of 0: a plain close */
    return error;
}

static int square(void *arg)
{
    const struct stage *stage = arg;
    int n, error;

    while ((error = ints_recv(stage->in, &n)) > 0)
        if ((error = ints_send(stage->out, n * n)) < 0)
            break;
    ints_close_error(stage->out, error);
    return error;
}

static int keep_even(void *arg)
{
    const struct stage *stage = arg;
    int n, error;

    while ((error = ints_recv(stage->in, &n)) > 0)
        if (n % 2 == 0 && (error = ints_send(stage->out, n)) < 0)
            break;
    ints_close_error(stage->out, error);
    return error;
}

static int print(void *arg)
{
    const struct stage *stage = arg;
    int n, error;

    while ((error = ints_recv(stage->in, &n)) > 0)
        printf("%d\n", n);
    return error;
}

static int start(void *arg)
{
    ints numbers = {0}, squares = {0}, evens = {0};
    int error;

    (void)arg;
    if (!(error = ints_make(&numbers, 0)) && !(error = ints_make(&squares, 0)) &&
        !(error = ints_make(&evens, 0))) {
        struct stage first = {.out = numbers.sender}, second = {numbers.receiver, squares.sender},
                     third = {squares.receiver, evens.sender}, last = {.in = evens.receiver};

        GYRE_GROUP(stages);
        gyre_group_go(&stages, generate, &first);
        gyre_group_go(&stages, square, &second);
        gyre_group_go(&stages, keep_even, &third);
        gyre_group_go(&stages, print, &last);
        error = gyre_group_wait(&stages);
    }
    ints_release(numbers);
    ints_release(squares);
    ints_release(evens);
    return error;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
