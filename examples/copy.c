/*
 * Copies a tree, many files at once, with a bar that says how far it is: a small `cp -r`.
 *
 *     copy [--jobs N] FROM TO
 *
 * One walk makes the directories, each before what is in it, and starts a coroutine a file.
 * gyre_copy_file puts each file in place whole or not at all; ^C ends between two pieces and leaves
 * none half written. Links are copied as links; sockets, FIFOs and devices are passed over.
 */
#include "common/options.h"
#include "common/progress.h"

#include <gyre.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static struct {
    const char *from, *to;
    size_t from_length;
    long jobs, workers;
    struct progress progress;
    atomic_bool failed;
} copy = {.jobs = 64};

static void complain(const char *path, int error)
{
    fprintf(stderr, "copy: %s: %s\n", path, strerror(-error));
    atomic_store_explicit(&copy.failed, true, memory_order_relaxed);
}

/* Where path goes. Returns 0 or -ENAMETOOLONG. */
static int target_of(const char *path, char target[PATH_MAX])
{
    int length = snprintf(target, PATH_MAX, "%s%s", copy.to, path + copy.from_length);

    return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int copy_file(void *arg)
{
    const char *path = arg;
    char target[PATH_MAX];
    struct stat status;
    int error = target_of(path, target);

    if (!error)
        error = gyre_copy_file(path, target);
    if (!error)
        error = gyre_stat(target, &status);
    if (error == -ECANCELED)
        return error;
    if (error) {
        complain(path, error);
        return 0;
    }
    atomic_fetch_add_explicit(&copy.progress.files, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&copy.progress.bytes, (uint64_t)status.st_size, memory_order_relaxed);
    return 0;
}

static int copy_link(const struct gyre_visit *visit, const char *target)
{
    char text[PATH_MAX];
    ssize_t length = gyre_readlinkat(visit->dirfd, visit->name, text, sizeof text - 1);

    if (length < 0)
        return (int)length;
    text[length] = 0;
    return gyre_symlink(text, target);
}

static int make_directory(const struct gyre_visit *visit, const char *target)
{
    int error = gyre_mkdir(target, 0700);
    struct stat status;

    if (error)
        return error;
    error = gyre_stat(visit->path, &status);
    return error ? error : gyre_chmod(target, (status.st_mode & 07777) | S_IRWXU);
}

static int visit(const struct gyre_visit *visit, void *group)
{
    char target[PATH_MAX];
    int error = visit->error ? visit->error : target_of(visit->path, target);

    if (!error && visit->type == DT_REG) {
        atomic_fetch_add_explicit(&copy.progress.files_known, 1, memory_order_relaxed);
        return gyre_group_go_copy((gyre_group *)group, copy_file, visit->path,
                                  strlen(visit->path) + 1);
    }
    if (!error && visit->type == DT_DIR)
        error = make_directory(visit, target);
    else if (!error && visit->type == DT_LNK)
        error = copy_link(visit, target);
    if (!error || error == -ECANCELED)
        return error;
    complain(visit->path, error);
    return visit->type == DT_DIR ? GYRE_WALK_SKIP : 0;
}

static int copy_all(void)
{
    GYRE_GROUP(files, .limit = (unsigned)copy.jobs);
    struct gyre_context *context;
    int error, result;

    /* Now, not by the first visit: the walk has a context of its own, which ends with it. */
    error = gyre_group_context(&files, &context);
    if (error)
        return error;
    gyre_context_release(context);
    error = gyre_walk(copy.from, 8, visit, &files);
    result = gyre_group_wait(&files);
    return error ? error : result;
}

static int start(void *unused)
{
    int error;

    (void)unused;
    GYRE_CANCELLABLE();
    GYRE_GROUP(bar); /* its end cancels what draws */

    gyre_signal_cancels(SIGINT, SIGTERM);
    gyre_group_go(&bar, progress_show, &copy.progress);
    error = copy_all();
    if (error && error != -ECANCELED)
        complain(copy.from, error);
    return error;
}

int main(int argc, char **argv)
{
    static const struct option_entry options[] = {
        {"jobs", NULL, "files copied at a time", OPTION_NUMBER, 1, 100000, &copy.jobs},
        {"workers", NULL, "worker threads; 0 is one per CPU", OPTION_NUMBER, 0, 1024,
         &copy.workers},
    };
    struct gyre_options run = GYRE_OPTIONS_INIT;
    int error,
        first = options_parse_operands(argc, argv, "Copies a tree, many files at once.", options,
                                       sizeof options / sizeof *options, "FROM TO", 2, 2);

    copy.from = argv[first];
    copy.to = argv[first + 1];
    copy.from_length = strlen(copy.from);
    run.workers = (unsigned)copy.workers;
    error = gyre_run_options(start, NULL, &run);
    if (error)
        return error == -ECANCELED ? 130 : 1;
    return atomic_load(&copy.failed);
}
