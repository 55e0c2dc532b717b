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
 * Whether our handler, whose local `here` is, was called by the one that it passes a signal on to,
 * with its own local at `passing`, rather than by the kernel: deeper on the same stack. (That one
 * need not return: a program may leave it by siglongjmp.)
 */
static inline bool signal_is_called_back(const void *passing, const void *here)
{
    return passing && here < passing && (const char *)passing - (const char *)here < 16384;
}

/*
 * Calls it as the kernel would have: with the mask that context was interrupted with, its own and
 * the signal added, as its SA_RESETHAND and SA_NODEFER say. In a handler of that signal. action is
 * changed by SA_RESETHAND.
 */
void gyre_signal_pass_on(int signal, siginfo_t *info, ucontext_t *context,
                         struct sigaction *action);

#endif
