/*
 * A monitor: looks at the number of coroutines at each tick, and warns when it is above what the
 * program should need. That is the cheapest way to see a leak in a server.
 *
 *     for range time.Tick(time.Second) {
 *         if n := runtime.NumGoroutine(); n > limit {
 *             log.Printf("warning: %d goroutines", n)
 *         }
 *     }
 *
 * It warns at each change for the worse or the better, not at each tick.
 */
#include <gyre.h>

#include <stdbool.h>
#include <stdio.h>

enum { LIMIT = 50, CROWD = 100 };

GYRE_CHAN_TYPE(counts, size_t);

/* Sends the count when it goes beyond LIMIT, and again when it has come back. */
static int monitor(void *arg)
{
    const counts_sender *alerts = arg;
    struct gyre_ticker *ticker;
    bool alarmed = false;
    int error = gyre_ticker_create(&ticker, GYRE_MILLISECOND);

    if (error)
        return error;
    while ((error = gyre_chan_recv(gyre_ticker_channel(ticker), NULL)) > 0) {
        size_t count = gyre_coro_count();

        if ((count > LIMIT) != alarmed) {
            alarmed = !alarmed;
            if ((error = counts_send(*alerts, count)) < 0)
                break;
        }
    }
    gyre_ticker_destroy(ticker);
    return error;
}

/* One of a crowd that waits for something: here for the gate to be closed, as channels are. */
static int linger(void *arg)
{
    const gyre_receiver *gate = arg;

    return gyre_chan_recv(*gate, NULL);
}

static int watch_a_crowd(counts_receiver alerts, gyre_channel gate)
{
    size_t count = 0;
    int error;

    GYRE_GROUP(crowd);
    for (int i = 0; i < CROWD; i++)
        gyre_group_go(&crowd, linger, &gate.receiver);
    if ((error = counts_recv(alerts, &count)) <= 0)
        return error;
    printf("warning: %s than %d coroutines\n", count > LIMIT ? "more" : "no more", LIMIT);
    gyre_chan_close(gate.sender);
    if ((error = gyre_group_wait(&crowd)) || (error = counts_recv(alerts, &count)) <= 0)
        return error;
    printf("%s more than %d\n", count > LIMIT ? "still" : "no", LIMIT);
    return 0;
}

static int start(void *arg)
{
    gyre_channel gate = {0};
    counts alerts = {0};
    int error;

    (void)arg;
    if (!(error = gyre_chan_make(&gate, 0, 0)) && !(error = counts_make(&alerts, 0))) {
        GYRE_GROUP(monitoring);
        if ((error = gyre_group_go(&monitoring, monitor, &alerts.sender)) == 0)
            error = watch_a_crowd(alerts.receiver, gate);
    }
    gyre_chan_release(gate);
    counts_release(alerts);
    return error;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
