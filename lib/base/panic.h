/*
 * A user's mistake that can't be an error value: one clear line, who did it, a backtrace, abort.
 */
#ifndef GYRE_LIB_BASE_PANIC_H
#define GYRE_LIB_BASE_PANIC_H

#include <stddef.h>

/* Prints "gyre: panic: " and the message, the current coroutine, a backtrace, and aborts. */
_Noreturn void gyre_panic(const char *format, ...) __attribute__((format(printf, 1, 2), cold));

/* Prints the calling stack, innermost first, leaving out the newest skip frames. */
void gyre_backtrace_print(int skip);

/* Names a place in a program by the return address of a call: symbol, module, distance. */
void gyre_backtrace_name(void *address, char *buffer, size_t size);

/*
 * Loads the unwinder now, so that a later backtrace neither allocates nor takes the dynamic
 * linker's lock.
 */
void gyre_backtrace_prepare(void);

/*
 * How a panic names the coroutine it happens in: writes a line without newline into buffer and
 * returns its length, 0 outside a coroutine. Set once, by the scheduler.
 */
extern int (*gyre_panic_describe)(char *buffer, unsigned long size);

#endif
