/*
 * Races removing and walking a tree against others who change it.
 *
 * Hypothesis: while directories turn into links to what is outside, and back, and come and go,
 * gyre_remove_all removes nothing outside, and gyre_walk never enters it.
 *
 * A thread of its own exchanges, in a row of directories, each with a link to a directory outside,
 * which holds a file that must still be there. Window aimed at: between the reading of a name and
 * its use.
 */
#include "stress.h"

#include <gyre/directory.h>
#include <gyre/file.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

enum { PAIRS = 8, FILES = 4 };

static char top[64], outside[80];
static atomic_bool stop;
static atomic_ulong exchanges, refused, visits;

static void make_pair(int fd, int i)
{
    char name[64];

    snprintf(name, sizeof name, "d%d", i);
    mkdirat(fd, name, 0755);
    for (int j = 0; j < FILES; j++) {
        snprintf(name, sizeof name, "d%d/f%d", i, j);
        close(openat(fd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644));
    }
    snprintf(name, sizeof name, "l%d", i);
    CHECK(symlinkat(outside, fd, name) == 0 || errno == EEXIST);
}

/* Directories and links change their names. */
static void *exchange(void *arg)
{
    int fd = *(int *)arg;
    struct random random = stress_random(1);
    char one[16], other[16];

    while (!atomic_load(&stop)) {
        snprintf(one, sizeof one, "d%u", random_below(&random, PAIRS));
        snprintf(other, sizeof other, "l%u", random_below(&random, PAIRS));
        if (renameat2(fd, one, fd, other, RENAME_EXCHANGE) == 0)
            atomic_fetch_add(&exchanges, 1);
    }
    return NULL;
}

static int visit(const struct gyre_visit *visit, void *arg)
{
    (void)arg;
    CHECK(strcmp(visit->name, "precious") != 0);
    atomic_fetch_add(&visits, 1);
    return 0;
}

static int run(void *unused)
{
    char inside[80], precious[96];
    unsigned long rounds = stress_rounds(60);
    struct random random = stress_random(2);
    pthread_t thread;
    int fd;

    (void)unused;
    strcpy(top, "/dev/shm/gyre-tree-XXXXXX");
    if (!mkdtemp(top)) {
        strcpy(top, "/tmp/gyre-tree-XXXXXX");
        CHECK(mkdtemp(top));
    }
    snprintf(outside, sizeof outside, "%s/outside", top);
    snprintf(precious, sizeof precious, "%s/precious", outside);
    snprintf(inside, sizeof inside, "%s/inside", top);
    CHECK_EQ(mkdir(outside, 0755), 0);
    close(open(precious, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    while (rounds--) {
        int error;

        CHECK_EQ(mkdir(inside, 0755), 0);
        fd = open(inside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int i = 0; i < PAIRS; i++)
            make_pair(fd, i);
        atomic_store(&stop, false);
        CHECK_EQ(pthread_create(&thread, NULL, exchange, &fd), 0);
        error = gyre_walk(inside, 1 + random_below(&random, 4), visit, NULL);
        CHECK_EQ(error, 0);
        error = gyre_remove_all(inside);
        if (error != -EISDIR &&
            error != -ENOTEMPTY) /* each time that it looked it had changed once more */
            CHECK_EQ(error, 0);
        if (error)
            atomic_fetch_add(&refused, 1);
        atomic_store(&stop, true);
        pthread_join(thread, NULL);
        close(fd);
        CHECK_EQ(gyre_remove_all(inside), 0);
        CHECK_EQ(access(precious, F_OK), 0);
    }
    CHECK_EQ(gyre_remove_all(top), 0);
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run_each("links for directories", 0, run);
    printf("  %lu exchanges, %lu visits, %lu times it was not empty\n", exchanges, visits, refused);
    return 0;
}
