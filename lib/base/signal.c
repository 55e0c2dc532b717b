#include "base/signal.h"

#include <stddef.h>
#include <string.h>

/* What the kernel knows of a mask: it fills in no more of a context's. */
enum { KERNEL_MASK = 64 / 8 };

static void call(int signal, siginfo_t *info, ucontext_t *context, struct sigaction *action)
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

/* Whether a handler with that frame was called by another one, handing its arguments on, rather
 * than by the kernel, which puts them right above the frame. */
static bool is_called_back(const void *frame, const siginfo_t *info, const void *context)
{
#if defined(__x86_64__)
    (void)info;
    return (const char *)context != (const char *)frame + 2 * sizeof(void *);
#else
    const char *lower = (const char *)info < (const char *)context ? (const char *)info : context;

    return (size_t)(lower - (const char *)frame) > 512;
#endif
}

bool gyre_signal_pass_on(int signal, siginfo_t *info, ucontext_t *context, struct sigaction *action,
                         const void *frame)
{
    /* A handler may be left by siglongjmp: so this alone says nothing. */
    static _Thread_local bool passing;

    if (!signal_has_handler(action) || (is_called_back(frame, info, context) && passing))
        return false;
    passing = true;
    call(signal, info, context, action);
    passing = false;
    return true;
}
