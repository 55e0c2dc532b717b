/*
 * Directions: a function that is to send gets the sending end, one that is to receive the
 * receiving end. The signature says which, and the compiler holds everybody to it.
 *
 *     func ping(pings chan<- string, msg string) { pings <- msg }
 *     func pong(pings <-chan string, pongs chan<- string) { pongs <- <-pings }
 *
 * None of these compiles:
 *
 *     texts_recv(pings.sender, &message);       the sending end does not receive
 *     texts_send(pings.receiver, "hello");      nor the receiving end send
 *     texts_close(pings.receiver);              only who sends may say that no more will come
 *     ints_send(pings.sender, 1);               another type's channel
 */
#include <gyre.h>

#include <stdio.h>

GYRE_CHAN_TYPE(texts, const char *);

static int ping(texts_sender pings, const char *message)
{
    return texts_send(pings, message);
}

static int pong(texts_receiver pings, texts_sender pongs)
{
    const char *message;
    int error = texts_recv(pings, &message);

    return error < 0 ? error : texts_send(pongs, message);
}

static int start(void *arg)
{
    texts pings = {0}, pongs = {0};
    const char *message;
    int error;

    (void)arg;
    if (!(error = texts_make(&pings, 1)) && !(error = texts_make(&pongs, 1)) &&
        !(error = ping(pings.sender, "passed on")) &&
        !(error = pong(pings.receiver, pongs.sender)) &&
        (error = texts_recv(pongs.receiver, &message)) > 0)
        printf("%s\n", message);
    texts_release(pings);
    texts_release(pongs);
    return error < 0 ? error : 0;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
