/*
 * Nested selects with done: a stage that passes values on until its input ends or somebody
 * who is no parent of it says stop. Waiting for a value and waiting to get rid of it must both end
 * then, hence a select inside the other's case.
 *
 *     for {
 *         select {
 *         case <-done: return
 *         case v, ok := <-in:
 *             if !ok { return }
 *             select {
 *             case <-done: return
 *             case out <- v:
 *             }
 *         }
 *     }
 *
 * Where the one who stops it is a parent, none of this is needed: end the context, and recv and
 * send return -ECANCELED by themselves.
 */
#include <gyre.h>

#include <stdio.h>

GYRE_CHAN_TYPE(ints, int);

struct stage {
    gyre_receiver done;
    ints_receiver in;
    ints_sender out;
};

static int pass_on(void *arg)
{
    const struct stage *stage = arg;
    int n, chosen;
    struct gyre_case next[] = {
        gyre_case_recv(stage->done, NULL),
        ints_case_recv(stage->in, &n),
    };
    struct gyre_case pass[] = {
        gyre_case_recv(stage->done, NULL),
        ints_case_send(stage->out, &n),
    };

    while ((chosen = gyre_select(next)) == 1 && next[1].result > 0)
        if ((chosen = gyre_select(pass)) != 1)
            break;
    ints_close(stage->out);
    return chosen < 0 ? chosen : 0;
}

static int count(void *arg)
{
    const ints_sender *out = arg;
    int n = 0, error;

    while ((error = ints_send(*out, ++n)) == 0)
        ;
    return error;
}

/* Takes three of a sequence without end, then says stop. */
static int take(gyre_sender done, ints_receiver in)
{
    int n, error = 0;

    for (int i = 0; i < 3; i++) {
        if ((error = ints_recv(in, &n)) <= 0)
            break;
        printf("%d\n", n);
    }
    gyre_chan_close(done);
    while (error > 0)
        error = ints_recv(in, &n); /* one may be on its way; then the stage has closed */
    if (error == 0)
        printf("stopped\n");
    return error;
}

static int start(void *arg)
{
    gyre_channel done = {0};
    ints numbers = {0}, passed = {0};
    int error;

    (void)arg;
    if (!(error = gyre_chan_make(&done, 0, 0)) && !(error = ints_make(&numbers, 0)) &&
        !(error = ints_make(&passed, 0))) {
        struct stage stage = {done.receiver, numbers.receiver, passed.sender};

        GYRE_GROUP(stages); /* ends the counting too, which nobody told to stop */
        if (!(error = gyre_group_go(&stages, count, &numbers.sender)) &&
            !(error = gyre_group_go(&stages, pass_on, &stage)))
            error = take(done.sender, passed.receiver);
    }
    gyre_chan_release(done);
    ints_release(numbers);
    ints_release(passed);
    return error;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
