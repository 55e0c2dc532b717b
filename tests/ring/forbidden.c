/*
 * gyre_run where io_uring is denied or descriptors are short: in a child each, the exact lines it
 * prints and the error it returns.
 */
#include "../io/descriptors.h"

#include <gyre.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STARTED = 1000, LEAKED };

static int failures;

static int nothing(void *unused)
{
    (void)unused;
    return STARTED;
}

/* One system call fails with error, all others are allowed. */
static void deny(int number, int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(77);
}

struct scene {
    const char *name;
    int number, denial; /* a system call and how it fails; or a limit of descriptors */
    int descriptors;
    int result;
    const char *lines;
};

static int play(const struct scene *scene)
{
    struct rlimit limit;
    int before, result;

    if (scene->denial)
        deny(scene->number, scene->denial);
    before = open_descriptors();
    if (scene->descriptors) {
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = (rlim_t)(before + scene->descriptors);
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    result = gyre_run(nothing, NULL);
    if (scene->descriptors) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return open_descriptors() == before ? result : LEAKED;
}

/* Returns what the child's gyre_run returned; *lines: what it printed. */
static int run_child(const struct scene *scene, char *lines, size_t size)
{
    int output[2], results[2], result = -1, status;
    size_t length = 0;
    ssize_t n;
    pid_t child;

    if (pipe2(output, O_CLOEXEC) || pipe2(results, O_CLOEXEC))
        exit(99);
    child = fork();
    if (!child) {
        alarm(60);
        dup2(output[1], STDERR_FILENO);
        close(output[0]);
        close(output[1]);
        close(results[0]);
        result = play(scene);
        if (write(results[1], &result, sizeof result) != sizeof result)
            _exit(1);
        _exit(0);
    }
    close(output[1]);
    close(results[1]);
    while ((n = read(output[0], lines + length, size - 1 - length)) > 0)
        length += (size_t)n;
    lines[length] = 0;
    if (read(results[0], &result, sizeof result) != sizeof result)
        result = -1;
    close(output[0]);
    close(results[0]);
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        printf("no seccomp here\n");
        exit(77);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? result : -2000 - status;
}

static const char forbidden[] =
    "gyre: cannot start: io_uring is forbidden here (EPERM)\n"
    "  kernel.io_uring_disabled = 0, so a seccomp filter or security module denies it; allow "
    "io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile "
    "(docs/containers.md)\n";
static const char absent[] =
    "gyre: cannot start: io_uring is not there (ENOSYS)\n"
    "  the kernel is older than 5.1 or built without CONFIG_IO_URING, or a seccomp filter hides "
    "it; "
    "allow io_uring_setup, io_uring_enter and io_uring_register (docs/containers.md)\n";
static const char no_descriptor[] = "gyre: cannot start: no descriptor left for a ring (EMFILE)\n"
                                    "  raise the limit of open files (ulimit -n)\n";

static const struct scene scenes[] = {
    {"setup EPERM", SYS_io_uring_setup, EPERM, 0, -EPERM, forbidden},
    {"setup ENOSYS", SYS_io_uring_setup, ENOSYS, 0, -ENOSYS, absent},
    {"enter EPERM", SYS_io_uring_enter, EPERM, 0, -EPERM, forbidden},
    {"enter ENOSYS", SYS_io_uring_enter, ENOSYS, 0, -ENOSYS, absent},
    {"register EPERM", SYS_io_uring_register, EPERM, 0, -EPERM, forbidden},
    {"register ENOSYS", SYS_io_uring_register, ENOSYS, 0, -ENOSYS, absent},
    {"allowed", SYS_io_uring_setup, 0, 0, STARTED, ""},
};

static void expect(const struct scene *scene)
{
    char lines[2000];
    int result = run_child(scene, lines, sizeof lines);

    if (result != scene->result || strcmp(lines, scene->lines)) {
        printf("%s: %d, not %d, and printed:\n%s", scene->name, result, scene->result, lines);
        failures++;
    }
}

/* One descriptor more each time, until there are enough for all. */
static void expect_descriptors(void)
{
    char lines[2000];
    int result = -EMFILE;

    for (int n = -1; n < 400 && result != STARTED; n++) {
        struct scene scene = {"", 0, 0, n ? n : -2, 0, ""};

        result = run_child(&scene, lines, sizeof lines);
        if (result == -EMFILE && strcmp(lines, no_descriptor)) {
            printf("with %d descriptors, printed:\n%s", n, lines);
            failures++;
        }
        if (result != -EMFILE && result != STARTED) {
            printf("with %d descriptors: %d\n", n, result);
            failures++;
        }
    }
    if (result != STARTED) {
        printf("400 descriptors were not enough\n");
        failures++;
    }
}

int main(void)
{
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "r");
    int disabled = 0;

    if (file) {
        if (fscanf(file, "%d", &disabled) != 1)
            disabled = 0;
        fclose(file);
    }
    if (disabled) {
        printf("io_uring is disabled here\n");
        return 77;
    }
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++)
        expect(&scenes[i]);
    expect_descriptors();
    return failures != 0;
}
