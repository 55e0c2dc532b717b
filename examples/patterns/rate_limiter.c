/*
 * A rate limiter: each request waits for a tick. The second one saves up to three ticks while
 * there is nothing to do, so that a burst of that size passes at once.
 *
 *     limiter := time.Tick(20 * time.Millisecond)
 *     for r := range requests { <-limiter; handle(r) }
 *
 * A ticker's channel holds one tick at most and drops the rest: time that nobody used is not
 * made up for. That is why the saving needs a channel with room.
 */
#include <gyre.h>

#include <stdio.h>

enum { REQUESTS = 5, BURST = 3 };

#define PERIOD (20 * GYRE_MILLISECOND)

static void handle(const char *kind, int request, int64_t begin)
{
    printf("%s request %d after %lld ms\n", kind, request,
           (long long)((gyre_now() - begin) / GYRE_MILLISECOND));
}

static int steady(void)
{
    int64_t begin = gyre_now();
    struct gyre_ticker *ticker;
    int error = gyre_ticker_create(&ticker, PERIOD);

    if (error)
        return error;
    for (int i = 1; i <= REQUESTS; i++) {
        if ((error = gyre_chan_recv(gyre_ticker_channel(ticker), NULL)) < 0)
            break;
        handle("steady", i, begin);
    }
    gyre_ticker_destroy(ticker);
    return error < 0 ? error : 0;
}

/* Puts a token into the channel each period; those for which there is no room are lost. */
static int refill(void *arg)
{
    const gyre_sender *tokens = arg;
    int error;

    while ((error = gyre_sleep(PERIOD)) == 0)
        gyre_chan_try_send(*tokens, NULL);
    return error;
}

static int bursty(void)
{
    gyre_channel tokens;
    int error = gyre_chan_make(&tokens, 0, BURST);

    if (error)
        return error;
    for (int i = 0; i < BURST; i++)
        gyre_chan_try_send(tokens.sender, NULL);
    {
        int64_t begin = gyre_now();

        GYRE_GROUP(refilling);
        error = gyre_group_go(&refilling, refill, &tokens.sender);
        for (int i = 1; i <= REQUESTS && error >= 0; i++) {
            if ((error = gyre_chan_recv(tokens.receiver, NULL)) > 0)
                handle("bursty", i, begin);
        }
    }
    gyre_chan_release(tokens);
    return error < 0 ? error : 0;
}

static int start(void *arg)
{
    int error = steady();

    (void)arg;
    return error ? error : bursty();
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
