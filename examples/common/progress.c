#include "common/progress.h"

#include <gyre.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR = 30 };

static void draw(const struct progress *progress, int64_t elapsed)
{
    const uint64_t files = atomic_load_explicit(&progress->files, memory_order_relaxed);
    const uint64_t known = atomic_load_explicit(&progress->files_known, memory_order_relaxed);
    const double megabytes =
        (double)atomic_load_explicit(&progress->bytes, memory_order_relaxed) / 1e6;
    const int full = known ? (int)(files * BAR / known) : 0;
    char bar[BAR + 1], line[160];
    int length;

    memset(bar, ' ', BAR);
    memset(bar, '#', (size_t)(full < BAR ? full : BAR));
    bar[BAR] = 0;
    length = snprintf(line, sizeof line, "\r[%s] %llu of %llu files, %.0f MB, %.0f MB/s\033[K", bar,
                      (unsigned long long)files, (unsigned long long)known, megabytes,
                      megabytes / ((double)elapsed / 1e9));
    gyre_write_all(STDERR_FILENO, line, (size_t)length, NULL);
}

int progress_show(void *arg)
{
    const struct progress *progress = arg;
    const int64_t start = gyre_now();

    if (!isatty(STDERR_FILENO))
        return 0;
    while (!gyre_sleep(GYRE_SECOND / 10))
        draw(progress, gyre_now() - start);

    GYRE_SHIELD(); /* it has ended: the line goes all the same */
    gyre_write_all(STDERR_FILENO, "\r\033[K", 4, NULL);
    return 0;
}
