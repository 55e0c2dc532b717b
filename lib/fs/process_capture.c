/*
 * Running a program to its end: input is written and both outputs are read at the same time, by
 * coroutines of their own, so that no full pipe stops the others.
 *
 * These three are in a context that the caller's end does not reach: what the program prints when
 * it is asked to end is still wanted, and it must not hang on a full pipe then. They end with their
 * pipes, or when the program has ended and its pipes have been open for kill_after more: a process
 * that it left behind may hold them for ever.
 */
#include <gyre/context.h>
#include <gyre/coro.h>
#include <gyre/io.h>
#include <gyre/process.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_INITIAL = 4096, LIMIT_DEFAULT = 16 << 20, TASKS = 3 };

struct collector {
    struct capture *capture;
    int fd;
    char *data;
    size_t size, room;
};

struct capture {
    struct gyre_process process;
    const void *input;
    size_t input_size, limit;
    struct collector output, error;
    struct gyre_context *scope; /* the wait's: a collector that can't go on ends it */
    gyre_handle tasks[TASKS];
    unsigned started, joined;
};

static int feed(void *argument)
{
    struct capture *capture = argument;

    /* A program may end without reading it all: -EPIPE is no error. */
    gyre_write_all(capture->process.input, capture->input, capture->input_size, NULL);
    gyre_close(capture->process.input);
    capture->process.input = -1;
    return 0;
}

/* Room for a byte and the NUL at least: whether there is one too many shows by reading it. */
static int make_room(struct collector *collector)
{
    size_t room = collector->room ? 2 * collector->room : BUFFER_INITIAL;
    char *larger;

    if (collector->room >= collector->size + 2)
        return 0;
    if (room > collector->capture->limit + 2)
        room = collector->capture->limit + 2;
    larger = realloc(collector->data, room);
    if (!larger)
        return -ENOMEM;
    collector->data = larger;
    collector->room = room;
    return 0;
}

static ssize_t collect_some(struct collector *collector)
{
    ssize_t result = make_room(collector);

    if (!result)
        result = gyre_read(collector->fd, collector->data + collector->size,
                           collector->room - collector->size - 1);
    if (result > 0)
        collector->size += (size_t)result;
    if (collector->size > collector->capture->limit) {
        collector->size = collector->capture->limit;
        return -EFBIG;
    }
    return result;
}

static int collect(void *argument)
{
    struct collector *collector = argument;
    ssize_t result;

    while ((result = collect_some(collector)) > 0)
        ;
    if (result == -EFBIG || result == -ENOMEM)
        gyre_context_cancel_cause(collector->capture->scope, (int)result);
    return (int)result;
}

static int start_task(struct capture *capture, gyre_fn fn, void *argument, const char *site)
{
    int error = gyre_spawn_at(site, &capture->tasks[capture->started], fn, argument, NULL);

    if (!error)
        capture->started++;
    return error;
}

static int start_tasks(struct capture *capture)
{
    int error = start_task(capture, collect, &capture->output, GYRE_SITE("collect output"));

    if (!error)
        error = start_task(capture, collect, &capture->error, GYRE_SITE("collect errors"));
    if (!error && capture->process.input >= 0)
        error = start_task(capture, feed, capture, GYRE_SITE("feed"));
    return error;
}

/* Why a collector has ended its scope, or 0. */
static int reason(int cause)
{
    return cause == -EFBIG || cause == -ENOMEM ? cause : 0;
}

/* Until all have ended, or the context has. *error: unless there was one, theirs. */
static void join_tasks(struct capture *capture, int *error)
{
    int result;

    while (capture->joined < capture->started &&
           !gyre_join(capture->tasks[capture->joined], &result)) {
        capture->joined++;
        if (!*error)
            *error = reason(result);
    }
}

static int wait_in(struct capture *capture, struct gyre_process_status *status)
{
    int error;

    GYRE_WITH_CONTEXT(capture->scope);
    error = gyre_process_wait(&capture->process, status);
    return error == -ECANCELED && reason(gyre_context_cause()) ? gyre_context_cause() : error;
}

static int supervise(struct capture *capture, struct gyre_process_status *status)
{
    int error;

    GYRE_CANCELLABLE();
    capture->scope = gyre_context_current();
    GYRE_SHIELD();
    {
        GYRE_CANCELLABLE();
        error = start_tasks(capture);
        if (!error)
            error = wait_in(capture, status);
        if (error)
            gyre_process_end(&capture->process, status);
        GYRE_TIMEOUT(capture->process.kill_after);
        join_tasks(capture, &error);
    }
    join_tasks(capture, &error);
    gyre_context_release(capture->scope);
    return error;
}

/* NUL-terminated, also where nothing came and no memory is left: then it is NULL. */
static void give(struct collector *collector, char **data, size_t *size)
{
    if (!collector->data)
        collector->data = malloc(1);
    if (collector->data)
        collector->data[collector->size] = '\0';
    *data = collector->data;
    *size = collector->size;
}

int gyre_process_capture(struct gyre_capture *result, const char *const arguments[],
                         const void *input, size_t input_size, size_t limit,
                         const struct gyre_process_options *options)
{
    struct gyre_process_options own = GYRE_PROCESS_INIT;
    struct capture capture = {.input = input, .input_size = input_size};
    int error;

    memset(result, 0, sizeof *result);
    if (options)
        own = *options;
    own.input = input_size ? GYRE_PROCESS_PIPE : GYRE_PROCESS_NULL;
    own.output = own.error = GYRE_PROCESS_PIPE;
    error = gyre_process_start(&capture.process, arguments, &own);
    if (error)
        return error;
    capture.limit = limit ? limit : LIMIT_DEFAULT;
    capture.output = (struct collector){.capture = &capture, .fd = capture.process.output};
    capture.error = (struct collector){.capture = &capture, .fd = capture.process.error};
    error = supervise(&capture, &result->status);
    give(&capture.output, &result->output, &result->output_size);
    give(&capture.error, &result->error, &result->error_size);
    gyre_process_release(&capture.process);
    return error;
}

void gyre_capture_free(struct gyre_capture *capture)
{
    free(capture->output);
    free(capture->error);
    memset(capture, 0, sizeof *capture);
}
