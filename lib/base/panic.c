/*
 * Panics and backtraces. glibc's unwinder walks a coroutine to its entry, where the CFI says
 * that no caller exists. Symbols come from dladdr: names of static functions need the
 * program's debug information, which a panic does not go looking for.
 */
#include "base/panic.h"

#include "base/macros.h"
#include "base/message.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BACKTRACE_MAX = 64 };

int (*gyre_panic_describe)(char *buffer, unsigned long size);

void gyre_backtrace_prepare(void)
{
    void *one[1];

    backtrace(one, 1);
}

void gyre_backtrace_name(void *address, char *buffer, size_t size)
{
    Dl_info info;
    const char *module;

    /* A return address points behind the call, which may be the next function already. */
    if (!dladdr((char *)address - 1, &info) || !info.dli_fname) {
        snprintf(buffer, size, "%p", address);
        return;
    }
    module = strrchr(info.dli_fname, '/');
    module = module ? module + 1 : info.dli_fname;
    if (info.dli_sname)
        snprintf(buffer, size, "%s+0x%lx  (%s+0x%lx)", info.dli_sname,
                 (unsigned long)((char *)address - (char *)info.dli_saddr), module,
                 (unsigned long)((char *)address - (char *)info.dli_fbase));
    else
        snprintf(buffer, size, "%s+0x%lx", module,
                 (unsigned long)((char *)address - (char *)info.dli_fbase));
}

__attribute__((noinline)) void gyre_backtrace_print(int skip)
{
    void *frames[BACKTRACE_MAX];
    int count = backtrace(frames, BACKTRACE_MAX);

    for (int i = skip + 1; i < count; i++) {
        char name[256];

        gyre_backtrace_name(frames[i], name, sizeof name);
        gyre_message_line("    %s", name);
    }
}

_Noreturn __attribute__((noinline)) void gyre_panic(const char *format, ...)
{
    char line[512];
    va_list list;
    int length;

    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    gyre_message("panic: %s", line);
    length = gyre_panic_describe ? gyre_panic_describe(line, sizeof line) : 0;
    if (length > 0)
        gyre_message_line("  %s", line);
    gyre_backtrace_print(1);
    abort();
}
