/*
 * The one way out for text. Formatting is bounded and allocates nothing, so a message can be
 * printed with memory exhausted; gyre_message_raw is async-signal-safe.
 */
#ifndef GYRE_LIB_BASE_MESSAGE_H
#define GYRE_LIB_BASE_MESSAGE_H

#include <stddef.h>

/* Prints one line, "gyre: " before it, cut at 1,024 characters. Not async-signal-safe. */
void gyre_message(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints one line without a prefix. Not async-signal-safe. */
void gyre_message_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints length bytes as one line. Async-signal-safe. */
void gyre_message_raw(const char *line, size_t length);

#endif
