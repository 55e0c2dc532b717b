#include "base/signal.h"

#include <stddef.h>
#include <string.h>

/* What the kernel knows of a mask: it fills in no more of a context's. */
enum { KERNEL_MASK = 64 / 8 };

void gyre_signal_pass_on(int signal, siginfo_t *info, ucontext_t *context, struct sigaction *action)
{
    struct sigaction called = *action;
    sigset_t before, mask;

    if (called.sa_flags & SA_RESETHAND)
        *action = (struct sigaction){.sa_handler = SIG_DFL};
    sigemptyset(&mask);
    memcpy(&mask, &context->uc_sigmask, KERNEL_MASK);
    sigorset(&mask, &mask, &called.sa_mask);
    if (!(called.sa_flags & SA_NODEFER))
        sigaddset(&mask, signal);
    pthread_sigmask(SIG_SETMASK, &mask, &before);
    if (called.sa_flags & SA_SIGINFO)
        called.sa_sigaction(signal, info, context);
    else
        called.sa_handler(signal);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
