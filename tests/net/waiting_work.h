/* Calls that may wait without end: for a helper thread, a process, a signal. */
#ifndef GYRE_TESTS_NET_WAITING_WORK_H
#define GYRE_TESTS_NET_WAITING_WORK_H

#include "waiting.h"

#include <gyre/blocking.h>
#include <gyre/directory.h>
#include <gyre/service.h>
#include <gyre/signal.h>

/* --- helpers -----------------------------------------------------------------------------------
 */

static int read_byte(void *fd)
{
    char byte;
    ssize_t n;

    do
        n = read(*(int *)fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    return n == 1 ? 0 : -EIO;
}

static int hold(void *state)
{
    struct state *s = state;

    return gyre_blocking(read_byte, &s->fds[0]);
}

static void await_busy(unsigned busy)
{
    struct gyre_blocking_counts counts = {.size = sizeof counts};

    do {
        gyre_yield();
        CHECK_EQ(gyre_blocking_count(&counts), 0);
    } while (counts.busy != busy);
}

/* Whatever goes to a helper waits. */
static void open_busy(struct state *s)
{
    make_directory(s);
    open_pipe(s);
    for (int i = 0; i < HELPERS; i++)
        CHECK_EQ(gyre_spawn(&s->holders[i], hold, s), 0);
    await_busy(HELPERS);
}

static void let_busy(struct state *s)
{
    CHECK_EQ(write(s->fds[1], s->buffer, HELPERS), HELPERS);
}

static void close_busy(struct state *s)
{
    let_busy(s);
    for (int i = 0; i < HELPERS; i++)
        CHECK_EQ(gyre_join(s->holders[i], NULL), 0);
    close_all(s);
    remove_directory(s);
}

static int nothing(void *unused)
{
    (void)unused;
    return 0;
}

static long call_blocking(struct state *s)
{
    return gyre_blocking(nothing, s);
}

static long call_queued_detached(struct state *s)
{
    return gyre_blocking_detached(nothing, &s->word, sizeof s->word, NULL);
}

/* One that runs, for as long as nobody writes; it stays behind when the call is cancelled. */
static void let_detached(struct state *s)
{
    CHECK_EQ(write(s->fds[1], s->buffer, 8), 8);
}

static long call_detached(struct state *s)
{
    return gyre_blocking_detached(read_byte, &s->fds[0], sizeof s->fds[0], NULL);
}

static void close_detached(struct state *s)
{
    let_detached(s);
    await_busy(0);
    close_all(s);
}

static void undo(struct state *s)
{
    CHECK(!rmdir(s->path) || !unlink(s->path) || errno == ENOENT);
}

static long call_mkdir_all(struct state *s)
{
    int error = gyre_mkdir_all(s->path, 0700);

    if (error)
        CHECK(access(s->path, F_OK));
    undo(s);
    return error;
}

static long call_directory(struct state *s)
{
    struct gyre_directory *directory;
    struct gyre_entry entry;
    int error = gyre_directory_open(&directory, s->directory);

    if (error)
        return error;
    error = gyre_directory_next(directory, &entry);
    gyre_directory_close(directory);
    return error;
}

static int visit(const struct gyre_visit *visited, void *unused)
{
    (void)unused;
    return visited->error;
}

static long call_walk(struct state *s)
{
    return gyre_walk(s->directory, 1, visit, NULL);
}

static long call_walk_parallel(struct state *s)
{
    return gyre_walk(s->directory, 3, visit, NULL);
}

static long call_remove_all(struct state *s)
{
    return gyre_remove_all(s->path);
}

static long call_copy(struct state *s)
{
    int error = gyre_copy_file("/proc/self/exe", s->path);

    undo(s);
    return error;
}

static long call_chmod(struct state *s)
{
    return gyre_chmod(s->directory, 0700);
}

static void open_busy_inotify(struct state *s)
{
    CHECK_EQ(gyre_inotify_open(&s->inotify), 0);
    open_busy(s);
}

static long call_inotify_add(struct state *s)
{
    return gyre_inotify_add(&s->inotify, s->directory, IN_CREATE);
}

static void close_busy_inotify(struct state *s)
{
    close_busy(s);
    CHECK_EQ(gyre_inotify_close(&s->inotify), 0);
}

static long call_process_start(struct state *s)
{
    static const char *const arguments[] = {"true", NULL};
    int error = gyre_process_start(&s->process, arguments, NULL);

    if (!error)
        gyre_process_release(&s->process);
    return error;
}

/* --- processes and signals ---------------------------------------------------------------------
 */

static void open_process(struct state *s)
{
    static const char *const arguments[] = {"cat", NULL};
    struct gyre_process_options options = GYRE_PROCESS_INIT;

    options.input = GYRE_PROCESS_PIPE;
    CHECK_EQ(gyre_process_start(&s->process, arguments, &options), 0);
}

static void let_process(struct state *s)
{
    if (s->process.input >= 0)
        CHECK_EQ(close(s->process.input), 0);
    s->process.input = -1;
}

static long call_process_wait(struct state *s)
{
    return gyre_process_wait(&s->process, NULL);
}

static void close_process(struct state *s)
{
    gyre_process_release(&s->process);
}

static long call_capture(struct state *s)
{
    static const char *const arguments[] = {"sleep", "1000", NULL};
    struct gyre_capture capture;
    int error = gyre_process_capture(&capture, arguments, NULL, 0, 0, NULL);

    (void)s;
    gyre_capture_free(&capture);
    return error;
}

static long call_restart(struct state *s)
{
    static const char *const arguments[] = {"sleep", "1000", NULL};

    (void)s;
    return gyre_service_restart(NULL, NULL, 0, arguments, -1);
}

static void let_signal(struct state *s)
{
    (void)s;
    CHECK_EQ(raise(SIGUSR2), 0);
}

static long call_signal(struct state *s)
{
    struct gyre_signal signal;

    (void)s;
    return gyre_signal_wait(&signal, SIGUSR2);
}

#endif
