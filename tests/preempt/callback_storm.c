/*
 * Functions of the program that the C library calls are never interrupted, however long they
 * compute: the library's frame under them may hold a lock, or state of the thread. qsort, bsearch,
 * the search trees and tables, glob, ftw and scandir; each checks what it found.
 */
#include "storm.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <search.h>
#include <sys/stat.h>

enum { FILES = 12 };

static char directory[64];

static void inside(struct random *random, const char *what)
{
    storm_enter(what);
    if (random_below(random, 4) == 0)
        for (unsigned i = random_below(random, 20); i; i--)
            storm_work(random);
    storm_leave();
}

/* A function without an argument finds its player here: nobody else runs on this thread while the
 * library does. */
static _Thread_local struct random *whose;

static __attribute__((noinline)) void set_whose(struct random *random)
{
    whose = random;
}

static __attribute__((noinline)) struct random *get_whose(void)
{
    return whose;
}

static int compare(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;

    inside(get_whose(), "a comparison");
    return (*a > *b) - (*a < *b);
}

static int compare_with(const void *left, const void *right, void *random)
{
    const uint64_t *a = left, *b = right;

    inside(random, "a comparison");
    return (*a > *b) - (*a < *b);
}

/* From setting `whose` to the end of the call the thread must be ours. */
#define IN_LIBRARY(random, call)                                                                   \
    do {                                                                                           \
        gyre_preempt_off();                                                                        \
        set_whose(random);                                                                         \
        call;                                                                                      \
        gyre_preempt_on();                                                                         \
    } while (0)

static int sort(struct storm_player *player)
{
    uint64_t numbers[200], sum, *found, key;
    size_t count;

    while (!storm_over()) {
        count = 2 + random_below(&player->random, ARRAY_SIZE(numbers) - 2);
        sum = 0;
        for (size_t i = 0; i < count; i++)
            sum += numbers[i] = random_next(&player->random);
        qsort_r(numbers, count, sizeof *numbers, compare_with, &player->random);
        for (size_t i = 0; i < count; i++) {
            STORM_CHECK(i == 0 || numbers[i - 1] <= numbers[i], "not sorted");
            sum -= numbers[i];
        }
        STORM_CHECK(sum == 0, "other numbers");
        key = numbers[random_below(&player->random, (uint32_t)count)];
        IN_LIBRARY(&player->random, found = bsearch(&key, numbers, count, sizeof key, compare));
        STORM_CHECK(found && *found == key, "not found");
        IN_LIBRARY(&player->random, found = lfind(&key, numbers, &count, sizeof key, compare));
        STORM_CHECK(found && *found == key, "not found");
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

/* Not within gyre_preempt_off: that it was called is all that protects it. */
static int compare_alone(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;
    struct random random = {*a ^ *b};

    inside(&random, "a comparison");
    return (*a > *b) - (*a < *b);
}

static void visit(const void *node, VISIT order, void *count)
{
    struct random random = {(uintptr_t)node};

    /* The last call in a function may be a jump: then nothing of the library is left to be harmed.
     */
    if (order != endorder && order != leaf)
        inside(&random, "a tree's visitor");
    if (order == postorder || order == leaf)
        ++*(unsigned *)count;
}

static void drop(void *key)
{
    struct random random = {*(uint64_t *)key};

    inside(&random, "a tree's end");
    free(key);
}

static int trees(struct storm_player *player)
{
    while (!storm_over()) {
        void *root = NULL;
        unsigned wanted = 0, count = 0;

        for (int i = 0; i < 50; i++) {
            uint64_t *key = malloc(sizeof *key), **node;

            STORM_CHECK(key, "no memory");
            *key = random_below(&player->random, 100);
            node = tsearch(key, &root, compare_alone);
            STORM_CHECK(node && **node == *key, "another one");
            if (*node == key)
                wanted++;
            else
                free(key);
        }
        for (uint64_t key = 0; key < 100; key += 7) {
            uint64_t **node = tfind(&key, &root, compare_alone), *found = node ? *node : NULL;

            if (found) {
                tdelete(&key, &root, compare_alone);
                free(found);
                wanted--;
            }
        }
        twalk_r(root, visit, &count);
        STORM_CHECK(count == wanted, "%u nodes of %u", count, wanted);
        tdestroy(root, drop);
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

static int keep(const struct dirent *entry)
{
    struct random random = {entry->d_ino};

    inside(&random, "a scandir filter");
    return entry->d_name[0] == 'f';
}

static int later_first(const struct dirent **left, const struct dirent **right)
{
    struct random random = {(*left)->d_ino};

    inside(&random, "a scandir comparison");
    return strcmp((*right)->d_name, (*left)->d_name);
}

static void scan(void)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, keep, later_first);

    STORM_CHECK(count == FILES, "%d files", count);
    for (int i = 0; i < count; i++) {
        char wanted[16];

        snprintf(wanted, sizeof wanted, "f%02d", FILES - 1 - i);
        STORM_CHECK(strcmp(entries[i]->d_name, wanted) == 0, "%s", entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

static _Thread_local unsigned walked; /* nobody else walks on this thread meanwhile */

static int walk(const char *path, const struct stat *status, int type, struct FTW *where)
{
    struct random random = {(uint64_t)status->st_ino};

    (void)path;
    inside(&random, "an nftw function");
    if (type == FTW_F && where->level == 1)
        walked++;
    return 0;
}

static __attribute__((noinline)) unsigned walk_all(void)
{
    unsigned count;

    gyre_preempt_off();
    walked = 0;
    STORM_CHECK(nftw(directory, walk, 8, FTW_PHYS) == 0, "nftw");
    count = walked;
    gyre_preempt_on();
    return count;
}

static struct dirent *glob_read(void *stream)
{
    struct random random = {(uintptr_t)stream};

    inside(&random, "a glob function");
    return readdir(stream);
}

static void *glob_open(const char *path)
{
    return opendir(path);
}

static void glob_close(void *stream)
{
    closedir(stream);
}

static void match(void)
{
    char pattern[80];
    glob_t found = {
        .gl_opendir = glob_open, .gl_closedir = glob_close, .gl_lstat = lstat, .gl_stat = stat};

    found.gl_readdir = glob_read;
    snprintf(pattern, sizeof pattern, "%s/f0[0-4]*", directory);
    STORM_CHECK(glob(pattern, GLOB_ALTDIRFUNC, NULL, &found) == 0, "glob");
    STORM_CHECK(found.gl_pathc == 5, "%zu paths", found.gl_pathc);
    globfree(&found);
}

static int files(struct storm_player *player)
{
    while (!storm_over()) {
        unsigned count;

        scan();
        storm_compute(&player->random);
        count = walk_all();
        STORM_CHECK(count == FILES, "%u files", count);
        storm_compute(&player->random);
        match();
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

static const char *missing(const struct gyre_preempt_counts *counts)
{
    return counts->refused[GYRE_REFUSED_CALLER] ? NULL : "no tick in a function that was called";
}

/* Makes the files, or removes them. */
static void directory_of_files(bool make)
{
    for (int i = 0; i < FILES; i++) {
        char path[80];

        snprintf(path, sizeof path, "%s/f%02d", directory, i);
        if (make)
            close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        else
            unlink(path);
    }
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {
        {"sort", sort, 3}, {"trees", trees, 3}, {"files", files, 3}};
    int result;

    strcpy(directory, "/tmp/gyre-storm-XXXXXX");
    STORM_CHECK(mkdtemp(directory), "no directory");
    directory_of_files(true);
    storm_settings.missing = missing;
    result = storm(argc, argv, parts, ARRAY_SIZE(parts));
    directory_of_files(false);
    rmdir(directory);
    return result;
}
