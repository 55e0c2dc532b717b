#include "base/signal.h"

#include <stddef.h>

void gyre_signal_pass_on(int signal, siginfo_t *info, void *context, struct sigaction *action)
{
    struct sigaction called = *action;
    sigset_t before;

    if (called.sa_flags & SA_RESETHAND)
        *action = (struct sigaction){.sa_handler = SIG_DFL};
    pthread_sigmask(SIG_BLOCK, &called.sa_mask, &before);
    if (called.sa_flags & SA_NODEFER) {
        sigset_t self;

        sigemptyset(&self);
        sigaddset(&self, signal);
        pthread_sigmask(SIG_UNBLOCK, &self, NULL);
    }
    if (called.sa_flags & SA_SIGINFO)
        called.sa_sigaction(signal, info, context);
    else
        called.sa_handler(signal);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
