/*
 * Processes that start, end and are ended while their waits are cancelled: each is accounted for
 * once, whichever was faster, and none is left, as a zombie or alive.
 */
#include "process_child.h"
#include "stress.h"

enum { COROUTINES = 8 };

static atomic_ulong started, cancelled, ended, timed_out;

static void sleep_a_little(struct random *random)
{
    gyre_sleep((int64_t)random_below(random, 3000) * GYRE_MICROSECOND);
}

struct canceller {
    struct gyre_context *context;
    uint64_t stream;
};

static int cancel_soon(void *arg)
{
    struct canceller *canceller = arg;
    struct random random = stress_random(canceller->stream);

    sleep_a_little(&random);
    gyre_context_cancel(canceller->context);
    gyre_context_release(canceller->context);
    return 0;
}

/* A start that is cancelled has started nothing; one that was faster is ours. */
static void start_and_cancel(struct random *random, uint64_t stream)
{
    static const char *const arguments[] = {"sleep", "0.001", NULL};
    struct canceller canceller = {.stream = stream};
    struct gyre_process process = {.pidfd = -1};
    struct gyre_process_status status;
    int error;

    GYRE_CANCELLABLE();
    canceller.context = gyre_context_current();
    GYRE_WITH_CONTEXT(canceller.context);
    {
        GYRE_SHIELD();
        CHECK_EQ(gyre_go_copy(cancel_soon, &canceller, sizeof canceller), 0);
    }
    error = gyre_process_start(&process, arguments, NULL);
    if (error) {
        CHECK_EQ(error, -ECANCELED);
        CHECK_EQ(process.pidfd, -1);
        atomic_fetch_add(&cancelled, 1);
        return;
    }
    atomic_fetch_add(&started, 1);
    error = gyre_process_wait(&process, &status);
    CHECK(!error || error == -ECANCELED);
    if (!error) {
        CHECK(status.exited && !status.code);
        atomic_fetch_add(&ended, 1);
    } else if (random_below(random, 2)) {
        CHECK_EQ(gyre_process_end(&process, &status), 0);
        CHECK(status.exited ? !status.code : status.code == SIGTERM);
    }
    gyre_process_release(&process);
}

static int wait_too(void *process)
{
    struct gyre_process_status status;
    int error = gyre_process_wait(process, &status);

    CHECK(!error || error == -ECANCELED);
    if (!error)
        CHECK(!status.exited && status.code == SIGKILL);
    return 0;
}

/* Several wait for one, one kills. */
static void wait_together(struct random *random)
{
    static const char *const arguments[] = {"sleep", "1000", NULL};
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    struct gyre_process process;

    options.new_group = (int)random_below(random, 2);
    CHECK_EQ(gyre_process_start(&process, arguments, &options), 0);
    {
        GYRE_NURSERY(all);
        for (int i = 0; i < 4; i++)
            CHECK_EQ(gyre_group_go(&all, wait_too, &process), 0);
        sleep_a_little(random);
        CHECK_EQ(gyre_process_kill(&process, SIGKILL), 0);
        wait_too(&process);
        CHECK_EQ(gyre_process_kill(&process, SIGKILL), -ESRCH);
    }
    gyre_process_release(&process);
}

static void capture(struct random *random)
{
    static char input[300000];
    static const char *const arguments[] = {"cat", NULL};
    struct gyre_capture result;
    int error;

    GYRE_TIMEOUT((int64_t)random_below(random, 30000) * GYRE_MICROSECOND);
    error = gyre_process_capture(&result, arguments, input, sizeof input, 0, NULL);
    CHECK(!error || error == -ETIMEDOUT);
    if (!error)
        CHECK_EQ(result.output_size, sizeof input);
    else
        atomic_fetch_add(&timed_out, 1);
    gyre_capture_free(&result);
}

static int play(void *arg)
{
    uint64_t stream = *(uint64_t *)arg;
    struct random random = stress_random(stream);

    for (unsigned long i = 0; i < stress_rounds(20); i++)
        switch (random_below(&random, 3)) {
        case 0:
            start_and_cancel(&random, stream * 1000 + i);
            break;
        case 1:
            wait_together(&random);
            break;
        default:
            capture(&random);
        }
    return 0;
}

static int all(void *unused)
{
    (void)unused;
    {
        GYRE_NURSERY(players);
        for (uint64_t i = 0; i < COROUTINES; i++)
            CHECK_EQ(gyre_group_go_copy(&players, play, &i, sizeof i), 0);
    }
    CHECK(!has_children());
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run_each("processes", 0, all);
    printf("%lu started, %lu of them ended by themselves, %lu cancelled before; %lu captures "
           "timed out\n",
           started, ended, cancelled, timed_out);
    return 0;
}
