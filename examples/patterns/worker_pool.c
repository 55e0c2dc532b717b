/*
 * A worker pool: a fixed number of coroutines for any number of jobs, which come by one channel
 * and whose results leave by another, in the order in which they are done.
 *
 *     for range 3 { go worker(jobs, results) }
 *     for n := 1; n <= 9; n++ { jobs <- n }
 *     close(jobs)
 *     for range 9 { r := <-results; squares[r.job] = r.square }
 *
 * Here the jobs are handed out by a coroutine of its own, so that neither channel needs room for
 * all of them.
 */
#include <gyre.h>

#include <stdio.h>

enum { JOBS = 9, WORKERS = 3 };

struct result {
    int job, square;
};

GYRE_CHAN_TYPE(ints, int);
GYRE_CHAN_TYPE(results, struct result);

struct worker {
    ints_receiver jobs;
    results_sender done;
};

static int submit(void *arg)
{
    const ints_sender *jobs = arg;
    int error = 0;

    for (int job = 1; job <= JOBS && !error; job++)
        error = ints_send(*jobs, job);
    ints_close_error(*jobs, error); /* the workers go home */
    return error;
}

static int work(void *arg)
{
    const struct worker *self = arg;
    int job, error;

    while ((error = ints_recv(self->jobs, &job)) > 0) {
        struct result result = {job, job * job};

        if ((error = results_send(self->done, result)) < 0)
            break;
    }
    return error;
}

static int collect(void *arg)
{
    const results_receiver *done = arg;
    int squares[JOBS + 1], error;
    struct result result;

    for (int i = 0; i < JOBS; i++) {
        if ((error = results_recv(*done, &result)) < 0)
            return error;
        squares[result.job] = result.square;
    }
    for (int job = 1; job <= JOBS; job++)
        printf("%d squared is %d\n", job, squares[job]);
    return 0;
}

static int start(void *arg)
{
    ints jobs = {0};
    results done = {0};
    int error;

    (void)arg;
    if (!(error = ints_make(&jobs, WORKERS)) && !(error = results_make(&done, WORKERS))) {
        struct worker worker = {jobs.receiver, done.sender};

        GYRE_GROUP(pool);
        gyre_group_go(&pool, submit, &jobs.sender);
        for (int i = 0; i < WORKERS; i++)
            gyre_group_go(&pool, work, &worker);
        gyre_group_go(&pool, collect, &done.receiver);
        error = gyre_group_wait(&pool);
    }
    ints_release(jobs);
    results_release(done);
    return error;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
