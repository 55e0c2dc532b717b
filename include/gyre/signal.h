/*
 * gyre/signal.h - signals as values: no handler, nothing async-signal-safe to think of.
 *
 *     static int start(void *unused)
 *     {
 *         GYRE_CANCELLABLE();
 *         gyre_signal_cancels(SIGINT, SIGTERM);    ends this scope, and so every call inside
 *         return serve();                          -ECANCELED: wind up
 *     }
 *
 * While a signal is watched the runtime's handler is its handler, for the whole process, whichever
 * thread gets it; what was there before (a handler, SIG_DFL, SIG_IGN) is put back when nobody
 * watches any more, at the end of the runtime at the latest. So plain system calls of the program's
 * other threads may return EINTR (SA_RESTART is set). A signal that all threads block is received
 * as well. Children start with the default action, and the mask that gyre_run's caller had.
 * Preemption's signal (SIGURG) and those the processor raises (SIGSEGV, SIGBUS, SIGFPE, SIGILL,
 * SIGTRAP), SIGKILL and SIGSTOP can't be watched.
 *
 * In a gyre_test a signal that may come from outside is nothing to wait for: the clock moves on,
 * and it is a deadlock when all wait for nothing else. A test sends them by raise(3): with kill(2)
 * another thread may get them, a little later. Reference: signal(7), sigaction(2).
 */
#ifndef GYRE_SIGNAL_H
#define GYRE_SIGNAL_H

#include <gyre/base.h>
#include <gyre/chan.h>

#include <signal.h>

#ifdef __cplusplus
/* Programs include headers of C within extern "C". */
extern "C++" {
#include <initializer_list>
}
#define GYRE_SIGNALS_(...) (std::initializer_list<int>{__VA_ARGS__, 0}.begin())
#else
#define GYRE_SIGNALS_(...) ((const int[]){__VA_ARGS__, 0})
#endif

GYRE_BEGIN_DECLS

/* One that came. What its sender does not tell is 0. */
struct gyre_signal {
    int number;
    int code;  /* SI_USER, SI_QUEUE, CLD_EXITED ...: sigaction(2) */
    pid_t pid; /* who sent it, or the child */
    uid_t uid;
    int status;    /* SIGCHLD */
    int64_t value; /* sigqueue(3): its pointer, of which sival_int is a part */
};

GYRE_CHAN_TYPE(gyre_signals, struct gyre_signal);

struct gyre_signal_watch;

/*
 * Watches the signals named, gyre_signal_watch(&watch, SIGHUP, SIGUSR1), or those of a list that
 * ends with 0; each that comes from now on is sent on watch's channel, which has room for 16: as
 * with Go what does not fit is dropped, though standard signals coalesce anyway. Several watches of
 * one signal each get it. Returns 0, -EINVAL (one that can't be watched, or none), -EMFILE,
 * -ENFILE, -ENOMEM. Never parks. Only from a coroutine. Go: signal.Notify.
 */
#define gyre_signal_watch(watch, ...) gyre_signal_watch_all(watch, GYRE_SIGNALS_(__VA_ARGS__))
GYRE_API int gyre_signal_watch_all(struct gyre_signal_watch **watch, const int *signals);
/* The watch's: hold it to keep it longer. For gyre_select, or gyre_signals_recv. Never parks, never
 * fails. Go: the channel that Notify was given. */
GYRE_API gyre_signals_receiver gyre_signal_channel(struct gyre_signal_watch *watch);
/* Stops watching; the channel is closed, what it has can still be received by who holds it. A
 * signal nobody watches any more does what it did before. Never parks. NULL is fine. Only from a
 * coroutine. Go: signal.Stop. */
GYRE_API void gyre_signal_stop(struct gyre_signal_watch *watch);

/*
 * Waits for one of the signals; *signal may be NULL. Returns its number, or -errno as above,
 * -ECANCELED, -ETIMEDOUT. Between two calls they do what they did before: a loop wants a watch.
 * Parks. Only from a coroutine. Go: a receive from a notified channel.
 */
#define gyre_signal_wait(signal, ...) gyre_signal_wait_all(signal, GYRE_SIGNALS_(__VA_ARGS__))
GYRE_API int gyre_signal_wait_all(struct gyre_signal *signal, const int *signals);

/*
 * Cancels the ambient context when one of the signals comes; gyre_context_cause tells -EINTR then.
 * Holds until the context has ended: a second signal does what it did before gyre was asked, so who
 * presses ^C twice gets out. Returns 0, -EINVAL (also: the ambient context can't be cancelled: no
 * GYRE_CANCELLABLE, GYRE_TIMEOUT or the like), -EMFILE, -ENFILE, -ENOMEM; -ECANCELED, -ETIMEDOUT:
 * it has ended. Never parks. Only from a coroutine. Go: signal.NotifyContext.
 */
#define gyre_signal_cancels(...) gyre_signal_cancels_all(GYRE_SIGNALS_(__VA_ARGS__))
/* The numbers end with 0. */
GYRE_API int gyre_signal_cancels_all(const int *signals);

GYRE_END_DECLS

#endif
