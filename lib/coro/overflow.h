/*
 * Tells a stack overflow from other crashes: a fault in the guard of the coroutine that runs.
 */
#ifndef GYRE_LIB_CORO_OVERFLOW_H
#define GYRE_LIB_CORO_OVERFLOW_H

#include "coro/stack.h"

/*
 * Takes over SIGSEGV and SIGBUS. On an overflow of one of the pool's stacks report is called (on
 * the alternate signal stack; async-signal-safe things only), then a backtrace is printed and the
 * process aborts. Every other fault goes to the program's own handler, which is called as if it had
 * been installed, or to the default action, with the core the fault would have left. Returns 0 or
 * -errno, and then nothing was changed. One at a time in a process.
 */
int gyre_overflow_install(struct stack_pool *pool,
                          void (*report)(struct stack_block *block, void *fault_address));

/* Whether both are still ours: then base/recover.h works. Async-signal-safe. */
bool gyre_overflow_installed(void);

/* Puts the program's handlers back, unless it has installed others meanwhile. */
void gyre_overflow_remove(void);

/*
 * Gives the calling thread an alternate signal stack of AT_MINSIGSTKSZ + 32 KiB, its pages
 * already there, unless it has one at least as large. A smaller one is put back by
 * gyre_overflow_thread_exit. Returns 0 or -errno.
 */
int gyre_overflow_thread_init(void);
void gyre_overflow_thread_exit(void);

/* Whether an address is on that stack: a program may have put a smaller one in its place, or none.
 * Async-signal-safe. */
bool gyre_overflow_on_signal_stack(const void *address);

#endif
