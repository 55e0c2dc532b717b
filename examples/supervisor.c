/*
 * A process supervisor: starts the commands of a file, prints their lines under their names, starts
 * again what ends, after a pause that doubles while it ends quickly. SIGHUP is passed on to all;
 * SIGTERM or SIGINT ends them, gracefully as far as they let it: the scope that all of it lives in
 * is cancelled, so that every wait returns.
 *
 *     web: python3 -m http.server 8000
 *     clock: while sleep 1; do date; done
 */
#include "common/options.h"

#include <gyre.h>

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SERVICES_MAX = 256, LINE = 4096 };

struct service {
    char *name, *command;
    gyre_mutex lock;              /* held where running changes, or is used by another coroutine */
    struct gyre_process *running; /* or NULL */
};

static struct service services[SERVICES_MAX];
static size_t count;
static const char *config;
static int64_t pause_first = GYRE_SECOND / 10, pause_last = 30 * GYRE_SECOND,
               grace = 5 * GYRE_SECOND;

/* --- what is printed --------------------------------------------------------------------------
 */

static gyre_mutex output_lock = GYRE_MUTEX_INIT;

/* A line in one piece, whoever else prints. */
static void print(const struct service *service, const char *text, size_t size)
{
    struct iovec pieces[] = {{service->name, strlen(service->name)},
                             {(char *)" | ", 3},
                             {(char *)text, size},
                             {(char *)"\n", 1}};

    gyre_mutex_lock(&output_lock);
    gyre_writev_all(STDOUT_FILENO, pieces, 4, NULL);
    gyre_mutex_unlock(&output_lock);
}

__attribute__((format(printf, 2, 3))) static void tell(const struct service *service,
                                                       const char *format, ...)
{
    char text[200];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print(service, text, strlen(text));
}

struct lines {
    const struct service *service;
    int fd;
};

/* Until the pipe ends. What is longer than LINE becomes several lines. */
static int forward(void *arg)
{
    const struct lines *lines = arg;
    struct gyre_stream_options options = GYRE_STREAM_INIT;
    struct gyre_stream *stream;
    const void *data;
    char *line;
    size_t length;
    ssize_t n;

    options.limit = LINE;
    options.keep_fd = 1;
    n = gyre_stream_open(&stream, lines->fd, &options);
    if (n < 0)
        return (int)n;
    for (;;) {
        n = gyre_stream_line(stream, &line, &length);
        if (n > 0) {
            print(lines->service, line, length);
        } else if (n == -ENOBUFS && (n = gyre_stream_peek(stream, &data, LINE)) > 0) {
            print(lines->service, data, (size_t)n);
            gyre_stream_skip(stream, (size_t)n, NULL);
        } else {
            break;
        }
    }
    gyre_stream_close(stream);
    return (int)n;
}

/* --- one service ------------------------------------------------------------------------------
 */

static void set_running(struct service *service, struct gyre_process *process)
{
    gyre_mutex_lock(&service->lock);
    service->running = process;
    gyre_mutex_unlock(&service->lock);
}

/* To its end, or ours. What it says then is printed still: that is not cancelled. */
static int attend(struct service *service, struct gyre_process *process,
                  struct gyre_process_status *status)
{
    struct gyre_context *outside = gyre_context_current();
    struct lines lines = {service, process->output};
    gyre_handle forwarder;
    int error;

    GYRE_SHIELD();
    {
        GYRE_CANCELLABLE(); /* a process left behind may hold the pipe: it is given up then */
        int forwards = gyre_spawn(&forwarder, forward, &lines);
        {
            GYRE_WITH_CONTEXT(outside);
            error = forwards < 0 ? forwards : gyre_process_wait(process, status);
        }
        gyre_context_release(outside);
        if (error)
            gyre_process_end(process, status);
        GYRE_TIMEOUT(GYRE_SECOND / 2);
        if (forwards < 0 || !gyre_join(forwarder, NULL))
            return error;
    }
    gyre_join(forwarder, NULL);
    return error;
}

static int run_once(struct service *service)
{
    const char *const arguments[] = {"sh", "-c", service->command, NULL};
    struct gyre_process_options options = GYRE_PROCESS_INIT;
    struct gyre_process_status status = {0};
    struct gyre_process process;
    int error;

    options.input = GYRE_PROCESS_NULL;
    options.output = GYRE_PROCESS_PIPE;
    options.error = GYRE_PROCESS_OUTPUT;
    options.new_group = 1; /* signals reach what the shell starts, too */
    options.kill_after = grace;
    error = gyre_process_start(&process, arguments, &options);
    if (error) {
        tell(service, "cannot start: %s", strerror(-error));
        return error;
    }
    tell(service, "started, process %d", (int)process.pid);
    set_running(service, &process);
    error = attend(service, &process, &status);
    {
        GYRE_SHIELD();
        set_running(service, NULL);
        tell(service, status.exited ? "ended with status %d" : "ended by signal %d", status.code);
    }
    gyre_process_release(&process);
    return error;
}

static int keep_running(void *arg)
{
    struct service *service = arg;
    int64_t pause = pause_first;

    for (;;) {
        int64_t began = gyre_now();

        run_once(service);
        if (gyre_now() - began > pause_last)
            pause = pause_first;
        if (gyre_context_error())
            return 0;
        tell(service, "starts again in %.1f s", (double)pause / 1e9);
        if (gyre_sleep(pause))
            return 0;
        pause = pause * 2 < pause_last ? pause * 2 : pause_last;
    }
}

/* --- all of them ------------------------------------------------------------------------------
 */

static int pass_on(void *arg)
{
    struct gyre_signal_watch *watch = arg;
    struct gyre_signal signal;

    while (gyre_signals_recv(gyre_signal_channel(watch), &signal) > 0)
        for (size_t i = 0; i < count; i++) {
            gyre_mutex_lock(&services[i].lock);
            if (services[i].running)
                gyre_process_kill(services[i].running, signal.number);
            gyre_mutex_unlock(&services[i].lock);
        }
    return 0;
}

static int supervise(void *arg)
{
    struct gyre_signal_watch *watch;
    int error;

    (void)arg;
    GYRE_CANCELLABLE();
    error = gyre_signal_cancels(SIGINT, SIGTERM);
    if (!error)
        error = gyre_signal_watch(&watch, SIGHUP);
    if (error)
        return error;
    {
        GYRE_NURSERY(all);
        gyre_group_go(&all, pass_on, watch);
        for (size_t i = 0; i < count; i++)
            gyre_group_go(&all, keep_running, &services[i]);
    }
    gyre_signal_stop(watch);
    return 0;
}

/* --- the file ---------------------------------------------------------------------------------
 */

static char *trim(char *text)
{
    size_t length;

    while (isspace((unsigned char)*text))
        text++;
    length = strlen(text);
    while (length && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    return text;
}

static void wrong(unsigned number, const char *what)
{
    fprintf(stderr, "%s:%u: %s\n", config, number, what);
    exit(2);
}

static void add(char *text, unsigned number)
{
    char *colon = strchr(text, ':'), *name, *command;

    if (!colon)
        wrong(number, "no 'NAME: COMMAND'");
    *colon = '\0';
    name = trim(text);
    command = trim(colon + 1);
    if (!*name || !*command)
        wrong(number, *name ? "no command" : "no name");
    if (count == SERVICES_MAX)
        wrong(number, "too many services");
    services[count].name = strdup(name);
    services[count].command = strdup(command);
    if (!services[count].name || !services[count].command)
        wrong(number, strerror(ENOMEM));
    count++;
}

static void read_config(void)
{
    FILE *file = config ? fopen(config, "re") : NULL;
    char *line = NULL;
    size_t room = 0;

    if (!file) {
        fprintf(stderr, "%s: %s\n", config ? config : "supervisor",
                config ? strerror(errno) : "--config names what to run; try --help");
        exit(2);
    }
    for (unsigned number = 1; getline(&line, &room, file) >= 0; number++) {
        char *text = trim(line);

        if (*text && *text != '#')
            add(text, number);
    }
    free(line);
    fclose(file);
    if (!count)
        wrong(1, "nothing to run");
}

int main(int argc, char **argv)
{
    const struct option_entry options[] = {
        {"config", "FILE", "lines NAME: COMMAND, for a shell; # begins a comment", OPTION_TEXT, 0,
         0, &config},
        {"pause", NULL, "before what has ended is started again; it doubles", OPTION_SECONDS, 0,
         3600, &pause_first},
        {"longest", NULL, "the longest pause; who ran longer begins anew", OPTION_SECONDS, 0, 86400,
         &pause_last},
        {"grace", NULL, "between SIGTERM and SIGKILL at the end", OPTION_SECONDS, 0, 3600, &grace},
    };

    options_parse(argc, argv, "Keeps the commands of a file running.", options, 4);
    read_config();
    return gyre_run(supervise, NULL) < 0;
}
