/*
 * A worker pool in which each worker knows its number, for logs, or to own a part of something
 * (here its own counter, which therefore needs no lock).
 *
 *     for id := 1; id <= 3; id++ {
 *         go func() {
 *             for job := range jobs { fmt.Println("worker", id, "does job", job) }
 *         }()
 *     }
 *
 * The workers' arguments differ, so each gets a copy on its own stack.
 */
#include <gyre.h>

#include <stdio.h>

enum { JOBS = 12, WORKERS = 3 };

GYRE_CHAN_TYPE(ints, int);

struct worker {
    int id;
    int *count;
    ints_receiver jobs;
};

static int work(void *arg)
{
    const struct worker *self = arg;
    int job, error;

    while ((error = ints_recv(self->jobs, &job)) > 0) {
        printf("worker %d does job %d\n", self->id, job);
        ++*self->count;
        if ((error = gyre_sleep(GYRE_MILLISECOND)) < 0) /* the work */
            break;
    }
    return error;
}

static int submit(void *arg)
{
    const ints_sender *jobs = arg;
    int error = 0;

    for (int job = 1; job <= JOBS && !error; job++)
        error = ints_send(*jobs, job);
    ints_close_error(*jobs, error);
    return error;
}

static int start(void *arg)
{
    int counts[WORKERS + 1] = {0}, error;
    ints jobs;

    (void)arg;
    if ((error = ints_make(&jobs, 0)))
        return error;
    GYRE_GROUP(pool);
    for (int id = 1; id <= WORKERS; id++) {
        struct worker worker = {id, &counts[id], jobs.receiver};

        gyre_group_go_copy(&pool, work, &worker, sizeof worker);
    }
    gyre_group_go(&pool, submit, &jobs.sender);
    error = gyre_group_wait(&pool);
    ints_release(jobs);
    for (int id = 1; id <= WORKERS && !error; id++)
        printf("worker %d did %d\n", id, counts[id]);
    return error;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
