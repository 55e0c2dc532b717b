/*
 * Searches the files below some directories, many at once: a small `grep -r`.
 *
 *     grep [--ignore-case] [--regex] [--count] [--jobs N] PATTERN PATH...
 *
 * One walk finds the files; each is searched by a coroutine of its own, `jobs` at a time. Files
 * are read in pieces of 128 KiB into buffers that a pool keeps; a line that a piece cuts goes to
 * the front of the next. A file's lines are printed together, whoever else finds something. ^C ends
 * it between two reads. Status: 0 something was found, 1 nothing, 2 something could not be read.
 */
#include "common/options.h"
#include "common/progress.h"

#include <gyre.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 128 * 1024 };

static struct {
    const char *pattern;
    char **paths;
    size_t pattern_length;
    long jobs, workers;
    bool ignore_case, regex, count;
    regex_t compiled;
    struct progress progress;
    struct gyre_pool *buffers;
    gyre_mutex output;
    atomic_bool found, failed;
} search = {.jobs = 64, .output = GYRE_MUTEX_INIT};

/* What one file's search holds. */
struct file {
    const char *path;
    char *result; /* lines to print */
    size_t result_size, result_room;
    uint64_t matches;
    bool binary;
};

static void complain(const char *path, int error)
{
    fprintf(stderr, "grep: %s: %s\n", path, strerror(-error));
    atomic_store_explicit(&search.failed, true, memory_order_relaxed);
}

static void add(struct file *file, const char *text, size_t size)
{
    if (!file->result || file->result_size + size > file->result_room) {
        size_t room = 2 * (file->result_size + size) + 1;
        char *larger = realloc(file->result, room);

        if (!larger) {
            complain(file->path, -ENOMEM);
            return;
        }
        file->result = larger;
        file->result_room = room;
    }
    memcpy(file->result + file->result_size, text, size);
    file->result_size += size;
}

static void take_match(struct file *file, const char *line, size_t length)
{
    file->matches++;
    if (search.count || file->binary)
        return;
    add(file, file->path, strlen(file->path));
    add(file, ":", 1);
    add(file, line, length);
    add(file, "\n", 1);
}

/* The first match in whole lines, or NULL. text is NUL-terminated. */
static const char *find(const char *text, size_t size)
{
    regmatch_t match = {0, (regoff_t)size};

    if (!search.regex && !search.ignore_case)
        return memmem(text, size, search.pattern, search.pattern_length);
    return regexec(&search.compiled, text, 1, &match, REG_STARTEND) ? NULL : text + match.rm_so;
}

static void search_lines(struct file *file, const char *text, size_t size)
{
    const char *end = text + size, *at;

    while (text < end && (at = find(text, (size_t)(end - text)))) {
        const char *start = memrchr(text, '\n', (size_t)(at - text));
        const char *stop = memchr(at, '\n', (size_t)(end - at));

        start = start ? start + 1 : text;
        stop = stop ? stop : end;
        take_match(file, start, (size_t)(stop - start));
        text = stop + 1;
    }
}

/* Reads and searches. buffer has room for a piece twice, and a NUL. */
static int search_open_file(struct file *file, int fd, char *buffer)
{
    size_t kept = 0;
    off_t offset = 0;

    for (;;) {
        ssize_t n = gyre_pread(fd, buffer + kept, PIECE, offset);
        size_t size = kept + (size_t)n, whole = size;
        const char *last;

        if (n < 0)
            return (int)n;
        if (!offset && memchr(buffer, 0, size))
            file->binary = true;
        offset += n;
        atomic_fetch_add_explicit(&search.progress.bytes, (uint64_t)n, memory_order_relaxed);
        if (n > 0) {
            last = memrchr(buffer, '\n', size);
            whole = last ? (size_t)(last + 1 - buffer) : size > PIECE ? size : 0;
        }
        if (whole) {
            char after = buffer[whole];

            buffer[whole] = 0;
            search_lines(file, buffer, whole - (buffer[whole - 1] == '\n'));
            buffer[whole] = after;
        }
        if (n == 0)
            return 0;
        kept = size - whole;
        memmove(buffer, buffer + whole, kept);
    }
}

static void print(struct file *file)
{
    char line[PATH_MAX + 40];
    ssize_t error = 0;

    if (!file->matches)
        return;
    atomic_store_explicit(&search.found, true, memory_order_relaxed);
    gyre_mutex_lock(&search.output);
    if (search.count || file->binary) {
        int length = search.count
                         ? snprintf(line, sizeof line, "%s:%llu\n", file->path,
                                    (unsigned long long)file->matches)
                         : snprintf(line, sizeof line, "%s: binary file matches\n", file->path);

        error = gyre_write_all(STDOUT_FILENO, line, (size_t)length, NULL);
    } else {
        error = gyre_write_all(STDOUT_FILENO, file->result, file->result_size, NULL);
    }
    gyre_mutex_unlock(&search.output);
    if (error < 0 && error != -ECANCELED)
        complain("standard output", (int)error);
}

static int search_file(void *path)
{
    struct file file = {.path = path};
    char *buffer = gyre_pool_get(search.buffers);
    int fd, error = 0;

    fd = buffer ? gyre_open(path, O_RDONLY | O_NOCTTY, 0) : -ENOMEM;
    if (fd >= 0) {
        error = search_open_file(&file, fd, buffer);
        gyre_close(fd);
    }
    if (buffer)
        gyre_pool_put(search.buffers, buffer);
    if (fd < 0)
        error = fd;
    if (error && error != -ECANCELED)
        complain(path, error);
    print(&file);
    free(file.result);
    atomic_fetch_add_explicit(&search.progress.files, 1, memory_order_relaxed);
    return error == -ECANCELED ? error : 0;
}

static int visit(const struct gyre_visit *visit, void *group)
{
    if (visit->error) {
        complain(visit->path, visit->error);
        return 0;
    }
    if (visit->type != DT_REG)
        return 0;
    atomic_fetch_add_explicit(&search.progress.files_known, 1, memory_order_relaxed);
    return gyre_group_go_copy((gyre_group *)group, search_file, visit->path,
                              strlen(visit->path) + 1);
}

static int search_all(void)
{
    GYRE_GROUP(files, .limit = (unsigned)search.jobs);
    struct gyre_context *context;
    int error, result;

    /* Now, not by the first visit: the walk has a context of its own, which ends with it. */
    error = gyre_group_context(&files, &context);
    if (error)
        return error;
    gyre_context_release(context);
    for (char **path = search.paths; *path && !error; path++) {
        error = gyre_walk(*path, 8, visit, &files);
        if (error && error != -ECANCELED) {
            complain(*path, error);
            error = 0;
        }
    }
    result = gyre_group_wait(&files);
    return error ? error : result;
}

static void *make_buffer(void *unused)
{
    (void)unused;
    return malloc(2 * PIECE + 1);
}

static int start(void *unused)
{
    struct gyre_pool_options pool = GYRE_POOL_OPTIONS_INIT;
    int error;

    (void)unused;
    pool.make = make_buffer;
    pool.drop = free;
    error = gyre_pool_create(&search.buffers, &pool);
    if (error)
        return error;
    {
        GYRE_CANCELLABLE();
        GYRE_GROUP(bar); /* its end cancels what draws */

        gyre_signal_cancels(SIGINT, SIGTERM);
        gyre_group_go(&bar, progress_show, &search.progress);
        error = search_all();
    }
    gyre_pool_destroy(search.buffers);
    return error;
}

static void compile(void)
{
    char quoted[4096], message[200];
    const char *pattern = search.pattern;
    int error;

    search.pattern_length = strlen(pattern);
    if (!search.regex && search.ignore_case) {
        size_t length = 0;

        for (; *pattern && length < sizeof quoted - 3; pattern++) {
            if (strchr("\\^$.[]|()*+?{}", *pattern))
                quoted[length++] = '\\';
            quoted[length++] = *pattern;
        }
        quoted[length] = 0;
        pattern = quoted;
    }
    if (!search.regex && !search.ignore_case)
        return;
    error = regcomp(&search.compiled, pattern,
                    REG_EXTENDED | REG_NEWLINE | (search.ignore_case ? REG_ICASE : 0));
    if (error) {
        regerror(error, &search.compiled, message, sizeof message);
        fprintf(stderr, "grep: '%s': %s\n", search.pattern, message);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static const struct option_entry options[] = {
        {"ignore-case", NULL, "upper and lower case are alike", OPTION_FLAG, 0, 0,
         &search.ignore_case},
        {"regex", NULL, "the pattern is an extended regular expression", OPTION_FLAG, 0, 0,
         &search.regex},
        {"count", NULL, "print how many matches a file has, not the lines", OPTION_FLAG, 0, 0,
         &search.count},
        {"jobs", NULL, "files searched at a time", OPTION_NUMBER, 1, 100000, &search.jobs},
        {"workers", NULL, "worker threads; 0 is one per CPU", OPTION_NUMBER, 0, 1024,
         &search.workers},
    };
    struct gyre_options run = GYRE_OPTIONS_INIT;
    int error, first = options_parse_operands(argc, argv, "Searches files, many at once.", options,
                                              sizeof options / sizeof *options, "PATTERN PATH...",
                                              2, INT_MAX);

    search.pattern = argv[first];
    search.paths = argv + first + 1;
    compile();
    run.workers = (unsigned)search.workers;
    error = gyre_run_options(start, NULL, &run);
    if (search.regex || search.ignore_case)
        regfree(&search.compiled);
    if (error)
        return error == -ECANCELED ? 130 : 2;
    return atomic_load(&search.failed) ? 2 : !atomic_load(&search.found);
}
