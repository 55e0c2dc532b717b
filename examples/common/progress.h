/* A line on a terminal's standard error that says how far a program is. */
#ifndef EXAMPLES_COMMON_PROGRESS_H
#define EXAMPLES_COMMON_PROGRESS_H

#include <stdatomic.h>
#include <stdint.h>

/* What has been done and how much is known to be there; any coroutine adds, relaxed. */
struct progress {
    _Atomic(uint64_t) files, bytes, files_known, bytes_known;
};

/*
 * Draws *progress ten times a second until its context ends, then removes the line. A coroutine's
 * function (arg: struct progress *); nothing happens where standard error is no terminal.
 */
int progress_show(void *arg);

#endif
