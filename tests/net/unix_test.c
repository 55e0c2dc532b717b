/* Unix sockets: paths and their permissions, descriptors that are passed, credentials. */
#include "../io/harness.h"

#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static char folder[64];

static const char *in_folder(const char *name)
{
    static _Thread_local char paths[4][128];
    static _Thread_local unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void make_folder(void)
{
    strcpy(folder, "/tmp/gyre-unix-XXXXXX");
    EXPECT(mkdtemp(folder) != NULL);
}

static void remove_folder(void)
{
    EXPECT_EQ(rmdir(folder), 0); /* so nothing may be left in it */
}

static bool exists(const char *path)
{
    struct stat found;

    return !lstat(path, &found);
}

static void close_both(const int *fds)
{
    EXPECT_EQ(gyre_close(fds[0]), 0);
    EXPECT_EQ(gyre_close(fds[1]), 0);
}

/* A socket at path whose process is gone. */
static void make_stale(const char *path, int type)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    strcpy(un.sun_path, path);
    EXPECT_EQ(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    EXPECT_EQ(close(fd), 0);
    EXPECT(exists(path));
}

/* --- connections ------------------------------------------------------------------------------ */

static void converse(const char *path, int type)
{
    struct gyre_listener *listener;
    struct gyre_credentials who;
    char buffer[16], name[128];
    int fds[2];

    EXPECT_EQ(gyre_unix_listen(&listener, path, type, 0), 0);
    fds[0] = gyre_unix_dial(path, type);
    EXPECT(fds[0] >= 0);
    fds[1] = gyre_accept(listener);
    EXPECT(fds[1] >= 0);
    for (int i = 0; i < 2; i++) {
        EXPECT(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        EXPECT(!(fcntl(fds[i], F_GETFL) & O_NONBLOCK));
        EXPECT_EQ(gyre_peer_credentials(fds[i], &who), 0);
        EXPECT(who.pid == getpid() && who.uid == getuid() && who.gid == getgid());
    }
    EXPECT_EQ(gyre_write(fds[0], "one", 3), 3);
    EXPECT_EQ(gyre_write(fds[0], "two", 3), 3);
    /* Records are kept apart, streams are not. */
    EXPECT_EQ(gyre_read(fds[1], buffer, sizeof buffer), type == SOCK_STREAM ? 6 : 3);
    EXPECT_EQ(gyre_peer_address(fds[0], name, sizeof name), (int)strlen(path));
    EXPECT(!strcmp(name, path));
    EXPECT_EQ(gyre_peer_address(fds[1], name, sizeof name), 0);
    EXPECT_EQ(gyre_unix_listen(&listener, path, type, 0), -EADDRINUSE);
    close_both(fds);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    EXPECT(path[0] == '@' || !exists(path));
    EXPECT_EQ(gyre_unix_dial(path, type), path[0] == '@' ? -ECONNREFUSED : -ENOENT);
}

INSIDE(unix_socket, connections_of_both_kinds_by_path_and_by_abstract_name)
{
    char name[64];

    make_folder();
    converse(in_folder("s"), SOCK_STREAM);
    converse(in_folder("s"), SOCK_SEQPACKET);
    snprintf(name, sizeof name, "@gyre-test-%d", getpid());
    converse(name, SOCK_STREAM);
    converse(name, SOCK_SEQPACKET);
    remove_folder();
    return 0;
}

INSIDE(unix_socket, opening_fails_with_the_reason)
{
    struct gyre_listener *listener = NULL;
    char path[120];
    int fd;

    make_folder();
    memset(path, 'x', sizeof path);
    path[108] = 0;
    EXPECT_EQ(gyre_unix_listen(&listener, path, SOCK_STREAM, 0), -ENAMETOOLONG);
    EXPECT_EQ(gyre_unix_dial(path, SOCK_STREAM), -ENAMETOOLONG);
    EXPECT_EQ(gyre_unix_bind(path, 0), -ENAMETOOLONG);
    EXPECT_EQ(gyre_unix_listen(&listener, "", SOCK_STREAM, 0), -EINVAL);
    EXPECT_EQ(gyre_unix_listen(&listener, NULL, SOCK_STREAM, 0), -EINVAL);
    EXPECT_EQ(gyre_unix_listen(&listener, "@", SOCK_STREAM, 0), -EINVAL);
    EXPECT_EQ(gyre_unix_listen(NULL, in_folder("s"), SOCK_STREAM, 0), -EINVAL);
    EXPECT_EQ(gyre_unix_listen(&listener, in_folder("s"), SOCK_DGRAM, 0), -EINVAL);
    EXPECT_EQ(gyre_unix_listen(&listener, in_folder("s"), SOCK_STREAM, 04755), -EINVAL);
    EXPECT_EQ(gyre_unix_listen(&listener, "@gyre-mode", SOCK_STREAM, 0600), -EINVAL);
    EXPECT_EQ(gyre_unix_listen(&listener, in_folder("no/s"), SOCK_STREAM, 0), -ENOENT);
    EXPECT_EQ(gyre_unix_listen(&listener, "/proc/self/s", SOCK_STREAM, 0) < 0, 1);
    EXPECT_EQ(gyre_unix_dial(in_folder("s"), SOCK_STREAM), -ENOENT);
    EXPECT_EQ(gyre_unix_dial(in_folder("s"), 77), -EINVAL);
    EXPECT_EQ(gyre_unix_dial(NULL, SOCK_STREAM), -EINVAL);
    EXPECT(!listener);
    /* What is no socket is nobody's to remove. */
    fd = open(in_folder("s"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    EXPECT_EQ(close(fd), 0);
    EXPECT_EQ(gyre_unix_listen(&listener, in_folder("s"), SOCK_STREAM, 0), -EADDRINUSE);
    EXPECT_EQ(gyre_unix_dial(in_folder("s"), SOCK_STREAM), -ECONNREFUSED);
    EXPECT_EQ(unlink(in_folder("s")), 0);
    {
        GYRE_TIMEOUT(-1);
        EXPECT_EQ(gyre_unix_listen(&listener, in_folder("s"), SOCK_STREAM, 0), -ETIMEDOUT);
        EXPECT_EQ(gyre_unix_dial(in_folder("s"), SOCK_STREAM), -ETIMEDOUT);
        EXPECT_EQ(gyre_unix_bind(in_folder("s"), 0), -ETIMEDOUT);
    }
    remove_folder();
    return 0;
}

INSIDE(unix_socket, a_relative_path_is_removed_wherever_the_process_has_gone)
{
    struct gyre_listener *listener;
    int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    make_folder();
    EXPECT_EQ(chdir(folder), 0);
    EXPECT_EQ(gyre_unix_listen(&listener, "s", SOCK_STREAM, 0), 0);
    EXPECT_EQ(fchdir(here), 0);
    EXPECT(exists(in_folder("s")));
    EXPECT_EQ(gyre_listener_close(listener), 0);
    EXPECT_EQ(close(here), 0);
    remove_folder();
    return 0;
}

/* --- paths ------------------------------------------------------------------------------------ */

INSIDE(unix_path, permissions_are_what_was_asked)
{
    static const mode_t modes[] = {0600, 0660, 0666, 0777, 0400};
    struct gyre_listener *listener;
    struct stat found;

    make_folder();
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        EXPECT_EQ(gyre_unix_listen(&listener, in_folder("s"), SOCK_STREAM, modes[i]), 0);
        EXPECT_EQ(lstat(in_folder("s"), &found), 0);
        EXPECT_EQ(found.st_mode & 07777, modes[i]);
        EXPECT_EQ(gyre_listener_close(listener), 0);
    }
    EXPECT_EQ(gyre_unix_listen(&listener, in_folder("s"), SOCK_STREAM, 0), 0);
    EXPECT_EQ(lstat(in_folder("s"), &found), 0);
    EXPECT_EQ(found.st_mode & 07777, 0777 & ~umask(022)); /* which is 022 in this test */
    EXPECT_EQ(gyre_listener_close(listener), 0);
    remove_folder();
    return 0;
}

INSIDE(unix_path, a_stale_one_is_taken_over_and_one_in_use_is_not)
{
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    struct gyre_listener *listener, *other;
    int fd;

    make_folder();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        make_stale(in_folder("s"), types[i]);
        EXPECT_EQ(gyre_unix_dial(in_folder("s"), SOCK_STREAM), -ECONNREFUSED);
        EXPECT_EQ(gyre_unix_listen(&listener, in_folder("s"), SOCK_STREAM, 0), 0);
        EXPECT_EQ(gyre_unix_listen(&other, in_folder("s"), SOCK_STREAM, 0), -EADDRINUSE);
        EXPECT_EQ(gyre_unix_listen(&other, in_folder("s"), SOCK_SEQPACKET, 0), -EADDRINUSE);
        EXPECT_EQ(gyre_unix_bind(in_folder("s"), 0), -EADDRINUSE);
        EXPECT(exists(in_folder("s")));
        EXPECT_EQ(gyre_listener_close(listener), 0);
        EXPECT(!exists(in_folder("s")));
    }
    make_stale(in_folder("s"), SOCK_DGRAM);
    fd = gyre_unix_bind(in_folder("s"), 0600);
    EXPECT(fd >= 0);
    EXPECT_EQ(gyre_unix_listen(&other, in_folder("s"), SOCK_STREAM, 0), -EADDRINUSE);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(unlink(in_folder("s")), 0);
    remove_folder();
    return 0;
}

INSIDE(unix_path, a_listener_removes_no_other_s)
{
    struct gyre_listener *first, *second;

    make_folder();
    EXPECT_EQ(gyre_unix_listen(&first, in_folder("s"), SOCK_STREAM, 0), 0);
    EXPECT_EQ(unlink(in_folder("s")), 0);
    EXPECT_EQ(gyre_unix_listen(&second, in_folder("s"), SOCK_STREAM, 0), 0);
    EXPECT_EQ(gyre_listener_close(first), 0);
    EXPECT(exists(in_folder("s")));
    EXPECT_EQ(gyre_listener_close(second), 0);
    EXPECT(!exists(in_folder("s")));
    remove_folder();
    return 0;
}

static int start(void *arg)
{
    struct gyre_listener **listener = arg;

    return gyre_unix_listen(listener, in_folder("s"), SOCK_STREAM, 0600);
}

INSIDE(unix_path, of_several_starters_one_gets_a_stale_path)
{
    enum { STARTERS = 8 };

    make_folder();
    for (int round = 0; round < 20; round++) {
        struct gyre_listener *listeners[STARTERS] = {NULL};
        gyre_handle handles[STARTERS];
        int winners = 0, fd;

        if (round & 1)
            make_stale(in_folder("s"), SOCK_STREAM);
        for (int i = 0; i < STARTERS; i++)
            EXPECT_EQ(gyre_spawn(&handles[i], start, &listeners[i]), 0);
        for (int i = 0; i < STARTERS; i++) {
            int result;

            EXPECT_EQ(gyre_join(handles[i], &result), 0);
            EXPECT(result == 0 || result == -EADDRINUSE);
            winners += result == 0;
        }
        EXPECT_EQ(winners, 1);
        fd = gyre_unix_dial(in_folder("s"), SOCK_STREAM); /* the path is the winner's */
        EXPECT(fd >= 0);
        EXPECT_EQ(gyre_close(fd), 0);
        for (int i = 0; i < STARTERS; i++)
            EXPECT_EQ(gyre_listener_close(listeners[i]), 0);
    }
    remove_folder();
    return 0;
}

INSIDE(unix_path, waiting_for_another_starter_is_cancelled)
{
    struct gyre_listener *listener;
    int fd;

    make_folder();
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    EXPECT_EQ(flock(fd, LOCK_EX), 0);
    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_unix_listen(&listener, in_folder("s"), SOCK_STREAM, 0), -ETIMEDOUT);
    }
    EXPECT(!exists(in_folder("s")));
    EXPECT_EQ(close(fd), 0);
    remove_folder();
    return 0;
}

/* --- dialling --------------------------------------------------------------------------------- */

static int dial(void *arg)
{
    return gyre_unix_dial(arg, SOCK_STREAM);
}

INSIDE(unix_socket, a_dial_waits_for_room_in_the_listener_s_queue)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fds[3], accepted;
    struct gyre_listener *listener;
    gyre_handle dialler;

    make_folder();
    strcpy(un.sun_path, in_folder("s"));
    EXPECT_EQ(bind(listening, (struct sockaddr *)&un, sizeof un), 0);
    EXPECT_EQ(listen(listening, 0), 0);
    fds[0] = gyre_unix_dial(un.sun_path, SOCK_STREAM);
    EXPECT(fds[0] >= 0);
    {
        GYRE_TIMEOUT(5 * GYRE_MILLISECOND);
        EXPECT_EQ(gyre_unix_dial(un.sun_path, SOCK_STREAM), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_spawn(&dialler, dial, un.sun_path), 0);
    await_parked(dialler);
    EXPECT_EQ(gyre_listener_adopt(&listener, listening, NULL), 0);
    accepted = gyre_accept(listener);
    EXPECT(accepted >= 0);
    EXPECT_EQ(gyre_join(dialler, &fds[1]), 0);
    EXPECT(fds[1] >= 0);
    close_both(fds);
    EXPECT_EQ(gyre_close(accepted), 0);
    EXPECT_EQ(gyre_listener_close(listener), 0);
    EXPECT_EQ(unlink(un.sun_path), 0);
    remove_folder();
    return 0;
}

INSIDE(unix_socket, datagrams_have_names)
{
    struct gyre_address from, to;
    char text[128], buffer[8];
    int fds[2], dialled;

    make_folder();
    fds[0] = gyre_unix_bind(in_folder("s"), 0600);
    fds[1] = gyre_unix_bind(NULL, 0);
    EXPECT(fds[0] >= 0 && fds[1] >= 0);
    EXPECT_EQ(gyre_address_from(&to, in_folder("s")), 0);
    EXPECT_EQ(gyre_sendto(fds[1], "x", 1, 0, &to), 1);
    EXPECT_EQ(gyre_recvfrom(fds[0], buffer, sizeof buffer, 0, &from), 1);
    EXPECT(gyre_address_text(&from, text, sizeof text) > 1 && text[0] == '@');
    EXPECT_EQ(gyre_sendto(fds[0], "y", 1, 0, &from), 1);
    EXPECT_EQ(gyre_recvfrom(fds[1], buffer, sizeof buffer, 0, &from), 1);
    EXPECT(gyre_address_equal(&from, &to));
    dialled = gyre_unix_dial(in_folder("s"), SOCK_DGRAM);
    EXPECT(dialled >= 0);
    EXPECT_EQ(gyre_write(dialled, "z", 1), 1);
    EXPECT_EQ(gyre_recvfrom(fds[0], buffer, sizeof buffer, 0, &from), 1);
    EXPECT_EQ(from.length, 0);
    EXPECT_EQ(gyre_close(dialled), 0);
    close_both(fds);
    EXPECT_EQ(unlink(in_folder("s")), 0);
    remove_folder();
    return 0;
}

/* --- descriptors ------------------------------------------------------------------------------ */

static void pass(int type)
{
    int fds[2], pipes[2], came[4] = {-1, -1, -1, -1};
    size_t count = 4;
    char buffer[16];

    EXPECT_EQ(gyre_unix_pair(fds, type), 0);
    make_pipe(pipes);
    EXPECT_EQ(gyre_send_fds(fds[0], "pipe", 4, pipes, 2), 4);
    EXPECT_EQ(gyre_send_fds(fds[0], "none", 4, NULL, 0), 4);
    EXPECT_EQ(gyre_recv_fds(fds[1], buffer, 4, came, &count), 4);
    EXPECT_EQ(count, 2);
    EXPECT(!memcmp(buffer, "pipe", 4) && came[2] == -1);
    for (int i = 0; i < 2; i++)
        EXPECT(fcntl(came[i], F_GETFD) & FD_CLOEXEC);
    EXPECT_EQ(gyre_write(came[1], "x", 1), 1);
    EXPECT_EQ(gyre_read(pipes[0], buffer, 1), 1);
    close_both(came);
    count = 4;
    EXPECT_EQ(gyre_recv_fds(fds[1], buffer, 4, came, &count), 4);
    EXPECT_EQ(count, 0);
    close_both(pipes);
    if (type != SOCK_DGRAM) {
        EXPECT_EQ(gyre_close(fds[0]), 0);
        count = 4;
        EXPECT_EQ(gyre_recv_fds(fds[1], buffer, 4, came, &count), 0);
        EXPECT_EQ(count, 0);
        EXPECT_EQ(gyre_close(fds[1]), 0);
        return;
    }
    close_both(fds);
}

INSIDE(descriptors, are_passed_over_every_kind_of_socket)
{
    pass(SOCK_STREAM);
    pass(SOCK_SEQPACKET);
    pass(SOCK_DGRAM);
    return 0;
}

INSIDE(descriptors, as_many_as_a_message_can_carry)
{
    enum { MOST = 253 };
    int fds[2], sent[MOST + 1], came[MOST];
    size_t count = MOST;
    char byte;

    EXPECT_EQ(gyre_unix_pair(fds, SOCK_STREAM), 0);
    for (int i = 0; i <= MOST; i++)
        sent[i] = fds[0];
    EXPECT_EQ(gyre_send_fds(fds[0], "x", 1, sent, MOST + 1), -EINVAL);
    EXPECT_EQ(gyre_send_fds(fds[0], "x", 1, sent, MOST), 1);
    EXPECT_EQ(gyre_recv_fds(fds[1], &byte, 1, came, &count), 1);
    EXPECT_EQ(count, MOST);
    for (size_t i = 0; i < count; i++)
        EXPECT_EQ(gyre_close(came[i]), 0);
    /* One more than there is room for: none may be left behind. */
    EXPECT_EQ(gyre_send_fds(fds[0], "x", 1, sent, MOST), 1);
    count = MOST - 1;
    came[0] = -7;
    EXPECT_EQ(gyre_recv_fds(fds[1], &byte, 1, came, &count), -EMSGSIZE);
    EXPECT(count == MOST - 1 && came[0] == -7);
    count = 0;
    EXPECT_EQ(gyre_send_fds(fds[0], "x", 1, sent, 1), 1);
    EXPECT_EQ(gyre_recv_fds(fds[1], &byte, 1, NULL, &count), -EMSGSIZE);
    close_both(fds);
    return 0;
}

INSIDE(descriptors, errors)
{
    int fds[2], pipes[2], wrong[2] = {0, 9999};
    size_t count = 2;
    char byte;

    EXPECT_EQ(gyre_unix_pair(fds, SOCK_STREAM), 0);
    make_pipe(pipes);
    EXPECT_EQ(gyre_send_fds(fds[0], "", 0, pipes, 1), -EINVAL);
    EXPECT_EQ(gyre_send_fds(fds[0], "x", 1, NULL, 1), -EINVAL);
    EXPECT_EQ(gyre_send_fds(fds[0], "x", 1, wrong, 2), -EBADF);
    EXPECT_EQ(gyre_send_fds(pipes[1], "x", 1, fds, 2), -ENOTSOCK);
    EXPECT_EQ(gyre_send_fds(-1, "x", 1, fds, 2), -EBADF);
    EXPECT_EQ(gyre_recv_fds(pipes[0], &byte, 1, wrong, &count), -ENOTSOCK);
    EXPECT_EQ(gyre_recv_fds(-1, &byte, 1, wrong, &count), -EBADF);
    EXPECT_EQ(count, 2);
    {
        GYRE_TIMEOUT(-1);
        EXPECT_EQ(gyre_send_fds(fds[0], "x", 1, pipes, 2), -ETIMEDOUT);
    }
    close_both(fds);
    close_both(pipes);
    return 0;
}

/* The process has no room for what comes. */
static int receive_without_room(void *unused)
{
    int fds[2], sent[4], came[8];
    size_t count = 8;
    struct rlimit limit, low;
    char byte;

    (void)unused;
    EXPECT_EQ(gyre_unix_pair(fds, SOCK_STREAM), 0);
    for (int i = 0; i < 4; i++)
        sent[i] = fds[0];
    EXPECT_EQ(gyre_send_fds(fds[0], "x", 1, sent, 4), 1);
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = (rlim_t)fds[1] + 3; /* two more */
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    EXPECT_EQ(gyre_recv_fds(fds[1], &byte, 1, came, &count), -EMFILE);
    EXPECT_EQ(count, 8);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    close_both(fds);
    return 0;
}

Test(descriptors, that_the_process_has_no_room_for)
{
    run_on_each(receive_without_room);
}

INSIDE(descriptors, are_not_lost_by_waitall)
{
    char buffer[8], control[CMSG_SPACE(sizeof(int))];
    struct iovec piece = {buffer, 8};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    int fds[2], came;

    EXPECT_EQ(gyre_unix_pair(fds, SOCK_STREAM), 0);
    EXPECT_EQ(gyre_send_fds(fds[0], "1234", 4, fds, 1), 4);
    EXPECT_EQ(gyre_recvmsg(fds[1], &message, MSG_WAITALL), 4);
    EXPECT_EQ(message.msg_controllen, CMSG_SPACE(sizeof came));
    memcpy(&came, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof came);
    EXPECT(fcntl(came, F_GETFD) & FD_CLOEXEC);
    EXPECT_EQ(gyre_close(came), 0);
    /* No room at all: they are the kernel's to close. */
    EXPECT_EQ(gyre_send_fds(fds[0], "1234", 4, fds, 1), 4);
    message.msg_control = NULL;
    message.msg_controllen = 0;
    EXPECT_EQ(gyre_recvmsg(fds[1], &message, 0), 4);
    EXPECT_EQ(message.msg_flags, MSG_CTRUNC);
    close_both(fds);
    return 0;
}

/* --- credentials ------------------------------------------------------------------------------ */

INSIDE(credentials, come_with_each_message)
{
    struct gyre_credentials who = {1, 2, 3};
    char byte;
    int fds[2], on = 1;

    EXPECT_EQ(gyre_unix_pair(fds, SOCK_SEQPACKET), 0);
    EXPECT_EQ(setsockopt(fds[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    EXPECT_EQ(gyre_write(fds[0], "x", 1), 1);
    EXPECT_EQ(gyre_recv_credentials(fds[1], &byte, 1, &who), 1);
    EXPECT(who.pid == getpid() && who.uid == getuid() && who.gid == getgid());
    /* Descriptors nobody asked for are closed. */
    EXPECT_EQ(gyre_send_fds(fds[0], "x", 1, fds, 2), 1);
    EXPECT_EQ(gyre_recv_credentials(fds[1], &byte, 1, &who), 1);
    EXPECT_EQ(who.pid, getpid());
    close_both(fds);
    return 0;
}

struct passed {
    int fd, came;
    struct gyre_credentials who;
};

/* All that comes, by the general call. */
static int receive_passed(void *arg)
{
    struct passed *passed = arg;
    char byte, control[256];
    struct iovec piece = {&byte, 1};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    ssize_t n = gyre_recvmsg(passed->fd, &message, 0);

    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_type == SCM_CREDENTIALS)
            memcpy(&passed->who, CMSG_DATA(header), sizeof passed->who);
        if (header->cmsg_type == SCM_RIGHTS)
            memcpy(&passed->came, CMSG_DATA(header), sizeof passed->came);
    }
    return (int)n;
}

/* Where the receiver had to wait the kernel's ring loses descriptors, and names root. */
INSIDE(credentials, and_descriptors_together_after_a_wait)
{
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        gyre_handle receiver;
        int fds[2], on = 1, result;
        struct passed passed = {.came = -1};

        EXPECT_EQ(gyre_unix_pair(fds, types[i]), 0);
        EXPECT_EQ(setsockopt(fds[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
        passed.fd = fds[1];
        EXPECT_EQ(gyre_spawn(&receiver, receive_passed, &passed), 0);
        await_parked(receiver);
        EXPECT_EQ(gyre_send_fds(fds[0], "x", 1, fds, 1), 1);
        EXPECT_EQ(gyre_join(receiver, &result), 0);
        EXPECT_EQ(result, 1);
        EXPECT_EQ(passed.who.pid, getpid());
        EXPECT_EQ(gyre_close(passed.came), 0);
        close_both(fds);
    }
    return 0;
}

static int receive_credentials(void *arg)
{
    struct gyre_credentials who;
    char byte;
    ssize_t n = gyre_recv_credentials(*(int *)arg, &byte, 1, &who);

    return n == 1 ? who.pid : (int)n;
}

INSIDE(credentials, of_another_process)
{
    gyre_handle receiver;
    int fds[2], result;
    pid_t child;

    EXPECT_EQ(gyre_unix_pair(fds, SOCK_STREAM), 0);
    EXPECT_EQ(gyre_spawn(&receiver, receive_credentials, &fds[1]), 0);
    await_parked(receiver);
    child = fork();
    if (!child)
        _exit(write(fds[0], "x", 1) != 1);
    EXPECT_EQ(gyre_join(receiver, &result), 0);
    EXPECT_EQ(result, child);
    EXPECT_EQ(waitpid(child, &result, 0), child);
    close_both(fds);
    return 0;
}

INSIDE(credentials, errors)
{
    struct gyre_credentials who = {1, 2, 3};
    int fds[2], pipes[2];
    char byte;

    make_pipe(pipes);
    fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(gyre_peer_credentials(fds[0], &who), -ENOTCONN);
    EXPECT_EQ(gyre_peer_credentials(fds[1], &who), -ENOTCONN);
    EXPECT_EQ(gyre_peer_credentials(pipes[0], &who), -ENOTSOCK);
    EXPECT_EQ(gyre_peer_credentials(-1, &who), -EBADF);
    EXPECT_EQ(gyre_recv_credentials(pipes[0], &byte, 1, &who), -ENOTSOCK);
    EXPECT_EQ(gyre_recv_credentials(-1, &byte, 1, &who), -EBADF);
    EXPECT(who.pid == 1 && who.uid == 2 && who.gid == 3);
    close_both(fds);
    close_both(pipes);
    return 0;
}

INSIDE(unix_socket, the_end_of_a_stream_is_nobodys)
{
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};

    for (int i = 0; i < 2; i++) {
        struct gyre_credentials who = {7, 7, 7};
        int fds[2], on = 1;
        char bytes[8];

        EXPECT_EQ(gyre_unix_pair(fds, types[i]), 0);
        EXPECT_EQ(setsockopt(fds[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
        EXPECT_EQ(gyre_write(fds[1], "abc", 3), 3);
        EXPECT_EQ(gyre_close(fds[1]), 0);
        EXPECT_EQ(gyre_recv_credentials(fds[0], bytes, sizeof bytes, &who), 3);
        EXPECT_EQ(who.pid, getpid());
        EXPECT_EQ(gyre_recv_credentials(fds[0], bytes, sizeof bytes, &who), 0);
        EXPECT_EQ(who.pid, -1);
        EXPECT_EQ(who.uid, (uid_t)-1);
        EXPECT_EQ(who.gid, (gid_t)-1);
        EXPECT_EQ(gyre_close(fds[0]), 0);
    }
    return 0;
}

/* --- many senders and a queue that is full ------------------------------------------------------
 */

enum { SENDERS = 3, MESSAGES = 300 };

static atomic_int sent_whole;

static int send_many(void *arg)
{
    const int kind = *(int *)arg;
    int fd = gyre_unix_dial(in_folder("s"), SOCK_DGRAM);
    struct iovec piece = {(void *)"hello", 5};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    EXPECT(fd >= 0);
    for (int i = 0; i < MESSAGES; i++) {
        ssize_t n = 0;

        switch ((kind + i) % 5) {
        case 0:
            n = gyre_send(fd, "hello", 5, 0);
            break;
        case 1:
            n = gyre_write(fd, "hello", 5);
            break;
        case 2:
            n = gyre_sendmsg(fd, &message, 0);
            break;
        case 3:
            n = gyre_sendto(fd, "hello", 5, 0, NULL);
            break;
        case 4:
            n = gyre_writev(fd, &piece, 1);
            break;
        }
        EXPECT_EQ(n, 5);
        atomic_fetch_add(&sent_whole, n == 5);
    }
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

INSIDE(unix_socket, datagrams_to_a_full_queue_arrive_whole)
{
    GYRE_NURSERY(senders);
    char buffer[16];
    int receiver;

    make_folder();
    receiver = gyre_unix_bind(in_folder("s"), 0600);
    EXPECT(receiver >= 0);
    atomic_store(&sent_whole, 0);
    for (int i = 0; i < SENDERS; i++)
        EXPECT_EQ(gyre_group_go_copy(&senders, send_many, &i, sizeof i), 0);
    for (int i = 0; i < SENDERS * MESSAGES; i++)
        EXPECT_EQ(gyre_recv(receiver, buffer, sizeof buffer, 0), 5);
    EXPECT_EQ(gyre_group_wait(&senders), 0);
    EXPECT_EQ(atomic_load(&sent_whole), SENDERS * MESSAGES);
    EXPECT_EQ(gyre_close(receiver), 0);
    EXPECT_EQ(unlink(in_folder("s")), 0);
    remove_folder();
    return 0;
}

INSIDE(unix_socket, a_send_that_waits_for_room_is_cancelled)
{
    int receiver, fd, count = 0;
    ssize_t n = 5;
    char buffer[16];

    make_folder();
    receiver = gyre_unix_bind(in_folder("s"), 0600);
    fd = gyre_unix_dial(in_folder("s"), SOCK_DGRAM);

    {
        GYRE_TIMEOUT(20 * GYRE_MILLISECOND);
        while ((n = gyre_send(fd, "hello", 5, 0)) == 5)
            count++;
    }
    EXPECT_EQ(n, -ETIMEDOUT);
    for (int i = 0; i < count; i++)
        EXPECT_EQ(gyre_recv(receiver, buffer, sizeof buffer, 0), 5);
    EXPECT_EQ(gyre_recv(receiver, buffer, sizeof buffer, MSG_DONTWAIT), -EAGAIN);
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(gyre_close(receiver), 0);
    EXPECT_EQ(unlink(in_folder("s")), 0);
    remove_folder();
    return 0;
}
