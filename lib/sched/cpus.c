/*
 * The affinity mask of the calling thread, and the CPU quota of its cgroup: version 2's cpu.max
 * and version 1's cpu.cfs_quota_us, the tightest on the way up. What can't be read sets no limit.
 */
#include "sched/cpus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int gyre_cpus_bind(const struct cpus *cpus, int cpu)
{
    cpu_set_t *one = CPU_ALLOC(CPUS_MAX);
    int error = 0;

    if (!one)
        return -ENOMEM;
    CPU_ZERO_S(cpus->size, one);
    CPU_SET_S((size_t)cpu, cpus->size, one);
    if (sched_setaffinity(0, cpus->size, one) < 0)
        error = -errno;
    CPU_FREE(one);
    return error;
}

int gyre_cpus_unbind(const struct cpus *cpus)
{
    return sched_setaffinity(0, cpus->size, cpus->original) < 0 ? -errno : 0;
}

int gyre_cpus_nth(const struct cpus *cpus, unsigned index)
{
    index %= cpus->usable;
    for (int cpu = 0; cpu < CPUS_MAX; cpu++)
        if (CPU_ISSET_S((size_t)cpu, cpus->size, cpus->original) && index-- == 0)
            return cpu;
    return 0;
}

/* CPUs that "quota period" allows, rounded up; 0: no limit. */
static unsigned quota_of_file(const char *path, const char *period_path)
{
    FILE *file = fopen(path, "re");
    char text[64];
    double quota = 0, period = 0;

    if (!file)
        return 0;
    if (fgets(text, sizeof text, file) && sscanf(text, "%lf %lf", &quota, &period) < 1)
        quota = 0; /* "max" */
    fclose(file);
    if (period_path && quota > 0 && (file = fopen(period_path, "re"))) {
        if (fscanf(file, "%lf", &period) != 1)
            period = 0;
        fclose(file);
    }
    if (!(quota > 0 && period > 0)) /* so that nan is none either */
        return 0;
    quota = (quota + period - 1) / period;
    return quota < CPUS_MAX ? (unsigned)quota : CPUS_MAX;
}

static unsigned smaller_limit(unsigned a, unsigned b)
{
    if (!a || !b)
        return a ? a : b;
    return a < b ? a : b;
}

/* From the group's own folder up to the mount's root. */
static unsigned quota_up(const char *mount, char *group, bool version2)
{
    char path[512], period[512];
    unsigned limit = 0;

    for (;;) {
        char *slash;

        snprintf(path, sizeof path, "%s%s/%s", mount, group,
                 version2 ? "cpu.max" : "cpu.cfs_quota_us");
        snprintf(period, sizeof period, "%s%s/cpu.cfs_period_us", mount, group);
        limit = smaller_limit(limit, quota_of_file(path, version2 ? NULL : period));
        slash = strrchr(group, '/');
        if (!slash)
            return limit;
        *slash = 0;
    }
}

static bool names_cpu(const char *controllers)
{
    while (*controllers) {
        size_t length = strcspn(controllers, ",");

        if (length == 3 && !memcmp(controllers, "cpu", 3))
            return true;
        controllers += length + (controllers[length] == ',');
    }
    return false;
}

unsigned gyre_cpus_quota(const char *groups, const char *mount)
{
    FILE *file = fopen(groups, "re");
    char line[400], version1[200];
    unsigned limit = 0;

    if (!file)
        return 0;
    snprintf(version1, sizeof version1, "%s/cpu", mount);
    while (fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':'), *group;

        line[strcspn(line, "\n")] = 0;
        if (!controllers || !(group = strchr(controllers + 1, ':')))
            continue;
        *group++ = 0;
        controllers++;
        if (!strcmp(group, "/"))
            *group = 0;
        if (!*controllers)
            limit = smaller_limit(limit, quota_up(mount, group, true));
        else if (names_cpu(controllers))
            limit = smaller_limit(limit, quota_up(version1, group, false));
    }
    fclose(file);
    return limit;
}

int gyre_cpus_init(struct cpus *cpus)
{
    unsigned limit;

    cpus->size = CPU_ALLOC_SIZE(CPUS_MAX);
    cpus->original = CPU_ALLOC(CPUS_MAX);
    if (!cpus->original)
        return -ENOMEM;
    CPU_ZERO_S(cpus->size, cpus->original);
    if (sched_getaffinity(0, cpus->size, cpus->original) < 0) {
        int error = -errno;

        gyre_cpus_destroy(cpus);
        return error;
    }
    cpus->usable = (unsigned)CPU_COUNT_S(cpus->size, cpus->original);
    limit = gyre_cpus_quota("/proc/self/cgroup", "/sys/fs/cgroup");
    cpus->recommended = limit && limit < cpus->usable ? limit : cpus->usable;
    return 0;
}

void gyre_cpus_destroy(struct cpus *cpus)
{
    if (cpus->original)
        CPU_FREE(cpus->original);
    cpus->original = NULL;
}
