/*
 * Messages go to standard error, or to the handler that the program set, whole lines at a time:
 * one write(2) a line, so lines of two threads do not mix.
 */
#include "base/message.h"

#include <gyre/base.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE_MAX = 1024 };

static gyre_message_fn message_handler;
static void *message_user;

const char *gyre_version(void)
{
    return GYRE_VERSION;
}

void gyre_set_message_handler(gyre_message_fn fn, void *user)
{
    message_handler = fn;
    message_user = user;
}

void gyre_message_raw(const char *line, size_t length)
{
    char buffer[MESSAGE_MAX + 1];
    ssize_t written;

    if (message_handler) {
        message_handler(message_user, line, length);
        return;
    }
    if (length > MESSAGE_MAX)
        length = MESSAGE_MAX;
    memcpy(buffer, line, length);
    buffer[length] = '\n';
    written = write(STDERR_FILENO, buffer, length + 1);
    (void)written; /* there is nowhere left to report to */
}

static void print(const char *prefix, const char *format, va_list list)
{
    char buffer[MESSAGE_MAX];
    size_t start = strlen(prefix);
    int length;

    memcpy(buffer, prefix, start);
    length = vsnprintf(buffer + start, sizeof buffer - start, format, list);
    if (length < 0)
        return;
    gyre_message_raw(buffer, (size_t)length >= sizeof buffer - start ? sizeof buffer - 1
                                                                     : start + (size_t)length);
}

void gyre_message(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    print("gyre: ", format, list);
    va_end(list);
}

void gyre_message_line(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    print("", format, list);
    va_end(list);
}
