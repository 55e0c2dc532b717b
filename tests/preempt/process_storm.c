/*
 * Children: vfork, posix_spawn, fork and exec, system and popen from coroutines that are
 * interrupted round them. What each prints and how it ends is its own; a child never runs another's
 * coroutine.
 */
#include "storm.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

static void check_exit(pid_t pid, int wanted)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        STORM_CHECK(errno == EINTR, "waitpid: %s", strerror(errno));
    STORM_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == wanted, "%#x instead of exit %d",
                status, wanted);
}

/* Returns twice; the child shares the parent's memory, and its thread waits. */
static __attribute__((noinline)) void by_vfork(struct random *random)
{
    volatile int wanted = (int)random_below(random, 100);
    volatile pid_t parent = getpid();
    pid_t pid = vfork();

    STORM_CHECK(pid >= 0, "vfork: %s", strerror(errno));
    if (pid == 0)
        _exit(getpid() == parent ? 255 : wanted);
    check_exit(pid, wanted);
}

static __attribute__((noinline)) void by_vfork_exec(struct random *random)
{
    char command[32];
    int wanted = (int)random_below(random, 100);
    pid_t pid;

    snprintf(command, sizeof command, "exit %d", wanted);
    pid = vfork();
    STORM_CHECK(pid >= 0, "vfork: %s", strerror(errno));
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(254);
    }
    check_exit(pid, wanted);
}

static void by_fork(struct random *random)
{
    char command[32];
    int wanted = (int)random_below(random, 100);
    pid_t pid;

    snprintf(command, sizeof command, "exit %d", wanted);
    pid = fork();
    STORM_CHECK(pid >= 0, "fork: %s", strerror(errno));
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(254);
    }
    check_exit(pid, wanted);
}

static void by_spawn(struct random *random)
{
    char text[64], got[64] = "", *argv[] = {(char *)"echo", text, NULL};
    posix_spawn_file_actions_t actions;
    int fds[2];
    size_t length = 0;
    ssize_t n;
    pid_t pid;

    snprintf(text, sizeof text, "spawned %u", random_below(random, 1000000));
    STORM_CHECK(pipe2(fds, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    STORM_CHECK(!posix_spawnp(&pid, "echo", &actions, NULL, argv, environ), "posix_spawnp");
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    while ((n = read(fds[0], got + length, sizeof got - 1 - length)) != 0) {
        STORM_CHECK(n > 0, "read: %s", strerror(errno));
        length += (size_t)n;
    }
    close(fds[0]);
    check_exit(pid, 0);
    STORM_CHECK(length > 0 && got[length - 1] == '\n', "%s", got);
    got[length - 1] = '\0';
    STORM_CHECK(strcmp(got, text) == 0, "%s instead of %s", got, text);
}

static void by_popen(struct random *random)
{
    unsigned number = random_below(random, 1000000), got = 0;
    char command[64];
    FILE *pipe;

    snprintf(command, sizeof command, "echo %u; exit %u", number, number % 100);
    pipe = popen(command, "re");
    STORM_CHECK(pipe, "popen: %s", strerror(errno));
    STORM_CHECK(fscanf(pipe, "%u", &got) == 1 && got == number, "%u instead of %u", got, number);
    storm_compute(random);
    STORM_CHECK(WEXITSTATUS(pclose(pipe)) == (int)(number % 100), "pclose");
}

static void by_system(struct random *random)
{
    unsigned wanted = random_below(random, 100);
    char command[32];
    int status;

    snprintf(command, sizeof command, "exit %u", wanted);
    status = system(command);
    STORM_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == (int)wanted, "%#x", status);
}

static int play(struct storm_player *player)
{
    static void (*const ways[])(struct random *) = {by_vfork, by_vfork, by_vfork, by_vfork_exec,
                                                    by_fork,  by_spawn, by_popen, by_system};

    while (!storm_over()) {
        ways[random_below(&player->random, ARRAY_SIZE(ways))](&player->random);
        for (unsigned i = random_below(&player->random, 30); i; i--)
            storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"children", play, 5}};

    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
