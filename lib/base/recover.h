/*
 * Looking at memory that may be anything: a fault on this thread while `gyre_recovery` is set goes
 * back to where that was filled, instead of to the program's handler (coro/overflow.c).
 *
 *     sigjmp_buf back;
 *     if (sigsetjmp(back, 1) == 0) {
 *         gyre_recovery = &back;
 *         ...                  nothing that takes a lock or memory
 *     }
 *     gyre_recovery = NULL;
 */
#ifndef GYRE_LIB_BASE_RECOVER_H
#define GYRE_LIB_BASE_RECOVER_H

#include <setjmp.h>

extern __attribute__((visibility("hidden"),
                      tls_model("initial-exec"))) _Thread_local sigjmp_buf *gyre_recovery;

#endif
