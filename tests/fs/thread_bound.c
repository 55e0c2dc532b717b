/*
 * Ten thousand coroutines read a file each, on a file system that is slow and never caches: the
 * process has no more threads than are stated, kernel workers included. Then the same files, and
 * syncs, on the file system of the working directory, where the kernel's workers do the writing.
 *
 * usage: thread_bound SLOW_MOUNT     the program that serves the slow file system
 */
#include "../io/stress.h"

#include <gyre/file.h>

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { COROUTINES = 10000, FILES = 100, SIZE = 4096, WORKERS = 2, HELPERS = 4 };

/* What docs/operations.md states: workers, gyre_run's thread, helpers, and 12 kernel workers a
 * ring. */
enum { BOUND = WORKERS + 1 + HELPERS + 12 * WORKERS };

extern char **environ;

static char directory[64];
static atomic_int most_threads, done;
static bool writes;

static int count_threads(void)
{
    struct dirent *entry;
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;

    CHECK(tasks);
    while ((entry = readdir(tasks)))
        count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

static void note_threads(void)
{
    int count = count_threads(), most = atomic_load(&most_threads);

    while (count > most && !atomic_compare_exchange_weak(&most_threads, &most, count))
        ;
}

static int use_file(void *argument)
{
    char path[128], content[SIZE];
    int number = *(int *)argument % FILES, fd;

    snprintf(path, sizeof path, "%s/%d", directory, number);
    fd = gyre_open(path, writes ? O_RDWR | O_CREAT : O_RDONLY, 0600);
    CHECK(fd >= 0);
    memset(content, 'a' + number % 26, sizeof content);
    if (writes) {
        CHECK_EQ(gyre_pwrite(fd, content, SIZE, 0), SIZE);
        if (*(int *)argument < 1000)
            CHECK_EQ(gyre_fdatasync(fd), 0);
    }
    CHECK_EQ(gyre_pread(fd, content, SIZE, 0), SIZE);
    CHECK(content[0] == 'a' + number % 26 && content[SIZE - 1] == content[0]);
    CHECK_EQ(gyre_close(fd), 0);
    if (atomic_fetch_add(&done, 1) % 100 == 0)
        note_threads();
    return 0;
}

static int use_files(void *unused)
{
    GYRE_NURSERY(group);

    (void)unused;
    for (int i = 0; i < COROUTINES; i++)
        CHECK_EQ(gyre_group_go_copy(&group, use_file, &i, sizeof i), 0);
    CHECK_EQ(gyre_group_wait(&group), 0);
    return 0;
}

static void run_phase(const char *phase, bool writing)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    stress_phase = phase;
    writes = writing;
    atomic_store(&done, 0);
    atomic_store(&most_threads, 0);
    options.workers = WORKERS;
    CHECK_EQ(gyre_run_options(use_files, NULL, &options), 0);
    CHECK_EQ(atomic_load(&done), COROUTINES);
    printf("%s: %d coroutines, at most %d threads of %d\n", phase, COROUTINES,
           atomic_load(&most_threads), BOUND);
    CHECK(atomic_load(&most_threads) <= BOUND);
}

/* Whether it is mounted: its files appear. */
static bool await_mount(pid_t server)
{
    char path[128];
    struct stat status;

    snprintf(path, sizeof path, "%s/0", directory);
    while (stat(path, &status)) {
        if (waitpid(server, NULL, WNOHANG) == server)
            return false;
        sched_yield();
    }
    return true;
}

static bool run_slow(char *program)
{
    char *arguments[] = {program, directory, NULL};
    pid_t server;

    if (access("/dev/fuse", R_OK | W_OK) ||
        posix_spawn(&server, program, NULL, NULL, arguments, environ))
        return false;
    if (!await_mount(server))
        return false;
    run_phase("slow file system", false);
    if (umount2(directory, 0))
        kill(server, SIGTERM);
    waitpid(server, NULL, 0);
    return true;
}

/* Each coroutine may hold a descriptor at the same time. */
static void raise_limit(void)
{
    struct rlimit limit;

    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK(limit.rlim_cur > COROUTINES + 100);
}

int main(int count, char **arguments)
{
    char path[128];
    bool slow;

    stress_begin(1, arguments);
    raise_limit();
    alarm(250);
    snprintf(directory, sizeof directory, "/tmp/thread_bound.XXXXXX");
    CHECK(mkdtemp(directory));
    slow = count > 1 && run_slow(arguments[1]);
    run_phase("writing", true);
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/%d", directory, i);
        unlink(path);
    }
    rmdir(directory);
    if (!slow)
        printf("skipped: the slow file system (no fuse here)\n");
    return 0;
}
