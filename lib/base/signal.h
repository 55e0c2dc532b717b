/*
 * Handing a signal on to the handler that the program had before ours.
 */
#ifndef GYRE_LIB_BASE_SIGNAL_H
#define GYRE_LIB_BASE_SIGNAL_H

#include <signal.h>
#include <stdbool.h>
#include <ucontext.h>

/* Whether there is a function to call. */
static inline bool signal_has_handler(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) ||
           (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

/*
 * Calls it as the kernel would have: with the mask that context was interrupted with, its own and
 * the signal added, as its SA_RESETHAND (which changes action) and SA_NODEFER say. In a handler of
 * that signal, whose __builtin_frame_address(0) is frame.
 *
 * False, and nothing was done: there is none; or it is one that the program installed over ours in
 * an earlier run, and that called ours back.
 */
bool gyre_signal_pass_on(int signal, siginfo_t *info, ucontext_t *context, struct sigaction *action,
                         const void *frame);

#endif
