/*
 * gyre/time.h - timers and tickers, as Go 1.23 has them: after a stop or a reset nothing stale is
 * ever received.
 *
 * Each is a channel of int64_t that gets the moment (gyre_now()'s clock) at which it fired, for use
 * in gyre_select. To bound a call use GYRE_TIMEOUT, to bound a select gyre_case_after, to wait
 * gyre_sleep: none of these needs a timer. A timer that is started and stopped costs the same with
 * a million others.
 *
 * "From any thread" is while the runtime runs. What is still pending when it ends never fires, and
 * may be destroyed or released afterwards.
 */
#ifndef GYRE_TIME_H
#define GYRE_TIME_H

#include <gyre/base.h>
#include <gyre/chan.h>

GYRE_BEGIN_DECLS

struct gyre_timer;
struct gyre_ticker;

/*
 * Makes a timer that fires once, duration ns from now (at once for 0 or less). Returns 0, -ENOMEM.
 * Never parks. Only from a coroutine. Go: time.NewTimer.
 */
GYRE_API int gyre_timer_create(struct gyre_timer **timer, int64_t duration);

/*
 * The timer's channel: what fired waits there until it is received, or the timer is stopped or
 * reset. Its len and cap are 0, as Go's. The handle is the timer's: hold it to keep it longer.
 * Never parks. From any thread. Go: Timer.C.
 */
GYRE_API gyre_receiver gyre_timer_channel(struct gyre_timer *timer);

/* Keeps it from firing: 1; 0 when it was not running: it has fired, or was stopped before. What
 * it fired and nobody received yet is gone (and counts as not fired: 1). Never parks. From any
 * thread. Go: Timer.Stop. */
GYRE_API int gyre_timer_stop(struct gyre_timer *timer);

/* Stops it, returns what stop returns, and starts it again, duration ns from now. Never parks. Only
 * from a coroutine. Go: Timer.Reset. */
GYRE_API int gyre_timer_reset(struct gyre_timer *timer, int64_t duration);

/* Stops and frees it. NULL is fine. Nobody may be about to use it; who waits on its channel with a
 * handle of his own waits for ever. Never parks. From any thread. */
GYRE_API void gyre_timer_destroy(struct gyre_timer *timer);

/*
 * *receiver gets the moment duration ns from now, once. The handle is the caller's to release
 * (gyre_chan_release_receiver), which also stops it. Returns 0, -ENOMEM. Never parks. Only from a
 * coroutine. Go: time.After.
 */
GYRE_API int gyre_after(gyre_receiver *receiver, int64_t duration);

/*
 * Runs fn(arg) as a coroutine under the runtime's context, duration ns from now. *timer, unless
 * timer is NULL, can be stopped (0: fn has been or will be called), reset, and must be destroyed,
 * which stops it; it has no channel (nil).
 * Where there is no memory for the coroutine then, it is tried again each millisecond. When the
 * runtime shuts down first, fn is not called. Returns 0, -EINVAL (fn is NULL), -ENOMEM. Never
 * parks. Only from a coroutine. Go: time.AfterFunc.
 */
#define gyre_after_func(timer, duration, fn, arg)                                                  \
    gyre_after_func_at(GYRE_SITE(#fn), timer, duration, fn, arg)
GYRE_API int gyre_after_func_at(const char *site, struct gyre_timer **timer, int64_t duration,
                                gyre_fn fn, void *arg);

/*
 * Fires every period ns (> 0), at multiples of it from now; ticks that nobody received in time
 * are dropped. Returns 0, -EINVAL (period), -ENOMEM. None of these parks; create and reset only
 * from a coroutine, the others from any thread. The channel is as a timer's. Go: time.NewTicker.
 */
GYRE_API int gyre_ticker_create(struct gyre_ticker **ticker, int64_t period);
GYRE_API gyre_receiver gyre_ticker_channel(struct gyre_ticker *ticker); /* Go: Ticker.C */
/* No tick is received after it. Go: Ticker.Stop. */
GYRE_API void gyre_ticker_stop(struct gyre_ticker *ticker);
/* Goes on with period (> 0, else panics) from now, no older tick. Go: Reset. */
GYRE_API void gyre_ticker_reset(struct gyre_ticker *ticker, int64_t period);
GYRE_API void gyre_ticker_destroy(struct gyre_ticker *ticker); /* NULL is fine */

GYRE_END_DECLS

#endif
