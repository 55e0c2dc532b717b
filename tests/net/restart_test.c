/*
 * A server that is restarted again and again while clients connect in a loop: none is refused, none
 * is dropped, and each restart that fails leaves the server as it was.
 *
 * The program is both. As the server it answers a byte with the next one; 'R' and others restart
 * it. Successors become children of the test, who so sees each of them end.
 */
#include <gyre.h>

#include <gyre/service.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RESTARTS = 20, CLIENTS = 4 };

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            kill(-getpgrp(), SIGKILL);                                                             \
        }                                                                                          \
    } while (0)

/* --- the server ------------------------------------------------------------------------------- */

static struct {
    struct gyre_listener *listener, *local; /* over TCP; of a path, which nobody accepts from */
    gyre_waitgroup connections;
    const char *program;
} server;

/* A negative timeout: the context's is what ends the wait. */
static int restart_in_time(const char *const *arguments)
{
    GYRE_TIMEOUT(50 * GYRE_MILLISECOND);
    return gyre_service_restart(&server.listener, NULL, 1, arguments, -1);
}

static int restart(char how)
{
    struct gyre_listener *const both[] = {server.listener, server.local};
    const char *const names[] = {"test", "local"};
    const char *const dies[] = {server.program, "dies", NULL};
    const char *const hangs[] = {server.program, "hangs", NULL};
    const char *const nowhere[] = {"/nonexistent/program", NULL};
    const char *const bad_name = "a:b";

    switch (how) {
    case 'D':
        return gyre_service_restart(&server.listener, NULL, 1, dies, -1);
    case 'H':
        return gyre_service_restart(&server.listener, NULL, 1, hangs, 50 * GYRE_MILLISECOND);
    case 'T':
        return restart_in_time(hangs);
    case 'N':
        return gyre_service_restart(&server.listener, NULL, 1, nowhere, -1);
    case 'B':
        return gyre_service_restart(&server.listener, &bad_name, 1, NULL, -1);
    default:
        return gyre_service_restart(both, names, 2, NULL, 20 * GYRE_SECOND);
    }
}

static int serve(void *arg)
{
    int fd = *(int *)arg;
    char byte, reply[32];

    while (gyre_read(fd, &byte, 1) == 1) {
        if (byte == 'E') {
            gyre_write_all(fd, "F", 1, NULL);
        } else {
            int result = restart(byte);

            snprintf(reply, sizeof reply, "%d", result);
            gyre_write_all(fd, reply, sizeof reply, NULL);
            if (result > 0)
                gyre_listener_stop(server.listener);
        }
    }
    return gyre_close(fd);
}

static int run_server(void *unused)
{
    int fd, error = gyre_service_listen(&server.listener, "test", "127.0.0.1:0");

    (void)unused;
    if (!error && gyre_service_fd_count())
        error = gyre_service_listen(&server.local, "local", "no address");
    else if (!error)
        error = gyre_unix_listen(&server.local, getenv("LOCAL_PATH"), SOCK_STREAM, 0);
    if (error)
        return error;
    if (!gyre_service_fd_count()) {
        char address[GYRE_ADDRESS_SIZE];

        gyre_local_address(gyre_listener_fd(server.listener), address, sizeof address);
        printf("%s\n", address);
        fflush(stdout);
    }
    if (gyre_service_notify("READY=1") < 0)
        return -EPIPE;
    while ((fd = gyre_accept(server.listener)) >= 0)
        if (gyre_waitgroup_go_copy(&server.connections, serve, &fd, sizeof fd))
            return -ENOMEM;
    error = gyre_waitgroup_wait(&server.connections);
    gyre_listener_close(server.listener);
    gyre_listener_close(server.local);
    return fd == -ESHUTDOWN ? error : fd;
}

/* --- the clients ------------------------------------------------------------------------------ */

static struct sockaddr_in address;
static atomic_bool over;
static atomic_ulong served;

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct linger reset = {1, 0}; /* or the ports run out */

    CHECK(fd >= 0, "%s", strerror(errno));
    CHECK(!connect(fd, (struct sockaddr *)&address, sizeof address), "%s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    return fd;
}

static void *connect_again_and_again(void *unused)
{
    while (!atomic_load(&over)) {
        int fd = dial();
        char byte = 0;
        ssize_t got;

        CHECK(send(fd, "E", 1, MSG_NOSIGNAL) == 1, "%s", strerror(errno));
        got = recv(fd, &byte, 1, 0);
        CHECK(got == 1 && byte == 'F', "%zd: %s", got, strerror(errno));
        close(fd);
        atomic_fetch_add(&served, 1);
    }
    return unused;
}

static int ask(char how)
{
    char reply[32] = "";
    int fd = dial();

    CHECK(send(fd, &how, 1, MSG_NOSIGNAL) == 1, "%s", strerror(errno));
    CHECK(recv(fd, reply, sizeof reply, MSG_WAITALL) == sizeof reply, "%s", strerror(errno));
    close(fd);
    return atoi(reply);
}

/* --- the test --------------------------------------------------------------------------------- */

static int manager_socket(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t length = offsetof(struct sockaddr_un, sun_path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char text[40];

    snprintf(text, sizeof text, "@gyre-restart-%d", (int)getpid());
    memcpy(name.sun_path, text, strlen(text));
    name.sun_path[0] = 0;
    length += (socklen_t)strlen(text);
    CHECK(!bind(fd, (struct sockaddr *)&name, length), "%s", strerror(errno));
    setenv("NOTIFY_SOCKET", text, 1);
    return fd;
}

static void expect_heard(int manager, const char *wanted)
{
    char heard[100] = "";

    CHECK(recv(manager, heard, sizeof heard - 1, 0) > 0, "%s", strerror(errno));
    CHECK(!strcmp(heard, wanted), "'%s', not '%s'", heard, wanted);
}

static pid_t start_server(char *program)
{
    char line[64] = "", *colon;
    int output[2];
    pid_t child;

    CHECK(!pipe(output), "%s", strerror(errno));
    child = fork();
    if (!child) {
        dup2(output[1], STDOUT_FILENO);
        close(output[0]);
        close(output[1]);
        execl(program, program, "serve", NULL);
        _exit(1);
    }
    close(output[1]);
    CHECK(read(output[0], line, sizeof line - 1) > 0, "the server does not start");
    close(output[0]);
    colon = strrchr(line, ':');
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(colon + 1));
    return child;
}

static void await_end(pid_t pid)
{
    int status = -1;

    CHECK(waitpid(pid, &status, 0) == pid && status == 0, "%d ended with %x", (int)pid, status);
}

static void failures_change_nothing(void)
{
    CHECK(ask('N') == -ENOENT, "a program that is not there");
    CHECK(ask('D') == -ECHILD, "one that dies");
    CHECK(ask('H') == -ETIMEDOUT, "one that hangs");
    CHECK(ask('T') == -ETIMEDOUT, "one that the context gives up");
    CHECK(ask('B') == -EINVAL, "a bad name");
}

static void path_is_there(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(name.sun_path, path, strlen(path));
    CHECK(!connect(fd, (struct sockaddr *)&name, sizeof name), "%s: %s", path, strerror(errno));
    close(fd);
    unlink(path);
}

static int test(char *program)
{
    char path[60];
    int manager = manager_socket();
    pthread_t threads[CLIENTS];
    pid_t pid;

    snprintf(path, sizeof path, "/tmp/gyre-restart-%d", (int)getpid());
    setenv("LOCAL_PATH", path, 1);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid = start_server(program);
    expect_heard(manager, "READY=1");
    for (int i = 0; i < CLIENTS; i++)
        CHECK(!pthread_create(&threads[i], NULL, connect_again_and_again, NULL), "thread");
    failures_change_nothing();
    for (int i = 0; i < RESTARTS; i++) {
        unsigned long before = atomic_load(&served);
        int next = ask('R');
        char state[40];

        CHECK(next > 0, "restart %d: %d", i, next);
        await_end(pid);
        pid = next;
        expect_heard(manager, "READY=1");
        snprintf(state, sizeof state, "MAINPID=%d", next);
        expect_heard(manager, state);
        while (atomic_load(&served) < before + 100)
            sched_yield();
    }
    atomic_store(&over, true);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    path_is_there(path);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    printf("%lu connections through %d restarts\n", atomic_load(&served), RESTARTS);
    return 0;
}

int main(int argc, char **argv)
{
    const char *role = argc > 1 ? argv[1] : "";

    alarm(100);
    server.program = argv[0];
    if (!strcmp(role, "dies"))
        return 0;
    if (!strcmp(role, "hangs"))
        return pause();
    if (!strcmp(role, "serve"))
        return gyre_run(run_server, NULL) < 0;
    setpgid(0, 0);
    return test(argv[0]);
}
