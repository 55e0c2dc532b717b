/* CPUs: quotas, pinning, and what a child process sees of it. */
#include "inside.h"

#include "sched/cpus.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int run_pinned(gyre_fn fn, void *arg)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 2;
    options.pinning = GYRE_PINNING_ON;
    return gyre_run_options(fn, arg, &options);
}

static int own_cpus(void)
{
    cpu_set_t set;

    sched_getaffinity(0, sizeof set, &set);
    return CPU_COUNT(&set);
}

/* Answers by its exit status: how many CPUs, plus 100 if SIGPIPE is blocked. */
static const char *const report = "blocked=$(sed -n 's/^SigBlk:.*\\(.\\)...$/\\1/p' "
                                  "/proc/self/status); n=$(nproc); "
                                  "case $blocked in [13579bdf]) n=$((n + 100));; esac; exit $n";

static int note_status(int status)
{
    EXPECT(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int by_system(void)
{
    return note_status(system(report));
}

static int by_popen(void)
{
    FILE *file = popen(report, "r");

    EXPECT(file);
    return note_status(pclose(file));
}

static int wait_for(pid_t child)
{
    int status = -1;

    EXPECT_EQ(waitpid(child, &status, 0), child);
    return note_status(status);
}

static int by_spawn(bool path)
{
    char *const argv[] = {"sh", "-c", (char *)(uintptr_t)report, NULL};
    pid_t child;

    if (path)
        EXPECT_EQ(posix_spawnp(&child, "sh", NULL, NULL, argv, environ), 0);
    else
        EXPECT_EQ(posix_spawn(&child, "/bin/sh", NULL, NULL, argv, environ), 0);
    return wait_for(child);
}

static int by_fork(void)
{
    pid_t child = fork();

    if (child == 0) {
        execl("/bin/sh", "sh", "-c", report, (char *)NULL);
        _exit(250);
    }
    return wait_for(child);
}

static int start_children(void *arg)
{
    int wanted_cpus = *(int *)arg, pinned = own_cpus();

    EXPECT_EQ(pinned, 1);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(by_system(), wanted_cpus);
        EXPECT_EQ(by_popen(), wanted_cpus);
        EXPECT_EQ(by_spawn(false), wanted_cpus);
        EXPECT_EQ(by_spawn(true), wanted_cpus);
        EXPECT_EQ(by_fork(), wanted_cpus);
        EXPECT_EQ(own_cpus(), 1); /* the worker is bound as before */
        gyre_yield();
    }
    EXPECT_EQ(system(NULL) != 0, 1);
    EXPECT_EQ(posix_spawn(&(pid_t){0}, "/no/such/file", NULL, NULL, (char *[]){"x", NULL}, environ),
              ENOENT);
    EXPECT_EQ(own_cpus(), 1);
    return 0;
}

Test(children, see_the_original_affinity_and_signal_mask, .timeout = 60)
{
    int cpus = own_cpus();

    cr_assert_eq(run_pinned(start_children, &cpus), 0);
    cr_assert_eq(failed_expectations, 0);
    cr_assert_eq(by_system(), cpus);
    cr_assert_eq(by_fork(), cpus);
}

static int check_own_cpu(void *arg)
{
    unsigned worker = gyre_worker_index();
    cpu_set_t *all = arg, set;
    unsigned skip;

    sched_getaffinity(0, sizeof set, &set);
    EXPECT_EQ(CPU_COUNT(&set), 1);
    skip = worker % (unsigned)CPU_COUNT(all);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, all) && skip-- == 0)
            EXPECT(CPU_ISSET(cpu, &set));
    return 0;
}

static int check_each_worker(void *arg)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;

    options.flags = GYRE_SPAWN_PINNED;
    for (unsigned w = 0; w < gyre_worker_count(); w++) {
        gyre_handle handle;

        options.worker = 1 + w;
        EXPECT_EQ(gyre_spawn_options(&handle, check_own_cpu, arg, &options), 0);
        EXPECT_EQ(gyre_join(handle, NULL), 0);
    }
    return 0;
}

Test(cpus, pinned_workers_go_round_the_mask)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    cpu_set_t all;

    sched_getaffinity(0, sizeof all, &all);
    options.pinning = GYRE_PINNING_ON;
    for (options.workers = 1; options.workers <= 5; options.workers += 2)
        cr_assert_eq(gyre_run_options(check_each_worker, &all, &options), 0);
    cr_assert_eq(failed_expectations, 0);
}

static int want_mask(void *arg)
{
    cpu_set_t set;

    sched_getaffinity(0, sizeof set, &set);
    EXPECT(CPU_EQUAL(&set, (cpu_set_t *)arg));
    return 0;
}

Test(cpus, unpinned_workers_keep_the_mask)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    cpu_set_t all;

    sched_getaffinity(0, sizeof all, &all);
    options.pinning = GYRE_PINNING_OFF;
    cr_assert_eq(gyre_run_options(want_mask, &all, &options), 0);
    options.pinning = GYRE_PINNING_AUTO;
    options.workers = (unsigned)CPU_COUNT(&all) + 3;
    cr_assert_eq(gyre_run_options(want_mask, &all, &options), 0);
    cr_assert_eq(failed_expectations, 0);
}

/* --- quotas ------------------------------------------------------------------------------------
 */

static char folder[] = "/tmp/gyre-cpus-XXXXXX";

static void put(const char *path, const char *text)
{
    char whole[512], *at;
    FILE *file;

    snprintf(whole, sizeof whole, "%s/%s", folder, path);
    for (at = whole + strlen(folder) + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = 0;
        mkdir(whole, 0700);
    }
    file = fopen(whole, "w");
    cr_assert(file);
    fputs(text, file);
    fclose(file);
}

static unsigned quota(const char *groups)
{
    char list[64], mount[64];

    put("cgroup", groups);
    snprintf(list, sizeof list, "%s/cgroup", folder);
    snprintf(mount, sizeof mount, "%s/fs", folder);
    return gyre_cpus_quota(list, mount);
}

static void remove_folder(void)
{
    char command[64];

    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

static void make_folder(void)
{
    cr_assert(mkdtemp(folder));
}

TestSuite(quota, .init = make_folder, .fini = remove_folder);

Test(quota, of_version_2)
{
    put("fs/a/b/cpu.max", "150000 100000\n");
    cr_assert_eq(quota("0::/a/b\n"), 2);
    put("fs/a/b/cpu.max", "max 100000\n");
    cr_assert_eq(quota("0::/a/b\n"), 0);
    put("fs/a/cpu.max", "300000 100000\n");
    cr_assert_eq(quota("0::/a/b\n"), 3); /* the parent's */
    put("fs/a/b/cpu.max", "1000 100000\n");
    cr_assert_eq(quota("0::/a/b\n"), 1); /* the tightest */
    cr_assert_eq(quota("0::/\n"), 0);
    put("fs/cpu.max", "400000 100000\n"); /* inside a container's own namespace */
    cr_assert_eq(quota("0::/\n"), 4);
    cr_assert_eq(quota("0::/not/here\n"), 4);
    cr_assert_eq(quota("0::/../other\n"), 4);
}

Test(quota, of_version_1)
{
    static const char *const lists[] = {"4:cpu,cpuacct:/a\n", "4:cpuacct,cpu:/a\n", "4:cpu:/a\n",
                                        "9:cpuset:/b\n4:cpuacct,cpu:/a\n1:name=systemd:/c\n"};

    put("fs/cpu/a/cpu.cfs_quota_us", "250000\n");
    put("fs/cpu/a/cpu.cfs_period_us", "100000\n");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        cr_assert_eq(quota(lists[i]), 3, "%s", lists[i]);
    cr_assert_eq(quota("4:cpuset:/a\n"), 0);
    cr_assert_eq(quota("4:cpuacct:/a\n"), 0);
    put("fs/cpu/a/cpu.cfs_quota_us", "-1\n");
    cr_assert_eq(quota(lists[0]), 0);
    put("fs/cpu/cpu.cfs_quota_us", "50000\n");
    put("fs/cpu/cpu.cfs_period_us", "100000\n");
    cr_assert_eq(quota(lists[0]), 1);
}

Test(quota, nonsense_sets_no_limit)
{
    static const char *const lists[] = {"", "\n", "0\n", "0:\n", "0::\n", ":::\n", "4:cpu\n"};
    static const char *const values[] = {"",      "\n",     "max",       "0 0\n",    "-5 100\n",
                                         "100 0", "5 -100", "nan nan\n", "100000\n", "x y\n"};

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        cr_assert_eq(quota(lists[i]), 0, "%s", lists[i]);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        put("fs/a/cpu.max", values[i]);
        cr_assert_eq(quota("0::/a\n"), 0, "%s", values[i]);
    }
    put("fs/a/cpu.max", "1e300 1\n"); /* more than there can be */
    cr_assert(quota("0::/a\n") > 1000);
    cr_assert_eq(gyre_cpus_quota("/no/such/file", "/no/such/folder"), 0);
}
