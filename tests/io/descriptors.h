/* How many descriptors the process holds. */
#ifndef GYRE_TESTS_IO_DESCRIPTORS_H
#define GYRE_TESTS_IO_DESCRIPTORS_H

#include <dirent.h>
#include <sched.h>
#include <time.h>

static inline int open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = -3; /* ".", ".." and the directory's own */

    if (!directory)
        return -1;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

/* The same once it is as wanted, or after some seconds: a server in a thread of the test's own may
 * not have noticed yet that its client is gone. */
static inline int open_descriptors_soon(int wanted)
{
    time_t end = time(NULL) + 5;
    int count;

    while ((count = open_descriptors()) != wanted && time(NULL) < end)
        sched_yield();
    return count;
}

#endif
