/*
 * An HTTP/1.1 server: GET and HEAD of a greeting and of files under a folder, keep-alive,
 * pipelining, timeouts for slow clients.
 *
 * SIGINT and SIGTERM stop it in order: no new connections, idle ones close, requests in flight are
 * finished, all within the grace; the end of gyre_run cancels what is left after that.
 */
#include "common/options.h"
#include "common/server.h"
#include "http/files.h"
#include "http/request.h"
#include "http/server.h"

#include <stdio.h>
#include <string.h>

static int accept_all(struct server *server)
{
    struct connection_start start = {.server = server};
    struct gyre_listener *listener;
    int error;

    GYRE_CANCELLABLE();
    server->accepting = gyre_context_current();
    if ((error = gyre_signal_cancels(SIGINT, SIGTERM)) ||
        (error = server_listen(&listener, server->settings.port)))
        return error;
    while ((start.fd = gyre_accept(listener)) >= 0) {
        gyre_waitgroup_add(&server->connections, 1);
        if (gyre_go_copy(connection_run, &start, sizeof start) < 0) {
            gyre_close(start.fd);
            gyre_waitgroup_done(&server->connections);
        }
    }
    gyre_listener_close(listener);
    return start.fd;
}

static int run(void *arg)
{
    struct server *server = arg;
    int error;

    server->serving = gyre_context_current();
    error = accept_all(server);
    GYRE_TIMEOUT(server->settings.grace);
    gyre_waitgroup_wait(&server->connections);
    return error;
}

int main(int argc, char **argv)
{
    static struct server server = {
        .settings = {.port = 8080,
                     .idle_timeout = 60 * GYRE_SECOND,
                     .header_timeout = 10 * GYRE_SECOND,
                     .body_timeout = 30 * GYRE_SECOND,
                     .write_timeout = 60 * GYRE_SECOND,
                     .grace = 10 * GYRE_SECOND,
                     .header_limit = 16 * 1024,
                     .body_limit = 1024 * 1024},
        .root = -1,
    };
    struct settings *s = &server.settings;
    const struct option_entry options[] = {
        OPTION_PORT(&s->port),
        OPTION_WORKERS(&s->workers),
        {"root", "DIR", "serve the files under DIR", OPTION_TEXT, 0, 0, &s->root},
        {"grace", NULL, "for requests in flight at the end (10)", OPTION_SECONDS, 0, 0, &s->grace},
        {"idle-timeout", NULL, "between requests (60)", OPTION_SECONDS, 0, 0, &s->idle_timeout},
        {"header-timeout", NULL, "for a whole header (10)", OPTION_SECONDS, 0, 0,
         &s->header_timeout},
        {"body-timeout", NULL, "for a whole body (30)", OPTION_SECONDS, 0, 0, &s->body_timeout},
        {"write-timeout", NULL, "for the client to take 1 MiB (60)", OPTION_SECONDS, 0, 0,
         &s->write_timeout},
        {"header-limit", NULL, "bytes of a header (16384)", OPTION_NUMBER, 64, 1 << 20,
         &s->header_limit},
        {"body-limit", NULL, "bytes of a body (1048576)", OPTION_NUMBER, 0, 0, &s->body_limit},
    };

    options_parse(argc, argv, "Serves / and /hello, and files.", options,
                  sizeof options / sizeof *options);
    if (s->root && (server.root = files_open_root(s->root)) < 0) {
        fprintf(stderr, "--root %s: %s\n", s->root, strerror(-server.root));
        return 1;
    }
    request_set_header_limit(s->header_limit);
    return server_run(run, &server, s->workers);
}
