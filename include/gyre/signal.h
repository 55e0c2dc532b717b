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
 * A signal that is watched is blocked in every thread of the runtime; it should be blocked in the
 * program's other threads too, or they take it. Preemption's signal (SIGURG) and those the
 * processor raises (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP), SIGKILL and SIGSTOP can't be
 * watched. Children get the mask that gyre_run's caller had. Reference: signalfd(2).
 */
#ifndef GYRE_SIGNAL_H
#define GYRE_SIGNAL_H

#include <gyre/base.h>
#include <gyre/chan.h>

#include <signal.h>

GYRE_BEGIN_DECLS

/* One that came. */
struct gyre_signal {
    int number;
    int code;  /* SI_USER, SI_QUEUE, CLD_EXITED ...: sigaction(2) */
    pid_t pid; /* who sent it, or the child */
    uid_t uid;
    int status;    /* SIGCHLD */
    int64_t value; /* sigqueue(3) */
};

GYRE_CHAN_TYPE(gyre_signals, struct gyre_signal);

struct gyre_signal_watch;

/*
 * Watches the signals named, gyre_signal_watch(&watch, SIGHUP, SIGUSR1), or those of a list that
 * ends with 0; each that comes is sent on watch's channel, which has room for 16: as with Go what
 * does not fit is dropped, though standard signals coalesce anyway. Several watches of one signal
 * each get it. Returns 0, -EINVAL (one that can't be watched, or none), -EMFILE, -ENOMEM. Parks
 * briefly. Only from a coroutine. Go: signal.Notify.
 */
#define gyre_signal_watch(watch, ...) gyre_signal_watch_all(watch, (const int[]){__VA_ARGS__, 0})
GYRE_API int gyre_signal_watch_all(struct gyre_signal_watch **watch, const int *signals);
/* The watch's: hold it to keep it longer. For gyre_select, or gyre_signals_recv. */
GYRE_API gyre_signals_receiver gyre_signal_channel(struct gyre_signal_watch *watch);
/* Stops watching; the channel is closed. A signal nobody watches any more is unblocked, and does
 * what it did before. Parks, is not cancelled. NULL is fine. Go: signal.Stop. */
GYRE_API void gyre_signal_stop(struct gyre_signal_watch *watch);

/* Waits for one of the signals; *signal may be NULL. Returns its number, or -errno as above,
 * -ECANCELED, -ETIMEDOUT. Go: a receive from a notified channel. */
#define gyre_signal_wait(signal, ...) gyre_signal_wait_all(signal, (const int[]){__VA_ARGS__, 0})
GYRE_API int gyre_signal_wait_all(struct gyre_signal *signal, const int *signals);

/*
 * Cancels the ambient context when one of the signals comes; gyre_context_cause tells -EINTR then.
 * A second one does what it did before gyre was asked: who presses ^C twice gets out. Holds until
 * the context ends. Returns 0, -EINVAL (also: the ambient context can't be cancelled: no
 * GYRE_CANCELLABLE, GYRE_TIMEOUT or the like), -EMFILE, -ENOMEM. Only from a coroutine. Go:
 * signal.NotifyContext.
 */
#define gyre_signal_cancels(...) gyre_signal_cancels_all((const int[]){__VA_ARGS__, 0})
/* The numbers end with 0. */
GYRE_API int gyre_signal_cancels_all(const int *signals);

GYRE_END_DECLS

#endif
