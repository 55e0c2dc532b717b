/* How many workers this process should have, and where. */
#ifndef GYRE_LIB_SCHED_CPUS_H
#define GYRE_LIB_SCHED_CPUS_H

#include <sched.h>
#include <stdbool.h>

enum { CPUS_MAX = 4096 };

struct cpus {
    cpu_set_t *original; /* the calling thread's mask, of `size` bytes */
    size_t size;
    unsigned usable;      /* CPUs in the mask */
    unsigned recommended; /* cut by a cgroup's quota, at least 1 */
};

/* Returns 0, -ENOMEM, or sched_getaffinity's -errno. */
int gyre_cpus_init(struct cpus *cpus);
void gyre_cpus_destroy(struct cpus *cpus);

/*
 * How many CPUs the quota of the process's cgroup amounts to, at least 1; 0: no limit. groups is
 * /proc/self/cgroup, mount where the hierarchies are mounted.
 */
unsigned gyre_cpus_quota(const char *groups, const char *mount);

/* The CPU for worker `index`: round robin over the mask. */
int gyre_cpus_nth(const struct cpus *cpus, unsigned index);

/* Binds the calling thread to one CPU, or gives it the original mask back. */
int gyre_cpus_bind(const struct cpus *cpus, int cpu);
int gyre_cpus_unbind(const struct cpus *cpus);

#endif
