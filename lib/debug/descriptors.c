/* The numbers alone are compared: one that was closed and is another file now is not found. */
#include "debug/descriptors.h"

#include "base/message.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool add(struct descriptor_set *set, size_t number)
{
    if (number >= set->count) {
        size_t count = 2 * number + 64;
        bool *larger = realloc(set->open, count * sizeof *larger);

        if (!larger)
            return false;
        memset(larger + set->count, 0, count - set->count);
        set->open = larger;
        set->count = count;
    }
    set->open[number] = true;
    return true;
}

void gyre_descriptor_set_read(struct descriptor_set *set)
{
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    bool complete = directory;

    *set = (struct descriptor_set){0};
    while (complete && (entry = readdir(directory))) {
        char *end;
        long number = strtol(entry->d_name, &end, 10);

        if (*end || end == entry->d_name || number == dirfd(directory))
            continue;
        complete = add(set, (size_t)number);
    }
    if (directory)
        closedir(directory);
    if (!complete)
        gyre_descriptor_set_free(set);
}

void gyre_descriptor_set_free(struct descriptor_set *set)
{
    free(set->open);
    *set = (struct descriptor_set){0};
}

static void report(size_t number)
{
    char path[64], name[PATH_MAX];
    ssize_t length;

    snprintf(path, sizeof path, "/proc/self/fd/%zu", number);
    length = readlink(path, name, sizeof name - 1);
    name[length < 0 ? 0 : length] = 0;
    gyre_message("leak: descriptor %zu, %s", number, name);
}

size_t gyre_descriptors_report_new(const struct descriptor_set *before)
{
    struct descriptor_set now;
    size_t found = 0;

    if (!before->open)
        return 0;
    gyre_descriptor_set_read(&now);
    for (size_t number = 0; number < now.count; number++)
        if (now.open[number] && (number >= before->count || !before->open[number])) {
            report(number);
            found++;
        }
    gyre_descriptor_set_free(&now);
    return found;
}
